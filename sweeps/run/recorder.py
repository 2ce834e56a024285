"""Recorder of cells while a study runs: writes ledger, tracker and progress."""

from datetime import UTC, datetime
from typing import Any, Protocol

from sweeps.plan import Cell
from sweeps.results.ledger import Ledger
from sweeps.results.record import Record
from sweeps.run.lock import StudyLock
from sweeps.run.progress import Progress
from sweeps.tracking.tracker import Tracker
from trainables.cell_files import STOP, leave_result, result_without_clips
from trainables.trial_spec import OBJECTIVE, UPDATE


class Follower(Protocol):
    """Interface for the events of a cell."""

    ledger: Ledger

    def handed_out(self, cell: Cell) -> None:
        """Handle a cell that was handed to Ray Tune."""

    def started(self, cell_id: str) -> None:
        """Handle a cell that started on a worker."""

    def reported(self, cell_id: str, update: float) -> None:
        """Handle new metric points of a running cell, and the number of its last update; 0 if it is not trained."""

    def ended(self, cell: Cell, last: dict[str, Any] | None, *, died: bool) -> Record | None:
        """Handle a cell that ended; return its record, or None if its worker died in every attempt."""

    def tick(self) -> None:
        """Handle the passing of time; called several times a second."""


class Recorder:
    """Records each cell in ledger, tracker, progress line and lock.

    Args:
        ledger: The study's results.
        tracker: Uploads results to MLflow.
        progress: The progress line.
        lock: The study's lock; its progress file is read by ``status``.
    """

    def __init__(self, ledger: Ledger, tracker: Tracker, progress: Progress, lock: StudyLock) -> None:
        self.ledger = ledger
        self.tracker = tracker
        self.progress = progress
        self.lock = lock
        self._cells: dict[str, Cell] = {}
        self._running: dict[str, dict[str, Any]] = {}
        self._shares: dict[str, float] = {}

    def handed_out(self, cell: Cell) -> None:
        """Note a cell that was handed to Ray Tune."""
        self._cells[cell.id] = cell

    def started(self, cell_id: str) -> None:
        """Count a cell as running, once, even if its worker dies and it restarts."""
        if cell_id not in self._running:
            cell = self._cells[cell_id]
            since = datetime.now(UTC).isoformat(timespec="seconds")
            self._running[cell.id] = {"cell_id": cell.id, "arm": cell.arm, "seed": cell.seed, "since": since}
            self.progress.start()
            self._update_lock()

    def reported(self, cell_id: str, update: float) -> None:
        """Upload the new metric points of a running cell, in the background, and note how far its training is."""
        spec = self._cells[cell_id].spec
        self.tracker.report(spec, self.ledger.cell_folder(cell_id))
        if spec.training is not None:
            self._shares[cell_id] = min(1.0, update / spec.training.steps)
            self.progress.advance(sum(self._shares.values()))
            self._update_lock()

    def tick(self) -> None:
        """Show progress that was held back."""
        self.progress.tick()
        self.lock.tick()

    def ended(self, cell: Cell, last: dict[str, Any] | None, *, died: bool) -> Record | None:
        """Record the end of a cell; return its record, or None if its worker died in every attempt.

        Args:
            cell: The cell.
            last: Last report of its trainable.
            died: Whether its worker was lost.
        """
        if not died and not (last or {}).get("status"):
            self._prune(cell, last or {})
        result = None if died else self.ledger.result(cell.id)
        if result is not None:
            self.ledger.append([result])
            self.tracker.record(cell.id, self.ledger.cell_folder(cell.id))
        self._running.pop(cell.id, None)
        self._cells.pop(cell.id, None)
        self._shares.pop(cell.id, None)
        self.progress.under_way = sum(self._shares.values())
        self.progress.end(failed=result is None or result.status == "failed")
        self._update_lock()
        return None if result is None else Record.of(result)

    def _prune(self, cell: Cell, last: dict[str, Any]) -> None:
        """Write the result of a trial that the trial_scheduler stopped, with its last report."""
        reason = f"stopped early, after update {last.get(UPDATE, 0):g}"
        statistics = {key: float(last[key]) for key in (OBJECTIVE, UPDATE) if key in last}
        result = result_without_clips(cell.spec, "pruned", reason, statistics=statistics)
        folder = self.ledger.cell_folder(cell.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STOP).touch()  # Tune does not notify the actor; the worker group reads this at its next update
        leave_result(folder, result)

    def _update_lock(self) -> None:
        progress = self.progress
        ended = progress.done + progress.failed
        running = tuple(self._running.values())
        self.lock.update(running=running, ended=ended, total=progress.total, left_s=progress.left)
