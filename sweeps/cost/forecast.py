"""The cells of a plan on the slots of a cluster, one after the other: how long, and at what cost."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sweeps.cost.calibration import Calibration
from sweeps.plan import Plan
from sweeps.results.ledger import WAITING, state
from sweeps.results.record import Record
from sweeps.results.stopping import stage_of


@dataclass(frozen=True)
class ArmCost:
    """What is left of an arm.

    Args:
        arm: Which.
        cells: To do, a search's trials and confirmations among them.
        seconds: Of one of its cells, from its start to its end.
        hours: Of workers at work, for all of them.
    """

    arm: str
    cells: int
    seconds: float
    hours: float


@dataclass(frozen=True)
class Forecast:
    """What is left of a study.

    Args:
        arms: By arm.
        worker_hours: Of all workers.
        gpu_hours: Of all GPUs.
        seconds: From the start to the end.
        least: The same if all goes well.
        most: The same if it does not.
        slots: Cells at a time.
        peak_gib: The most memory a short cell took on its GPU; None where there is none.
        money: None where no price is given.
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
    """Price what is left of a plan, and play it through.

    A study that ends where its arms are decided is priced to its last seed, which is the most it can come to.

    Args:
        plan: What is to run.
        records: What is done.
        calibration: The prices.
    """
    inside, around = calibration.inside(plan), calibration.around(plan)
    costs = {arm: inside[arm] + around[arm] for arm in inside}
    left = _left(plan, records)
    workers, gpus = plan.study.resources.workers, calibration.gpus_per_worker
    arms = tuple(
        ArmCost(arm.id, count := left.count(arm.id), costs[arm.id], count * inside[arm.id] * workers / 3600)
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
    """Seconds until all cells have ended, each being taken by the slot that is free first, in their order.

    Args:
        costs: Of the cells.
        slots: How many run at a time.
        first: More of a slot's first cell.
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
    """The arms of the cells that are to do, in their order."""
    if stage_of(plan, records).decided:
        return []
    left = [cell.arm for cell in plan.cells if state(records.get(cell.id), plan) in WAITING]
    if plan.search is None:
        return left
    for stage, arm, count in plan.search.proposed():
        asked = (plan.search.identity, arm, stage)
        there = sum((record.search, record.arm, record.stage) == asked for record in records.values())
        left += [arm] * max(0, count - there)
    return left
