"""Was every arm given the same? Trials, updates, clips and hours per arm, and what is not alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.results.ledger import Record
from sweeps.results.winners import trials_of
from sweeps.study.words import counted

if TYPE_CHECKING:
    from sweeps.plan import Plan


@dataclass(frozen=True)
class Effort:
    """What was spent on one arm.

    Args:
        arm: Which.
        cells: Of the plan's own that ended, at all seeds.
        trials: Of its search that ended, stopped ones included.
        updates: Of weights that were asked for in all of these; of stopped trials, those that were made.
        clips: Drawn in all of these.
        gpu_hours: Workers' time on GPUs; 0 where there is none.
        worker_hours: Workers' time.
    """

    arm: str
    cells: int
    trials: int
    updates: int
    clips: int
    gpu_hours: float
    worker_hours: float


@dataclass(frozen=True)
class Audit:
    """The efforts of all arms.

    Args:
        efforts: In the order of the plan.
        problems: Where arms that are to be compared were not given the same, for no reason that the study gives.
        remarks: Where they were not, and the study says why; or are not yet.
    """

    efforts: tuple[Effort, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def audit(plan: "Plan", records: Mapping[str, Record], seeds: Sequence[int]) -> Audit:
    """Add up what each arm was given, and compare.

    Args:
        plan: What was asked.
        records: By cell id.
        seeds: Of the plan, those that have been asked for by now.
    """
    of_plan: dict[str, list[Record]] = {arm.id: [] for arm in plan.arms}
    asked = set(seeds)
    for cell in plan.cells:
        if cell.seed in asked and cell.id in records:
            of_plan[cell.arm].append(records[cell.id])
    search = plan.search
    of_trials = {space.arm.id: trials_of(search, space.arm.id, records) for space in search.arms} if search else {}
    efforts = tuple(_effort(arm.id, of_plan[arm.id], of_trials.get(arm.id, [])) for arm in plan.arms)
    found = [*_per_cell(plan, of_plan), *_of_search(plan, of_trials)]
    problems, remarks = ([line for line, is_problem in found if is_problem == kind] for kind in (True, False))
    return Audit(efforts, tuple(problems), tuple(remarks))


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


def _per_cell(plan: "Plan", of_plan: Mapping[str, Sequence[Record]]) -> Iterator[tuple[str, bool]]:
    """Arms whose cells were trained or drawn otherwise than the control's."""
    control, *others = plan.arms
    for what in ("updates", "clips"):
        usual = {getattr(record, what) for record in of_plan[control.id] if record.status == "done"}
        for arm in others:
            here = {getattr(record, what) for record in of_plan[arm.id] if record.status == "done"}
            if not usual or not here or here == usual:
                continue
            line = f"{arm.id}: {_numbers(here)} {what} a cell, the control's have {_numbers(usual)}"
            asked = any(place.strip().startswith("training") for place in arm.part.split("+"))
            yield (f"{line}: this is what the arm changes", False) if asked else (line, True)


def _of_search(plan: "Plan", of_trials: Mapping[str, Sequence[Record]]) -> Iterator[tuple[str, bool]]:
    """Arms that the search tried more often than others."""
    search = plan.search
    if search is None:
        return
    spaces = {space.arm.id: space for space in search.arms}
    most = max((search.num_trials(space) for space in search.arms), default=0)
    ended = {arm: sum(record.status in ("done", "pruned") for record in found) for arm, found in of_trials.items()}
    for arm in plan.arms:
        if arm.id not in spaces:
            yield f"{arm.id}: not tuned, since nothing of the space is left in it", False
            continue
        asked, here = search.num_trials(spaces[arm.id]), ended[arm.id]
        if asked < most:
            yield f"{arm.id}: {counted(asked, 'trial')}, where others have {most}: there are no more samples", False
        others = [number for other, number in ended.items() if other != arm.id]
        behind = min(asked, max(others, default=0)) - here
        lost = len(of_trials[arm.id]) - here
        if behind > 0:
            line = f"{arm.id}: {here} of {counted(asked, 'trial')} came to something, and more of another arm"
            # An arm that was not begun is compared with none; and while a search runs, arms differ by one trial.
            yield f"{line} ({lost} failed)" if lost else line, bool(lost) or (here > 0 and behind > 1)


def _numbers(found: set[int]) -> str:
    return " or ".join(f"{number:,}" for number in sorted(found))
