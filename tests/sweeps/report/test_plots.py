import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace

from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex

from sweeps.report.figures import COLOURS, MOST_ROWS, Plot
from sweeps.report.plots import intervals, plots
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow

SVG = "{http://www.w3.org/2000/svg}"


def texts_of(plot: Plot) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(plot.svg).iter(f"{SVG}text")]


def only(found: Iterable[Plot]) -> Plot:
    (plot,) = found
    return plot


def test_arms_are_rows_with_their_interval(report: Report) -> None:
    metric = report.metrics[0]
    plot = only(intervals(report.rows, metric, report.pairs[metric.key]))
    (axes,) = plot.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.id for row in report.rows]
    (bars,) = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    summaries = [row.metrics[metric.key] for row in report.rows[1:]]
    assert [segment.tolist() for segment in bars.get_segments()] == [
        [[summary.low, place], [summary.high, place]] for place, summary in enumerate(summaries, start=1)
    ]
    (marks,) = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    assert marks.get_offsets().tolist() == [[s.difference, place] for place, s in enumerate(summaries, start=1)]
    assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines), "a line at zero"
    assert any(
        line.get_marker() == "D" and (list(line.get_xdata()), list(line.get_ydata())) == ([0], [0])
        for line in axes.lines
    )
    assert all(row.id in plot.alt for row in report.rows[1:])


def test_marks_are_filled_after_the_correction_and_coloured_by_verdict(report: Report) -> None:
    metric = report.metrics[0]
    (axes,) = only(intervals(report.rows, metric, {})).figure.axes
    (marks,) = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    fills, edges = map(to_hex, marks.get_facecolors()), map(to_hex, marks.get_edgecolors())
    verdicts = set()
    for row, fill, edge in zip(report.rows[1:], fills, edges, strict=True):
        summary = row.metrics[metric.key]
        verdicts.add(summary.verdict)
        assert summary.p_corrected is not None
        colour = COLOURS.get(summary.verdict, COLOURS["plain"])
        assert (fill, edge) == (colour if summary.p_corrected <= 0.05 else COLOURS["paper"], colour)
    assert {"better", "worse"} <= verdicts, "the made-up effects go both ways"


def test_single_seeds_lie_under_their_arm(report: Report) -> None:
    key = report.metrics[0].key
    (axes,) = only(intervals(report.rows, report.metrics[0], report.pairs[key])).figure.axes
    (seeds,) = [line for line in axes.lines if len(line.get_xdata()) > 2]
    of_control = report.values["control"][key]
    shared = [
        value - of_control[seed]
        for row in report.rows[1:]
        for seed, value in report.values[row.id][key].items()
        if seed in of_control
    ]
    assert list(seeds.get_xdata()) == shared


def test_context_has_no_better_side(report: Report) -> None:
    words = {
        metric.key: " ".join(texts_of(only(intervals(report.rows, metric, {})))) for metric in report.metrics
    }  # fmt: skip
    assert "better →" in words["clip_score/shapes_clip"]
    assert "← better" in words["fd/shapes_clip"]
    assert "better" not in words["motion_magnitude/farneback"]


def many(report: Report, number: int) -> tuple[ArmRow, ...]:
    arm, key = report.rows[1], report.metrics[0].key
    summary = arm.metrics[key]
    return report.rows[0], *(
        replace(arm, id=f"arm {place}", metrics={key: replace(summary, difference=place / 10)})
        for place in range(number)
    )


def test_height_grows_with_the_arms_and_is_bounded(report: Report) -> None:
    metric = report.metrics[0]
    few, more, most = (only(intervals(many(report, n), metric, {})) for n in (5, 30, 500))
    assert few.figure.get_figheight() < more.figure.get_figheight() < most.figure.get_figheight() < 16
    labels = [label.get_text() for label in most.figure.axes[0].get_yticklabels()]
    assert len(labels) == MOST_ROWS
    assert labels[1:] == [f"arm {place}" for place in range(500 - MOST_ROWS + 1, 500)], "those that differ most"
    assert f"{MOST_ROWS - 1} of 500 arms, largest differences" in most.title
    assert "more, see the table" in most.alt


def test_one_seed_has_a_point_and_no_interval(one_objective: Report) -> None:
    plot = only(
        intervals(one_objective.rows, one_objective.metrics[0], one_objective.pairs[one_objective.metrics[0].key])
    )
    assert "noise=removed" in texts_of(plot)


def test_what_has_no_difference_has_no_figure(nothing_scored: Report) -> None:
    assert list(intervals(nothing_scored.rows, nothing_scored.metrics[0], {})) == []
    assert {plot.group for plot in plots(nothing_scored)} == {"drift"}, "the control has values by frame"


def test_names_of_figures_are_different(report: Report, drawn: list[Plot]) -> None:
    names = [plot.name for plot in drawn]
    assert len(set(names)) == len(names)
    assert names[: len(report.metrics)] == [f"arms_{metric.key.replace('/', '_')}" for metric in report.metrics]
