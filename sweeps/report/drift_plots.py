"""Figures of drift: a metric over the frames of a clip."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sweeps.report import texts
from sweeps.report.figures import COLOURS, SERIES, Plot, canvas, finished, number, short
from sweeps.report.table import Report
from sweeps.results.drift import ArmDrift, Drift

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 2.6
ROW_OF_LEGEND = 0.2
COLUMNS = 2


def drift_plots(report: Report) -> Iterator[Plot]:
    """Plot each metric's mean over the frame index, one line per arm, with the 95 % interval over the seeds.

    With more arms than colours only those with the largest differences from the control are drawn. A dashed line marks
    the number of frames that the base was trained on, if the clips are longer.
    """
    heads = {metric.key: metric for metric in report.metrics}
    for found in report.drift:
        metric = heads[found.metric]
        drawn = _drawn(report, found)
        with canvas(HEIGHT + ROW_OF_LEGEND * ((len(drawn) + 1) // COLUMNS)) as (figure, axes):
            for arm, colour in zip(drawn, _colours(report, drawn), strict=True):
                _draw(axes, arm, colour, is_control=arm.arm == report.rows[0].id)
            _mark(axes, found)
            axes.set_xlabel("frame, from 0")
            axes.margins(x=0.02, y=0.1)
            axes.locator_params(axis="x", integer=True)
            axes.grid(axis="y", color=COLOURS["rule"], linewidth=0.7)
            figure.legend(loc="outside lower center", ncols=COLUMNS, handlelength=1.4, columnspacing=1.2)
        of_all = (
            f" ({len(drawn)} of {len(found.arms)} arms, largest differences)" if len(drawn) < len(found.arms) else ""
        )
        title = f"{texts.head(metric)} by frame{of_all}"
        alt = f"Mean of {metric.key} ({texts.aim(metric)}) by frame, from 0: {_in_words(drawn)}{_beyond(found)}."
        yield finished("drift", f"drift_{metric.key}", title, alt, figure)


def _drawn(report: Report, found: Drift) -> list[ArmDrift]:
    """Choose the control and as many arms as there are colours, in the order of the table."""
    control = report.rows[0].id
    differences = {row.id: abs(row.metrics[found.metric].difference or 0.0) for row in report.rows}
    others = sorted((arm.arm for arm in found.arms if arm.arm != control), key=lambda arm: -differences[arm])
    kept = {control, *others[: len(SERIES)]}
    return [arm for arm in found.arms if arm.arm in kept]


def _colours(report: Report, drawn: Sequence[ArmDrift]) -> list[str]:
    series = iter(SERIES.values())
    return [COLOURS["ink"] if arm.arm == report.rows[0].id else next(series) for arm in drawn]


def _draw(axes: "Axes", arm: ArmDrift, colour: str, *, is_control: bool) -> None:
    """Draw a line through the frames with a value, and a band where an interval is known."""
    places = [place for place, mean in enumerate(arm.mean) if mean is not None]
    means, lows, highs = ([number(column[place]) for place in places] for column in (arm.mean, arm.low, arm.high))
    axes.fill_between(places, lows, highs, color=colour, alpha=0.13, linewidth=0, zorder=1)
    axes.plot(
        places,
        means,
        color=colour,
        linewidth=1.8 if is_control else 1.2,
        label=short(arm.arm),
        zorder=3 if is_control else 2,
        marker="o" if len(places) < 3 else None,
        markersize=3,
    )


def _mark(axes: "Axes", found: Drift) -> None:
    """Mark the number of frames that the base was trained on, between its last frame and the next one."""
    if not _is_longer(found):
        return
    assert found.frames_of_base is not None
    axes.axvline(found.frames_of_base - 0.5, color=COLOURS["quiet"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"base: {found.frames_of_base} frames",
        (found.frames_of_base - 0.5, 1.0),
        (0, 3),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        color=COLOURS["quiet"],
        fontsize=8,
        ha="center",
    )


def _is_longer(found: Drift) -> bool:
    """Whether the clips are longer than those that the base was trained on."""
    return found.frames_of_base is not None and any(len(arm.mean) > found.frames_of_base for arm in found.arms)


def _in_words(drawn: Sequence[ArmDrift]) -> str:
    """State the first and the last value of each arm."""
    return "; ".join(filter(None, map(_ends, drawn)))


def _ends(arm: ArmDrift) -> str:
    known = [(place, mean) for place, mean in enumerate(arm.mean) if mean is not None]
    if not known:
        return ""
    (first, start), (last, end) = known[0], known[-1]
    return f"{arm.arm} {texts.typeset(f'{start:.4g}')} at frame {first}, {texts.typeset(f'{end:.4g}')} at frame {last}"


def _beyond(found: Drift) -> str:
    return f"; the base was trained on {found.frames_of_base} frames" if _is_longer(found) else ""
