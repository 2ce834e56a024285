"""Prices from short cells: what is linear is found again, and what does not change a price is no other shape."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.cost.forecast import makespan
from sweeps.cost.prices import LONG, MOST_CLIPS, SHORT, UPDATES, Timed, priced, shape_of
from sweeps.plan import Plan, load
from sweeps.run.calibration import short_cells

ZS2 = """\
name: priced
system: zs2
base: shapes
metrics: [clip_score]
seeds: 4
protocol: {clips: 12, steps: 30}
ablations:
  - {part: attention.mu, action: VALUES, values: [0.5, 0.9]}
  - {part: attention, action: REMOVE}
"""
SEER = """\
name: priced
system: seer
base: shapes
metrics: [motion_magnitude]
seeds: 2
protocol: {clips: 200, frames: 6, steps: 10}
training: {steps: 100, global_batch_size: 4}
resources: {report_every: 20, checkpoint_every: 50}
ablations:
  - {part: training.lr, action: VALUES, values: [0.5]}
  - {part: text_decomposer.num_layers, action: VALUES, values: [2]}
"""


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Callable[[str], Plan]:
    return lambda text: load(write(text))


def world(steps: int, clips: int, trained: bool, first: float = 0.0) -> Timed:
    """A cell of a world whose prices are known."""
    seconds = {"load": 3.0, "sample": clips * (0.2 + 0.05 * steps), "save": 0.1 * clips, "score": 0.3 * clips}
    points = []
    if trained:
        points = [
            {"updates": 2, "seconds_per_step": 1.5 if k == 0 else 0.5, "validation_seconds": 2.0} for k in range(4)
        ]
        points[2]["checkpoint_seconds"] = 4.0
        seconds["train"] = 10.0 + 2 * 0.5 * 4 + 4 * 2.0 + 4.0
    else:
        seconds["load"] = 0.0
    return Timed(steps, clips, sum(seconds.values()) + 7.0 + first, seconds, points)


def test_what_is_linear_is_found_again(planned: Callable[[str], Plan]) -> None:
    price = priced([world(SHORT, 12, True), world(LONG, 12, True)], trained=True)
    expected = {"around": 7, "load": 3, "prepare": 10, "update": 0.5, "report": 2, "checkpoint": 4}
    expected |= {"draw": 0.2, "step": 0.05, "save": 0.1, "score": 0.3, "first": 0}
    assert {key: asdict(price)[key] for key in expected} == pytest.approx(expected)
    spec = planned(SEER).cells[0].spec
    training = 10 + 100 * 0.5 + 5 * 2 + 2 * 4
    assert price.of(spec) == pytest.approx(7 + 3 + training + 200 * (0.2 + 10 * 0.05 + 0.1 + 0.3))
    assert price.inside(spec) == pytest.approx(price.of(spec) - 7)


def test_the_first_cell_of_a_worker_is_priced_apart(planned: Callable[[str], Plan]) -> None:
    first = world(1, 12, False, first=20)
    price = priced([first, world(SHORT, 12, False), world(LONG, 12, False)], trained=False)
    later = (world(SHORT, 12, False).wall + world(LONG, 12, False).wall) / 2
    assert price.first == pytest.approx(first.wall - later)
    assert price.of(planned(ZS2).cells[0].spec) == pytest.approx(7 + 12 * (0.2 + 30 * 0.05 + 0.1 + 0.3))


def test_fractions_make_no_other_shape_and_parts_and_counts_do(planned: Callable[[str], Plan]) -> None:
    control, half, most, removed = (cell.spec for cell in planned(ZS2).cells[:4])
    assert shape_of(control) == shape_of(half) == shape_of(most) != shape_of(removed)
    control, rate, layers = (cell.spec for cell in planned(SEER).cells[:3])
    assert shape_of(control) == shape_of(rate) != shape_of(layers)
    longer = planned(SEER.replace("steps: 100", "steps: 900").replace("clips: 200", "clips: 20")).cells[0].spec
    assert shape_of(longer) == shape_of(control), "of what it has more, it only takes longer"
    wider = planned(SEER.replace("frames: 6", "frames: 8")).cells[0].spec
    assert shape_of(wider) != shape_of(control)


def test_short_cells_are_short_and_none_is_one_of_the_studys(planned: Callable[[str], Plan]) -> None:
    for text, number in ((ZS2, 3), (SEER, 2)):
        plan = planned(text)
        cells = short_cells(plan.cells[0].spec, "priced/.calibration")
        assert len({cell.cell_id for cell in cells}) == number
        assert [cell.protocol.steps for cell in cells[-2:]] == [SHORT, LONG]
        assert all(cell.protocol.clips <= MOST_CLIPS for cell in cells)
        assert {cell.cell_id for cell in cells}.isdisjoint(cell.id for cell in plan.cells)
        assert all(cell.training is None or cell.training.steps == UPDATES for cell in cells)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=20), st.integers(1, 6), st.floats(0, 10))
def test_a_makespan_lies_between_what_must_be_and_what_one_slot_takes(
    costs: list[float], slots: int, first: float
) -> None:
    found = makespan(costs, slots, first)
    assert found >= max(costs) + first - 1e-9
    assert found >= sum(costs) / slots - 1e-9
    assert found <= sum(costs) + min(slots, len(costs)) * first + 1e-9


def test_makespans_that_can_be_counted() -> None:
    assert makespan([], 2) == 0
    assert makespan([1, 2, 3], 1, first=5) == 11
    assert makespan([2] * 6, 2, first=1) == 7
    assert makespan([4, 1, 1, 1], 2) == 4
