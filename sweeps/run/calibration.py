"""Short cells of every shape of a plan, run by the engine that runs studies, and the prices that come of them."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeps.cost.calibration import Calibration, keep_calibration, read_calibration, shapes_of
from sweeps.cost.prices import LONG, MOST_CLIPS, SHORT, UPDATES, Timed, priced
from sweeps.plan import Cell, Plan
from sweeps.results.ledger import Ledger
from sweeps.results.record import Record
from sweeps.run.progress import say
from sweeps.run.queue import Queue
from trainables.spool import Spool
from trainables.trial_spec import Result, TrialSpec

SCRATCH = ".calibration"
OFTEN = {"report_every": 2, "checkpoint_every": UPDATES // 2}
"""How often a short training reports and is checkpointed."""


class CalibrationError(RuntimeError):
    """A short cell failed; the message says why."""


def calibrated(plan: Plan, storage: Path, folder: Path) -> Calibration:
    """The calibration of a plan, from its folder, or taken now under Ray.

    Args:
        plan: What is to be priced.
        storage: Folder of all studies; what short cells compute for all cells, such as reference features, stays there.
        folder: Of the study.

    Raises:
        CalibrationError: A short cell failed, or Ray does not start, or has no room for a cell.
    """
    if (kept := read_calibration(plan, folder)) is not None:
        return kept
    from sweeps.run.cluster import connect, disconnect, is_trained, too_large

    began = time.monotonic()
    try:
        started = connect(dashboard=is_trained(plan))
    except Exception as reason:
        raise CalibrationError(f"Ray did not start: {reason}") from reason
    try:
        if message := too_large(plan):
            raise CalibrationError(message)
        taken = _taken(plan, storage, folder, began)
    finally:
        if started:
            disconnect()
    keep_calibration(taken, plan.study.system, folder)
    return taken


def short_cells(spec: TrialSpec, name: str) -> list[TrialSpec]:
    """The short cells of one shape: the worker's first where cells share one, then few and more denoising steps."""
    clips = min(spec.protocol.clips, MOST_CLIPS)

    def short(steps: int) -> TrialSpec:
        protocol = spec.protocol.model_copy(update={"steps": steps, "clips": clips})
        changes: dict[str, Any] = {"study": name, "protocol": protocol}
        if spec.training is not None:
            tree = {**spec.tree, "training": {**spec.tree["training"], "steps": UPDATES}}
            changes |= {"tree": tree, "scaling": spec.scaling.model_copy(update=OFTEN)}
        return spec.model_copy(update=changes)

    return [short(steps) for steps in ((SHORT, LONG) if spec.training is not None else (1, SHORT, LONG))]


def _taken(plan: Plan, storage: Path, folder: Path, began: float) -> Calibration:
    from sweeps.run.cluster import num_slots, worker_resources
    from sweeps.run.tune import run_trials

    shapes = shapes_of(plan)
    of_shape = {shapes[cell.arm]: cell.spec for cell in reversed(plan.one_of_each)}
    name = f"{plan.study.name}/{SCRATCH}"
    specs = {shape: short_cells(spec, name) for shape, spec in of_shape.items()}
    # Each shape's first, then each one's second: by then every worker is warm.
    rounds = [[Cell.of(cells[k]) for cells in specs.values()] for k in range(len(next(iter(specs.values()))))]
    cells = tuple(cell for cells_of_round in rounds for cell in cells_of_round)
    say(f"{plan.study.name}: timing {len(cells)} short cells of {len(specs)} shapes")
    scratch = folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    often = plan.study.resources.model_copy(update=OFTEN)
    study = plan.study.model_copy(update={"seeds": (plan.study.all_seeds[0],), "resources": often})
    short = replace(plan, cells=cells, search=None, study=study)
    watch = Stopwatch(Ledger(scratch))
    try:
        watch.ledger.cells.mkdir(parents=True)
        run_trials(Queue(short, {}), watch, storage)
        timed = {shape: [watch.timed(Cell.of(spec)) for spec in of] for shape, of in specs.items()}
        peaks = [
            peak
            for cells_of_round in watch.results.values()
            if (peak := cells_of_round.statistics.get("peak_gib")) is not None
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    trained = next(iter(of_shape.values())).training is not None
    return Calibration(
        prices={shape: priced(cells, trained=trained) for shape, cells in timed.items()},
        shapes=shapes,
        slots=num_slots(plan),
        gpus_per_worker=worker_resources(plan)["GPU"],
        start=watch.first_start - began,
        peak_gib=max(peaks, default=None),
        taken=time.monotonic() - began,
    )


class Stopwatch:
    """Stands where a study's recorder does, and times the cells instead of writing them down.

    Args:
        ledger: Where the short cells leave their results.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.results: dict[str, Result] = {}
        self.first_start = 0.0
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}

    def handed_out(self, cell: Cell) -> None:
        """Nothing yet."""

    def started(self, cell_id: str) -> None:
        """A cell is at work."""
        self.first_start = self.first_start or time.monotonic()
        self._began.setdefault(cell_id, time.monotonic())

    def reported(self, cell_id: str) -> None:
        """What it reports is read at its end."""

    def ended(self, cell: Cell, last: dict[str, Any] | None, *, died: bool) -> Record | None:
        """A cell ended; how it ended is looked at when all have."""
        self._took[cell.id] = time.monotonic() - self._began[cell.id]
        result = None if died else self.ledger.result(cell.id)
        if result is None:
            return None
        self.results[cell.id] = result
        return Record.of(result)

    def timed(self, cell: Cell) -> Timed:
        """What a short cell took.

        Raises:
            CalibrationError: It failed.
        """
        result = self.results.get(cell.id)
        if result is None or result.status != "done":
            why = result.error if result else "its worker died"
            raise CalibrationError(f"a short cell of {cell.arm} failed: {why}")
        points = _windows(
            [dict(point.metrics) | {"step": point.step} for point in Spool(self.ledger.cell_folder(cell.id)).points()]
        )
        protocol = cell.spec.protocol
        return Timed(protocol.steps, protocol.clips, self._took[cell.id], result.seconds, points)


def _windows(points: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Reports with the number of updates since the one before."""
    windows, before = [], 0.0
    for point in points:
        if "seconds_per_step" in point:
            windows.append(point | {"updates": point["step"] - before})
            before = point["step"]
    return windows
