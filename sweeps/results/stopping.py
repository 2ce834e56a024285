"""Stopping rule over seeds: a study uses all of them, or each arm as many as it takes to decide it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.plan import Plan
from sweeps.plan.arms import CONTROL
from sweeps.plan.looks import looks_of
from sweeps.plan.units import Units
from sweeps.results.arm_values import values_of
from sweeps.results.comparison import ArmRow, Summary, compare
from sweeps.results.ledger import WAITING, state
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.results.units import choose_units
from sweeps.statistics.paired import ALPHA
from sweeps.statistics.sequential import Looks
from sweeps.statistics.verdicts import Verdict
from sweeps.study.designs import TREND


@dataclass(frozen=True)
class ReachedSeeds:
    """Seeds that a study has reached.

    Args:
        seeds: Seeds that are requested so far, of the control and every arm that is still in the study.
        of_arm: Arm -> its seeds; fewer for an arm that has left the study.
        looks: Analyses, where the study has a stopping rule or was extended.
        decided: Arms that left because they were decided.
        futile: Arms that left because a decision had become unlikely.
        complete: Whether no further seed will be requested.
    """

    seeds: tuple[int, ...]
    of_arm: Mapping[str, tuple[int, ...]]
    looks: Looks | None
    decided: frozenset[str] = frozenset()
    futile: frozenset[str] = frozenset()
    complete: bool = True

    @property
    def left(self) -> frozenset[str]:
        """Arms that have left the study before its last seed."""
        return self.decided | self.futile

    def has(self, arm: str, seed: int) -> bool:
        """Whether a cell is requested."""
        return seed in self.of_arm[arm]

    def spares(self, arm: str, seed: int) -> bool:
        """Whether a cell will never be requested, since its arm has left, or the study has ended before."""
        return not self.has(arm, seed) and (self.complete or arm in self.left)


def reached_seeds(plan: Plan, records: Mapping[str, Record]) -> ReachedSeeds:
    """Determine the seeds that a study has reached, from its results alone.

    Seeds are requested up to the next interim analysis. There, by the study's first metric, an arm leaves where its
    verdict is not ``inconclusive``, where it has no value at all, or where its p-value shows no sign of an effect. The
    control stays as long as any arm does. Effects of a design need all arms, so there all leave together.

    Args:
        plan: The plan.
        records: Results by cell id.
    """
    study, names = plan.study, [arm.id for arm in plan.arms]
    looks = looks_of(plan)
    if looks is None or not looks.leaving:
        every = study.all_seeds
        return ReachedSeeds(every, dict.fromkeys(names, every), looks)
    of_arm: dict[str, tuple[int, ...]] = {}
    active, decided, futile = [name for name in names if name != CONTROL], set[str](), set[str]()
    for look, seeds in enumerate(looks.seeds):
        if seeds != tuple(study.all_seeds[: len(seeds)]):  # of an earlier end with other seeds
            continue
        of_arm |= dict.fromkeys([CONTROL, *active], seeds)
        reached = ReachedSeeds(seeds, dict(of_arm), looks, frozenset(decided), frozenset(futile), complete=False)
        if not _has_results(plan, records, reached):
            return reached
        rows = {row.id: row for row in _rows(plan, records, reached)}
        key = plan.metrics[0].key
        now = {arm for arm in active if rows[arm].metrics[key].verdict is not Verdict.INCONCLUSIVE}
        vain = {arm for arm in set(active) - now if _is_futile(rows[arm].metrics[key], looks, look)}
        if _needs_all(plan) and now | vain != set(active):
            continue
        decided, futile = decided | now, futile | vain
        active = [arm for arm in active if arm not in now | vain]
        if not active:
            break
    return ReachedSeeds(of_arm[CONTROL], of_arm, looks, frozenset(decided), frozenset(futile))


def inference_of(plan: Plan, units: Mapping[str, Units], reached: ReachedSeeds | None = None) -> Inference:
    """Return how the study tests its differences.

    Args:
        plan: The plan.
        units: Metric key -> its unit.
        reached: Seeds that the study has reached; None where there is a single analysis.
    """
    study = plan.study
    looks = reached.looks if reached else None
    return Inference(units, looks, study.test, study.correction, study.correct_over, study.diverged)


def _needs_all(plan: Plan) -> bool:
    """Whether effects of the design need all arms at all seeds; a trend is over the seeds that all arms have."""
    return any(contrast.kind != TREND for contrast in plan.contrasts)


def has_ended(plan: Plan, records: Mapping[str, Record], reached: ReachedSeeds) -> bool:
    """Whether every cell that the study requests has its result, and it will request no other."""
    return reached.complete and _has_results(plan, records, reached)


def _has_results(plan: Plan, records: Mapping[str, Record], reached: ReachedSeeds) -> bool:
    """Whether every requested cell has its result."""
    cells = (cell for cell in plan.cells if reached.has(cell.arm, cell.seed))
    return all(state(records.get(cell.id), plan) not in WAITING for cell in cells)


def _is_futile(summary: Summary, looks: Looks, look: int) -> bool:
    """Whether an arm shows no sign of an effect at a look; one that could not have shown any is no such sign."""
    could_show = summary.smallest_p is not None and summary.smallest_p <= ALPHA
    return could_show and looks.is_futile(look, summary.p_latest or 0.0)


def _rows(plan: Plan, records: Mapping[str, Record], reached: ReachedSeeds) -> tuple[ArmRow, ...]:
    """Compare all arms by the first metric, or by all that are one family, at the seeds that each has reached."""
    arms = values_of(plan, records, reached.of_arm)
    metrics = plan.metrics if plan.study.correct_over == "arms_and_metrics" else plan.metrics[:1]
    inference = inference_of(plan, choose_units(plan, arms, metrics), reached)
    return compare(arms, metrics, plan.study.margins, {}, inference)
