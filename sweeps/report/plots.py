"""All figures of a report, and the interval plot: each arm's difference from the control."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sweeps.report import texts
from sweeps.report.curves import curve, moved_values
from sweeps.report.drift_plots import drift_plots
from sweeps.report.figures import COLOURS, MOST_ROWS, ROW, Group, Plot, canvas, finished, number, short
from sweeps.report.search_plots import search_plots
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow, Summary
from sweeps.results.pairing import Pairs
from trainables.metrics import MetricKey, is_context

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_UNITS = 1000  # more points per figure would overlap
MOST_NAMED = 8
UNDER = 0.26  # rows by which single units are drawn below their interval


def plots(report: Report) -> Iterator[Plot]:
    """Draw all figures of a report; empty ones are left out."""
    for metric in report.metrics:
        yield from intervals(report.rows, metric, report.pairs[metric.key])
    for path in moved_values(report):
        for metric in report.metrics:
            yield from curve(report, path, metric)
    yield from drift_plots(report)
    if report.search is not None:
        yield from search_plots(report.search, report.metrics)
        for metric in report.metrics:
            yield from intervals(report.search.confirmed, metric, {}, "winners")


def intervals(
    rows: Sequence[ArmRow],
    metric: MetricKey,
    pairs: Mapping[str, Pairs],
    group: Group = "arms",
) -> Iterator[Plot]:
    """Plot each arm's difference from the control in one metric, with 95 % intervals and single units.

    A filled marker is significant after the correction over the arms, a hollow one is not. With too many arms only
    those with the largest differences are drawn.

    Args:
        rows: Rows of the table, the control first.
        metric: The metric.
        pairs: Arm -> its pairs with the control, for the single units; empty to draw none.
        group: Section of the report that the figure belongs to.
    """
    arms = [row for row in rows if row.metrics[metric.key].difference is not None]
    if not arms:
        return
    drawn = _widest(arms, metric.key)
    labels = ["control", *(short(row.id) for row in drawn)]
    with canvas(0.75 + ROW * len(labels)) as (figure, axes):
        axes.axvline(0, color=COLOURS["quiet"], linewidth=0.8, zorder=1)
        _draw_units(axes, drawn, pairs)
        _draw_intervals(axes, [row.metrics[metric.key] for row in drawn])
        axes.plot(0, 0, "D", color=COLOURS["ink"], markersize=4.5, zorder=4)
        axes.set_yticks(range(len(labels)), labels, color=COLOURS["ink"])
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel(_toward(metric))
        axes.margins(x=0.06)
        axes.grid(axis="x", color=COLOURS["rule"], linewidth=0.7)
        axes.locator_params(axis="x", nbins=6)
        axes.spines["left"].set_visible(False)
    of_all = f" ({len(drawn)} of {len(arms)} arms, largest differences)" if len(drawn) < len(arms) else ""
    title = f"{texts.head(metric)}{of_all}"
    yield finished(group, f"{group}_{metric.key}", title, _in_words(drawn, metric), figure)


def _widest(arms: Sequence[ArmRow], key: str) -> list[ArmRow]:
    if len(arms) < MOST_ROWS:
        return list(arms)
    by_size = sorted(arms, key=lambda row: -abs(row.metrics[key].difference or 0.0))
    kept = {row.id for row in by_size[: MOST_ROWS - 1]}
    return [row for row in arms if row.id in kept]


def _draw_units(axes: "Axes", drawn: Sequence[ArmRow], pairs: Mapping[str, Pairs]) -> None:
    points = [
        (difference, place + UNDER)
        for place, row in enumerate(drawn, start=1)
        if row.id in pairs
        for difference in pairs[row.id].differences.values()
    ]
    if 0 < len(points) <= MOST_UNITS:
        differences, places = zip(*points, strict=True)
        axes.plot(differences, places, "o", color=COLOURS["quiet"], markersize=2.6, alpha=0.5, markeredgewidth=0)


def _draw_intervals(axes: "Axes", summaries: Sequence[Summary]) -> None:
    """Draw one interval per row; row 0 is the control's."""
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
    more = f"; and {len(rows) - MOST_NAMED} more, see the table" if len(rows) > MOST_NAMED else ""
    named = texts.typeset("; ".join(entries[:MOST_NAMED]))
    return f"Difference from the control in {metric.key}, {texts.aim(metric)}: {named}{more}."
