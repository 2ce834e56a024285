"""Forecast of a plan's remaining work: duration, worker-hours, money."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sweeps.cost.calibration import Calibration
from sweeps.plan import Plan
from sweeps.plan.search import SearchPlan
from sweeps.results.ledger import WAITING, state
from sweeps.results.record import Record
from sweeps.results.stopping import reached_seeds
from sweeps.results.winners import trials_of
from trainables.trial_spec import Stage


@dataclass(frozen=True)
class ArmCost:
    """Remaining work of an arm.

    Args:
        arm: Id of the arm.
        cells: Number of cells to run, including trials and confirmations of a search.
        seconds: Duration of a cell.
        hours: Worker-hours of all its cells.
    """

    arm: str
    cells: int
    seconds: float
    hours: float


@dataclass(frozen=True)
class Forecast:
    """Remaining work of a study.

    Args:
        arms: Remaining work of each arm.
        worker_hours: Worker-hours in total.
        gpu_hours: GPU-hours in total.
        seconds: Expected duration.
        least: Lower bound of the duration, in seconds.
        most: Upper bound of the duration, in seconds.
        slots: Cells in parallel.
        peak_gib: Peak memory of a short cell on its GPU, in GiB; None without GPUs.
        money: Total price; None without a price per GPU-hour.
    """

    arms: tuple[ArmCost, ...]
    worker_hours: float
    gpu_hours: float
    seconds: float
    least: float
    most: float
    slots: int
    peak_gib: float | None
    money: float | None


def forecast(plan: Plan, records: Mapping[str, Record], calibration: Calibration) -> Forecast:
    """Forecast the remaining work of a plan, by a simulated schedule of its cells.

    A study with early decisions is priced to its last seed: the forecast is an upper bound.

    Args:
        plan: The plan.
        records: Existing results by cell id.
        calibration: Prices of the cells.
    """
    inside, around = calibration.inside(plan), calibration.around(plan)
    costs = {arm: inside[arm] + around[arm] for arm in inside}
    left = _left(plan, records)
    gpus, workers = calibration.gpus_per_worker, {arm: spec.scaling.workers for arm, spec in plan.specs.items()}
    arms = tuple(
        ArmCost(arm.id, count := left.count(arm.id), costs[arm.id], count * inside[arm.id] * workers[arm.id] / 3600)
        for arm in plan.arms
    )
    hours = sum(arm.hours for arm in arms)
    prices = [calibration.prices[shape] for shape in calibration.shapes.values()]
    first = max(price.first for price in prices)
    seconds = calibration.start + makespan([costs[arm] for arm in left], calibration.slots, first) if left else 0.0
    spread = max(price.spread for price in prices)
    budget = plan.study.budget
    price = budget.price_per_gpu_hour if budget else None
    return Forecast(
        arms=arms,
        worker_hours=hours,
        gpu_hours=hours * gpus,
        seconds=seconds,
        least=seconds * (1 - spread),
        most=seconds * (1 + spread),
        slots=calibration.slots,
        peak_gib=calibration.peak_gib,
        money=None if price is None else price * hours * gpus,
    )


def makespan(costs: Iterable[float], slots: int, first: float = 0.0) -> float:
    """Return the seconds until all cells have ended; each cell, in order, goes to the slot that is free first.

    Args:
        costs: Seconds of each cell.
        slots: Number of cells in parallel.
        first: Additional seconds of the first cell of a slot.
    """
    queue = [(0.0, slot) for slot in range(slots)]
    used: set[int] = set()
    latest = 0.0
    for cost in costs:
        end, slot = heapq.heappop(queue)
        end += cost + (0.0 if slot in used else first)
        used.add(slot)
        latest = max(latest, end)
        heapq.heappush(queue, (end, slot))
    return latest


def _left(plan: Plan, records: Mapping[str, Record]) -> list[str]:
    """Return the arms of the remaining cells, in the order of their execution."""
    reached = reached_seeds(plan, records)
    waiting = (cell for cell in plan.cells if state(records.get(cell.id), plan) in WAITING)
    left = [cell.arm for cell in waiting if not reached.spares(cell.arm, cell.seed)]
    if plan.search is None:
        return left
    for stage, arm, count in plan.search.proposed():
        existing = len(_existing(plan.search, stage, arm, records))
        left += [arm] * max(0, count - existing)
    return left


def _existing(search: SearchPlan, stage: Stage, arm: str, records: Mapping[str, Record]) -> list[Record]:
    if stage == "search":
        return trials_of(search, arm, records)
    key = (search.identity, arm, stage)
    return [record for record in records.values() if (record.search, record.arm, record.stage) == key]
