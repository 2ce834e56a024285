"""The prices of a study's shapes on one cluster, as they lie in its folder."""

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
    """Prices of a study's shapes on the cluster where they were taken.

    Args:
        prices: By shape.
        shapes: Arm -> its shape.
        slots: Cells at a time.
        gpus_per_worker: Of each.
        start: Seconds before the first cell begins.
        peak_gib: The most memory that a cell took on a GPU; None where there is none.
        taken: Seconds that the calibration took; 0 where it was there already.
    """

    prices: dict[str, Price]
    shapes: dict[str, str]
    slots: int
    gpus_per_worker: float
    start: float
    peak_gib: float | None
    taken: float = 0.0

    def inside(self, plan: Plan) -> dict[str, float]:
        """Seconds of a cell of each arm, within its stages."""
        return {cell.arm: self._price(cell).inside(cell.spec) for cell in plan.one_of_each}

    def around(self, plan: Plan) -> dict[str, float]:
        """Seconds of a cell of each arm, outside its stages."""
        return {cell.arm: self._price(cell).around for cell in plan.one_of_each}

    def _price(self, cell: Cell) -> Price:
        return self.prices[self.shapes[cell.arm]]


def read_calibration(plan: Plan, folder: Path) -> Calibration | None:
    """The calibration in a study's folder; None where there is none for all of its arms and this code.

    Args:
        plan: The study, as it is now.
        folder: Its folder.
    """
    try:
        kept = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))
        prices = {shape: Price(**price) for shape, price in kept["prices"].items()}
        shapes = shapes_of(plan)
        if kept["code_hash"] != code_hash(plan.study.system) or not prices.keys() >= set(shapes.values()):
            return None
        about = {key: kept[key] for key in ("slots", "gpus_per_worker", "start", "peak_gib")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Calibration(prices, shapes, **about)


def shapes_of(plan: Plan) -> dict[str, str]:
    """The shape of each arm's cells."""
    return {cell.arm: shape_of(cell.spec) for cell in plan.one_of_each}


def keep_calibration(calibration: Calibration, system: str, folder: Path) -> None:
    """Leave a calibration in a study's folder."""
    kept = {
        "code_hash": code_hash(system),
        "prices": {shape: asdict(price) for shape, price in calibration.prices.items()},
        **{key: getattr(calibration, key) for key in ("slots", "gpus_per_worker", "start", "peak_gib")},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CALIBRATION, json.dumps(kept, indent=1).encode())
