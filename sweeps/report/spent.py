"""What was spent on each arm, and where arms were not given the same, in words."""

from collections.abc import Sequence

from sweeps.report.table import Report
from sweeps.results.effort import Inequality, Unequal
from sweeps.study.words import counted

COLUMNS = ("arm", "cells", "trials", "updates", "clips", "GPU-hours", "worker-hours")
"""Of the table."""


def rows(report: Report) -> list[tuple[str, ...]]:
    """What was spent on each arm, in words."""
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
    """Where arms were not given the same, and nobody asked for it."""
    return [f"EFFORT DIFFERS: {in_words(unequal)}" for unequal in report.effort.problems]


def remarks(report: Report) -> list[str]:
    """Where arms were not given the same, and the study says why."""
    return [f"effort: {in_words(unequal)}" for unequal in report.effort.remarks]


def in_words(unequal: Unequal) -> str:
    """In what an arm differs, with the numbers."""
    match unequal.kind:
        case Inequality.UPDATES | Inequality.CLIPS as what:
            numbers = f"{_either(unequal.here)} {what} a cell, the control's have {_either(unequal.others)}"
            line = f"{unequal.arm}: {numbers}"
            return line if unequal.is_problem else f"{line}: this is what the arm changes"
        case Inequality.NOT_TUNED:
            return f"{unequal.arm}: not tuned, since nothing of the space is left in it"
        case Inequality.FEWER_SAMPLES:
            (here,), (most,) = unequal.here, unequal.others
            return f"{unequal.arm}: {counted(here, 'trial')}, where others have {most}: there are no more samples"
        case Inequality.BEHIND:
            (here,), (asked,) = unequal.here, unequal.others
            line = f"{unequal.arm}: {here} of {counted(asked, 'trial')} came to something, and more of another arm"
            return f"{line} ({unequal.failed} failed)" if unequal.failed else line


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(f"{number:,}" for number in numbers)
