"""What a search found: its trials, the best of them, what mattered, and what winners are worth on fresh seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sweeps.plan.arms import CONTROL
from sweeps.report.captions import mixed, significance, warnings
from sweeps.results.comparison import ArmRow, Found, compare, newest_code, settings_of
from sweeps.results.importances import importances
from sweeps.results.ledger import Record
from sweeps.results.winners import confirmation, fronts, trials_of
from sweeps.study.words import counted, sampled_text

if TYPE_CHECKING:
    from sweeps.plan import Plan
    from sweeps.plan.cells import Cell
    from sweeps.plan.search import Objective, SearchPlan


@dataclass(frozen=True)
class TrialRow:
    """One trial of a search.

    Args:
        number: Within its arm, from 0.
        status: ``done``, ``failed`` or ``pruned``.
        sampled: Dotted path -> value that was tried.
        values: Metric key -> value, of the metrics it has.
    """

    arm: str
    number: int
    status: str
    sampled: dict[str, object]
    values: dict[str, float]


@dataclass(frozen=True)
class SearchReport:
    """What a search found.

    Args:
        trials: All trials of this search, arm by arm.
        seed: The one seed all of them sampled at.
        trials_per_arm: How many were asked for.
        pareto: With several objectives the trials that no other beats in all of them, over all arms; else the best of
            each arm.
        importances: Arm -> dotted path -> its share in what makes a trial one of the best by the first objective
            (PED-ANOVA); arms with too few trials are absent.
        confirmed: On fresh seeds: the control as it stands, then each arm's winners, compared with it.
        tuned: On fresh seeds: every arm at its own best, compared with the control at its own best.
        notes: What a reader has to know of all this.
        errors: Failed trials and confirmations, each with its reason; the whole report lists them too.
    """

    objectives: "tuple[Objective, ...]"
    trials: tuple[TrialRow, ...]
    seed: int
    trials_per_arm: int
    pareto: tuple[TrialRow, ...]
    importances: dict[str, dict[str, float]]
    confirmed: tuple[ArmRow, ...]
    tuned: tuple[ArmRow, ...]
    notes: tuple[str, ...]
    errors: tuple[str, ...]


def build_search(plan: "Plan", records: Mapping[str, Record]) -> SearchReport | None:
    """Summarise the ledger's records of a plan's search; None where the plan has no search.

    Args:
        plan: What was asked; of the records only those of its search as it is now count.
        records: By cell id.
    """
    search = plan.search
    if search is None:
        return None
    shares = {space.arm.id: importances(space, search, records) for space in search.arms}
    of_trials = {space.arm.id: trials_of(search, space.arm.id, records) for space in search.arms}
    trials = {arm: [_trial(plan, record) for record in found] for arm, found in of_trials.items()}
    cells = confirmation(search, records)
    fresh = _found(cells, records)
    confirmed = _compared(plan, fresh)
    of_search = [record for found in of_trials.values() for record in found]
    of_search += [records[cell.id] for cell in cells if cell.id in records]
    return SearchReport(
        objectives=search.objectives,
        trials=tuple(row for rows in trials.values() for row in rows),
        seed=search.seed,
        trials_per_arm=search.trials_per_arm,
        pareto=tuple(_best(trials, search.objectives)),
        importances={arm: found for arm, found in shares.items() if found},
        confirmed=confirmed,
        tuned=_tuned(plan, fresh),
        notes=(
            *_notes(plan, search, trials, confirmed),
            *warnings(of_search, newest_code(of_search), "trials and confirmations"),
            *mixed(of_search, "trials and confirmations"),
        ),
        errors=tuple(failure(record) for record in of_search if record.status == "failed"),
    )


def failure(record: Record) -> str:
    """A failed cell with its reason."""
    place = ""
    if record.trial is not None:
        place = f" trial {record.trial}" if record.stage == "search" else f" {winner(record.trial)}"
    return f"{record.arm}{place} seed {record.seed}{record.kind}: {record.error}"


def winner(rank: int) -> str:
    """What the best trials of an arm are called, by their rank from 0."""
    return f"winner {rank + 1}"


def _trial(plan: "Plan", record: Record) -> TrialRow:
    values = {metric.key: record.scores.get(metric.key, math.nan) for metric in plan.metrics}
    return TrialRow(
        arm=record.arm,
        number=record.trial or 0,
        status=record.status,
        sampled=dict(record.sampled),
        values={key: value for key, value in values.items() if math.isfinite(value)},
    )


def _best(trials: Mapping[str, Sequence[TrialRow]], objectives: "Sequence[Objective]") -> list[TrialRow]:
    """The Pareto front over all arms, or with one objective the best trial of each arm; the earliest of equals."""

    def ranked(rows: Sequence[TrialRow]) -> list[list[TrialRow]]:
        whole = [row for row in rows if row.status == "done" and all(goal.key in row.values for goal in objectives)]
        values = [[row.values[goal.key] for goal in objectives] for row in whole]
        return [[whole[place] for place in front] for front in fronts(values, objectives)]

    if len(objectives) == 1:
        return [order[0][0] for rows in trials.values() if (order := ranked(rows))]
    return next(iter(ranked([row for rows in trials.values() for row in rows])), [])


# -------------------------------------------------------------------------------------------------------- confirmation


def _found(cells: "Sequence[Cell]", records: Mapping[str, Record]) -> list[Found]:
    """What is there on fresh seeds: the control as it stands, the arms that are not tuned, then the winners."""
    if not any(cell.id in records for cell in cells):
        return []
    of_row: dict[tuple[str, int | None], list[Cell]] = {}
    for cell in cells:
        of_row.setdefault((cell.arm, cell.spec.trial), []).append(cell)
    of_control = [records[c.id] for c in cells if (c.arm, c.spec.trial) == (CONTROL, None) and c.id in records]
    settings = settings_of(of_control, [records[cell.id] for cell in cells if cell.id in records])
    return [
        Found(
            id=arm if rank is None else f"{arm} {winner(rank)}",
            role="control" if rank is None and arm == CONTROL else "arm",
            changes=sampled_text(seeds[0].spec.sampled),
            records={cell.seed: records[cell.id] for cell in seeds if cell.id in records},
            num_seeds=len(seeds),
            settings=settings,
        )
        for (arm, rank), seeds in of_row.items()
    ]


def _compared(plan: "Plan", found: Sequence[Found]) -> tuple[ArmRow, ...]:
    code = newest_code(record for row in found for record in row.records.values())
    return compare(found, plan.metrics, plan.study.margins, code) if found else ()


def _tuned(plan: "Plan", found: Sequence[Found]) -> tuple[ArmRow, ...]:
    """Each arm at its own best against the control at its own best: the first winner, or as it stands if not tuned."""
    of_row = {row.id: row for row in found}
    best = []
    for arm in plan.arms:
        row = of_row.get(f"{arm.id} {winner(0)}") or of_row.get(arm.id)
        if row is not None:
            role: Literal["control", "arm"] = "control" if arm.id == CONTROL else "arm"
            best.append(replace(row, id=arm.id, role=role, changes=row.changes or "as it stands"))
    return _compared(plan, best) if len(best) > 1 and best[0].role == "control" else ()


def _notes(
    plan: "Plan", search: "SearchPlan", trials: Mapping[str, Sequence[TrialRow]], confirmed: Sequence[ArmRow]
) -> Iterator[str]:
    yield f"All trials sampled at seed {search.seed}; the best of many is better than it would repeat."
    for space in search.arms:
        asked, states = search.num_trials(space), [row.status for row in trials[space.arm.id]]
        lost = [f"{count} {state}" for state in ("failed", "pruned") if (count := states.count(state))]
        if lost or len(states) < asked:
            yield f"{space.arm.id}: {', '.join([f'{len(states)} of {asked} trials', *lost])}."
    if confirmed:
        seeds = counted(len(search.confirm_seeds), "fresh seed")
        yield f"Winners on {seeds}, against the control as it stands on the same."
        yield from significance(confirmed, plan.metrics)
    elif search.confirm is not None:
        yield "No winner was run on fresh seeds yet, so none is shown to be better than the control."
    else:
        yield "No winner is run on fresh seeds (search: confirm), so none is shown to be better than the control."
