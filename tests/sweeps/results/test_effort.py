"""Whether every arm was given the same, and who says so where it was not."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.plan import Plan, load
from sweeps.plan.search import SearchPlan
from sweeps.report import spent, texts
from sweeps.report.table import Report, build
from sweeps.results.effort import Inequality, Unequal, audit
from sweeps.results.record import Record
from sweeps.results.winners import trials_of
from tests.factories import ACROSS_STUDY, make_result
from trainables.trial_spec import Score

STUDY = """\
name: effort
system: seer
base: shapes
metrics: [motion_magnitude]
seeds: 2
training: {steps: 20, global_batch_size: 4}
protocol: {clips: 3, frames: 4}
ablations:
  - {part: temporal_attention, action: REMOVE}
"""
LONGER = "  - {part: training.steps, action: VALUES, values: [40]}\n"
SEARCH = """\
search:
  space: {temporal_attention.num_heads: {choice: [1, 2, 4]}, training.lr: {log_uniform: [1.0e-4, 1.0e-2]}}
  trials_per_arm: 4
  repeats: 1
  confirm: {top: 1, fresh_seeds: 3}
"""


@pytest.fixture
def plan(write: Callable[[str], Path]) -> Callable[[str], Plan]:
    return lambda more="": load(write(STUDY + more))


def seeds(plan: Plan) -> dict[str, tuple[int, ...]]:
    """All seeds, of every arm."""
    return dict.fromkeys((arm.id for arm in plan.arms), plan.study.all_seeds)


def record(cell: object, status: str = "done", value: float = 1.0, updates: float | None = None) -> Record:
    score = Score(value=value, direction="max", surrogate=False, parameters={})
    spec = cell.spec  # type: ignore[attr-defined]
    result = make_result(
        spec.model_copy(update={"scaling": spec.scaling.model_copy(update={"gpus_per_worker": 1.0})}),
        status=status,
        scores={"motion_magnitude/farneback": score} if status == "done" else {},
        seconds={"train": 30.0, "sample": 6.0},
        statistics={} if updates is None else {"update": updates},
    )
    return Record.of(result)


def words(unequal: Iterable[Unequal]) -> tuple[str, ...]:
    return tuple(map(spent.in_words, unequal))


def done(plan: Plan) -> dict[str, Record]:
    return {cell.id: record(cell) for cell in plan.cells}


def test_efforts_are_added_up(plan: Callable[..., Plan]) -> None:
    planned = plan()
    found = audit(planned, done(planned), seeds(planned))
    assert (found.problems, found.remarks) == ((), ())
    for one in found.efforts:
        assert (one.cells, one.trials, one.updates, one.clips) == (2, 0, 40, 6)
        assert one.gpu_hours == one.worker_hours == pytest.approx(2 * 36 / 3600)


def test_an_arm_that_asks_for_more_training_is_remarked_and_one_that_got_more_is_a_problem(
    plan: Callable[..., Plan],
) -> None:
    planned = plan(LONGER)
    records = done(planned)
    found = audit(planned, records, seeds(planned))
    assert found.problems == ()
    assert words(found.remarks) == (
        "training.steps=40: 40 updates per cell, the control has 20 (the arm changes this)",
    )
    other = planned.cells[1]
    assert other.arm == "temporal_attention=removed"
    records = {key: replace(one, clips=5) if one.arm == other.arm else one for key, one in records.items()}
    assert words(audit(planned, records, seeds(planned)).problems) == (
        "temporal_attention=removed: 5 clips per cell, the control has 3",
    )


def searched(planned: Plan) -> tuple[SearchPlan, dict[str, Record]]:
    assert planned.search is not None
    search, records = planned.search, done(planned)
    for space in search.arms:
        for number in range(search.num_trials(space)):
            draws = {"temporal_attention.num_heads": (1, 2, 4, 1)[number], "training.lr": 1e-3 * (number + 1)}
            cell = search.trial(space.arm.id, number, {path: draws[path] for path in space.space})
            records[cell.id] = record(cell, value=float(number))
    return search, records


def test_trials_that_failed_in_one_arm_alone_are_a_problem(plan: Callable[..., Plan]) -> None:
    planned = plan(SEARCH)
    search, records = searched(planned)
    assert audit(planned, records, seeds(planned)).problems == ()
    trials = {arm.arm.id: trials_of(search, arm.arm.id, records) for arm in search.arms}
    last = trials["control"][-1]
    one_failed = records | {last.cell_id: replace(last, status="failed", scores={})}
    (problem,) = audit(planned, one_failed, seeds(planned)).problems
    assert spent.in_words(problem) == "control: 3 of 4 trials finished, more in another arm (1 failed)"
    others = {found[-1].cell_id: replace(found[-1], status="failed", scores={}) for found in trials.values()}
    assert audit(planned, records | others, seeds(planned)).problems == (), "all arms lost as much"


def test_an_arm_that_is_behind_is_a_problem_and_one_that_was_not_begun_is_not(plan: Callable[..., Plan]) -> None:
    planned = plan(SEARCH)
    search, records = searched(planned)
    behind = trials_of(search, "control", records)
    some = {key: one for key, one in records.items() if one not in behind[1:]}
    (problem,) = audit(planned, some, seeds(planned)).problems
    assert spent.in_words(problem) == "control: 1 of 4 trials finished, more in another arm"
    none = {key: one for key, one in records.items() if one not in behind}
    found = audit(planned, none, seeds(planned))
    assert found.problems == ()
    assert "control: 0 of 4 trials finished" in spent.in_words(found.remarks[0])


def test_a_single_trial_of_a_search_is_one_trial() -> None:
    unequal = Unequal("x", Inequality.FEWER_VALUES, is_problem=False, here=(1, 1), others=(3, 3))
    words = "x: 1 trial per search, other arms have 3 (in proportion to its 1 of 3 searched values)"
    assert spent.in_words(unequal) == words


def test_a_stopped_trial_counts_the_updates_that_it_made(plan: Callable[..., Plan]) -> None:
    planned = plan(SEARCH)
    search, records = searched(planned)
    last = trials_of(search, "control", records)[-1]
    stopped = record(search.trial("control", last.trial or 0, last.sampled), "pruned", updates=7)
    effort = audit(planned, records | {last.cell_id: stopped}, seeds(planned)).efforts[0]
    assert (effort.trials, effort.updates, effort.clips) == (4, 2 * 20 + 3 * 20 + 7, 2 * 3 + 3 * 3)


def test_each_arm_at_its_own_best_is_set_against_the_control_at_its_own(plan: Callable[..., Plan]) -> None:
    planned = plan(SEARCH)
    search, records = searched(planned)
    winners = {space.arm.id: [trials_of(search, space.arm.id, records)[-1].sampled] for space in search.arms}
    for cell in search.confirmation(winners):
        gain = 0.0 if cell.spec.trial is None else 10.0 if cell.arm == "control" else 4.0
        records[cell.id] = record(cell, value=gain + 0.1 * cell.seed)
    report = build(planned, records)
    assert report.search is not None
    assert [row.id for row in report.search.tuned] == [arm.id for arm in planned.arms]
    tuned = report.search.tuned[1].metrics["motion_magnitude/farneback"]
    assert tuned.difference == pytest.approx(4 - 10)
    (control, line) = texts.tuned_lines(report, "motion_magnitude/farneback")
    assert "training.lr" in control.settings
    assert line.at_control_settings.difference == "+0.0000"
    assert line.at_best_settings.difference.startswith("-6.0")


def test_where_effort_differs_the_report_says_so_first(plan: Callable[..., Plan]) -> None:
    planned = plan()
    records = done(planned)
    records = {key: replace(one, clips=5) if one.arm != "control" else one for key, one in records.items()}
    report: Report = build(planned, records)
    assert texts.remarks(report)[0].startswith("UNEQUAL EFFORT: temporal_attention=removed")


def test_another_system_has_the_training_that_the_study_gives_it(write: Callable[[str], Path]) -> None:
    planned = load(write(ACROSS_STUDY))
    found = audit(planned, done(planned), seeds(planned))
    assert found.problems == ()
    assert words(found.remarks) == ("seer: 6 updates per cell, the control has 8 (the arm changes this)",)
    (seer,) = [effort for effort in found.efforts if effort.arm == "seer"]
    assert (seer.updates, seer.clips) == (12, 8)
