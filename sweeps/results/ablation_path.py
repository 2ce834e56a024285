"""Ablation path of a tuned arm: from its best settings to the control's, one value at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from search_spaces import Value
from sweeps.plan.arms import CONTROL
from sweeps.plan.cells import Cell
from sweeps.plan.search import SearchPlan, value_at
from sweeps.plan.spaces import ArmSpace
from sweeps.results.arm_values import ArmValues
from sweeps.results.contrasts import ContrastRow, estimate
from sweeps.results.importances import importances
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.results.winners import trials_of, winners
from sweeps.study.designs import Contrast
from sweeps.study.words import value_text
from trainables.metrics import MetricKey

Sample = Mapping[str, Value]


@dataclass(frozen=True)
class Step:
    """One step of a path: the changed values in words, and the sample after it; empty for the untuned control."""

    name: str
    sample: Sample


@dataclass(frozen=True)
class AblationPath:
    """Measured path of one arm.

    Args:
        arm: The arm.
        steps: Change of each metric by each step, after minus before, at the fresh seeds.
    """

    arm: str
    steps: tuple[ContrastRow, ...]


def path_cells(search: SearchPlan, records: Mapping[str, Record], *, have_ended: bool = False) -> list[Cell] | None:
    """Make the cells of all paths, seed by seed; None where the study asks for none, or before its searches have ended.

    A search that has tried every setting ends with fewer trials than it may have. Only its proposer knows, so the queue
    says so; afterwards the cells that have run are the evidence.

    Args:
        search: The current search.
        records: Results by cell id.
        have_ended: Whether all searches are known to have ended.
    """
    if search.confirm is None or not search.confirm.path:
        return None
    if have_ended or _have_all_trials(search, records):
        return _cells(search, records)
    if any((record.stage, record.search) == ("path", search.identity) for record in records.values()):
        cells = _cells(search, records)
        return cells if any(cell.id in records for cell in cells) else None
    return None


def _cells(search: SearchPlan, records: Mapping[str, Record]) -> list[Cell]:
    steps = {space.arm.id: steps_of(search, space, records) for space in search.arms}
    return [
        search.step(arm, number, step.sample, seed)
        for seed in search.confirm_seeds
        for arm, of_arm in steps.items()
        for number, step in enumerate(of_arm, 1)
        if step.sample
    ]


def _have_all_trials(search: SearchPlan, records: Mapping[str, Record]) -> bool:
    return all(
        len(trials_of(search, space.arm.id, records)) >= search.num_trials(space) * search.repeats
        for space in search.arms
    )


def steps_of(search: SearchPlan, space: ArmSpace, records: Mapping[str, Record]) -> list[Step]:
    """List the steps from an arm's winner in the first repeat to the control's, of the control to its untuned settings.

    The most important value is changed first (PED-ANOVA over the arm's trials), values without an importance in the
    order of the space. A searched slot whose kind differs is one step with all values inside it.

    Args:
        search: The current search.
        space: Search space of the arm.
        records: Results by cell id.
    """
    best, end = winners(search, space, records, 1), _end(search, space, records)
    if not best or end is None:
        return []
    shares = importances(space, search, records)
    steps, sample = [], dict(best[0])
    for path in sorted(space.space, key=lambda path: -shares.get(path, 0.0)):
        slot = path.partition(".")[0]
        unit = [p for p in space.space if p.partition(".")[0] == slot] if _differ(sample, end, slot) else [path]
        changed = {key: end[key] for key in unit if key in end}
        after = {key: value for key, value in sample.items() if key not in unit} | changed
        if after != sample:
            steps.append(Step(_name(sample, after, unit), after))
            sample = after
    if steps and space.arm.id == CONTROL:
        steps[-1] = replace(steps[-1], sample={})  # the control as it stands, which the confirmation runs
    return steps


def _end(search: SearchPlan, space: ArmSpace, records: Mapping[str, Record]) -> dict[str, Value] | None:
    """Return the sample at which a path ends; None where this arm cannot have it."""
    if space.arm.id == CONTROL:
        tree = search.specs[CONTROL].tree
        untuned = {path: value_at(tree, path) for path in space.space if "." not in path}
        return {path: value_at(tree, path) for path in space.space if space.exists(path, untuned)}
    searched = {other.arm.id: other for other in search.arms}
    if CONTROL not in searched:
        return None
    best = winners(search, searched[CONTROL], records, 1)
    own = winners(search, space, records, 1)
    if not best or not own:
        return None
    known = {path: best[0].get(path, own[0].get(path)) for path in space.space}
    sample = {path: value for path, value in known.items() if value is not None}
    sample = {path: value for path, value in sample.items() if space.exists(path, sample)}
    return sample if space.holds(sample) else None


def _differ(sample: Sample, end: Sample, slot: str) -> bool:
    """Whether a searched slot has another kind at the end."""
    return slot in sample and sample[slot] != end.get(slot)


def _name(before: Sample, after: Sample, unit: Sequence[str]) -> str:
    changed = [path for path in unit if path in after and before.get(path) != after[path]]
    # Values that only the kind before had go with it.
    return ", ".join(
        f"{path}: {value_text(before[path]) if path in before else '–'} → {value_text(after[path])}" for path in changed
    )


def measured_paths(
    search: SearchPlan,
    records: Mapping[str, Record],
    fresh: Mapping[tuple[str, int, int | None], ArmValues],
    metrics: Sequence[MetricKey],
    inference: Inference,
) -> tuple[AblationPath, ...]:
    """Estimate the change by each step of all paths, paired at the fresh seeds and corrected over the steps of an arm.

    Args:
        search: The current search.
        records: Results by cell id.
        fresh: Values at the fresh seeds, by arm, repeat and rank.
        metrics: The metrics.
        inference: Units and correction.
    """
    cells = path_cells(search, records)
    if cells is None:
        return ()
    done: dict[tuple[str, int | None], dict[int, Record]] = {}
    for cell in cells:
        if cell.id in records:
            done.setdefault((cell.arm, cell.spec.trial), {})[cell.seed] = records[cell.id]
    paths = []
    for space in search.arms:
        arm, steps = space.arm.id, steps_of(search, space, records)
        best = fresh.get((arm, 0, 0))
        if steps and best is not None:
            after = [
                replace(best, records=done.get((arm, number), {})) if step.sample else fresh[CONTROL, 0, None]
                for number, step in enumerate(steps, 1)
            ]
            paths.append(AblationPath(arm, _changes(arm, steps, [best, *after], metrics, inference)))
    return tuple(paths)


def _changes(
    arm: str, steps: Sequence[Step], places: Sequence[ArmValues], metrics: Sequence[MetricKey], inference: Inference
) -> tuple[ContrastRow, ...]:
    """Estimate each step as the difference of two consecutive places of the path."""
    rows = [replace(values, id=str(place)) for place, values in enumerate(places)]
    contrasts = [
        Contrast(step.name, f"path of {arm}", {str(place): 1.0, str(place - 1): -1.0})
        for place, step in enumerate(steps, 1)
    ]
    return estimate(contrasts, rows, metrics, inference)
