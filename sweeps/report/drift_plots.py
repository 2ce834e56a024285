"""Figures of drift: a metric over the frames of a clip."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sweeps.report import texts
from sweeps.report.figures import COLOURS, SERIES, Plot, canvas, finished, number, panels, short
from sweeps.report.table import Report
from sweeps.results.drift import ArmDrift, Drift
from trainables.metrics import MetricKey

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
                _draw(axes, arm, colour, label=arm.arm, bold=arm.arm == report.rows[0].id)
            if _is_longer(found):
                _mark(axes, found)
            _frame_axis(axes)
            figure.legend(loc="outside lower center", ncols=COLUMNS, handlelength=1.4, columnspacing=1.2)
        of_all = (
            f" ({len(drawn)} of {len(found.arms)} arms, largest differences)" if len(drawn) < len(found.arms) else ""
        )
        title = f"{texts.head(metric)} by frame{of_all}"
        alt = f"Mean of {metric.key} ({texts.aim(metric)}) by frame, from 0: {_in_words(drawn)}{_beyond(found)}."
        yield finished("drift", f"drift_{metric.key}", title, alt, figure)


def block_drift_plots(reports: Mapping[str, Report]) -> Iterator[Plot]:
    """Plot each metric's mean over the frame index across the blocks of a study: a panel per arm, a line per block.

    The arms are those that the first figures of the blocks show; of more blocks than colours the first are drawn.

    Args:
        reports: Block -> its report.
    """
    colours = dict(zip(reports, SERIES.values(), strict=False))
    heads = {metric.key: metric for report in reports.values() for metric in report.metrics}
    for key, metric in heads.items():
        found = {
            block: (drift, colour)
            for block, colour in colours.items()
            for drift in reports[block].drift
            if drift.metric == key
        }
        shown = {block: {arm.arm: arm for arm in _drawn(reports[block], drift)} for block, (drift, _) in found.items()}
        arms = list(dict.fromkeys(arm for of_block in shown.values() for arm in of_block))
        if arms:
            yield _across(metric, arms, found, shown)


def _across(
    metric: MetricKey,
    arms: Sequence[str],
    found: Mapping[str, tuple[Drift, str]],
    shown: Mapping[str, Mapping[str, ArmDrift]],
) -> Plot:
    """Plot one metric: a panel per arm, a line per block."""
    with panels(len(arms), HEIGHT) as (figure, grid):
        for arm, axes in zip(arms, grid, strict=True):
            for block, (_, colour) in found.items():
                if arm in shown[block]:
                    _draw(axes, shown[block][arm], colour, label=block, bold=True)
            if longer := next((drift for drift, _ in found.values() if _is_longer(drift)), None):
                _mark(axes, longer)
            axes.set_title(short(arm), fontsize=9, pad=14)
            _frame_axis(axes)
        lines = {line.get_label(): line for axes in grid for line in axes.get_lines() if line.get_label() in found}
        figure.legend(handles=list(lines.values()), loc="outside lower center", ncols=len(lines), handlelength=1.4)
    words = "; ".join(f"block {block}: {_in_words(list(of_block.values()))}" for block, of_block in shown.items())
    alt = f"Mean of {metric.key} ({texts.aim(metric)}) by frame, from 0, in each block. {words}."
    return finished("drift", f"drift_{metric.key}", f"{texts.head(metric)} by frame", alt, figure)


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


def _frame_axis(axes: "Axes") -> None:
    axes.set_xlabel("frame, from 0")
    axes.margins(x=0.02, y=0.1)
    axes.locator_params(axis="x", integer=True)
    axes.grid(axis="y", color=COLOURS["rule"], linewidth=0.7)


def _draw(axes: "Axes", arm: ArmDrift, colour: str, *, label: str, bold: bool) -> None:
    """Draw a line through the frames with a value, and a band where an interval is known."""
    places = [place for place, mean in enumerate(arm.mean) if mean is not None]
    means, lows, highs = ([number(column[place]) for place in places] for column in (arm.mean, arm.low, arm.high))
    axes.fill_between(places, lows, highs, color=colour, alpha=0.13, linewidth=0, zorder=1)
    axes.plot(
        places,
        means,
        color=colour,
        linewidth=1.8 if bold else 1.2,
        label=short(label),
        zorder=3 if bold else 2,
        marker="o" if len(places) < 3 else None,
        markersize=3,
    )


def _mark(axes: "Axes", found: Drift) -> None:
    """Mark the number of frames that the base was trained on, between its last frame and the next one."""
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
