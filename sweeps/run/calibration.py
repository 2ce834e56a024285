"""Calibration: times short cells of every shape of a plan with Ray Tune, and computes prices from them."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sweeps.cost.calibration import Calibration, keep_calibration, read_calibration, shapes_of
from sweeps.cost.prices import LONG, MOST_CLIPS, SHORT, UPDATES, Timed, priced
from sweeps.plan import Cell, Plan
from sweeps.results.ledger import Ledger
from sweeps.results.record import Record
from sweeps.run.address import unreachable
from sweeps.run.progress import notify
from sweeps.run.queue import Queue
from sweeps.study.words import counted
from trainables.spool import Spool
from trainables.trial_spec import Result, TrialSpec

SCRATCH = ".calibration"
OFTEN = {"report_every": 2, "checkpoint_every": UPDATES // 2}
"""Report and checkpoint intervals of a short training, in updates."""


class CalibrationError(RuntimeError):
    """A calibration failed; the message gives the reason."""


def calibrated(plan: Plan, storage: Path, folder: Path) -> Calibration:
    """Return the calibration of a plan: from the study's folder, else measured now with Ray.

    Args:
        plan: The plan.
        storage: Folder of all studies; shared results of short cells, such as reference features, are kept there.
        folder: The study's folder.

    Raises:
        CalibrationError: A short cell failed, Ray did not start, or the cluster is too small for a cell.
    """
    if (kept := read_calibration(plan, folder)) is not None:
        return kept
    from sweeps.run.cluster import connect, disconnect, too_large

    if message := unreachable():
        raise CalibrationError(message)
    began = time.monotonic()
    try:
        started = connect(dashboard=plan.is_trained)
    except Exception as reason:
        raise CalibrationError(f"Ray did not start: {reason}") from reason
    try:
        if message := too_large(plan):
            raise CalibrationError(message)
        calibration = _measure(plan, storage, folder, began)
    finally:
        if started:
            disconnect()
    keep_calibration(calibration, plan, folder)
    return calibration


def short_cells(spec: TrialSpec, name: str) -> list[TrialSpec]:
    """Return the short cells of one shape: a warm-up cell if cells share workers, then two denoising lengths."""
    clips = min(spec.protocol.clips, MOST_CLIPS)

    def short(steps: int) -> TrialSpec:
        protocol = spec.protocol.model_copy(update={"steps": steps, "clips": clips})
        changes: dict[str, Any] = {"study": name, "protocol": protocol}
        if spec.training is not None:
            tree = {**spec.tree, "training": {**spec.tree["training"], "steps": UPDATES}}
            changes |= {"tree": tree, "scaling": spec.scaling.model_copy(update=OFTEN)}
        return spec.model_copy(update=changes)

    return [short(steps) for steps in ((SHORT, LONG) if spec.training is not None else (1, SHORT, LONG))]


def _measure(plan: Plan, storage: Path, folder: Path, began: float) -> Calibration:
    from sweeps.run.cluster import num_slots, worker_resources
    from sweeps.run.tune import run_trials

    shapes = shapes_of(plan)
    of_shape = {shapes[cell.arm]: cell.spec for cell in reversed(plan.one_of_each)}
    name = f"{plan.study.name}/{SCRATCH}"
    specs = {shape: short_cells(spec, name) for shape, spec in of_shape.items()}
    # The first cells of all shapes, then the second cells: by then every worker is warm.
    rounds = [list(map(Cell.of, filter(None, cells))) for cells in zip_longest(*specs.values())]
    cells = tuple(cell for cells_of_round in rounds for cell in cells_of_round)
    notify(f"{plan.study.name}: timing {counted(len(cells), 'short cell')} of {counted(len(specs), 'shape')}")
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
    return Calibration(
        prices={shape: priced(cells, trained=of_shape[shape].training is not None) for shape, cells in timed.items()},
        shapes=shapes,
        slots=num_slots(plan),
        gpus_per_worker=worker_resources(plan)["GPU"],
        start=watch.first_start - began,
        peak_gib=max(peaks, default=None),
        taken=time.monotonic() - began,
    )


class Stopwatch:
    """Times cells; takes the place of a study's recorder.

    Args:
        ledger: Results of the short cells.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.results: dict[str, Result] = {}
        self.first_start = 0.0
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}

    def handed_out(self, cell: Cell) -> None:
        """Do nothing."""

    def started(self, cell_id: str) -> None:
        """Note the start time of a cell."""
        self.first_start = self.first_start or time.monotonic()
        self._began.setdefault(cell_id, time.monotonic())

    def reported(self, cell_id: str, update: float) -> None:
        """Do nothing: reports are read when the cell has ended."""

    def tick(self) -> None:
        """Do nothing."""

    def ended(self, cell: Cell, last: dict[str, Any] | None, *, died: bool) -> Record | None:
        """Note the duration of a cell, and return its record; failures are raised by ``timed``."""
        self._took[cell.id] = time.monotonic() - self._began[cell.id]
        result = None if died else self.ledger.result(cell.id)
        if result is None:
            return None
        self.results[cell.id] = result
        return Record.of(result)

    def timed(self, cell: Cell) -> Timed:
        """Return the times of a short cell.

        Raises:
            CalibrationError: The cell failed.
        """
        result = self.results.get(cell.id)
        if result is None or result.status != "done":
            reason = result.error if result else "its worker died"
            raise CalibrationError(f"a short cell of {cell.arm} failed: {reason}")
        points = _windows(
            [dict(point.metrics) | {"step": point.step} for point in Spool(self.ledger.cell_folder(cell.id)).points()]
        )
        protocol = cell.spec.protocol
        return Timed(protocol.steps, protocol.clips, self._took[cell.id], result.seconds, points)


def _windows(points: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Add to each report the number of updates since the previous report."""
    windows, before = [], 0.0
    for point in points:
        if "seconds_per_step" in point:
            windows.append(point | {"updates": point["step"] - before})
            before = point["step"]
    return windows
