"""Metric points: written to disk first, then uploaded to a tracker by a background thread."""

import json
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainables.trial_spec import TrialSpec

log = logging.getLogger(__name__)

SPOOL = "metrics.jsonl"
"""Name of the spool in a cell's folder."""

ATTEMPTS = 3  # per upload, while the tracker responds
ATTEMPTS_REFUSED = 2  # the cached state of the cell may have been stale at the first
PATIENCE = 3  # failures in a row before a pause
FIRST_PAUSE = 1.0  # seconds; each further one twice as long
LONGEST_PAUSE = 30.0
GATHER = 1.0  # seconds that a report waits for further reports, or the end, of its cell
STALL = 120.0  # seconds without progress after which the end of a study stops waiting


@dataclass(frozen=True)
class Point:
    """One report of a cell.

    Args:
        line: Number of its line in the spool, from 0.
        step: Step within the cell.
        time: Milliseconds since 1970.
        metrics: Values by name; NaN and infinity are allowed.
    """

    line: int
    step: int
    time: int
    metrics: dict[str, float]


class Spool:
    """Metric points of one cell: ``metrics.jsonl`` in its folder, append-only, one JSON line per report.

    All attempts of a cell share it. An attempt that resumes from a checkpoint repeats steps; existing steps are not
    added again.

    The time of a point is fixed when it is written, which makes uploads idempotent: MLflow keeps one row per (name,
    value, time, step). Lines survive the death of the process; they are not synced to disk, so a power failure may lose
    the last seconds.

    Values that are not finite are kept, as ``NaN`` and ``Infinity``, since they show that a loss diverged. (MLflow
    shows infinity as the largest double.)

    Args:
        folder: The cell's folder; created by the first ``append``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SPOOL
        self._last: int | None = None  # the largest existing step; None until it is read

    def append(self, step: int, metrics: Mapping[str, float], time_ms: int | None = None) -> None:
        """Add one point unless its step exists; an incomplete last line of a killed writer is terminated first.

        Args:
            step: Step within the cell.
            metrics: Values by name.
            time_ms: Milliseconds since 1970; now, by default.

        Raises:
            OSError: The folder cannot be written.
        """
        if self._last is None:
            self._last = max((point.step for point in self.points()), default=-1)
        if step <= self._last:
            return
        self._last = step
        at = time.time_ns() // 1_000_000 if time_ms is None else time_ms
        values = {name: float(value) for name, value in metrics.items()}
        line = json.dumps({"step": int(step), "time": at, "metrics": values}).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)

    def points(self, start: int = 0) -> Iterator[Point]:
        """Iterate over the points from line ``start`` on; none if the file is absent.

        Lines without a newline or without a valid point, which a killed writer may leave, are skipped.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for number, line in enumerate(file):
                if number >= start and line.endswith(b"\n") and (point := _point(number, line)) is not None:
                    yield point


def _point(number: int, line: bytes) -> Point | None:
    try:
        entry = json.loads(line)
        metrics = {name: float(value) for name, value in entry["metrics"].items()}
        return Point(number, int(entry["step"]), int(entry["time"]), metrics)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class Destination(Protocol):
    """Target of uploads. Every method may raise, and is called from one thread.

    Attributes:
        progress: Time of the last accepted upload, on the monotonic clock.
    """

    progress: float

    def open(self) -> None:
        """Connect; called before every upload, and cheap unless ``doubt`` was called since."""

    def hold(self, cell_id: str, folder: Path) -> bool:
        """Whether the result in a folder is completely uploaded; makes no network request."""

    def record(self, cell_id: str, folder: Path) -> bool:
        """Upload a finished cell; return False if it was uploaded before."""

    def report(self, spec: TrialSpec, folder: Path) -> None:
        """Upload the new points of a running cell."""

    def doubt(self, cell_id: str) -> None:
        """Invalidate the cached state of a cell after a failed upload; the next ``open`` checks it."""

    def refuses(self, error: Exception) -> bool:
        """Whether an error is caused by the uploaded content, so that waiting does not help."""

    def close(self, files: Sequence[Path], failed: bool) -> None:
        """Finish the study's run with its files."""


@dataclass
class _Upload:
    """Pending upload of one cell: its result, or (with a ``spec``) the new points of a running cell.

    ``due`` is the earliest time to send it, on the monotonic clock.
    """

    folder: Path
    spec: TrialSpec | None = None
    attempts: int = 0
    due: float = 0.0


class Uploads:
    """Background uploads from disk to a tracker. Only ``finish`` waits for them, and no call raises their errors.

    One daemon thread makes all uploads, so the process can always end: ``catch_up`` later finds results that are not
    uploaded. After three failures in a row it pauses, from 1 s up to 30 s.

    Args:
        destination: Target of the uploads.
        name: Its name in messages.

    Attributes:
        uploaded: Number of cells with an uploaded result.
    """

    def __init__(self, destination: Destination, name: str) -> None:
        self.uploaded = 0
        self._destination = destination
        self._name = name
        self._changed = threading.Condition()
        self._ledger: dict[str, Path] = {}
        self._waiting: dict[str, _Upload] = {}
        self._current = ""
        self._closing: tuple[list[Path], bool] | None = None
        self._failures_in_a_row = 0
        self._unavailable = ""  # reason, if the destination cannot be reached
        self._last_failure = ""
        self._dropped: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._serve, name="uploads", daemon=True)
        self._thread.start()

    def catch_up(self, cells: Mapping[str, Path]) -> None:
        """Upload all results that are not uploaded yet, such as after a driver was killed.

        Args:
            cells: Cell id -> folder with its result, for every cell of the ledger.
        """
        with self._changed:
            self._ledger |= cells
            self._changed.notify_all()

    def record(self, cell_id: str, folder: Path) -> None:
        """Upload a finished cell: the result, points, frame strip and clips in its folder."""
        self._queue(cell_id, _Upload(folder))

    def report(self, spec: TrialSpec, folder: Path) -> None:
        """Upload the new points of a running cell; reports within one second are combined."""
        self._queue(spec.cell_id, _Upload(folder, spec, due=time.monotonic() + GATHER))

    def pending(self) -> int:
        """Number of cells with pending uploads, including cells of the ledger that are not compared yet."""
        with self._changed:
            return len(self._waiting.keys() | self._ledger.keys() | {self._current} - {""})

    def finish(self, files: Iterable[Path], failed: bool, show: Callable[[int], None] | None = None) -> None:
        """Wait for the uploads, then finish the study's run with its files.

        The wait is bounded: it ends if the tracker does not answer after one more attempt, fails three times in a row,
        or accepts nothing for two minutes.

        Args:
            files: The resolved study and its report.
            failed: Whether a cell failed or is missing.
            show: Called about once a second with the number of pending cells.
        """
        with self._changed:
            self._closing = (list(files), failed)
            self._failures_in_a_row = 0
            self._changed.notify_all()
        started = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(timeout=1.0)
            if time.monotonic() - max(started, self._destination.progress) > STALL:
                self._unavailable = f"{self._name} accepted nothing for {STALL:.0f} s"
                return
            if show is not None and self._thread.is_alive():
                show(self.pending())

    @property
    def failures(self) -> list[str]:
        """Reasons for missing uploads, each once with its number of cells."""
        lines = [f"{_cells(count)}{reason}" for reason, count in self._dropped.items()]
        left = len(self._waiting.keys() | {self._current} - {""})
        given_up = self._last_failure if left and not self._thread.is_alive() else ""
        return [*lines, f"{_cells(left)}{why}"] if (why := self._unavailable or given_up) else lines

    def _queue(self, cell_id: str, upload: _Upload) -> None:
        with self._changed:
            if upload.spec is None or cell_id not in self._waiting:
                self._waiting[cell_id] = upload
            self._changed.notify_all()

    def _serve(self) -> None:
        """The upload thread."""
        while self._await_work():
            started = time.monotonic()
            if self._reach():
                self._compare()
                self._upload_next()
                self._rest(time.monotonic() - started)
            elif self._closing:
                return
            self._pause()
        if self._reach():
            self._close()

    def _await_work(self) -> bool:
        """Wait for an upload; False when the study ends and nothing is left, or uploads are given up."""
        with self._changed:
            while not (self._ledger or self._closing or self._due()):
                self._changed.wait(self._next_due())
            given_up = self._closing is not None and self._failures_in_a_row >= PATIENCE
            return bool(self._waiting or self._ledger) and not given_up

    def _reach(self) -> bool:
        try:
            self._destination.open()
        except Exception as error:
            log.debug("%s does not answer", self._name, exc_info=True)
            self._unavailable = f"{self._name} does not answer ({_reason(error)})"
            self._failures_in_a_row += 1
            with self._changed:
                for upload in self._waiting.values():
                    upload.attempts = 0  # the failures may be due to the lost connection
            return False
        self._unavailable = ""
        return True

    def _rest(self, seconds: float) -> None:
        """Sleep as long as the upload took, so that the driver gets the interpreter; not at the study's end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, min(seconds, GATHER))

    def _pause(self) -> None:
        """Pause after failures in a row, longer each time; the study's end interrupts the pause."""
        further = self._failures_in_a_row - PATIENCE
        if further >= 0:
            with self._changed:
                self._changed.wait_for(lambda: self._closing, min(FIRST_PAUSE * 2**further, LONGEST_PAUSE))

    def _compare(self) -> None:
        """Queue the cells of the ledger that are not uploaded."""
        with self._changed:
            ledger = dict(self._ledger)
        missing = [cell_id for cell_id, folder in ledger.items() if not self._destination.hold(cell_id, folder)]
        with self._changed:
            for cell_id in missing:
                self._waiting.setdefault(cell_id, _Upload(ledger[cell_id]))
            for cell_id in ledger:
                self._ledger.pop(cell_id)

    def _due(self) -> str:
        """First cell to upload now; at the study's end every cell is due."""
        now = time.monotonic()
        return next((cell for cell, upload in self._waiting.items() if self._closing or upload.due <= now), "")

    def _next_due(self) -> float | None:
        """Seconds until the next upload is due; None if none is pending."""
        times = [upload.due for upload in self._waiting.values()]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _upload_next(self) -> None:
        with self._changed:
            cell_id = self._current = self._due()
            if not cell_id:
                return
            upload = self._waiting.pop(cell_id)
        try:
            if upload.spec is None:
                self.uploaded += self._destination.record(cell_id, upload.folder)
            else:
                self._destination.report(upload.spec, upload.folder)
            self._failures_in_a_row = 0
        except Exception as error:
            log.debug("upload of cell %s failed", cell_id, exc_info=True)
            self._destination.doubt(cell_id)
            self._requeue(cell_id, upload, error)
        finally:
            self._current = ""

    def _requeue(self, cell_id: str, upload: _Upload, error: Exception) -> None:
        """Queue a failed upload again, unless it was refused twice or failed three times."""
        refused = self._destination.refuses(error)
        upload.attempts += 1
        self._failures_in_a_row += not refused
        self._last_failure = _reason(error)
        if upload.attempts >= (ATTEMPTS_REFUSED if refused else ATTEMPTS):
            self._dropped[self._last_failure] += 1
            return
        with self._changed:
            self._waiting.setdefault(cell_id, upload)

    def _close(self) -> None:
        files, failed = self._closing or ([], True)
        try:
            self._destination.close(files, failed)
        except Exception as error:
            log.debug("upload of the study's run failed", exc_info=True)
            self._unavailable = f"run of the study: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """Root cause of an error in one line, without ids that differ between cells."""
    while (cause := error.__cause__ or error.__context__) and not isinstance(cause, LookupError | AttributeError):
        error = cause
    first_line = str(error).strip().partition("\n")[0] or type(error).__name__
    return re.sub(r"[0-9a-f]{16,}", "...", first_line)[:300]


def _cells(count: int) -> str:
    return "" if count == 0 else "1 cell: " if count == 1 else f"{count} cells: "
