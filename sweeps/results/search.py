"""Results of a search: its trials, the best of them, importances, and winners rerun at fresh seeds."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sweeps.plan import Plan
from sweeps.plan.arms import CONTROL
from sweeps.plan.cells import Cell
from sweeps.plan.search import Objective, SearchPlan
from sweeps.results.ablation_path import AblationPath, measured_paths, path_cells
from sweeps.results.arm_values import ArmValues, newest_code, settings_of
from sweeps.results.comparison import ArmRow, compare
from sweeps.results.importances import importances
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.results.stopping import inference_of
from sweeps.results.tuned import TunedArm, compare_over_repeats, without_verdicts
from sweeps.results.units import choose_units
from sweeps.results.winners import confirmation, fronts, trials_of
from sweeps.study.words import sampled_text


@dataclass(frozen=True)
class TrialRow:
    """One trial of a search.

    Args:
        number: Number within its search of the arm, from 0.
        status: ``done``, ``failed`` or ``pruned``.
        sampled: Dotted path -> sampled value.
        values: Metric key -> value; missing metrics are absent.
        repeat: Number of the search, from 0.
    """

    arm: str
    number: int
    status: str
    sampled: dict[str, object]
    values: dict[str, float]
    repeat: int = 0


@dataclass(frozen=True)
class SearchFindings:
    """Results of a search.

    Args:
        trials: All trials of this search, arm by arm and repeat by repeat.
        seed: The seed of all trials of the first repeat.
        trials_per_arm: Number of requested trials of one search of the arm with the most searched values.
        repeats: Number of independent searches of each arm.
        pareto: Of each repeat, the Pareto front over all arms with several objectives; else the best trial of each arm.
        importances: Arm -> dotted path -> importance for the first objective (PED-ANOVA); arms with too few trials are
            absent.
        confirmed: At fresh seeds: the untuned control, then each arm's winners, compared with it.
        tuned: At fresh seeds: every arm at the best settings of each repeat, compared with the control at its own; with
            a single repeat there is no test, since two settings are compared and not two arms.
        records: Results of the trials, of the confirmations and of the paths.
        inference: Units and correction of the comparisons at fresh seeds.
        paths: Of the first repeat, what each step from an arm's best settings to the control's changes.
    """

    objectives: tuple[Objective, ...]
    trials: tuple[TrialRow, ...]
    seed: int
    trials_per_arm: int
    repeats: int
    pareto: tuple[TrialRow, ...]
    importances: dict[str, dict[str, float]]
    confirmed: tuple[ArmRow, ...]
    tuned: tuple[ArmRow, ...]
    records: tuple[Record, ...]
    inference: Inference
    paths: tuple[AblationPath, ...] = ()


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
    rows = [row for of_arm in trials.values() for row in of_arm]
    cells = confirmation(search, records)
    fresh = _confirmed_values(cells, records, search.repeats)
    inference = inference_of(plan, choose_units(plan, list(fresh.values()), plan.metrics) if fresh else {})
    confirmed = _compared(plan, list(fresh.values()), inference)
    of_search = [record for of_arm in of_trials.values() for record in of_arm]
    of_search += [records[cell.id] for cell in (*cells, *(path_cells(search, records) or ())) if cell.id in records]
    return SearchFindings(
        objectives=search.objectives,
        trials=tuple(rows),
        seed=search.seed,
        trials_per_arm=search.trials_per_arm,
        repeats=search.repeats,
        pareto=tuple(_best(trials, search)),
        importances={arm: of_arm for arm, of_arm in shares.items() if of_arm},
        confirmed=confirmed,
        tuned=_tuned(plan, search, fresh, barren_searches(rows, search.objectives), inference),
        records=tuple(of_search),
        inference=inference,
        paths=measured_paths(search, records, fresh, plan.metrics, inference),
    )


def winner(rank: int, repeat: int = 0, repeats: int = 1) -> str:
    """Name a winner of an arm by its rank from 0 and, where there are several, by the repeat of the search."""
    return f"winner {rank + 1}" + (f" of repeat {repeat + 1}" if repeats > 1 else "")


def _trial(plan: Plan, record: Record) -> TrialRow:
    values = {metric.key: record.scores.get(metric.key, math.nan) for metric in plan.metrics}
    return TrialRow(
        arm=record.arm,
        number=record.trial or 0,
        repeat=record.repeat,
        status=record.status,
        sampled=dict(record.sampled),
        values={key: value for key, value in values.items() if math.isfinite(value)},
    )


def _best(trials: Mapping[str, Sequence[TrialRow]], search: SearchPlan) -> list[TrialRow]:
    """Select the best trials of each repeat by itself, since only trials of the same seed are comparable.

    They are the Pareto front over all arms, or with one objective the best trial of each arm; the earliest of ties.
    """
    best = []
    for repeat in range(search.repeats):
        of_repeat = {arm: [row for row in rows if row.repeat == repeat] for arm, rows in trials.items()}
        best += _best_of_repeat(of_repeat, search.objectives)
    return best


def barren_searches(trials: Iterable[TrialRow], objectives: Sequence[Objective]) -> Counter[str]:
    """Count the searches of each arm that have results and no winner, such as those whose trials all diverged."""
    found: dict[tuple[str, int], bool] = {}
    for row in trials:
        is_done = row.status == "done" and all(objective.key in row.values for objective in objectives)
        found[row.arm, row.repeat] = found.get((row.arm, row.repeat), False) or is_done
    return Counter(arm for (arm, _), has_winner in found.items() if not has_winner)


def _best_of_repeat(trials: Mapping[str, Sequence[TrialRow]], objectives: Sequence[Objective]) -> list[TrialRow]:
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


_Row = tuple[str, int, int | None]
"""Arm, repeat and rank of a winner; no rank for an arm that is not tuned."""


def _confirmed_values(cells: Sequence[Cell], records: Mapping[str, Record], repeats: int) -> dict[_Row, ArmValues]:
    """Collect the values at fresh seeds: the untuned control, the arms that are not tuned, then the winners."""
    if not any(cell.id in records for cell in cells):
        return {}
    of_row: dict[_Row, list[Cell]] = {}
    for cell in cells:
        of_row.setdefault((cell.arm, cell.spec.repeat, cell.spec.trial), []).append(cell)
    of_control = [records[c.id] for c in cells if (c.arm, c.spec.trial) == (CONTROL, None) and c.id in records]
    settings = settings_of(of_control, [records[cell.id] for cell in cells if cell.id in records])
    return {
        (arm, repeat, rank): ArmValues(
            id=arm if rank is None else f"{arm} {winner(rank, repeat, repeats)}",
            role="control" if rank is None and arm == CONTROL else "arm",
            changes=sampled_text(seeds[0].spec.sampled),
            records={cell.seed: records[cell.id] for cell in seeds if cell.id in records},
            seeds=tuple(cell.seed for cell in seeds),
            settings=settings,
        )
        for (arm, repeat, rank), seeds in of_row.items()
    }


def _code(plan: Plan, values: Iterable[ArmValues]) -> dict[str, str]:
    return newest_code(plan, (record for row in values for record in row.records.values()))


def _compared(plan: Plan, arms: Sequence[ArmValues], inference: Inference) -> tuple[ArmRow, ...]:
    code = _code(plan, arms)
    return compare(arms, plan.metrics, plan.study.margins, code, inference) if arms else ()


def _tuned(
    plan: Plan, search: SearchPlan, fresh: Mapping[_Row, ArmValues], barren: Mapping[str, int], inference: Inference
) -> tuple[ArmRow, ...]:
    """Compare each arm with the control, both at their best settings: the first winners, or the untuned arm."""
    searched = {space.arm.id for space in search.arms}
    arms = []
    for arm in plan.arms:
        is_tuned = arm.id in searched
        rows = [(arm.id, repeat, 0) for repeat in range(search.repeats)] if is_tuned else [(arm.id, 0, None)]
        role: Literal["control", "arm"] = "control" if arm.id == CONTROL else "arm"
        values = tuple(found for row in rows if (found := fresh.get(row)) is not None)
        arms += [TunedArm(arm.id, role, values, is_tuned, barren[arm.id] > 0)] if values else []
    if len(arms) < 2 or arms[0].role != "control":
        return ()
    if search.repeats > 1:
        return compare_over_repeats(arms, plan.metrics, plan.study.margins, _code(plan, fresh.values()), inference)
    settings = [replace(arm.repeats[0], id=arm.id, role=arm.role, changes=arm.changes) for arm in arms]
    return without_verdicts(_compared(plan, settings, inference))
