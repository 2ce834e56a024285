"""Validation of a study's ``search``, and its expansion to a plan."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from models import SYSTEMS
from models.words import did_you_mean
from search_spaces import SPACES, Domain
from sweeps.plan.arms import Arm
from sweeps.plan.cells import Setting, specify
from sweeps.plan.measured import measured
from sweeps.plan.search import NUM_RANDOM, Objective, SearchPlan, share_of_trials
from sweeps.plan.spaces import ArmSpace, apply_space
from sweeps.study.document import Key
from sweeps.study.types import Search, Study
from sweeps.study.words import counted, not_among, written
from trainables.metrics import METRICS, NAMES, with_companions

FIRST_FRESH = 10_000
"""First seed of confirmations, larger than every seed of ``seeds: N``."""

FIRST_REPEATED = 20_000
"""First seed of the trials of further repeats, larger than every seed of confirmations."""

CONFIRM = "confirm: {top: 1, fresh_seeds: 8}"
"""A confirmation, as messages suggest it."""

DEFAULT_REPEATS = 3
"""Repeats of a search whose arms are compared at fresh seeds."""

Wrong = tuple[Key, str]


def expand_search(
    study: Study, arms: Sequence[Arm], setting: Setting | None, *, complete: bool
) -> tuple[SearchPlan | None, list[Wrong]]:
    """Expand a study's search to a plan.

    Args:
        study: A study with a search.
        arms: Its arms, the control first.
        setting: Shared setting of the arms, if determined.
        complete: Whether no entry of the study was removed.

    Returns:
        The plan, or None if the search is invalid or the setting undetermined, and problems as (place, message).
    """
    search = study.search
    assert search is not None, "a study without a search"
    space, wrong = _space(search)
    arm_spaces, misfits = apply_space(space, arms, complete=complete)
    wrong += [_located(search, *misfit) for misfit in misfits]
    wrong += _wrong_objectives(study, search)
    if complete and space:
        wrong += _wrong_points(search, space, arm_spaces[0])
    wrong += _wrong_numbers(study, search)
    if wrong or setting is None:
        return None, wrong
    return _plan(study, search, space, arm_spaces, setting), []


def unmeasured(study: Study, family: str) -> str | None:
    """Word the message for a metric that a study does not measure; None for measured metrics and their companions."""
    if not study.metrics:  # the metrics are invalid themselves
        return None
    unknown = [name for name in study.metrics if name not in NAMES]
    known = dict.fromkeys([*with_companions(measured(study).families)[0], *unknown])
    if family in known:
        return None
    allowed = f"one of the study's metrics: {', '.join(known)}{did_you_mean(family, known)}"
    return f"{written(family)} -> {allowed}" + (", or add it to them" if family in METRICS else "")


def _space(search: Search) -> tuple[Mapping[str, Domain], list[Wrong]]:
    """Return the space as a map, and problems with its name."""
    if not isinstance(search.space, str):
        return search.space, []
    if search.space not in SPACES:
        return {}, [(("search", "space"), not_among(search.space, SPACES))]
    return SPACES[search.space], []


def _located(search: Search, path: str, message: str) -> Wrong:
    """Locate a problem with a path of the space; for a named space, at its name."""
    if isinstance(search.space, str):
        return ("search", "space"), f"{search.space} searches {path}: {message}"
    return ("search", "space", path), message


def _wrong_objectives(study: Study, search: Search) -> Iterator[Wrong]:
    """Find objectives that the study does not measure."""
    objectives = search.objectives or ()
    for position, family in enumerate(objectives):
        if message := unmeasured(study, family):
            yield ("search", "objectives", family if isinstance(objectives, dict) else position), message


def _wrong_points(search: Search, space: Mapping[str, Domain], control: ArmSpace) -> Iterator[Wrong]:
    """Find points outside the space, or with a value that their kind does not have."""
    if len(search.points) > search.trials_per_arm:
        numbers = f"{len(search.points)} points with {search.trials_per_arm} trials_per_arm"
        yield ("search", "points"), f"{numbers} -> at least as many trials as points"
    slots = control.arm.system.slots()
    for position, point in enumerate(search.points):
        for path, value in point.items():
            place: Key = ("search", "points", position, path)
            slot, _, name = path.partition(".")
            kind = point.get(slot)
            if path not in space:
                yield place, not_among(path, space)
            elif not space[path].contains(value):
                yield place, f"{written(value)} -> {written(space[path].written())}"
            elif name and slot in slots and kind in slots[slot].kinds and not control.exists(path, point):
                yield place, f"{slot} is {kind} in this point, which has no {name} -> remove {path}"


def _wrong_numbers(study: Study, search: Search) -> Iterator[Wrong]:
    """Find numbers that contradict each other."""
    confirm = search.confirm
    if confirm is None:
        if search.repeats is not None and search.repeats > 1:
            reason = "repeats are compared at fresh seeds only"
            yield ("search", "repeats"), f"{search.repeats} without confirm -> 1, or {CONFIRM}, since {reason}"
        return
    if confirm.top > search.trials_per_arm:
        yield ("search", "confirm", "top"), f"{confirm.top} -> at most trials_per_arm, {search.trials_per_arm}"


def _seed(study: Study, search: Search) -> int:
    return study.all_seeds[0] if search.seed is None else search.seed


def _fresh_seeds(study: Study, search: Search) -> tuple[int, ...]:
    """Return seeds that neither study nor search uses; more seeds of the study do not change them."""
    used = {*study.all_seeds, _seed(study, search)}
    number = search.confirm.fresh_seeds if search.confirm else 0
    return tuple(itertools.islice((seed for seed in itertools.count(FIRST_FRESH) if seed not in used), number))


def _trial_seeds(study: Study, search: Search, arms: int) -> tuple[int, ...]:
    """Return the seed of each repeat's trials: the search's own, then seeds that nothing else uses."""
    seed, fresh = _seed(study, search), _fresh_seeds(study, search)
    repeats = search.repeats or (DEFAULT_REPEATS if search.confirm and arms > 1 else 1)
    used = {*study.all_seeds, seed, *fresh}
    others = (other for other in itertools.count(FIRST_REPEATED) if other not in used)
    return (seed, *itertools.islice(others, repeats - 1))


def _plan(
    study: Study, search: Search, space: Mapping[str, Domain], arm_spaces: Sequence[ArmSpace], setting: Setting
) -> SearchPlan | None:
    """Make the plan of a valid search; None where an objective lacks its network, which is a problem of the metrics."""
    directions = _directions(study, search)
    keys = {metric.family: metric.key for metric in setting.metrics}
    if not directions.keys() <= keys.keys():
        return None
    objectives = tuple(Objective(keys[family], direction) for family, direction in directions.items())
    searched = [arm_space for arm_space in arm_spaces if arm_space.space]
    seeds = _trial_seeds(study, search, len(arm_spaces))
    specs = {arm_space.arm.id: specify(study, arm_space.arm, seeds[0], setting) for arm_space in arm_spaces}
    return SearchPlan(
        definition=(
            [(path, space[path].written()) for path in sorted(space)],
            search.search_sampler,
            [(objective.key, objective.direction) for objective in objectives],
            search.points,
        ),
        arms=tuple(searched),
        objectives=objectives,
        search_sampler=search.search_sampler,
        trials_per_arm=search.trials_per_arm,
        seeds=seeds,
        points=search.points,
        trial_scheduler=search.trial_scheduler,
        confirm=search.confirm,
        confirm_seeds=_fresh_seeds(study, search),
        specs=specs,
        notes=(*_notes_on_arms(search, arm_spaces), *_notes_on_search(study, search, arm_spaces, seeds)),
    )


def _directions(study: Study, search: Search) -> dict[str, Literal["max", "min"]]:
    """Return the direction of each objective's family."""
    objectives = search.objectives or measured(study).families[:1]
    return objectives if isinstance(objectives, dict) else {family: METRICS[family].direction for family in objectives}


def _notes_on_arms(search: Search, arm_spaces: Sequence[ArmSpace]) -> Iterator[str]:
    """List arms with a smaller space, and arms with fewer trials."""
    most = max(len(space.space) for space in arm_spaces)
    for space in arm_spaces:
        arm, values = space.arm.id, len(space.space)
        yield from (f"{arm}: {sentence}" for sentence in space.dropped)
        num_samples = space.num_samples()
        if not space.space:
            yield f"{arm}: not searched, since its space is empty"
            continue
        share = share_of_trials(search.trials_per_arm, values, most, len(search.points))
        if num_samples is not None and num_samples < share:
            yield f"{arm}: at most {num_samples} trials, since its space has no more different samples"
        elif values < most:
            yield f"{arm}: {counted(share, 'trial')}, in proportion to its {values} of {most} searched values"


def _notes_on_search(
    study: Study, search: Search, arm_spaces: Sequence[ArmSpace], seeds: Sequence[int]
) -> Iterator[str]:
    """List notes on the search as a whole."""
    contexts = {family.companion for family in METRICS.values()}
    for family, direction in _directions(study, search).items():
        if direction != METRICS[family].direction and family not in contexts:
            better = "larger" if direction == "min" else "smaller"
            yield f"objective {family}: the search takes {direction}, although {better} values are better"
    sampler, number = search.search_sampler, search.trials_per_arm
    if sampler != "random" and number <= NUM_RANDOM:
        yield f"{sampler}: the first {NUM_RANDOM} trials are random, so {number} trials are too few to learn from"
    if sampler == "nsga2" and any(
        path.partition(".")[0] in space.space for space in arm_spaces for path in space.space if "." in path
    ):
        yield "nsga2 draws values inside a searched slot at random, since not all trials have them -> tpe learns both"
    if search.trial_scheduler is not None and SYSTEMS[study.system].is_trained:
        criterion = "trials are stopped by their intermediate loss on held-out clips"
        yield f"trial_scheduler {search.trial_scheduler.kind}: {criterion}, whatever the objective"
    elif search.trial_scheduler is not None:
        reports = f"a cell of {study.system} reports once, at its end"
        yield f"trial_scheduler {search.trial_scheduler.kind}: no trial can be stopped early, since {reports}"
    if search.confirm is None:
        bias = f"the score of the best of {number} trials is biased by its selection at seed {seeds[0]}"
        yield f"search without confirm: {bias} -> {CONFIRM}"
    elif len(seeds) == 1 and len(arm_spaces) > 1:
        yield (
            "one search of each arm: settings are compared, not arms, since another search may choose other settings "
            f"-> repeats: {DEFAULT_REPEATS}"
        )
