"""What is handed out, in which order, and when the queue waits."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from models.bases import base_hash
from sweeps.plan import Cell, Plan, load
from sweeps.results.record import Record
from sweeps.run import driver as launch
from sweeps.run.lock import StudyLock
from sweeps.run.queue import Exhausted, Queue
from tests.factories import ACROSS_STUDY, make_record, make_result, make_scores
from trainables.provenance import code_hash

STUDY = """\
name: queue
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
ablations:
  - {part: attention, action: REMOVE}
"""
SEARCH = """\
search:
  space: {noise.threshold: {log_uniform: [0.001, 1.5]}}
  trials_per_arm: 3
  confirm: {top: 1, fresh_seeds: 2}
  repeats: 1
"""


@pytest.fixture
def plan(write: Callable[[str], Path]) -> Plan:
    return load(write(STUDY))


@pytest.fixture
def searched(write: Callable[[str], Path]) -> Plan:
    return load(write(STUDY + SEARCH))


def record(plan: Plan, cell: Cell, status: str = "done", metrics: bool = True, failure: str = "") -> Record:
    value = float(cell.spec.tree["noise"].get("threshold", 0))
    scores = make_scores(plan.metrics, value) if metrics and status == "done" else {}
    return Record.of(make_result(cell.spec, status=status, failure=failure, scores=scores, finished="now"))


def drain(queue: Queue, plan: Plan, fate: Callable[[Cell], Record] | None = None) -> list[Cell]:
    """Run one cell at a time to the end; each is done unless its fate is another."""
    cells = []
    for _ in range(1000):
        try:
            cell = queue.next()
        except Exhausted:
            return cells
        if cell is not None:
            cells.append(cell)
            queue.ended(cell, fate(cell) if fate else record(plan, cell))
    raise AssertionError("no end")


def test_a_plans_cells_seed_by_seed(plan: Plan) -> None:
    queue = Queue(plan, {})
    assert queue.total == 4
    assert bool(queue)
    assert [(cell.arm, cell.seed) for cell in drain(queue, plan)] == [
        ("control", 0), ("attention=removed", 0), ("control", 1), ("attention=removed", 1),
    ]  # fmt: skip
    assert not queue


def test_what_is_done_failed_or_elsewhere_is_not_handed_out(plan: Plan) -> None:
    first, second, third, fourth = plan.cells
    records = {
        first.id: record(plan, first),
        second.id: record(plan, second, "failed"),
        third.id: record(plan, third, metrics=False),
    }
    assert [cell.id for cell in drain(Queue(plan, records), plan)] == [third.id, fourth.id]
    again = drain(Queue(plan, records, retry_failed=True), plan)
    assert [cell.id for cell in again] == [second.id, third.id, fourth.id]
    only = drain(Queue(plan, records, only=["control"]), plan)
    assert [cell.id for cell in only] == [third.id]
    assert not Queue(plan, {cell.id: record(plan, cell) for cell in plan.cells})


def test_a_search_is_shared_out_evenly_and_then_confirmed(searched: Plan) -> None:
    queue = Queue(searched, {})
    total = queue.total
    cells = drain(queue, searched)
    assert len(cells) == total == 4 + 2 * 3 + 3 * 2
    assert [cell.spec.stage for cell in cells] == ["plan"] * 4 + ["search"] * 6 + ["confirm"] * 6
    assert [cell.arm for cell in cells[4:10]] == ["control", "attention=removed"] * 3
    confirmed = cells[10:]
    assert sorted({cell.seed for cell in confirmed}) == [10_000, 10_001]
    best = max(cell.spec.sampled["noise.threshold"] for cell in cells[4:10] if cell.arm == "control")
    winners = {
        cell.spec.sampled["noise.threshold"] for cell in confirmed if cell.arm == "control" and cell.spec.sampled
    }
    assert winners == {best}
    assert not Queue(searched, queue.records)


def test_repeats_run_one_after_the_other_each_with_its_confirmation(
    write: Callable[[str], Path], searched: Plan
) -> None:
    once = drain(Queue(searched, {}), searched)
    plan = load(write((STUDY + SEARCH).replace("repeats: 1", "repeats: 3")))
    queue = Queue(plan, {})
    total, cells = queue.total, drain(queue, plan)
    assert len(cells) == total == 4 + 3 * (2 * 3 + 2 * 2) + 2
    assert [cell.id for cell in cells[: len(once)]] == [cell.id for cell in once], "results of a single search stay"
    stages = ["plan"] * 4 + ["search"] * 6 + ["confirm"] * 6 + 2 * (["search"] * 6 + ["confirm"] * 4)
    assert [cell.spec.stage for cell in cells] == stages
    assert [cell.spec.repeat for cell in cells] == [0] * 16 + [1] * 10 + [2] * 10
    assert {cell.seed for cell in cells if cell.spec.stage == "search"} == {0, 20_000, 20_001}
    assert not Queue(plan, queue.records)
    for after in (4, 13, 18, 27):
        records = {cell.id: record(plan, cell) for cell in cells[:after]}
        assert [cell.id for cell in drain(Queue(plan, records), plan)] == [cell.id for cell in cells[after:]]


def test_a_winner_of_two_repeats_is_confirmed_once(write: Callable[[str], Path]) -> None:
    space = "{noise: {kinds: [two_stage, removed]}}"
    text = SEARCH.replace("{noise.threshold: {log_uniform: [0.001, 1.5]}}", space).replace("repeats: 1", "repeats: 2")
    plan = load(write(STUDY + text))
    cells = drain(queue := Queue(plan, {}), plan)
    assert len({cell.id for cell in cells}) == len(cells)
    assert [cell.spec.repeat for cell in cells if cell.spec.stage == "confirm"] == [0] * 6, "threshold decides in both"
    assert queue.total == 0


def test_arms_with_fewer_searched_values_are_in_step_by_the_share_of_their_trials(
    write: Callable[[str], Path],
) -> None:
    space = "{noise.threshold: {log_uniform: [0.001, 1.5]}, attention.mu: {uniform: [0, 1]}}"
    text = SEARCH.replace("{noise.threshold: {log_uniform: [0.001, 1.5]}}", space).replace("per_arm: 3", "per_arm: 6")
    plan = load(write(STUDY + text))
    trials = [cell.arm for cell in drain(Queue(plan, {}), plan) if cell.spec.stage == "search"]
    both = ["control", "attention=removed", "control"]
    assert trials == both * 3


def test_a_search_waits_for_its_trials(searched: Plan) -> None:
    queue = Queue(searched, {}, slots=2)
    for _ in range(4):
        cell = queue.next()
        assert cell is not None
        queue.ended(cell, record(searched, cell))
    first, second = queue.next(), queue.next()
    assert first is not None
    assert second is not None
    assert queue.next() is None, "two trials are open"
    queue.ended(first, record(searched, first))
    third = queue.next()
    assert third is not None
    assert third.spec.stage == "search"


@pytest.mark.parametrize("after", range(0, 17, 3))
def test_a_search_cut_short_proposes_what_it_would_have(searched: Plan, after: int) -> None:
    whole = drain(Queue(searched, {}), searched)
    records = {cell.id: record(searched, cell) for cell in whole[:after]}
    rest = drain(Queue(searched, records), searched)
    assert [cell.id for cell in rest] == [cell.id for cell in whole[after:]]


def test_lost_workers_end_a_search_too(searched: Plan) -> None:
    queue = Queue(searched, {})
    handed = 0
    for _ in range(1000):
        try:
            cell = queue.next()
        except Exhausted:
            break
        if cell is not None:
            handed += 1
            queue.ended(cell, None)
    assert handed >= 4 + 6
    assert Queue(searched, queue.records).total == 16, "nothing is done, so all of it is to do again"


def test_a_failed_trial_is_tried_again_when_asked(searched: Plan) -> None:
    whole = drain(Queue(searched, {}), searched)
    failed = whole[5]
    records = {cell.id: record(searched, cell, "failed" if cell is failed else "done") for cell in whole}
    assert not Queue(searched, records)
    again = Queue(searched, records, retry_failed=True)
    assert again.total == 1
    assert [cell.id for cell in drain(again, searched)][0] == failed.id


def test_more_seeds_leave_trials_and_confirmations_as_they_are(write: Callable[[str], Path], searched: Plan) -> None:
    records = {cell.id: record(searched, cell) for cell in drain(Queue(searched, {}), searched)}
    more = load(write(STUDY.replace("seeds: 2", "seeds: 4") + SEARCH))
    queue = Queue(more, records)
    assert queue.total == 4
    assert [(cell.seed, cell.spec.stage) for cell in drain(queue, more)] == [(2, "plan")] * 2 + [(3, "plan")] * 2


def test_the_count_is_of_the_winners_as_they_stand_now(write: Callable[[str], Path], searched: Plan) -> None:
    records = {cell.id: record(searched, cell) for cell in drain(Queue(searched, {}), searched)}
    more = load(write((STUDY + SEARCH).replace("trials_per_arm: 3", "trials_per_arm: 12")))
    queue = Queue(more, records)
    before, cells = queue.total, drain(queue, more)
    trials = [cell for cell in cells if cell.spec.stage == "search"]
    assert len(trials) == 2 * 9
    assert len(trials) <= before <= len(cells), "confirmations of winners that are beaten come on top"
    assert Queue(more, queue.records).total == 0


def test_a_new_metric_rescoring_comes_before_new_trials(searched: Plan) -> None:
    whole = drain(Queue(searched, {}), searched)
    records = {cell.id: record(searched, cell, metrics=cell.spec.stage != "search") for cell in whole[:9]}
    rest = drain(Queue(searched, records), searched)
    assert {cell.id for cell in rest[:5]} == {cell.id for cell in whole[4:9]}
    assert [cell.id for cell in rest[5:]] == [cell.id for cell in whole[9:]]


@pytest.mark.parametrize("place", [0, 5, 12])
def test_a_failure_anywhere_leaves_a_study_incomplete(searched: Plan, place: int, tmp_path: Path) -> None:
    whole = drain(Queue(searched, {}), searched)
    run = launch._Run(searched, tmp_path, launch.Options(), StudyLock(tmp_path / "queue"))
    records = {cell.id: record(searched, cell) for cell in whole}
    assert not run._incomplete(records)
    failed = records | {whole[place].id: record(searched, whole[place], "failed")}
    assert run._incomplete(failed), whole[place].spec.stage
    assert run._incomplete({cell_id: found for cell_id, found in records.items() if cell_id != whole[place].id})


def test_what_the_machine_failed_is_done_again_and_what_the_arm_failed_is_not(plan: Plan) -> None:
    first, second = plan.cells[0], plan.cells[1]
    times: Counter[str] = Counter()

    def fate(cell: Cell) -> Record:
        times[cell.id] += 1
        if cell == first and times[cell.id] < 3:
            return record(plan, cell, "failed", failure="infrastructure")
        return record(plan, cell, "failed", failure="error") if cell == second else record(plan, cell)

    assert drain(Queue(plan, {}), plan, fate) == [*plan.cells, first, first]


def test_a_machine_that_fails_always_is_not_asked_for_ever(plan: Plan) -> None:
    def lost(cell: Cell) -> Record:
        return record(plan, cell, "failed", failure="infrastructure")

    assert len(drain(Queue(plan, {}), plan, lost)) == 3 * len(plan.cells)
    assert Queue(plan, {cell.id: lost(cell) for cell in plan.cells}).total == len(plan.cells), "the next run goes on"


def test_results_are_compared_with_the_code_and_weights_of_their_own_system(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(ACROSS_STUDY)
    plan = load(tmp_path / "study.yaml")
    run = launch._Run(plan, tmp_path, launch.Options(), StudyLock(tmp_path / "across"))
    specs = plan.specs
    code = {arm: code_hash(spec.system) for arm, spec in specs.items()}
    weights = {arm: base_hash(spec.ref) for arm, spec in specs.items()}
    assert code["seer"] != code["control"]
    assert weights["seer"] != weights["control"]

    def records(of_seer: str) -> dict[str, Record]:
        arms = {arm: of_seer if arm == "seer" else arm for arm in specs}
        return {
            cell.id: make_record(cell, {}, code_hash=code[arms[cell.arm]], base_hash=weights[arms[cell.arm]])
            for cell in plan.cells
        }

    assert (run._results_of_other_code(records("seer")), run._results_of_other_weights(records("seer"))) == ("", "")
    wrong = records("control")
    assert f"2 results from other code ({code['control']}; this is" in run._results_of_other_code(wrong)
    assert "2 results from other weights of base shapes ->" in run._results_of_other_weights(wrong)
