"""A budget holds over restarts, ends a study at a balanced point, and is refused where it holds nothing."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.cost.budget import BudgetMeter
from sweeps.cost.calibration import Calibration, shapes_of
from sweeps.cost.prices import Price
from sweeps.plan import Cell, Plan, load
from sweeps.results.record import Record
from sweeps.run.queue import Exhausted, Queue
from tests.factories import make_result, make_scores

STUDY = """\
name: budgeted
system: zs2
base: shapes
metrics: [clip_score]
seeds: 8
ablations:
  - {part: attention, action: REMOVE}
budget: {budget}
"""
SEARCH = """\
search:
  space: {noise.threshold: {log_uniform: [0.001, 1.5]}}
  trials_per_arm: 6
  confirm: {top: 1, fresh_seeds: 4}
"""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Callable[..., Plan]:
    return lambda budget, more="": load(write(STUDY.replace("{budget}", budget) + more))


def record(plan: Plan, cell: Cell, hours: float = 1.0, gpus: float = 1.0) -> Record:
    value = float(cell.spec.tree["noise"].get("threshold", 0))
    spec = cell.spec.model_copy(update={"scaling": cell.spec.scaling.model_copy(update={"gpus_per_worker": gpus})})
    seconds = {"sample": 3600 * hours}
    return Record.of(make_result(spec, scores=make_scores(plan.metrics, value), seconds=seconds))


def price(seconds: float) -> Price:
    """Of a cell that takes so many seconds whatever it is."""
    return Price(0, 0, seconds, 0, 0, 0, 0, 0, 0, 0, 0, 0.1)


def calibration(plan: Plan, seconds: float, slots: int = 1, gpus: float = 1.0) -> Calibration:
    shapes = shapes_of(plan)
    return Calibration({shape: price(seconds) for shape in shapes.values()}, shapes, slots, gpus, 0.0, None)


def work(queue: Queue, plan: Plan, clock: Clock, open_at_once: int = 1, hours: float = 1.0) -> list[Cell]:
    """Work a queue off with some cells at a time; every round takes an hour on the clock."""
    done: list[Cell] = []
    under_way: list[Cell] = []
    while True:
        try:
            cell = queue.next()
        except Exhausted:
            cell, over = None, True
        else:
            over = False
        if cell is not None:
            under_way.append(cell)
        if under_way and (cell is None or len(under_way) == open_at_once):
            clock.now += 3600 * hours
            for ended in under_way:
                queue.ended(ended, record(plan, ended, hours))
            done += under_way
            under_way = []
        elif over:
            return done


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize(
    ("budget", "seeds"),
    [
        ("{gpu_hours: 7}", 3),
        ("{money: 21, price_per_gpu_hour: 3}", 3),
        ("{gpu_hours: 16}", 8),
        ("{gpu_hours: 100, money: 8, price_per_gpu_hour: 2}", 2),
    ],
)
def test_it_ends_where_another_seed_of_all_arms_would_cost_more(
    budget: str, seeds: int, slots: int, planned: Callable[..., Plan], tmp_path: Path
) -> None:
    plan, clock = planned(budget), Clock()
    meter = BudgetMeter(plan, tmp_path, calibration(plan, 3600, slots), clock)
    queue = Queue(plan, {}, meter=meter)
    done = work(queue, plan, clock, slots)
    assert Counter(cell.arm for cell in done) == dict.fromkeys([arm.id for arm in plan.arms], seeds)
    assert bool(queue.stopped) == (seeds < 8)
    if queue.stopped:
        assert "needed for one more seed of all arms" in queue.stopped


def test_what_cells_took_is_expected_where_no_price_was_taken(planned: Callable[..., Plan], tmp_path: Path) -> None:
    plan, clock = planned("{gpu_hours: 7}"), Clock()
    meter = BudgetMeter(plan, tmp_path, None, clock)
    meter.gpus = 1.0
    assert len(work(Queue(plan, {}, meter=meter), plan, clock)) == 6


def test_hours_on_the_clock_hold_over_restarts(planned: Callable[..., Plan], tmp_path: Path) -> None:
    plan, clock = planned("{wall_clock: 8.5}"), Clock()
    records: dict[str, Record] = {}
    for _ in range(5):  # each driver is killed after two cells
        meter = BudgetMeter(plan, tmp_path, calibration(plan, 3600), clock)
        queue = Queue(plan, records, meter=meter)
        for _ in range(2):
            try:
                cell = queue.next()
            except Exhausted:
                break
            assert cell is not None
            clock.now += 3600
            records[cell.id] = record(plan, cell)
            queue.ended(cell, records[cell.id])
        clock.now += 7200  # nobody runs it
    assert len(records) == 8
    assert "wall_clock 8.5 is too small" in queue.stopped


def test_a_search_ends_with_as_many_trials_in_every_arm(planned: Callable[..., Plan], tmp_path: Path) -> None:
    plan, clock = planned("{gpu_hours: 23}", SEARCH), Clock()
    meter = BudgetMeter(plan, tmp_path, calibration(plan, 3600), clock)
    done = work(Queue(plan, {}, meter=meter), plan, clock)
    trials = Counter(cell.arm for cell in done if cell.spec.stage == "search")
    assert trials == dict.fromkeys([arm.id for arm in plan.arms], 3)
    assert not any(cell.spec.stage == "confirm" for cell in done)


def test_a_budget_below_one_seed_of_all_arms_is_refused_with_the_arithmetic(
    planned: Callable[..., Plan], tmp_path: Path
) -> None:
    def shortfall(plan: Plan, calibration: Calibration) -> str:
        return BudgetMeter(plan, tmp_path, calibration).shortfall()

    plan = planned("{gpu_hours: 1.5}")
    assert shortfall(plan, calibration(plan, 3600)) == (
        "budgeted: budget: gpu_hours 1.5 is too small: 2 needed for one more seed of all arms, 0 spent "
        "-> a larger budget, or fewer arms"
    )
    assert shortfall(plan, calibration(plan, 1800)) == ""
    hours = planned("{wall_clock: 1}")
    assert "wall_clock 1 is too small: 2 needed" in shortfall(hours, calibration(hours, 3600))
    assert shortfall(hours, calibration(hours, 3600, slots=2)) == "", "both arms at a time"
    free = replace(calibration(plan, 3600), gpus_per_worker=0.0)
    assert shortfall(plan, free) == "", "without a GPU no GPU-hour is spent"
