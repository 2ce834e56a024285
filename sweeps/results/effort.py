"""Effort audit: trials, updates, clips and hours per arm, and arms that received unequal effort."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sweeps.plan import Plan
from sweeps.plan.search import SearchPlan
from sweeps.results.record import Record
from sweeps.results.winners import trials_of


@dataclass(frozen=True)
class Effort:
    """Cost of one arm.

    Args:
        arm: Id of the arm.
        cells: Ended cells of the plan, at all seeds.
        trials: Ended trials of its searches, including pruned ones.
        updates: Requested optimizer updates in all of these; for pruned trials, completed ones.
        clips: Sampled clips in all of these.
        gpu_hours: Hours times GPUs; 0 without GPUs.
        worker_hours: Hours times workers.
    """

    arm: str
    cells: int
    trials: int
    updates: int
    clips: int
    gpu_hours: float
    worker_hours: float


class Inequality(StrEnum):
    """Quantity in which an arm received more or less effort than the arms it is compared with."""

    UPDATES = "updates"
    CLIPS = "clips"
    NOT_TUNED = "not tuned"
    FEWER_SAMPLES = "fewer samples"
    FEWER_VALUES = "fewer values"
    BEHIND = "behind"


@dataclass(frozen=True)
class Unequal:
    """An arm that received unequal effort.

    Args:
        arm: Id of the arm.
        kind: Quantity that differs.
        is_problem: Whether the study gives no reason for it.
        here: Numbers of this arm: updates or clips per cell, trials, or trials and searched values.
        others: Numbers they are compared with: the control's, the requested trials, or the largest of any arm.
        failed: Failed trials.
    """

    arm: str
    kind: Inequality
    is_problem: bool
    here: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    failed: int = 0


@dataclass(frozen=True)
class Audit:
    """Effort of all arms, with the differences between them.

    Args:
        efforts: One per arm, in the order of the plan.
        problems: Differences in effort for which the study gives no reason.
        remarks: Differences with a reason in the study, or that unfinished cells explain.
    """

    efforts: tuple[Effort, ...]
    problems: tuple[Unequal, ...]
    remarks: tuple[Unequal, ...]


def audit(plan: Plan, records: Mapping[str, Record], seeds: Mapping[str, Sequence[int]]) -> Audit:
    """Add up the effort of each arm, and compare the arms.

    Args:
        plan: The plan.
        records: Results by cell id.
        seeds: Arm -> its seeds that are requested so far.
    """
    of_plan: dict[str, list[Record]] = {arm.id: [] for arm in plan.arms}
    requested = {arm: set(of_arm) for arm, of_arm in seeds.items()}
    for cell in plan.cells:
        if cell.seed in requested[cell.arm] and cell.id in records:
            of_plan[cell.arm].append(records[cell.id])
    search = plan.search
    of_trials = {space.arm.id: trials_of(search, space.arm.id, records) for space in search.arms} if search else {}
    efforts = tuple(_effort(arm.id, of_plan[arm.id], of_trials.get(arm.id, [])) for arm in plan.arms)
    unequal = [*_per_cell(plan, of_plan), *_of_search(plan, of_trials)]
    problems = tuple(entry for entry in unequal if entry.is_problem)
    return Audit(efforts, problems, tuple(entry for entry in unequal if not entry.is_problem))


def _effort(arm: str, of_plan: Sequence[Record], of_trials: Sequence[Record]) -> Effort:
    everything = [*of_plan, *of_trials]
    return Effort(
        arm=arm,
        cells=len(of_plan),
        trials=len(of_trials),
        updates=sum(record.updates for record in everything),
        clips=sum(record.clips for record in everything),
        gpu_hours=sum(record.seconds * record.gpus for record in everything) / 3600,
        worker_hours=sum(record.seconds * record.workers for record in everything) / 3600,
    )


def _per_cell(plan: Plan, of_plan: Mapping[str, Sequence[Record]]) -> Iterator[Unequal]:
    """Compare updates and clips per cell with the control's."""
    control, *others = plan.arms
    for kind in (Inequality.UPDATES, Inequality.CLIPS):
        usual = _numbers(of_plan[control.id], kind)
        for arm in others:
            here = _numbers(of_plan[arm.id], kind)
            if usual and here and here != usual:
                is_declared = arm.has_own_system or any(
                    place.strip().startswith("training") for place in arm.part.split("+")
                )
                yield Unequal(arm.id, kind, not is_declared, here, usual)


def _numbers(records: Sequence[Record], kind: Inequality) -> tuple[int, ...]:
    """Return the distinct numbers of the done cells."""
    return tuple(sorted({getattr(record, kind.value) for record in records if record.status == "done"}))


def _of_search(plan: Plan, of_trials: Mapping[str, Sequence[Record]]) -> Iterator[Unequal]:
    """Compare the trials of the searched arms: as many as their number of searched values requires."""
    search = plan.search
    if search is None:
        return
    spaces = {space.arm.id: space for space in search.arms}
    requested = {space.arm.id: search.num_trials(space) for space in search.arms}
    most = max(requested.values(), default=0)
    most_values = max((len(space.space) for space in search.arms), default=0)
    for arm in plan.arms:
        if arm.id not in spaces:
            yield Unequal(arm.id, Inequality.NOT_TUNED, is_problem=False)
            continue
        space = spaces[arm.id]
        share, values = search.share(space), len(space.space)
        if requested[arm.id] < min(share, most):
            yield Unequal(arm.id, Inequality.FEWER_SAMPLES, False, (requested[arm.id],), (most,))
        elif values < most_values:
            numbers = (share, values), (search.trials_per_arm, most_values)
            yield Unequal(arm.id, Inequality.FEWER_VALUES, False, *numbers)
        yield from _behind(search, arm.id, requested, of_trials)


def _behind(
    search: SearchPlan, arm: str, requested: Mapping[str, int], of_trials: Mapping[str, Sequence[Record]]
) -> Iterator[Unequal]:
    """Find an arm that has a smaller share of its trials in a repeat than another arm has."""
    behind, failed, is_problem = 0, 0, False
    for repeat in range(search.repeats):
        of_repeat = {other: [r for r in trials if r.repeat == repeat] for other, trials in of_trials.items()}
        ended = {other: sum(r.status in ("done", "pruned") for r in trials) for other, trials in of_repeat.items()}
        here = ended.pop(arm)
        lost = len(of_repeat[arm]) - here
        # While a search runs, another arm may be ahead by one trial.
        ahead = int(len(of_repeat[arm]) < requested[arm])
        shares = (requested[arm] * max(0, number - ahead) // requested[other] for other, number in ended.items())
        if (lacking := max(shares, default=0) - here) > 0:
            behind, failed = behind + lacking, failed + lost
            is_problem |= bool(lost or here)  # an arm that was not begun is compared with none
    if behind:
        here = sum(record.status in ("done", "pruned") for record in of_trials[arm])
        yield Unequal(arm, Inequality.BEHIND, is_problem, (here,), (requested[arm] * search.repeats,), failed)
