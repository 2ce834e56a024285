from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweeps.plan import Plan, load
from sweeps.plan.cells import Cell
from sweeps.report.table import build
from sweeps.results.record import Record
from sweeps.statistics.paired import paired_difference
from sweeps.statistics.verdicts import Verdict
from tests.factories import make_record

HEAD = """\
name: searched
system: zs2
base: shapes
metrics: [temporal_flickering, fid]
"""
SEARCH = """\
seeds: 2
ablations: [{part: noise, action: REMOVE}]
search:
  space: {attention.mu: {uniform: [0, 1]}}
  trials_per_arm: 4
"""


FLICKERING, MOTION, FID = "temporal_flickering/vbench_formula", "motion_magnitude/farneback", "fd/shapes_clip"

Planned = Callable[[str], Plan]
Value = Callable[[Cell], float]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda text: load(write(HEAD + text))


def record(cell: Cell, value: float = 0.0, **changed: object) -> Record:
    """A done cell with one value for each metric: as given, larger by 10, and with the other sign."""
    return make_record(cell, {FLICKERING: value, MOTION: value + 10, FID: -value}, **changed)


def searched(plan: Plan, value: Value, trials: int = 4) -> dict[str, Record]:
    """Every arm's trials at fixed places of the space."""
    assert plan.search is not None
    cells = [
        plan.search.trial(space.arm.id, number, {"attention.mu": number / 5})
        for space in plan.search.arms
        for number in range(trials)
    ]
    return {cell.id: record(cell, value(cell)) for cell in cells}


def mu(cell: Cell) -> float:
    return float(cell.spec.sampled.get("attention.mu", 0.98))


def test_trials_are_listed_and_in_no_row(planned: Planned) -> None:
    plan = planned(SEARCH)
    assert plan.search is not None
    records = searched(plan, mu)
    failed = plan.search.trial("control", 1, {"attention.mu": 1 / 5})
    records[failed.id] = record(failed, status="failed", scores={}, error="out of memory")
    report = build(plan, records)
    assert all(row.missing == 2 for row in report.rows)
    assert report.errors == ("control trial 1 seed 0: out of memory",)
    found = report.search
    assert found is not None
    assert (found.seed, found.trials_per_arm, found.confirmed) == (0, 4, ())
    assert [(trial.arm, trial.number) for trial in found.trials] == [
        (arm, number) for arm in ("control", "noise=removed") for number in range(4)
    ]
    assert (found.trials[1].status, found.trials[1].values) == ("failed", {})
    assert found.trials[3].sampled == {"attention.mu": 0.6}
    assert found.trials[3].values == {FLICKERING: 0.6, MOTION: 10.6, FID: -0.6}
    assert "control: 4 of 4 trials, 1 failed." in report.search_notes
    assert any("none is shown to be better than the control" in note for note in report.search_notes)


def test_trials_of_another_search_do_not_count(planned: Planned) -> None:
    plan, other = planned(SEARCH), planned(SEARCH + "  seed: 5\n")
    report = build(plan, searched(other, mu))
    found = report.search
    assert found is not None
    assert (found.trials, found.pareto) == ((), ())
    assert "control: 0 of 4 trials." in report.search_notes


def test_one_objective_has_a_best_trial_in_each_arm(planned: Planned) -> None:
    plan = planned(SEARCH)
    found = build(plan, searched(plan, lambda cell: mu(cell) * (1 if cell.arm == "control" else -1))).search
    assert found is not None
    assert [(trial.arm, trial.number) for trial in found.pareto] == [("control", 3), ("noise=removed", 0)]


@pytest.mark.parametrize("status", ["pruned", "failed"])
def test_a_trial_that_did_not_end_well_is_not_the_best(planned: Planned, status: str) -> None:
    plan = planned(SEARCH)
    records = searched(plan, mu)
    records = {key: replace(found, status=status) if found.trial == 3 else found for key, found in records.items()}
    report = build(plan, records)
    found = report.search
    assert found is not None
    assert [(trial.arm, trial.number) for trial in found.pareto] == [("control", 2), ("noise=removed", 2)]
    assert f"control: 4 of 4 trials, 1 {status}." in report.search_notes


def test_trials_of_other_code_are_said(planned: Planned) -> None:
    plan = planned(SEARCH)
    records = searched(plan, mu)
    first = next(iter(records))
    records[first] = replace(records[first], code_hash="old", finished="2024-01-01T00:00:00+00:00")
    other = "1 of 8 trials and confirmations were computed with other code than the newest result; they may not be"
    assert f"{other} comparable." in build(plan, records).search_notes


def test_several_objectives_have_one_front_over_all_arms(planned: Planned) -> None:
    plan = planned(SEARCH + "  objectives: {temporal_flickering: max, fid: min}\n")
    records = searched(plan, mu)
    # (max, min): (.6, 5) and (.4, 4) are unbeaten, (.2, 6) is beaten; the other arm is worse than (.4, 4) throughout.
    fids = {("control", 3): 5.0, ("control", 2): 4.0, ("control", 1): 6.0, ("control", 0): 4.5}
    for found in records.values():
        found.scores[FID] = fids.get((found.arm, found.trial or 0), 7.0)
    report = build(plan, records).search
    assert report is not None
    assert {(trial.arm, trial.number) for trial in report.pareto} == {("control", 3), ("control", 2)}


def test_what_mattered_is_found(planned: Planned) -> None:
    space = "{attention.mu: {uniform: [0, 1]}, noise.threshold: {uniform: [0.01, 1]}}"
    plan = planned(f"seeds: 1\nsearch: {{space: {space}, trials_per_arm: 40}}")
    assert plan.search is not None
    rng = np.random.default_rng(0)
    records = {}
    for number in range(40):
        sampled = {"attention.mu": float(rng.uniform()), "noise.threshold": float(rng.uniform(0.01, 1))}
        cell = plan.search.trial("control", number, sampled)
        records[cell.id] = record(cell, mu(cell))
    found = build(plan, records).search
    assert found is not None
    assert found.importances["control"]["attention.mu"] > 0.8
    few = build(plan, dict(list(records.items())[:3])).search
    assert few is not None
    assert few.importances == {}


def test_winners_are_compared_with_the_control_as_it_stands(planned: Planned) -> None:
    plan = planned(SEARCH + "  confirm: {top: 1, fresh_seeds: 7}\n  repeats: 1\n")
    search = plan.search
    assert search is not None
    records = searched(plan, mu) | {cell.id: record(cell, 1.0) for cell in plan.cells}
    before = build(plan, records)
    assert before.search is not None
    assert before.search.confirmed == ()
    assert any("yet" in note for note in before.search_notes)
    cells = search.confirmation({"control": [{"attention.mu": 0.6}], "noise=removed": [{"attention.mu": 0.6}]})
    effects = {("control", None): 0.0, ("control", 0): 1.0, ("noise=removed", 0): -0.02}

    def value(cell: Cell) -> float:
        own = np.random.default_rng([cell.seed, *cell.arm.encode(), len(cell.spec.sampled)]).normal()
        return float(np.random.default_rng(cell.seed).normal() + effects[cell.arm, cell.spec.trial] + 0.1 * own)

    records |= {cell.id: record(cell, value(cell)) for cell in cells}
    lost = cells[-1]
    records[lost.id] = record(lost, status="failed", scores={}, error="no luck")
    report = build(plan, records)
    assert report.search is not None
    control, tuned, other = report.search.confirmed
    assert [row.id for row in report.search.confirmed] == ["control", "control winner 1", "noise=removed winner 1"]
    assert [row.role for row in report.search.confirmed] == ["control", "arm", "arm"]
    assert (control.changes, tuned.changes) == ("", "attention.mu: 0.6")
    assert (control.metrics[FLICKERING].n, other.metrics[FLICKERING].n, other.failed) == (7, 6, 1)
    arm, reference = (
        [records[cell.id].scores[FLICKERING] for cell in cells if (cell.arm, cell.spec.trial) == ("control", rank)]
        for rank in (0, None)
    )
    expected = paired_difference(arm, reference)
    found = tuned.metrics[FLICKERING]
    assert (found.difference, found.p_value, found.p_corrected) == (expected.difference, 2 / 2**7, 2 / 2**7)
    assert (found.verdict, other.metrics[FLICKERING].verdict) == (Verdict.BETTER, Verdict.INCONCLUSIVE)
    assert (
        "Winners were rerun at 7 fresh seeds and compared with the untuned control at the same seeds."
        in report.search_notes
    )
    assert any("these seeds can reach: 0.016" in note for note in report.search_notes)
    assert report.errors == (f"noise=removed winner 1 seed {lost.seed}: no luck",)
    assert all(row.metrics[FLICKERING].n == 2 for row in report.rows)  # the plan's own seeds, and no others
