"""What a study may cost in all: spent so far, what the next balanced block would add, and whether that fits."""

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
"""How long a study has run, over all its drivers, and how many of its cells at a time."""


class BudgetMeter:
    """Says whether a study's budget holds another block: one cell of every arm.

    GPU-hours and money are counted from the results, which outlive every driver; hours on the clock from what drivers
    wrote down. What is under way counts as what it is expected to take.

    Args:
        plan: The study, with a budget.
        folder: Its folder.
        calibration: Prices, where they were taken; else a block is expected to take what cells took so far.
        clock: Seconds, monotonic.

    ``slots`` (cells at a time) and ``gpus`` (of a worker) are set by whoever knows the cluster.
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
        self._inside = calibration.inside(plan) if calibration else {}
        self._around = calibration.around(plan) if calibration else {}
        asked = plan.study.resources.gpus_per_worker or 0.0
        self.gpus = calibration.gpus_per_worker if calibration else kept.get("gpus", asked)
        self.slots = calibration.slots if calibration else int(kept.get("slots", 1))
        self.over = ""

    def affords(self, records: Mapping[str, Record], under_way: Mapping[str, int], block: Mapping[str, int]) -> bool:
        """Whether the budget holds a block beside what is spent and what is under way; ``over`` says why not.

        Args:
            records: By cell id, all of the study's.
            under_way: Arm -> its cells that have not ended.
            block: Arm -> how many of its cells come next.
        """
        spent = sum(record.seconds * record.gpus for record in records.values()) / 3600
        ahead = Counter(under_way) + Counter(block)
        self.over = self._over(spent, self.hours, ahead, self._expected(records))
        return not self.over

    def shortfall(self) -> str:
        """Why the budget would not hold even one seed of all arms; empty where it would, or no price was taken."""
        over = self._over(0.0, 0.0, dict.fromkeys(self._inside, 1), self._inside)
        return f"{self.plan.study.name}: {over} -> a larger budget, or fewer arms" if over else ""

    @property
    def hours(self) -> float:
        """On the clock, over all drivers."""
        return self._before + (self._clock() - self._began) / 3600

    def keep(self) -> None:
        """Write down how long the study has run, and on what."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        spent = {"hours": self.hours, "slots": self.slots, "gpus": self.gpus}
        write_atomically(self._path, json.dumps(spent).encode())

    def _expected(self, records: Mapping[str, Record]) -> dict[str, float]:
        """Seconds of a cell by arm: what its cells took, else its price, else what other arms' cells took."""
        took: dict[str, list[float]] = {}
        for record in records.values():
            if record.status == "done":
                took.setdefault(record.arm, []).append(record.seconds)
        usual = fmean([seconds for arm in took.values() for seconds in arm]) if took else 0.0
        arms = (arm.id for arm in self.plan.arms)
        return {arm: fmean(took[arm]) if arm in took else self._inside.get(arm, usual) for arm in arms}

    def _over(self, gpus_spent: float, hours_spent: float, ahead: Mapping[str, int], each: Mapping[str, float]) -> str:
        """Why cells do not fit the budget beside what is spent, with the arithmetic; empty where they do.

        Args:
            gpus_spent: GPU-hours.
            hours_spent: On the clock.
            ahead: Arm -> how many of its cells.
            each: Arm -> seconds of one of them, within its stages.
        """
        seconds = sum(each.get(arm, 0.0) * count for arm, count in ahead.items())
        gpus = seconds * self.plan.study.resources.workers * self.gpus / 3600
        lasts = [each.get(arm, 0.0) + self._around.get(arm, 0.0) for arm, count in ahead.items() for _ in range(count)]
        budget, price = self.budget, self.budget.price_per_gpu_hour or 0.0
        for name, most, spent, more in (
            ("gpu_hours", budget.gpu_hours, gpus_spent, gpus),
            ("wall_clock", budget.wall_clock, hours_spent, makespan(lasts, self.slots) / 3600),
            ("money", budget.money, gpus_spent * price, gpus * price),
        ):
            if most is not None and spent + more > most:
                block = f"{more:.3g} for one more seed of all arms"
                return f"budget: {name} {most:g} does not hold {block} beside {spent:.3g} spent"
        return ""


def _read(path: Path) -> dict[str, float]:
    """What earlier drivers wrote down; nothing where they did not, or it cannot be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {key: float(kept[key]) for key in ("hours", "slots", "gpus")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
