"""Results of a search: its trials, the best of them, importances, and winners repeated at fresh seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sweeps.plan import Plan
from sweeps.plan.arms import CONTROL
from sweeps.plan.cells import Cell
from sweeps.plan.search import Objective
from sweeps.results.arm_values import ArmValues, newest_code, settings_of
from sweeps.results.comparison import ArmRow, compare
from sweeps.results.importances import importances
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.results.stopping import inference_of
from sweeps.results.units import choose_units
from sweeps.results.winners import confirmation, fronts, trials_of
from sweeps.study.words import sampled_text


@dataclass(frozen=True)
class TrialRow:
    """One trial of a search.

    Args:
        number: Number within its arm, from 0.
        status: ``done``, ``failed`` or ``pruned``.
        sampled: Dotted path -> sampled value.
        values: Metric key -> value; missing metrics are absent.
    """

    arm: str
    number: int
    status: str
    sampled: dict[str, object]
    values: dict[str, float]


@dataclass(frozen=True)
class SearchFindings:
    """Results of a search.

    Args:
        trials: All trials of this search, arm by arm.
        seed: The seed of all trials.
        trials_per_arm: Number of requested trials per arm.
        pareto: With several objectives the Pareto front over all arms; else the best trial of each arm.
        importances: Arm -> dotted path -> importance for the first objective (PED-ANOVA); arms with too few trials are
            absent.
        confirmed: At fresh seeds: the untuned control, then each arm's winners, compared with it.
        tuned: At fresh seeds: every arm at its best settings, compared with the control at its best settings.
        records: Results of the trials and of the confirmations.
        inference: Units and correction of the comparisons at fresh seeds.
    """

    objectives: tuple[Objective, ...]
    trials: tuple[TrialRow, ...]
    seed: int
    trials_per_arm: int
    pareto: tuple[TrialRow, ...]
    importances: dict[str, dict[str, float]]
    confirmed: tuple[ArmRow, ...]
    tuned: tuple[ArmRow, ...]
    records: tuple[Record, ...]
    inference: Inference


def search_findings(plan: Plan, records: Mapping[str, Record]) -> SearchFindings | None:
    """Summarise the ledger's records of a plan's search; None where the plan has no search.

    Args:
        plan: The plan; only records of its current search are used.
        records: Results by cell id.
    """
    search = plan.search
    if search is None:
        return None
    shares = {space.arm.id: importances(space, search, records) for space in search.arms}
    of_trials = {space.arm.id: trials_of(search, space.arm.id, records) for space in search.arms}
    trials = {arm: [_trial(plan, record) for record in of_arm] for arm, of_arm in of_trials.items()}
    cells = confirmation(search, records)
    fresh = _confirmed_values(cells, records)
    inference = inference_of(plan, choose_units(plan, fresh, plan.metrics) if fresh else {})
    confirmed = _compared(plan, fresh, inference)
    of_search = [record for of_arm in of_trials.values() for record in of_arm]
    of_search += [records[cell.id] for cell in cells if cell.id in records]
    return SearchFindings(
        objectives=search.objectives,
        trials=tuple(row for rows in trials.values() for row in rows),
        seed=search.seed,
        trials_per_arm=search.trials_per_arm,
        pareto=tuple(_best(trials, search.objectives)),
        importances={arm: of_arm for arm, of_arm in shares.items() if of_arm},
        confirmed=confirmed,
        tuned=_tuned(plan, fresh, inference),
        records=tuple(of_search),
        inference=inference,
    )


def winner(rank: int) -> str:
    """Name a winner of an arm by its rank from 0."""
    return f"winner {rank + 1}"


def _trial(plan: Plan, record: Record) -> TrialRow:
    values = {metric.key: record.scores.get(metric.key, math.nan) for metric in plan.metrics}
    return TrialRow(
        arm=record.arm,
        number=record.trial or 0,
        status=record.status,
        sampled=dict(record.sampled),
        values={key: value for key, value in values.items() if math.isfinite(value)},
    )


def _best(trials: Mapping[str, Sequence[TrialRow]], objectives: Sequence[Objective]) -> list[TrialRow]:
    """Select the Pareto front over all arms, or with one objective the best trial of each arm; the earliest of ties."""

    def ranked(rows: Sequence[TrialRow]) -> list[list[TrialRow]]:
        finished = [
            row for row in rows if row.status == "done" and all(objective.key in row.values for objective in objectives)
        ]
        values = [[row.values[objective.key] for objective in objectives] for row in finished]
        return [[finished[place] for place in front] for front in fronts(values, objectives)]

    if len(objectives) == 1:
        return [order[0][0] for rows in trials.values() if (order := ranked(rows))]
    return next(iter(ranked([row for rows in trials.values() for row in rows])), [])


# -------------------------------------------------------------------------------------------------------- confirmation


def _confirmed_values(cells: Sequence[Cell], records: Mapping[str, Record]) -> list[ArmValues]:
    """Collect the values at fresh seeds: the untuned control, the arms that are not tuned, then the winners."""
    if not any(cell.id in records for cell in cells):
        return []
    of_row: dict[tuple[str, int | None], list[Cell]] = {}
    for cell in cells:
        of_row.setdefault((cell.arm, cell.spec.trial), []).append(cell)
    of_control = [records[c.id] for c in cells if (c.arm, c.spec.trial) == (CONTROL, None) and c.id in records]
    settings = settings_of(of_control, [records[cell.id] for cell in cells if cell.id in records])
    return [
        ArmValues(
            id=arm if rank is None else f"{arm} {winner(rank)}",
            role="control" if rank is None and arm == CONTROL else "arm",
            changes=sampled_text(seeds[0].spec.sampled),
            records={cell.seed: records[cell.id] for cell in seeds if cell.id in records},
            seeds=tuple(cell.seed for cell in seeds),
            settings=settings,
        )
        for (arm, rank), seeds in of_row.items()
    ]


def _compared(plan: Plan, arms: Sequence[ArmValues], inference: Inference) -> tuple[ArmRow, ...]:
    code = newest_code(plan, (record for row in arms for record in row.records.values()))
    return compare(arms, plan.metrics, plan.study.margins, code, inference) if arms else ()


def _tuned(plan: Plan, fresh: Sequence[ArmValues], inference: Inference) -> tuple[ArmRow, ...]:
    """Compare each arm with the control, both at their best settings: the first winner, or the untuned arm."""
    of_row = {row.id: row for row in fresh}
    best = []
    for arm in plan.arms:
        row = of_row.get(f"{arm.id} {winner(0)}") or of_row.get(arm.id)
        if row is not None:
            role: Literal["control", "arm"] = "control" if arm.id == CONTROL else "arm"
            best.append(replace(row, id=arm.id, role=role, changes=row.changes or "untuned"))
    return _compared(plan, best, inference) if len(best) > 1 and best[0].role == "control" else ()
