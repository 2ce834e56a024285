"""The trials of a search by the ledger, the best of them, and the cells that confirm these on fresh seeds."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial

from search_spaces import Value
from sweeps.plan.cells import Cell
from sweeps.plan.search import Objective, SearchPlan
from sweeps.plan.spaces import ArmSpace
from sweeps.results.record import Record


def trials_of(search: SearchPlan, arm: str, records: Mapping[str, Record]) -> list[Record]:
    """The results of an arm's trials, by number, at most ``trials_per_arm``.

    Args:
        search: As it is now.
        arm: Id of the arm.
        records: Results by cell id; those of other searches, or of this arm as it once was, are passed over.
    """
    space = search.space_of(arm)
    mine = [record for record in records.values() if (record.search, record.arm) == (search.identity, arm)]
    # Of a trial that was tried again, what came of it counts, not the failure.
    by_number = {
        record.trial: record
        for record in sorted(mine, key=lambda record: record.status != "failed")
        if record.stage == "search"
        and record.trial is not None
        and space.holds(record.sampled)
        and search.trial(arm, record.trial, record.sampled).id == record.cell_id
    }
    return [by_number[number] for number in sorted(by_number)][: search.trials_per_arm]


def objective_values(record: Record, search: SearchPlan) -> list[float]:
    """A done trial's objectives; empty where it failed, was stopped, or lacks one of them."""
    values = [record.scores.get(goal.key, math.nan) for goal in search.objectives]
    return values if record.status == "done" and all(map(math.isfinite, values)) else []


def winners(search: SearchPlan, space: ArmSpace, records: Mapping[str, Record], top: int) -> list[dict[str, Value]]:
    """The best samples of an arm, the best first.

    With several objectives they come from successive Pareto fronts, each in the order of the first objective; of a
    front that is too long, both ends and samples evenly between, since its beginning alone forgets the others.

    Args:
        search: As it is now.
        space: What is searched in the arm.
        records: Results by cell id.
        top: At most how many.
    """
    distinct: dict[tuple[tuple[str, Value], ...], list[float]] = {}
    for record in trials_of(search, space.arm.id, records):
        if values := objective_values(record, search):
            sample = tuple((path, record.sampled[path]) for path in space.space if path in record.sampled)
            distinct.setdefault(sample, values)
    samples = list(distinct)
    best: list[int] = []
    for front in fronts(list(distinct.values()), search.objectives):
        best += _spread(front, top - len(best))
    return [dict(samples[place]) for place in best]


def confirmation(search: SearchPlan, records: Mapping[str, Record]) -> list[Cell]:
    """The cells that confirm the winners as they stand now; none where none was asked for."""
    if search.confirm is None:
        return []
    top = search.confirm.top
    return search.confirmation({space.arm.id: winners(search, space, records, top) for space in search.arms})


def fronts(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> list[list[int]]:
    """Rank trials: successive Pareto fronts, each by the first objective, and among equals by their order.

    With one objective the fronts are simply the order of values.

    Args:
        values: Per trial, one finite value per objective.
        objectives: Which way is better for each.

    Returns:
        Positions in ``values``, front by front.
    """
    signs = [1 if objective.direction == "max" else -1 for objective in objectives]
    scores = [tuple(sign * value for sign, value in zip(signs, trial, strict=True)) for trial in values]
    ranked: list[list[int]] = []
    # In this order a trial is dominated by earlier ones only; and if by one of a front, then by one of each before it.
    for place in sorted(range(len(scores)), key=lambda place: tuple(-score for score in scores[place])):
        rank = bisect_left(ranked, True, key=partial(_is_free, scores, place))
        if rank == len(ranked):
            ranked.append([])
        ranked[rank].append(place)
    return ranked


def _is_free(scores: Sequence[tuple[float, ...]], place: int, front: Sequence[int]) -> bool:
    """Whether no trial of a front dominates this one: at least as good in everything, and better in something."""
    mine = scores[place]
    return not any(
        scores[other] != mine and all(a >= b for a, b in zip(scores[other], mine, strict=True)) for other in front
    )


def _spread(places: Sequence[int], number: int) -> list[int]:
    """Some of a front's trials: all of them, or both ends and what lies evenly between."""
    if number >= len(places) or number <= 1:
        return list(places[:number])
    return [places[round(step * (len(places) - 1) / (number - 1))] for step in range(number)]
