"""Cost of each arm, and unequal effort between arms, in words."""

from collections.abc import Sequence

from sweeps.report.table import Report
from sweeps.results.effort import Inequality, Unequal
from sweeps.study.words import counted

COLUMNS = ("arm", "cells", "trials", "updates", "clips", "GPU-hours", "worker-hours")
"""Columns of the cost table."""


def rows(report: Report) -> list[tuple[str, ...]]:
    """Format the cost of each arm, one row per arm."""
    return [
        (
            effort.arm,
            str(effort.cells),
            str(effort.trials),
            f"{effort.updates:,}",
            f"{effort.clips:,}",
            f"{effort.gpu_hours:.3g}",
            f"{effort.worker_hours:.3g}",
        )
        for effort in report.effort.efforts
    ]


def problems(report: Report) -> list[str]:
    """List arms that received unequal effort without a reason in the study."""
    return [f"UNEQUAL EFFORT: {in_words(unequal)}" for unequal in report.effort.problems]


def remarks(report: Report) -> list[str]:
    """List arms that received unequal effort for a reason in the study."""
    return [f"effort: {in_words(unequal)}" for unequal in report.effort.remarks]


def in_words(unequal: Unequal) -> str:
    """Word how the effort of an arm differs, with the numbers."""
    match unequal.kind:
        case Inequality.UPDATES | Inequality.CLIPS as unit:
            numbers = f"{_either(unequal.here)} {unit} per cell, the control has {_either(unequal.others)}"
            line = f"{unequal.arm}: {numbers}"
            return line if unequal.is_problem else f"{line} (the arm changes this)"
        case Inequality.NOT_TUNED:
            return f"{unequal.arm}: not tuned, since no searched value exists in this arm"
        case Inequality.FEWER_SAMPLES:
            (here,), (most,) = unequal.here, unequal.others
            return f"{unequal.arm}: {counted(here, 'trial')}, other arms have {most} (its space has no further samples)"
        case Inequality.FEWER_VALUES:
            (here, values), (most, most_values) = unequal.here, unequal.others
            share = f"in proportion to its {values} of {most_values} searched values"
            return f"{unequal.arm}: {counted(here, 'trial')} per search, other arms have {most} ({share})"
        case Inequality.BEHIND:
            (here,), (requested,) = unequal.here, unequal.others
            line = f"{unequal.arm}: {here} of {counted(requested, 'trial')} finished, more in another arm"
            return f"{line} ({unequal.failed} failed)" if unequal.failed else line


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(f"{number:,}" for number in numbers)
