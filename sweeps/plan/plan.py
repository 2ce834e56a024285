"""A study worked out: arms, cells, metrics, and what its reader should know."""

from dataclasses import dataclass

from sweeps.plan.arms import Arm
from sweeps.plan.cells import Cell
from sweeps.plan.search import SearchPlan
from sweeps.study.designs import Contrast
from sweeps.study.types import Study
from trainables.metrics import MetricKey


@dataclass(frozen=True)
class Plan:
    """A study worked out: what runs, how it is scored, and what its reader should know.

    Args:
        study: What was asked.
        arms: The control first, then the arms in the order of the study.
        cells: Seed by seed, each over all arms, so that a study cut short is balanced.
        metrics: The study's metrics with their extractors fixed, companions included.
        notes: What was merged or added, and what a part says of itself.
        warnings: What this machine lacks to run it.
        search: What is tuned inside the arms, or None; its cells come beside ``cells``.
        contrasts: What the design computes besides each arm's difference from the control.
    """

    study: Study
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[MetricKey, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    search: SearchPlan | None = None
    contrasts: tuple[Contrast[str], ...] = ()

    @property
    def one_of_each(self) -> tuple[Cell, ...]:
        """One cell of every arm: those of the first seed."""
        return self.cells[: len(self.arms)]
