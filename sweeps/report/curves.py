"""Figures of VALUES ablations: a metric over the varied value."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.plan.arms import Arm
from sweeps.report import texts
from sweeps.report.figures import COLOURS, Plot, canvas, finished, number
from sweeps.report.table import Report
from trainables.metrics import MetricKey
from trainables.trial_spec import leaves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG_SPAN = 100
MOST_TICKS = 6
MOST_BARS = 40
MOST_NAMED = 8


@dataclass(frozen=True)
class _Point:
    """Mean of a metric at one value, with the bounds of its interval; missing bounds are NaN."""

    value: float
    mean: float
    low: float
    high: float
    is_control: bool


def moved_values(report: Report) -> list[str]:
    """List the numeric values that VALUES ablations vary, as dotted paths."""
    paths = dict.fromkeys(arm.part for arm in report.plan.arms if arm.action == "VALUES")
    control = leaves(report.plan.arms[0].system.model_dump())
    return [path for path in paths if _is_number(control.get(path))]


def curve(report: Report, path: str, metric: MetricKey) -> Iterator[Plot]:
    """Plot a metric's mean with 95 % interval over a value: the control and arms that differ only in this value.

    The axis is logarithmic where the values are positive and span more than two decades.
    """
    points = _points(report, path, metric.key)
    if len(points) < 2:
        return
    values = [point.value for point in points]
    with canvas(2.5) as (figure, axes):
        _draw(axes, points)
        if min(values) > 0 and max(values) / min(values) > LOG_SPAN:
            axes.set_xscale("log")
        elif len(points) <= MOST_TICKS:
            axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xlabel(path)
        axes.margins(x=0.1, y=0.12)
        axes.grid(axis="y", color=COLOURS["rule"], linewidth=0.7)
    alt = f"Mean of {metric.key} ({texts.aim(metric)}) over {path}: {_in_words(points)}."
    yield finished("arms", f"curve_{path}_{metric.key}", f"{texts.head(metric)} over {path}", alt, figure)


def _points(report: Report, path: str, key: str) -> list[_Point]:
    rows = {row.id: row for row in report.rows}
    control = report.plan.arms[0]
    of_control = leaves(control.system.model_dump())
    points = []
    for arm in report.plan.arms:
        if _model(arm) != _model(control):
            continue
        own = leaves(arm.system.model_dump())
        differing = {place for place in own.keys() | of_control.keys() if own.get(place) != of_control.get(place)}
        summary = rows[arm.id].metrics[key]
        if differing <= {path} and summary.mean is not None and _is_number(own.get(path)):
            bounds = number(summary.low_mean), number(summary.high_mean)
            points.append(_Point(float(own[path]), summary.mean, *bounds, arm is control))
    return sorted(points, key=lambda point: point.value)


def _model(arm: Arm) -> tuple[object, ...]:
    """Return what an arm is built on and sampled with; arms of one curve share it."""
    return type(arm.system), arm.base, arm.text_encoder, arm.sampling


def _draw(axes: "Axes", points: Sequence[_Point]) -> None:
    """Draw a bar at each point, or a band where points are too dense; the control is labelled."""
    values, means, lows, highs = zip(*((p.value, p.mean, p.low, p.high) for p in points), strict=True)
    axes.plot(values, means, color=COLOURS["plain"], linewidth=1, alpha=0.55, zorder=1)
    if len(points) <= MOST_BARS:
        axes.vlines(values, lows, highs, colors=COLOURS["plain"], zorder=2)
        axes.scatter(values, means, s=24, color=COLOURS["plain"], zorder=2)
    else:
        axes.fill_between(values, lows, highs, color=COLOURS["plain"], alpha=0.2, linewidth=0)
    for point in points:
        if point.is_control:
            axes.vlines(point.value, point.low, point.high, colors=COLOURS["ink"], zorder=3)
            axes.plot(point.value, point.mean, "D", color=COLOURS["ink"], markersize=5, zorder=4)
            axes.annotate("control", (point.value, point.mean), (6, 5), textcoords="offset points", fontsize=8)


def _in_words(points: Sequence[_Point]) -> str:
    """List the first points and the control."""
    named = "; ".join(f"{point.value:g}: {point.mean:.5g}" for point in points[:MOST_NAMED])
    more = f"; and {len(points) - MOST_NAMED} more" if len(points) > MOST_NAMED else ""
    control = "".join(f"; the control is at {point.value:g}" for point in points if point.is_control)
    return f"{named}{more}{control}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
