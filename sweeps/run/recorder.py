"""What is written down of each cell while a study runs: ledger, tracker, progress."""

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
    """What is told of every cell on its way."""

    ledger: Ledger

    def handed_out(self, cell: Cell) -> None:
        """A cell is on its way to a worker."""

    def started(self, cell_id: str) -> None:
        """A cell is at work."""

    def reported(self, cell_id: str) -> None:
        """A cell has left figures of its way."""

    def ended(self, cell: Cell, last: dict[str, Any] | None, *, died: bool) -> Record | None:
        """A cell ended; its record, or None where its worker died each time."""


class Recorder:
    """Writes down what comes of each cell: ledger, tracker, progress.

    Args:
        ledger: The study's results.
        tracker: Where they are uploaded.
        progress: The line for the person who waits.
        lock: The study's lock, through which ``status`` sees what runs.
    """

    def __init__(self, ledger: Ledger, tracker: Tracker, progress: Progress, lock: StudyLock) -> None:
        self.ledger = ledger
        self.tracker = tracker
        self.progress = progress
        self.lock = lock
        self._cells: dict[str, Cell] = {}
        self._running: dict[str, dict[str, Any]] = {}

    def handed_out(self, cell: Cell) -> None:
        """A cell is on its way to a worker."""
        self._cells[cell.id] = cell

    def started(self, cell_id: str) -> None:
        """A cell is at work (said once, also where its worker dies and it starts again)."""
        if cell_id not in self._running:
            cell = self._cells[cell_id]
            since = datetime.now(UTC).isoformat(timespec="seconds")
            self._running[cell.id] = {"cell_id": cell.id, "arm": cell.arm, "seed": cell.seed, "since": since}
            self.progress.start()
            self._speak()

    def reported(self, cell_id: str) -> None:
        """A cell has left figures of its way in its spool: they are uploaded beside the work."""
        self.tracker.report(self._cells[cell_id].spec, self.ledger.cell_folder(cell_id))

    def ended(self, cell: Cell, last: dict[str, Any] | None, *, died: bool) -> Record | None:
        """A cell ended; its record, or None where its worker died each time.

        Args:
            cell: Which.
            last: What its trainable reported last.
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
        self.progress.end(failed=result is None or result.status == "failed")
        self._speak()
        return None if result is None else Record.of(result)

    def _prune(self, cell: Cell, last: dict[str, Any]) -> None:
        """Leave the result of a trial that the trial_scheduler stopped, with what it had reported."""
        reason = f"stopped early, after update {last.get(UPDATE, 0):g}"
        statistics = {key: float(last[key]) for key in (OBJECTIVE, UPDATE) if key in last}
        result = result_without_clips(cell.spec, "pruned", reason, statistics=statistics)
        folder = self.ledger.cell_folder(cell.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STOP).touch()  # Tune tells the trial's actor nothing: its worker group reads this at its next update
        leave_result(folder, result)

    def _speak(self) -> None:
        progress = self.progress
        ended = progress.done + progress.failed
        running = tuple(self._running.values())
        self.lock.update(running=running, ended=ended, total=progress.total, left_s=progress.left)
