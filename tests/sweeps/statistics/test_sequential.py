"""Looking on the way: exactness against counting, and the promises of a study that ends by itself, by simulation."""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.console import reach_lines
from sweeps.plan import Plan, load
from sweeps.plan.looks import looks_of
from sweeps.report.table import build
from sweeps.results.reach import reach
from sweeps.results.record import Record
from sweeps.results.status import listed
from sweeps.results.stopping import reached_seeds
from sweeps.run.queue import Exhausted, Queue
from sweeps.statistics.bootstrap import bootstrap_t
from sweeps.statistics.families import Correction, Family, Method, PValues, p_values
from sweeps.statistics.max_t import max_t
from sweeps.statistics.paired import ALPHA, holm, paired_difference, rounding, smallest_p
from sweeps.statistics.sequential import SHARES, Looks, looks, with_earlier
from sweeps.statistics.verdicts import Verdict
from tests.factories import make_result, make_scores

STUDY = """\
name: ends
system: zs2
base: shapes
metrics: [{metric}]
seeds: {seeds}
unit: {{kind: seed, reason: the simulated studies have no clips}}
ablations:
  - {{part: attention.mu, action: VALUES, values: {values}}}
"""
RULE = "{{min: 4, max: {most}, stop: decided}}"
Planned = Callable[..., Plan]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    def plan(arms: int = 4, most: int = 16, more: str = "", metric: str = "clip_score") -> Plan:
        values = [i / (2 * arms) for i in range(arms)]
        return load(write(STUDY.format(seeds=RULE.format(most=most), values=values, metric=metric) + more))

    return plan


# ---------------------------------------------------------------------------------------------------------------- looks


@pytest.mark.parametrize(
    ("least", "most", "units", "arms", "seeds"),
    [
        (4, 16, 1, 1, (8, 12, 16)),
        (4, 16, 1, 4, (10, 13, 16)),
        (12, 16, 1, 1, (12, 14, 16)),
        (4, 9, 1, 1, (8, 9)),
        (4, 8, 1, 1, (8,)),
        (2, 3, 1, 1, (3,)),
        (2, 8, 8, 1, (2, 5, 8)),
        (2, 8, 3, 1, (3, 5, 8)),
    ],
)
def test_the_first_look_is_the_first_that_can_find_something(
    least: int, most: int, units: int, arms: int, seeds: tuple[int, ...]
) -> None:
    found = looks(range(most), least, units, arms)
    assert found.numbers == seeds
    assert found.seeds[0] == tuple(range(seeds[0]))
    assert sum(found.shares) == pytest.approx(1)
    if len(seeds) > 1:
        assert smallest_p(seeds[0] * units) / found.shares[0] <= ALPHA / arms
        assert found.share_of(range(seeds[0] - 1)) == found.share_of(range(seeds[0])) == found.shares[0]
        assert found.share_of(range(seeds[0] + 1)) == found.shares[1]
        assert [len(at) for at, _ in found.until(range(seeds[1]))] == [*seeds[:2]]
        assert found.is_futile(0, 0.41)
        assert not found.is_futile(0, 0.39)
    assert not found.is_futile(len(seeds) - 1, 1.0), "at the last look nothing is spared"


def test_the_ends_of_a_study_that_was_extended_share_the_level() -> None:
    eight, sixteen = (Looks((tuple(range(n)),), (1.0,), leaving=False) for n in (8, 16))
    found = with_earlier(sixteen, [eight])
    assert (found.numbers, found.shares) == ((8, 16), (0.5, 0.5))
    assert not found.is_futile(0, 1.0)
    assert with_earlier(sixteen, [sixteen]) == sixteen
    elsewhere = Looks((tuple(range(20, 28)),), (1.0,))
    assert with_earlier(sixteen, [elsewhere]) == sixteen, "another sample"
    shifted = with_earlier(sixteen, [Looks((tuple(range(12, 20)),), (1.0,))])
    assert [share for _, share in shifted.until(range(16))] == [0.5], "it spent its share, and cannot be made again"


def test_a_stopping_rule_whose_maximum_is_raised_has_spent_what_its_looks_had() -> None:
    before = looks(range(16), 4)
    early = Looks(before.seeds[:1], before.shares[:1])
    after = looks(range(32), 4)
    assert with_earlier(after, [early]) == replace(after, earlier=frozenset(early.seeds)), "the first look is the same"
    found = with_earlier(after, [before])
    assert found.numbers == (8, 12, 16, 20, 32)
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares[2] == pytest.approx(0.63 / 1.83)
    assert found.is_futile(3, 0.21)


# ------------------------------------------------------------------------------------------------------------- p-values


def differences(arms: int, units: int, seed: int) -> Matrix:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(arms, units)) - rng.normal(size=units)) / sqrt(2) + 0.4


def family(d: Matrix) -> Family:
    return Family(d, tuple(rounding(row, np.zeros(len(row))) for row in d))


@given(st.integers(1, 4), st.integers(4, 9), st.integers(0, 10**6))
@settings(deadline=None, max_examples=30, derandomize=True, database=None)
def test_p_is_the_smallest_over_the_looks_each_by_its_share(arms: int, units: int, seed: int) -> None:
    d, shares = differences(arms, units, seed), (0.3, 0.2, 0.5)
    ends = (units - 2, units - 1, units)
    before = [2.0] * arms
    for number in range(1, 4):
        found = p_values([family(d[:, :end]) for end in ends[:number]], shares[:number], arms)
        each = [max_t(d[:, :end]) for end in ends[:number]]
        for arm in range(arms):
            parts = [p[arm] / share for p, share in zip(each, shares, strict=False)]
            assert found[arm].p_corrected == pytest.approx(min(1.0, *parts))
            assert found[arm].p_corrected <= before[arm], "what is found stays found"
            assert found[arm].p_latest == pytest.approx(each[-1][arm])
            least = (smallest_p(end) / share for end, share in zip(ends[:number], shares, strict=False))
            assert found[arm].smallest_p == pytest.approx(min(1.0, *least, 1.0))
        before = [item.p_corrected for item in found]


@pytest.mark.parametrize("correction", ["max_t", "holm"])
@pytest.mark.parametrize("test", ["sign_flip", "bootstrap_t"])
def test_a_single_look_is_the_test_itself(test: Method, correction: Correction) -> None:
    d = differences(3, 8, 1)
    found = p_values([family(d)], (1.0,), 3, test=test, correction=correction)
    if test == "sign_flip":
        singles = [paired_difference(row, np.zeros(8)).p_value for row in d]
        together = max_t(d)
    else:
        singles, together = [bootstrap_t([row])[0] for row in d], bootstrap_t(d)
    assert [item.p_value for item in found] == singles
    assert [item.p_corrected for item in found] == (together if correction == "max_t" else holm(singles))
    assert p_values([], (), 3)[0] == PValues(1.0, 1.0, 1.0, 1.0), "before the first look"


def test_an_arm_that_has_left_is_not_tested_again() -> None:
    d = differences(2, 12, 3) + 1
    left = d.copy()
    left[0, 8:] = np.nan
    first = p_values([family(d[:, :8])], (0.17,), 2)
    after = p_values([family(d[:, :8]), family(left)], (0.17, 0.83), 2)
    assert after[0] == first[0], "8 pairs at the second look's share would be another, larger claim"
    assert after[1].p_corrected < first[1].p_corrected


# -------------------------------------------------------------------------------------------------------------- studies


def record(plan: Plan, place: int, values: dict[str, float], status: str = "done", error: str = "") -> Record:
    cell = plan.cells[place]
    scores = make_scores(plan.metrics, values[cell.arm]) if status == "done" else {}
    failure = "diverged" if error else ""
    return Record.of(make_result(cell.spec, status=status, error=error, failure=failure, scores=scores))


def simulated(
    plan: Plan, effects: float | list[float], rng: np.random.Generator, correlation: float = 0.5
) -> dict[str, Record]:
    """Records of every cell: a difference has the mean of its arm's effect in units of its own standard deviation."""
    num_arms = len(plan.arms)
    shared = sqrt(correlation) * rng.normal(size=(len(plan.study.all_seeds), 1))
    values = shared + sqrt(1 - correlation) * rng.normal(size=(len(plan.study.all_seeds), num_arms))
    values[:, 1:] += np.array(effects) * sqrt(2 * (1 - correlation))
    names = [arm.id for arm in plan.arms]
    records = {}
    for place, cell in enumerate(plan.cells):
        records[cell.id] = record(plan, place, dict(zip(names, values[place // num_arms], strict=True)))
    return records


def run(plan: Plan, records: dict[str, Record], queue: Queue) -> list[str]:
    """Work an queue off, as a driver does that has room for three cells; the cells in their order."""
    handed: list[str] = []
    open_cells = []
    while True:
        try:
            cell = queue.next()
        except Exhausted:
            cell, over = None, True
        else:
            over = False
        if cell is not None:
            handed.append(cell.id)
            open_cells.append(cell)
        if open_cells and (cell is None or len(open_cells) == 3):
            ended = open_cells.pop(0)
            queue.ended(ended, records[ended.id])
        elif over:
            return handed


def test_a_study_ends_at_the_look_that_decides_every_arm(planned: Planned) -> None:
    plan = planned()
    records = simulated(plan, 6, np.random.default_rng(1))
    assert reached_seeds(plan, {}).seeds == tuple(range(8))
    handed = run(plan, records, Queue(plan, {}))
    assert handed == [cell.id for cell in plan.cells if cell.seed < 8]
    done = {cell_id: records[cell_id] for cell_id in handed}
    stage = reached_seeds(plan, done)
    assert (len(stage.decided), stage.complete, len(stage.seeds)) == (4, True, 8)
    assert {cell["state"] for cell in listed(plan, done) if cell["seed"] >= 8} == {"spared"}
    assert not Queue(plan, done)
    report = build(plan, done)
    assert {row.metrics[plan.metrics[0].key].verdict for row in report.rows[1:]} == {"better"}
    assert {row.missing for row in report.rows} == {0}
    assert "Ended after 8 seeds." in report.caption
    assert "left when decided" in report.caption
    assert "widened for the repeated analyses" in report.caption


def test_arms_leave_one_by_one_and_the_control_stays(planned: Planned) -> None:
    plan = planned()
    records = simulated(plan, [6, 6, 1.0, 0], np.random.default_rng(4))
    control, one, two, moderate, nothing = (arm.id for arm in plan.arms)
    handed = set(run(plan, records, Queue(plan, {})))
    of_arm = {arm.id: sum(cell.arm == arm.id and cell.id in handed for cell in plan.cells) for arm in plan.arms}
    assert (of_arm[one], of_arm[two]) == (8, 8)
    assert of_arm[control] == max(of_arm[moderate], of_arm[nothing]) > 8
    done = {cell_id: records[cell_id] for cell_id in handed}
    reached = reached_seeds(plan, done)
    assert {one, two} <= reached.decided
    assert reached.complete
    states = {(cell["arm"], cell["seed"]): cell["state"] for cell in listed(plan, done)}
    assert states[one, 8] == "spared"
    assert states[control, 8] == "done"
    rows = {row.id: row for row in build(plan, done).rows}
    key = plan.metrics[0].key
    assert (rows[one].metrics[key].pairs, rows[one].missing) == (8, 0)
    assert rows[control].metrics[key].n == of_arm[control]
    assert reached_seeds(plan, records) == reached, "results that nobody asked for change nothing"


def test_an_arm_without_any_sign_of_an_effect_leaves(planned: Planned) -> None:
    plan = planned(arms=1)
    even = {}
    for place, cell in enumerate(plan.cells):
        even[cell.id] = record(plan, place, {"control": 0.0, plan.arms[1].id: (-1.0) ** cell.seed})
    reached = reached_seeds(plan, even)
    assert (reached.futile, reached.seeds, reached.complete) == (frozenset({plan.arms[1].id}), tuple(range(8)), True)
    assert "left without a sign of an effect" in build(plan, even).caption


def test_no_arm_leaves_in_vain_at_a_look_that_could_have_shown_nothing(write: Callable[[str], Path]) -> None:
    """Clips set the looks, at 2, 9 and 16 seeds; results without values by clip are compared by seed."""
    text = STUDY.format(seeds="{min: 2, max: 16, stop: decided}", values=[0.0], metric="clip_score")
    plan = load(write(text.replace("unit: {kind: seed, reason: the simulated studies have no clips}\n", "")))
    assert looks_of(plan).numbers == (2, 9, 16)
    reached = reached_seeds(plan, simulated(plan, 6, np.random.default_rng(2)))
    assert reached.decided == {plan.arms[1].id}
    assert len(reached.seeds) == 9


def test_a_family_over_metrics_is_one_at_the_looks_too(planned: Planned) -> None:
    one = planned(metric="clip_score, fid")
    both = planned(metric="clip_score, fid", more="correct_over: arms_and_metrics\n")
    rng, left = np.random.default_rng(8), 0
    for _ in range(25):
        records = simulated(one, 1.6, rng)
        reached = reached_seeds(both, dict(zip((cell.id for cell in both.cells), records.values(), strict=True)))
        rows = build(both, records).rows
        left += len(reached.decided)
        for row in rows:
            if row.id in reached.decided:
                assert row.metrics[both.metrics[0].key].verdict is not Verdict.INCONCLUSIVE
    assert left


def test_effects_of_a_design_keep_all_arms(planned: Planned) -> None:
    plan = planned(more="design: factorial\n", arms=1)
    assert plan.contrasts
    even = {}
    for place, cell in enumerate(plan.cells):
        even[cell.id] = record(plan, place, {arm.id: float(cell.seed % 3) for arm in plan.arms})
    assert set(reached_seeds(plan, even).of_arm.values()) == {tuple(range(8))}, "all leave together"


def test_where_nothing_is_found_all_seeds_are_taken(planned: Planned) -> None:
    plan = planned()
    records = simulated(plan, 0.7, np.random.default_rng(5))
    reached = reached_seeds(plan, records)
    assert (len(reached.seeds), reached.complete) == (16, True)
    assert len(run(plan, records, Queue(plan, {}))) == sum(map(len, reached.of_arm.values()))
    assert "Ended after 16 seeds." in build(plan, records).caption


def test_an_arm_within_its_margin_is_decided_too(planned: Planned) -> None:
    plan = planned(more="margins: {clip_score: 5}\n")
    assert len(reached_seeds(plan, simulated(plan, 0, np.random.default_rng(3))).decided) == 4


def test_a_look_waits_for_a_cell_that_was_lost(planned: Planned) -> None:
    plan = planned()
    records = simulated(plan, 6, np.random.default_rng(1))
    lost = plan.cells[7].id
    del records[lost]
    assert not reached_seeds(plan, records).complete
    assert [cell.id for cell in iter_next(Queue(plan, records))] == [lost]


def iter_next(queue: Queue) -> list:  # type: ignore[type-arg]
    cells = []
    while True:
        try:
            cell = queue.next()
        except Exhausted:
            return cells
        if cell is None:
            return cells
        cells.append(cell)


def test_an_arm_without_any_value_does_not_hold_the_study_up(planned: Planned) -> None:
    plan = planned()
    records = simulated(plan, 6, np.random.default_rng(1))
    for place, cell in enumerate(plan.cells):
        if cell.arm == plan.arms[2].id:
            records[cell.id] = record(plan, place, {}, "failed", "NonFiniteError: the loss became nan")
    assert reached_seeds(plan, records).decided


def test_the_interval_is_that_of_the_look(planned: Planned) -> None:
    plan = planned()
    records = simulated(plan, 6, np.random.default_rng(1))
    key = plan.metrics[0].key
    arm, control = (build(plan, records).values[one.id][key] for one in (plan.arms[1], plan.arms[0]))
    row = build(plan, records).rows[1].metrics[key]
    expected = paired_difference(list(arm.values()), list(control.values()), 1 - ALPHA * SHARES[0])
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high))
    assert row.p_value == pytest.approx(2**-7 / SHARES[0])


def test_effects_of_a_design_hold_whenever_one_stops_too(planned: Planned) -> None:
    plan = planned(more="design: factorial\n", arms=1)
    records = simulated(plan, 6, np.random.default_rng(1))
    stage = reached_seeds(plan, records)
    assert len(stage.seeds) == 8
    (effect,) = [row for row in build(plan, records).contrasts if row.kind == "effect"]
    found = effect.metrics[plan.metrics[0].key].effect
    assert found.n == 8
    assert found.p_value == pytest.approx(2**-7 / SHARES[0])


def test_the_plan_says_what_its_seeds_can_reach(planned: Planned) -> None:
    plan = planned()
    assert "seeds: interim looks after 8 and 12 seeds; an arm leaves when clip_score" in plan.notes[-1]
    (first,) = reach_lines(reach(plan, {}))
    assert first.startswith("smallest p with 16 seeds: 4.8e-05; corrected over 4 arms: 4.8e-05")
    records = simulated(plan, 0, np.random.default_rng(0))
    some = {cell.id: records[cell.id] for cell in plan.cells[:40]}
    *_, last = reach_lines(reach(plan, some))
    assert last.startswith("clip_score/")
    assert ": shows differences of " in last
    assert "80 % power" in last
    few = planned(most=8)
    assert "too few for an interim look" in few.notes[-1]
    assert reach_lines(reach(few, {}))[0].startswith("smallest p with 8 seeds: 0.0078; corrected over 4 arms: 0.0078")


@pytest.mark.slow
def test_half_of_the_arms_with_large_effects_save_a_third_of_the_cells(planned: Planned) -> None:
    """Of 4 arms 2 have effects of 2 standard deviations, 16 seeds at most; as many studies without any effect."""
    plan, rng, studies = planned(), np.random.default_rng(6), 250
    key, real = plan.metrics[0].key, {plan.arms[1].id, plan.arms[2].id}
    cells, found, wrong, wrong_in_none, fixed = 0, 0, 0, 0, 0
    for _ in range(studies):
        records = simulated(plan, [2, 2, 0, 0], rng)
        reached = reached_seeds(plan, records)
        cells += sum(map(len, reached.of_arm.values()))
        rows = {row.id: row.metrics[key] for row in build(plan, records).rows[1:]}
        found += sum(rows[arm].verdict is not Verdict.INCONCLUSIVE for arm in real)
        wrong += any(row.verdict is not Verdict.INCONCLUSIVE for arm, row in rows.items() if arm not in real)
        whole = np.array([[records[c.id].scores[key] for c in plan.cells if c.arm == arm.id] for arm in plan.arms])
        fixed += sum(p <= ALPHA for p in max_t(whole[1:] - whole[0])[:2])
        nothing = build(plan, simulated(plan, 0, rng))
        wrong_in_none += any(row.metrics[key].verdict is not Verdict.INCONCLUSIVE for row in nothing.rows[1:])
    saved = 1 - cells / studies / len(plan.cells)
    print(f"saved {saved:.3f}, found {found} of {fixed} with all seeds, errors {wrong}, {wrong_in_none} of {studies}")
    assert saved >= 0.35
    assert found / studies / 2 >= fixed / studies / 2 - 0.05
    for errors in (wrong, wrong_in_none):
        assert errors / studies <= ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / studies)
