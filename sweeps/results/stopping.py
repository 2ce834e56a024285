"""Stopping rule over seeds: a study uses all of them, or each arm as many as it takes to decide it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.plan import Plan
from sweeps.plan.arms import CONTROL
from sweeps.plan.looks import looks_of
from sweeps.plan.units import Units
from sweeps.results.arm_values import values_of
from sweeps.results.comparison import ArmRow, compare
from sweeps.results.ledger import WAITING, state
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.results.units import choose_units
from sweeps.statistics.sequential import Looks, extended
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


def reached_seeds(plan: Plan, records: Mapping[str, Record], ends: Sequence[Sequence[int]] = ()) -> ReachedSeeds:
    """Determine the seeds that a study has reached, from its results alone.

    Seeds are requested up to the next interim analysis. There, by the study's first metric, an arm leaves where its
    verdict is not ``inconclusive``, where it has no value at all, or where its p-value shows no sign of an effect. The
    control stays as long as any arm does. Effects of a design need all arms, so there all leave together.

    Args:
        plan: The plan.
        records: Results by cell id.
        ends: Seeds of earlier ends of the study, for one without a stopping rule.
    """
    study, names = plan.study, [arm.id for arm in plan.arms]
    looks = looks_of(plan)
    if looks is None:
        every = study.all_seeds
        earlier = sorted({len(end) for end in ends if set(end) < set(every)})
        return ReachedSeeds(every, dict.fromkeys(names, every), extended([*earlier, len(every)]) if earlier else None)
    of_arm: dict[str, tuple[int, ...]] = {}
    active, decided, futile = [name for name in names if name != CONTROL], set[str](), set[str]()
    for look, number in enumerate(looks.seeds):
        seeds = study.all_seeds[:number]
        of_arm |= dict.fromkeys([CONTROL, *active], seeds)
        reached = ReachedSeeds(seeds, dict(of_arm), looks, frozenset(decided), frozenset(futile), complete=False)
        if not _ended(plan, records, reached):
            return reached
        rows = {row.id: row for row in _rows(plan, records, reached)}
        key = plan.metrics[0].key
        now = {arm for arm in active if rows[arm].metrics[key].verdict is not Verdict.INCONCLUSIVE}
        vain = {arm for arm in set(active) - now if looks.is_futile(look, rows[arm].metrics[key].p_latest or 0.0)}
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


def _ended(plan: Plan, records: Mapping[str, Record], reached: ReachedSeeds) -> bool:
    """Whether every requested cell has its result; cells are ordered by seed."""
    cells = plan.cells[: len(reached.seeds) * len(plan.arms)]
    return all(state(records.get(cell.id), plan) not in WAITING for cell in cells if reached.has(cell.arm, cell.seed))


def _rows(plan: Plan, records: Mapping[str, Record], reached: ReachedSeeds) -> tuple[ArmRow, ...]:
    """Compare all arms by the first metric, at the seeds that each has reached."""
    arms = values_of(plan, records, reached.of_arm)
    first = plan.metrics[:1]
    inference = inference_of(plan, choose_units(plan, arms, first), reached)
    return compare(arms, first, plan.study.margins, {}, inference)
