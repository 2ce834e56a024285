"""Trials of a search, their winners, and the cells that rerun the winners at fresh seeds."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial

from search_spaces import Value
from sweeps.plan.cells import Cell
from sweeps.plan.search import Objective, SearchPlan
from sweeps.plan.spaces import ArmSpace
from sweeps.results.record import Record


def trials_of(search: SearchPlan, arm: str, records: Mapping[str, Record], repeat: int | None = None) -> list[Record]:
    """Return the results of an arm's trials, by repeat and number, at most as many as each search has.

    Args:
        search: The current search.
        arm: Id of the arm.
        records: Results by cell id; those of other searches, or of an earlier form of this arm, are ignored.
        repeat: The only repeat that counts; all by default.
    """
    repeats = range(search.repeats) if repeat is None else (repeat,)
    return [record for number in repeats for record in _trials_of_repeat(search, arm, records, number)]


def _trials_of_repeat(search: SearchPlan, arm: str, records: Mapping[str, Record], repeat: int) -> list[Record]:
    space = search.space_of(arm)
    of_arm = [record for record in records.values() if (record.search, record.arm) == (search.identity, arm)]
    # Of a trial that was repeated, the result counts, not the failure.
    by_number = {
        record.trial: record
        for record in sorted(of_arm, key=lambda record: record.status != "failed")
        if record.stage == "search"
        and record.repeat == repeat
        and record.trial is not None
        and space.holds(record.sampled)
        and search.trial(arm, record.trial, record.sampled, repeat).id == record.cell_id
    }
    return [by_number[number] for number in sorted(by_number)][: search.num_trials(space)]


def objective_values(record: Record, search: SearchPlan) -> list[float]:
    """Return the objective values of a done trial; empty where it failed, was pruned, or lacks one of them."""
    values = [record.scores.get(objective.key, math.nan) for objective in search.objectives]
    return values if record.status == "done" and all(map(math.isfinite, values)) else []


def winners(
    search: SearchPlan, space: ArmSpace, records: Mapping[str, Record], top: int, repeat: int = 0
) -> list[dict[str, Value]]:
    """Select the best samples of one search of an arm, the best first.

    With several objectives they come from successive Pareto fronts, each in the order of the first objective; of a
    front that is too long, both ends and samples evenly spaced between them, so that every objective is represented.

    Args:
        search: The current search.
        space: Search space of the arm.
        records: Results by cell id.
        top: Largest number of samples.
        repeat: Number of the search.
    """
    distinct: dict[tuple[tuple[str, Value], ...], list[float]] = {}
    for record in trials_of(search, space.arm.id, records, repeat):
        if values := objective_values(record, search):
            sample = tuple((path, record.sampled[path]) for path in space.space if path in record.sampled)
            distinct.setdefault(sample, values)
    samples = list(distinct)
    best: list[int] = []
    for front in fronts(list(distinct.values()), search.objectives):
        best += _spread(front, top - len(best))
    return [dict(samples[place]) for place in best]


def confirmation(search: SearchPlan, records: Mapping[str, Record]) -> list[Cell]:
    """Return the cells that rerun the current winners at fresh seeds; empty where the study asks for none."""
    if search.confirm is None:
        return []
    return search.confirmation(*(winners_of_arms(search, records, repeat) for repeat in range(search.repeats)))


def winners_of_arms(
    search: SearchPlan, records: Mapping[str, Record], repeat: int
) -> dict[str, list[dict[str, Value]]]:
    """Return the winners of one repeat that are confirmed, by arm; empty where the study confirms none."""
    top = search.confirm.top if search.confirm else 0
    return {space.arm.id: winners(search, space, records, top, repeat) for space in search.arms}


def fronts(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> list[list[int]]:
    """Rank trials: successive Pareto fronts, each sorted by the first objective; ties keep their order.

    With one objective the fronts are the sorted values.

    Args:
        values: Per trial, one finite value per objective.
        objectives: Objectives, with their directions.

    Returns:
        Positions in ``values``, front by front.
    """
    signs = [1 if objective.direction == "max" else -1 for objective in objectives]
    scores = [tuple(sign * value for sign, value in zip(signs, trial, strict=True)) for trial in values]
    ranked: list[list[int]] = []
    # In this order only earlier trials dominate a trial; one dominated in a front is dominated in each front before it.
    for place in sorted(range(len(scores)), key=lambda place: tuple(-score for score in scores[place])):
        rank = bisect_left(ranked, True, key=partial(_is_free, scores, place))
        if rank == len(ranked):
            ranked.append([])
        ranked[rank].append(place)
    return ranked


def _is_free(scores: Sequence[tuple[float, ...]], place: int, front: Sequence[int]) -> bool:
    """Whether no trial of a front dominates this one: at least as good in all objectives, and better in one."""
    own = scores[place]
    return not any(
        scores[other] != own and all(a >= b for a, b in zip(scores[other], own, strict=True)) for other in front
    )


def _spread(places: Sequence[int], number: int) -> list[int]:
    """Select trials of a front: all, or both ends and evenly spaced ones between them."""
    if number >= len(places) or number <= 1:
        return list(places[:number])
    return [places[round(step * (len(places) - 1) / (number - 1))] for step in range(number)]
