"""The figures of a report, and the first of them: each arm's difference from the control with its interval."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sweeps.report import texts
from sweeps.report.curves import curve, moved_values
from sweeps.report.figures import COLOURS, MOST_ROWS, ROW, Group, Plot, canvas, finished, number, short
from sweeps.report.search_plots import search_plots
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow, Summary, is_context
from trainables.metrics import MetricKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SEEDS = 1000  # single seeds drawn in a figure; more are a smear
MOST_SAID = 8
UNDER = 0.26  # single seeds lie under their interval, in rows


def plots(report: Report) -> Iterator[Plot]:
    """All figures of a report that have something to show."""
    for metric in report.metrics:
        yield from intervals(report.rows, metric, report.values)
    for path in moved_values(report):
        for metric in report.metrics:
            yield from curve(report, path, metric)
    if report.search is not None:
        yield from search_plots(report.search, report.metrics)
        for metric in report.metrics:
            yield from intervals(report.search.confirmed, metric, {}, "winners")


def intervals(
    rows: Sequence[ArmRow],
    metric: MetricKey,
    values: Mapping[str, Mapping[str, Mapping[int, float]]],
    group: Group = "arms",
) -> Iterator[Plot]:
    """One metric: each arm's difference from the control with its interval, over the single seeds' differences.

    A filled mark stands after the correction, a hollow one does not. Of very many arms those that differ most are
    drawn, in their order; the table has them all.

    Args:
        rows: The control first.
        metric: Which.
        values: Arm -> metric -> seed -> value, for the single seeds; empty where there are none to show.
        group: Whose rows these are.
    """
    arms = [row for row in rows if row.metrics[metric.key].difference is not None]
    if not arms:
        return
    drawn = _widest(arms, metric.key)
    labels = ["control", *(short(row.id) for row in drawn)]
    with canvas(0.75 + ROW * len(labels)) as (figure, axes):
        axes.axvline(0, color=COLOURS["quiet"], linewidth=0.8, zorder=1)
        _draw_seeds(axes, drawn, rows[0].id, metric.key, values)
        _draw_intervals(axes, [row.metrics[metric.key] for row in drawn])
        axes.plot(0, 0, "D", color=COLOURS["ink"], markersize=4.5, zorder=4)
        axes.set_yticks(range(len(labels)), labels, color=COLOURS["ink"])
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel(_toward(metric))
        axes.margins(x=0.06)
        axes.grid(axis="x", color=COLOURS["rule"], linewidth=0.7)
        axes.locator_params(axis="x", nbins=6)
        axes.spines["left"].set_visible(False)
    of_all = f", the {len(drawn)} of {len(arms)} arms that differ most" if len(drawn) < len(arms) else ""
    title = f"{texts.head(metric)}{of_all}"
    yield finished(group, f"{group}_{metric.key}", title, _in_words(drawn, metric), figure)


def _widest(arms: Sequence[ArmRow], key: str) -> list[ArmRow]:
    if len(arms) < MOST_ROWS:
        return list(arms)
    by_size = sorted(arms, key=lambda row: -abs(row.metrics[key].difference or 0.0))
    kept = {row.id for row in by_size[: MOST_ROWS - 1]}
    return [row for row in arms if row.id in kept]


def _draw_seeds(
    axes: "Axes",
    drawn: Sequence[ArmRow],
    control: str,
    key: str,
    values: Mapping[str, Mapping[str, Mapping[int, float]]],
) -> None:
    reference = values.get(control, {}).get(key, {})
    found = [
        (value - reference[seed], place + UNDER)
        for place, row in enumerate(drawn, start=1)
        for seed, value in values.get(row.id, {}).get(key, {}).items()
        if seed in reference
    ]
    if 0 < len(found) <= MOST_SEEDS:
        differences, places = zip(*found, strict=True)
        axes.plot(differences, places, "o", color=COLOURS["quiet"], markersize=2.6, alpha=0.5, markeredgewidth=0)


def _draw_intervals(axes: "Axes", summaries: Sequence[Summary]) -> None:
    """One arm under the other; the first row is the control's."""
    colours = [COLOURS.get(summary.verdict or "", COLOURS["plain"]) for summary in summaries]
    fills = [
        colour if texts.is_marked(summary) else COLOURS["paper"]
        for summary, colour in zip(summaries, colours, strict=True)
    ]
    places = range(1, len(summaries) + 1)
    lows, highs = [number(summary.low) for summary in summaries], [number(summary.high) for summary in summaries]
    axes.hlines(places, lows, highs, colors=colours, zorder=2)
    differences = [number(summary.difference) for summary in summaries]
    axes.scatter(differences, places, s=24, facecolors=fills, edgecolors=colours, linewidths=1.3, zorder=3)


def _toward(metric: MetricKey) -> str:
    if is_context(metric):
        return "Δ: arm − control"
    return "Δ: arm − control   (better →)" if metric.direction == "max" else "(← better)   Δ: arm − control"


def _in_words(rows: Sequence[ArmRow], metric: MetricKey) -> str:
    entries = [f"{row.id} {entry.change}" for row, entry in zip(rows, texts.entries(rows, metric.key), strict=True)]
    more = f"; and {len(rows) - MOST_SAID} more, see the table" if len(rows) > MOST_SAID else ""
    said = texts.typeset("; ".join(entries[:MOST_SAID]))
    return f"Difference from the control in {metric.key}, {texts.aim(metric)}: {said}{more}."
