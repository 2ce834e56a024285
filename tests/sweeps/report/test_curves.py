import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable

import pytest
from matplotlib.collections import LineCollection, PolyCollection

from sweeps.plan import Plan
from sweeps.report.curves import curve, moved_values
from sweeps.report.figures import Plot
from sweeps.report.table import Report, build
from sweeps.results.record import Record

Planned = Callable[[str], Plan]
Simulated = Callable[..., dict[str, Record]]
SVG = "{http://www.w3.org/2000/svg}"


def only(found: Iterable[Plot]) -> Plot:
    (plot,) = found
    return plot


def line_of(plot: Plot) -> list[tuple[float, float]]:
    """The curve itself: the first line of the figure."""
    (axes,) = plot.figure.axes
    return list(zip(*axes.lines[0].get_data(), strict=True))


def test_a_curve_has_the_values_and_the_control(report: Report) -> None:
    assert moved_values(report) == ["attention.mu", "noise.threshold"]
    metric = report.metrics[0]
    plot = only(curve(report, "attention.mu", metric))
    (axes,) = plot.figure.axes
    summaries = {row.id: row.metrics[metric.key] for row in report.rows}
    points = {0.2: summaries["attention.mu=0.2"], 0.6: summaries["attention.mu=0.6"], 0.98: summaries["control"]}
    assert line_of(plot) == [(value, summary.mean) for value, summary in points.items()]
    bars, of_control = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    expected = [[[value, s.low_mean], [value, s.high_mean]] for value, s in points.items()]
    assert [segment.tolist() for segment in bars.get_segments()] == expected
    assert [segment.tolist() for segment in of_control.get_segments()] == expected[-1:]
    assert axes.get_xscale() == "linear"
    words = {"".join(element.itertext()) for element in ET.fromstring(plot.svg).iter(f"{SVG}text")}
    assert {"attention.mu", "control", "0.2", "0.6", "0.98"} <= words
    assert plot.alt.endswith("; the control is at 0.98.")


def test_more_than_two_decades_are_logarithmic(report: Report) -> None:
    plot = only(curve(report, "noise.threshold", report.metrics[0]))
    assert plot.figure.axes[0].get_xscale() == "log"
    assert [value for value, _ in line_of(plot)] == [0.001, 0.01, 1.0]


@pytest.mark.parametrize(("lowest", "scale"), [("0.0", "linear"), ("0.02", "linear"), ("0.001", "log")])
def test_zero_and_short_spans_are_linear(lowest: str, scale: str, planned: Planned, simulated: Simulated) -> None:
    plan = planned(f"ablations: [{{part: attention.mu, action: VALUES, values: [{lowest}, 0.5]}}]\nseeds: 2\n")
    plot = only(curve(build(plan, simulated(plan)), "attention.mu", plan.metrics[0]))
    assert plot.figure.axes[0].get_xscale() == scale


def test_an_arm_of_another_name_that_moves_the_value_alone_is_on_the_curve(
    planned: Planned, simulated: Simulated
) -> None:
    plan = planned(
        "ablations:\n"
        "  - {part: attention.mu, action: VALUES, values: [0.5]}\n"
        "  - {part: attention, action: REPLACE, with: {still: {mu: 1.0}}}\n"
        "  - {part: noise, action: REMOVE}\n"
        "seeds: 2\n"
    )
    plot = only(curve(build(plan, simulated(plan)), "attention.mu", plan.metrics[0]))
    assert [value for value, _ in line_of(plot)] == [0.5, 0.98, 1.0]


def test_many_values_are_a_band(planned: Planned, simulated: Simulated) -> None:
    values = ", ".join(f"{number / 100}" for number in range(60))
    plan = planned(f"ablations: [{{part: attention.mu, action: VALUES, values: [{values}]}}]\nseeds: 2\n")
    plot = only(curve(build(plan, simulated(plan)), "attention.mu", plan.metrics[0]))
    assert [artist for artist in plot.figure.axes[0].collections if isinstance(artist, PolyCollection)]
    assert len(line_of(plot)) == 61
    assert "and 53 more" in plot.alt


def test_one_seed_has_points_without_bars(planned: Planned, simulated: Simulated) -> None:
    plan = planned("ablations: [{part: attention.mu, action: VALUES, values: [0.5]}]\nseeds: 1\n")
    plot = only(curve(build(plan, simulated(plan)), "attention.mu", plan.metrics[0]))
    assert len(line_of(plot)) == 2


def test_a_lone_point_is_no_curve(nothing_scored: Report) -> None:
    assert list(curve(nothing_scored, "attention.mu", nothing_scored.metrics[1])) == []


def test_words_have_no_curve(planned: Planned, simulated: Simulated) -> None:
    plan = planned("ablations: [{part: noise, action: REMOVE}]\nseeds: 1\n")
    assert moved_values(build(plan, simulated(plan))) == []
