"""Stopping rule over seeds: a study uses all of them, or as many as it takes to decide every arm."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.plan import Plan
from sweeps.plan.looks import looks_of
from sweeps.results.arm_values import values_of
from sweeps.results.comparison import ArmRow, compare
from sweeps.results.ledger import WAITING, state
from sweeps.results.record import Record
from sweeps.statistics.sequential import Looks
from sweeps.statistics.verdicts import Verdict


@dataclass(frozen=True)
class ReachedSeeds:
    """Seeds that a study has reached.

    Args:
        seeds: Seeds that are requested so far.
        looks: Interim analyses, where the study has a stopping rule.
        decided: Whether every arm is decided, so that no further seed is needed.
        complete: Whether no further seed will be requested.
    """

    seeds: tuple[int, ...]
    looks: Looks | None
    decided: bool
    complete: bool


def reached_seeds(plan: Plan, records: Mapping[str, Record]) -> ReachedSeeds:
    """Determine the seeds that a study has reached, from its results alone.

    Seeds are requested up to the next interim analysis, until one decides every arm by the study's first metric: an
    arm is decided where its verdict is not ``inconclusive``, or where it has no value at all.
    """
    study = plan.study
    looks = looks_of(study, len(plan.arms) - 1)
    if looks is None:
        return ReachedSeeds(study.all_seeds, None, decided=False, complete=True)
    for number in looks.seeds:
        seeds = study.all_seeds[:number]
        if not _ended(plan, records, number):
            return ReachedSeeds(seeds, looks, decided=False, complete=False)
        if _decided(plan, records, seeds, looks):
            return ReachedSeeds(seeds, looks, decided=True, complete=True)
    return ReachedSeeds(study.all_seeds, looks, decided=False, complete=True)


def _ended(plan: Plan, records: Mapping[str, Record], number: int) -> bool:
    """Whether every arm has its results at the first seeds; cells are ordered by seed."""
    cells = plan.cells[: number * len(plan.arms)]
    return all(state(records.get(cell.id), plan) not in WAITING for cell in cells)


def _decided(plan: Plan, records: Mapping[str, Record], seeds: tuple[int, ...], looks: Looks) -> bool:
    metric = plan.metrics[0]
    _, *arms = compare(values_of(plan, records, seeds), [metric], plan.study.margins, {}, looks)
    return all(_is_decided(arm, metric.key) for arm in arms)


def _is_decided(arm: ArmRow, key: str) -> bool:
    return arm.metrics[key].verdict is not Verdict.INCONCLUSIVE
