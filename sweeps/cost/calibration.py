"""Calibration of a study: prices of its shapes on one cluster, stored in the study's folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps.cost.prices import Price, shape_of
from sweeps.plan import Cell, Plan
from trainables.files import write_atomically
from trainables.provenance import code_hash

CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """Prices of a study's shapes on the cluster where they were measured.

    Args:
        prices: Shape -> its price.
        shapes: Arm -> its shape.
        slots: Cells in parallel.
        gpus_per_worker: GPUs per worker.
        start: Seconds before the first cell starts.
        peak_gib: Peak memory of a cell on its GPU, in GiB; None without GPUs.
        taken: Duration of the calibration in seconds; 0 for an earlier calibration.
    """

    prices: dict[str, Price]
    shapes: dict[str, str]
    slots: int
    gpus_per_worker: float
    start: float
    peak_gib: float | None
    taken: float = 0.0

    def inside(self, plan: Plan) -> dict[str, float]:
        """Return the seconds of the stages of a cell, by arm."""
        return {cell.arm: self._price(cell).inside(cell.spec) for cell in plan.one_of_each}

    def around(self, plan: Plan) -> dict[str, float]:
        """Return the seconds outside the stages of a cell, by arm."""
        return {cell.arm: self._price(cell).around for cell in plan.one_of_each}

    def _price(self, cell: Cell) -> Price:
        return self.prices[self.shapes[cell.arm]]


def read_calibration(plan: Plan, folder: Path) -> Calibration | None:
    """Read the calibration in a study's folder; None if it is missing, of other code, or lacks an arm.

    Args:
        plan: Current plan of the study.
        folder: The study's folder.
    """
    try:
        kept = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))
        prices = {shape: Price(**price) for shape, price in kept["prices"].items()}
        shapes = shapes_of(plan)
        if kept["code_hash"] != _code_hashes(plan) or not prices.keys() >= set(shapes.values()):
            return None
        cluster = {key: kept[key] for key in ("slots", "gpus_per_worker", "start", "peak_gib")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Calibration(prices, shapes, **cluster)


def shapes_of(plan: Plan) -> dict[str, str]:
    """Return the shape of each arm's cells."""
    return {cell.arm: shape_of(cell.spec) for cell in plan.one_of_each}


def _code_hashes(plan: Plan) -> dict[str, str]:
    """Return the code hash of each system of a plan."""
    return {arm.system.name: code_hash(arm.system.name) for arm in plan.arms}


def keep_calibration(calibration: Calibration, plan: Plan, folder: Path) -> None:
    """Save a calibration in a study's folder."""
    kept = {
        "code_hash": _code_hashes(plan),
        "prices": {shape: asdict(price) for shape, price in calibration.prices.items()},
        **{key: getattr(calibration, key) for key in ("slots", "gpus_per_worker", "start", "peak_gib")},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CALIBRATION, json.dumps(kept, indent=1).encode())
