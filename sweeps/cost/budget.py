"""Budget of a study: spending so far, expected cost of the next balanced block, and whether it fits."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

from sweeps.cost.calibration import Calibration
from sweeps.cost.forecast import makespan
from sweeps.plan import Plan
from sweeps.results.record import Record
from trainables.files import write_atomically

SPENT = "spent.json"
"""File in the study's folder with the hours over all drivers, the cells in parallel, and the GPUs per worker."""


class BudgetMeter:
    """Checks whether a study's budget allows another block: one cell of every arm.

    GPU-hours and money are computed from the results, wall-clock hours from the file of earlier drivers. Running cells
    count with their expected duration.

    Args:
        plan: Plan of a study with a budget.
        folder: The study's folder.
        calibration: Prices; without them, the durations of finished cells are used.
        clock: Seconds, monotonic.

    ``slots`` (cells in parallel) and ``gpus`` (per worker) are set once the cluster is known.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        calibration: Calibration | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert plan.study.budget is not None, "a study without a budget"
        self.plan, self.budget = plan, plan.study.budget
        self._path, self._clock, self._began = folder / SPENT, clock, clock()
        kept = _read(self._path)
        self._before = kept.get("hours", 0.0)
        self._workers = {arm: spec.scaling.workers for arm, spec in plan.specs.items()}
        self._inside = calibration.inside(plan) if calibration else {}
        self._around = calibration.around(plan) if calibration else {}
        gpus = plan.study.resources.gpus_per_worker or 0.0
        self.gpus = calibration.gpus_per_worker if calibration else kept.get("gpus", gpus)
        self.slots = calibration.slots if calibration else int(kept.get("slots", 1))
        self.over = ""

    def affords(self, records: Mapping[str, Record], under_way: Mapping[str, int], block: Mapping[str, int]) -> bool:
        """Whether the budget allows a block on top of spent and running cells; if not, ``over`` is the reason.

        Args:
            records: All results of the study by cell id.
            under_way: Arm -> number of its running cells.
            block: Arm -> number of its cells in the block.
        """
        spent = sum(record.seconds * record.gpus for record in records.values()) / 3600
        ahead = Counter(under_way) + Counter(block)
        self.over = self._over(spent, self.hours, ahead, self._expected(records))
        return not self.over

    def shortfall(self) -> str:
        """Explain why the budget is too small for one seed of all arms; empty if it is not, or without prices."""
        over = self._over(0.0, 0.0, dict.fromkeys(self._inside, 1), self._inside)
        return f"{self.plan.study.name}: {over} -> a larger budget, or fewer arms" if over else ""

    @property
    def hours(self) -> float:
        """Wall-clock hours over all drivers."""
        return self._before + (self._clock() - self._began) / 3600

    def keep(self) -> None:
        """Save hours, slots and GPUs for later drivers."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        spent = {"hours": self.hours, "slots": self.slots, "gpus": self.gpus}
        write_atomically(self._path, json.dumps(spent).encode())

    def _expected(self, records: Mapping[str, Record]) -> dict[str, float]:
        """Return expected seconds per cell by arm: mean of its finished cells, else price, else mean of all arms."""
        took: dict[str, list[float]] = {}
        for record in records.values():
            if record.status == "done":
                took.setdefault(record.arm, []).append(record.seconds)
        usual = fmean([seconds for arm in took.values() for seconds in arm]) if took else 0.0
        arms = (arm.id for arm in self.plan.arms)
        return {arm: fmean(took[arm]) if arm in took else self._inside.get(arm, usual) for arm in arms}

    def _over(self, gpus_spent: float, hours_spent: float, ahead: Mapping[str, int], each: Mapping[str, float]) -> str:
        """Explain which budget the cells would exceed; empty if they fit.

        Args:
            gpus_spent: Spent GPU-hours.
            hours_spent: Spent wall-clock hours.
            ahead: Arm -> number of its cells.
            each: Arm -> seconds of a cell's stages.
        """
        seconds = sum(each.get(arm, 0.0) * self._workers.get(arm, 1) * count for arm, count in ahead.items())
        gpus = seconds * self.gpus / 3600
        lasts = [each.get(arm, 0.0) + self._around.get(arm, 0.0) for arm, count in ahead.items() for _ in range(count)]
        budget, price = self.budget, self.budget.price_per_gpu_hour or 0.0
        for name, most, spent, more in (
            ("gpu_hours", budget.gpu_hours, gpus_spent, gpus),
            ("wall_clock", budget.wall_clock, hours_spent, makespan(lasts, self.slots) / 3600),
            ("money", budget.money, gpus_spent * price, gpus * price),
        ):
            if most is not None and spent + more > most:
                block = f"{more:.3g} needed for one more seed of all arms"
                return f"budget: {name} {most:g} is too small: {block}, {spent:.3g} spent"
        return ""


def _read(path: Path) -> dict[str, float]:
    """Read the file of earlier drivers; empty if it is missing or unreadable."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {key: float(kept[key]) for key in ("hours", "slots", "gpus")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
