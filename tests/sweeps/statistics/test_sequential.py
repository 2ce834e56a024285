"""Looking on the way: exactness against counting, and the promises of a study that ends by itself, by simulation."""

import itertools
from collections.abc import Callable
from math import floor, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.console import reach_lines
from sweeps.plan import Plan, load
from sweeps.report.table import build
from sweeps.results.reach import reach
from sweeps.results.record import Record
from sweeps.results.status import listed
from sweeps.results.stopping import reached_seeds
from sweeps.run.queue import Exhausted, Queue
from sweeps.statistics.paired import ALPHA, paired_difference, smallest_p
from sweeps.statistics.sequential import looks, sequential_p, smallest_sequential_p
from sweeps.statistics.verdicts import Verdict
from tests.factories import make_result, make_scores

STUDY = """\
name: ends
system: zs2
base: shapes
metrics: [{metric}]
seeds: {seeds}
ablations:
  - {{part: attention.mu, action: VALUES, values: {values}}}
"""
RULE = "{{min: 4, max: {most}, stop: decided}}"
NUMBERS = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=9)
Planned = Callable[..., Plan]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    def plan(arms: int = 4, most: int = 16, more: str = "", metric: str = "clip_score") -> Plan:
        values = [i / (2 * arms) for i in range(arms)]
        return load(write(STUDY.format(seeds=RULE.format(most=most), values=values, metric=metric) + more))

    return plan


def zeros(values: list[float]) -> list[float]:
    return [0.0] * len(values)


# ---------------------------------------------------------------------------------------------------------------- looks


@pytest.mark.parametrize(
    ("least", "most", "arms", "seeds"),
    [
        (4, 16, 4, (9, 12, 16)),
        (4, 16, 1, (7, 11, 16)),
        (12, 16, 4, (12, 14, 16)),
        (4, 10, 4, (9, 10)),
        (4, 9, 4, (9,)),
        (2, 3, 1, (3,)),
    ],
)
def test_the_first_look_is_the_first_that_can_find_something(
    least: int, most: int, arms: int, seeds: tuple[int, ...]
) -> None:
    found = looks(least, most, arms)
    assert found.seeds == seeds
    assert sum(found.shares) == pytest.approx(1)
    if len(seeds) > 1:
        assert smallest_p(seeds[0]) / found.shares[0] <= ALPHA / arms
        assert found.share_at(seeds[0] - 1) == found.share_at(seeds[0]) == found.shares[0]
        assert found.share_at(seeds[0] + 1) == found.shares[1]


# ------------------------------------------------------------------------------------------------------------- p-values


def counted(differences: list[float], pairs: list[int], shares: list[float], level: float) -> bool:
    """The definition, word by word: does any look find the signs as they are at this level?"""
    n = len(differences)
    patterns = list(itertools.product([1, -1], repeat=n))
    found: set[tuple[int, ...]] = set()
    for number, share in zip(pairs, shares, strict=True):
        sums = {e: abs(sum(s * d for s, d in zip(e[:number], differences, strict=False))) for e in patterns}
        left = [e for e in patterns if e not in found]
        budget = floor(level * share * len(patterns) * (1 + 1e-9))
        now = [e for e in left if sum(sums[other] >= sums[e] - 1e-9 for other in left) <= budget]
        found |= set(now)
    return patterns[0] in found


@given(NUMBERS)
def test_a_single_look_is_the_sign_flip_test(differences: list[float]) -> None:
    n = len(differences)
    found = sequential_p(differences, zeros(differences), [n], [1.0])
    assert found == pytest.approx(paired_difference(differences, zeros(differences)).p_value, abs=1e-8)


@settings(deadline=None, max_examples=40)
@given(NUMBERS.filter(lambda values: 5 <= len(values) <= 8), st.floats(0.01, 1))
def test_it_is_what_counting_all_patterns_gives(differences: list[float], level: float) -> None:
    n = len(differences)
    pairs, shares = [n - 3, n - 1, n], [0.3, 0.2, 0.5]
    p = sequential_p(differences, zeros(differences), pairs, shares)
    if abs(level - p) > 1e-6:
        assert (p <= level) == counted(differences, pairs, shares, level)


@given(NUMBERS.filter(lambda values: len(values) >= 4))
def test_what_is_found_stays_found(differences: list[float]) -> None:
    n = len(differences)
    pairs, shares = [n - 2, n - 1, n], [0.32, 0.1, 0.58]
    found = [sequential_p(differences, zeros(differences), pairs[:k], shares) for k in range(4)]
    assert found[0] == 1
    assert all(later <= earlier + 1e-8 for earlier, later in itertools.pairwise(found))
    assert found[-1] >= smallest_sequential_p(pairs, shares) - 1e-8


def test_differences_of_one_sign_reach_the_smallest_p() -> None:
    for n, share in ((9, 0.32), (5, 1.0)):
        assert sequential_p([1.0] * n, [0.0] * n, [n], [share]) == pytest.approx(2 ** (1 - n) / share, abs=1e-8)
    assert sequential_p([0.0] * 9, [0.0] * 9, [9], [0.32]) == 1


def test_many_pairs_agree_with_the_sign_flip_test_and_with_an_early_look() -> None:
    differences = np.random.default_rng(0).normal(0.4, 1, 24).tolist()
    whole = sequential_p(differences, zeros(differences), [24], [1.0])
    assert whole == pytest.approx(paired_difference(differences, zeros(differences)).p_value, rel=0.1)
    early = [sequential_p(differences[:n], [0.0] * n, [12], [0.4]) for n in (12, 24)]
    assert early[0] == pytest.approx(early[1], abs=1e-8)


# -------------------------------------------------------------------------------------------------------------- studies


def record(plan: Plan, place: int, values: dict[str, float], status: str = "done", error: str = "") -> Record:
    cell = plan.cells[place]
    scores = make_scores(plan.metrics, values[cell.arm]) if status == "done" else {}
    failure = "diverged" if error else ""
    return Record.of(make_result(cell.spec, status=status, error=error, failure=failure, scores=scores))


def simulated(plan: Plan, effect: float, rng: np.random.Generator, correlation: float = 0.5) -> dict[str, Record]:
    """Records of every cell: a difference has the mean ``effect`` in units of its own standard deviation."""
    num_arms = len(plan.arms)
    shared = sqrt(correlation) * rng.normal(size=(len(plan.study.all_seeds), 1))
    values = shared + sqrt(1 - correlation) * rng.normal(size=(len(plan.study.all_seeds), num_arms))
    values[:, 1:] += effect * sqrt(2 * (1 - correlation))
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
    assert reached_seeds(plan, {}).seeds == tuple(range(9))
    handed = run(plan, records, Queue(plan, {}))
    assert handed == [cell.id for cell in plan.cells if cell.seed < 9]
    done = {cell_id: records[cell_id] for cell_id in handed}
    stage = reached_seeds(plan, done)
    assert (stage.decided, stage.complete, len(stage.seeds)) == (True, True, 9)
    assert {cell["state"] for cell in listed(plan, done) if cell["seed"] >= 9} == {"spared"}
    assert not Queue(plan, done)
    report = build(plan, done)
    assert {row.metrics[plan.metrics[0].key].verdict for row in report.rows[1:]} == {"better"}
    assert {row.missing for row in report.rows} == {0}
    assert "Ended after 9 seeds: every arm was decided." in report.caption
    assert "widened for the repeated looks" in report.caption


def test_where_nothing_is_found_all_seeds_are_taken(planned: Planned) -> None:
    plan = planned()
    records = simulated(plan, 0, np.random.default_rng(2))
    assert len(run(plan, records, Queue(plan, {}))) == len(plan.cells)
    assert (reached_seeds(plan, records).decided, reached_seeds(plan, records).complete) == (False, True)
    assert "Ended after 16 seeds: the maximum." in build(plan, records).caption


def test_an_arm_within_its_margin_is_decided_too(planned: Planned) -> None:
    plan = planned(more="margins: {clip_score: 5}\n")
    assert reached_seeds(plan, simulated(plan, 0, np.random.default_rng(3))).decided


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
    expected = paired_difference(list(arm.values()), list(control.values()), 1 - ALPHA * 0.32)
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high))
    assert row.p_value == pytest.approx(2**-8 / 0.32, abs=1e-8)


def test_effects_of_a_design_hold_whenever_one_stops_too(planned: Planned) -> None:
    plan = planned(more="design: factorial\n", arms=1)
    records = simulated(plan, 6, np.random.default_rng(1))
    stage = reached_seeds(plan, records)
    assert len(stage.seeds) == 7
    (effect,) = [row for row in build(plan, records).contrasts if row.kind == "effect"]
    found = effect.metrics[plan.metrics[0].key].effect
    assert found.n == 7
    assert found.p_value == pytest.approx(2**-6 / 0.32, abs=1e-8)


def test_the_plan_says_what_its_seeds_can_reach(planned: Planned) -> None:
    plan = planned()
    assert "seeds: interim looks after 9 and 12 seeds; stops when clip_score" in plan.notes[-1]
    (first,) = reach_lines(reach(plan, {}))
    assert first.startswith("smallest p with 16 seeds: 5.3e-05; corrected over 4 arms: 0.00021")
    records = simulated(plan, 0, np.random.default_rng(0))
    some = {cell.id: records[cell.id] for cell in plan.cells[:40]}
    *_, last = reach_lines(reach(plan, some))
    assert last.startswith("clip_score/")
    assert ": detects differences of " in last
    assert "80 % power" in last
    few = planned(most=8)
    assert "too few for an interim look" in few.notes[-1]
    assert reach_lines(reach(few, {}))[0].startswith("smallest p with 8 seeds: 0.0078; corrected over 4 arms: 0.031")


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_family_wise_error_is_held_over_looks_and_arms(planned: Planned, correlation: float) -> None:
    plan, rng, studies = planned(most=12), np.random.default_rng(5), 600
    key = plan.metrics[0].key
    wrong = 0
    for _ in range(studies):
        report = build(plan, simulated(plan, 0, rng, correlation))
        wrong += any(row.metrics[key].verdict is not Verdict.INCONCLUSIVE for row in report.rows[1:])
    assert wrong / studies <= ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / studies)


@pytest.mark.slow
def test_large_effects_save_cells_and_moderate_ones_keep_their_power(planned: Planned) -> None:
    plan, rng = planned(), np.random.default_rng(6)
    stages = [reached_seeds(plan, simulated(plan, 2, rng)) for _ in range(200)]
    saved = 1 - np.mean([len(stage.seeds) for stage in stages]) / 16
    found = np.mean([stage.decided for stage in stages])
    print(f"effect of 2 standard deviations: {saved:.1%} of the cells saved, all arms found in {found:.1%}")
    assert saved >= 0.4
    assert found >= power(2) - 0.05

    planned_looks = looks(4, 16, 4)
    for effect, loss in ((1.0, 0.06), (1.2, 0.05)):
        p = [
            sequential_p(rng.normal(effect, 1, 16).tolist(), [0.0] * 16, planned_looks.seeds, planned_looks.shares)
            for _ in range(400)
        ]
        reached = np.mean([one <= ALPHA / 4 for one in p])
        print(f"effect of {effect}: power {reached:.3f}, of the fixed design by theory {power(effect):.3f}")
        assert reached >= power(effect) - loss - 2 * sqrt(0.25 / 400)


def power(effect: float, seeds: int = 16, level: float = ALPHA / 4) -> float:
    """Of a fixed design's paired t test at the strictest of Holm's levels."""
    bound = stats.t.ppf(1 - level / 2, seeds - 1)
    return float(stats.nct.sf(bound, seeds - 1, effect * sqrt(seeds)))
