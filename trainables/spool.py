"""What a tracker gets: metric points on disk first, then a thread that uploads them beside the work."""

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

ATTEMPTS = 3  # of one upload, while the tracker answers
ATTEMPTS_REFUSED = 2  # a second one, since what was known of the cell may have been out of date
PATIENCE = 3  # failures in a row before a pause
FIRST_PAUSE = 1.0  # seconds; each further one twice as long
LONGEST_PAUSE = 30.0
GATHER = 1.0  # seconds for which a report waits for others of its cell, or for the cell's end
STALL = 120.0  # seconds without any progress, after which the end of a study waits no longer


@dataclass(frozen=True)
class Point:
    """One report of a cell.

    Args:
        line: Number of its line in the spool, from 0.
        step: The cell's own step.
        time: Milliseconds since 1970.
        metrics: Values by name; may hold NaN and infinities.
    """

    line: int
    step: int
    time: int
    metrics: dict[str, float]


class Spool:
    """The metric points of one cell, ``metrics.jsonl`` in its folder: one JSON line per report, only ever appended.

    Attempts of a cell share it: one that goes on from a checkpoint repeats steps, and a step that is there is not
    added once more.

    The time of a point is fixed when it is written, so that sending it twice is sending it once: MLflow keeps one row
    per (name, value, time, step). Lines reach the operating system at once and survive the death of the process; they
    are not forced to the disk, which a power cut may therefore rob of the last seconds.

    Values that are not finite are kept, as ``NaN`` and ``Infinity``: that a loss diverged is what a reader wants to
    see. (MLflow shows NaN as it is and infinity as the largest double.)

    Args:
        folder: The cell's folder; made by the first ``append``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SPOOL
        self._last: int | None = None  # the largest step that is there, once it is known

    def append(self, step: int, metrics: Mapping[str, float], time_ms: int | None = None) -> None:
        """Add one point unless its step is there; a line that a killed writer left cut is closed first.

        Args:
            step: The cell's own step.
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
        """The points from line ``start`` on; none where there is no spool.

        A line counts from its newline on, and one that holds no point is passed over: both are what a killed writer
        may leave.
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
    """What uploads go to. Everything may raise, and is called from one thread.

    Attributes:
        progress: When it last took something, on the monotonic clock.
    """

    progress: float

    def open(self) -> None:
        """Reach it; called before every upload, and cheap unless ``doubt`` was called since."""

    def hold(self, cell_id: str, folder: Path) -> bool:
        """Whether it has all of the result that lies in a folder; never asks over the network."""

    def record(self, cell_id: str, folder: Path) -> bool:
        """Take a cell that has ended; False where it was there already."""

    def report(self, spec: TrialSpec, folder: Path) -> None:
        """Take the new points of a cell that runs."""

    def doubt(self, cell_id: str) -> None:
        """An upload failed: what is known of the cell may be wrong, and the next ``open`` has to see for itself."""

    def refuses(self, error: Exception) -> bool:
        """Whether an error is about what was uploaded, so that to wait does not help."""

    def close(self, files: Sequence[Path], failed: bool) -> None:
        """Complete the study with its files."""


@dataclass
class _Upload:
    """What waits for one cell: its result, or (with a ``spec``) the new points of a cell that still runs.

    ``due`` is when it is to be sent, on the monotonic clock.
    """

    folder: Path
    spec: TrialSpec | None = None
    attempts: int = 0
    due: float = 0.0


class Uploads:
    """What goes from the disk to a tracker beside the work. No call waits for it, save ``finish``; none raises for it.

    One daemon thread does it all, so that the end of the process never waits: what is on disk and not uploaded is
    found again by ``catch_up``. After three failures in a row it pauses, 1 s at first and up to 30 s.

    Args:
        destination: Where to.
        name: Its name in messages.

    Attributes:
        uploaded: Number of cells whose result has been uploaded.
    """

    def __init__(self, destination: Destination, name: str) -> None:
        self.uploaded = 0
        self._destination = destination
        self._name = name
        self._changed = threading.Condition()
        self._ledger: dict[str, Path] = {}
        self._waiting: dict[str, _Upload] = {}
        self._in_hand = ""
        self._closing: tuple[list[Path], bool] | None = None
        self._failures_in_a_row = 0
        self._silence = ""  # why the destination cannot be reached
        self._last_failure = ""
        self._dropped: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._serve, name="uploads", daemon=True)
        self._thread.start()

    def catch_up(self, cells: Mapping[str, Path]) -> None:
        """Upload the results that are not there yet, such as after a driver was killed.

        Args:
            cells: Cell id -> folder with its result, of every cell of the ledger.
        """
        with self._changed:
            self._ledger |= cells
            self._changed.notify_all()

    def record(self, cell_id: str, folder: Path) -> None:
        """Upload a cell that has ended: its result, points, strip and clips, as they lie in its folder."""
        self._queue(cell_id, _Upload(folder))

    def report(self, spec: TrialSpec, folder: Path) -> None:
        """Upload the new points of a cell that runs; the reports of a second become one, or part of the cell's end."""
        self._queue(spec.cell_id, _Upload(folder, spec, due=time.monotonic() + GATHER))

    def pending(self) -> int:
        """Number of cells that have something to upload, or may have: the ledger's until they are compared."""
        with self._changed:
            return len(self._waiting.keys() | self._ledger.keys() | {self._in_hand} - {""})

    def finish(self, files: Iterable[Path], failed: bool, show: Callable[[int], None] | None = None) -> None:
        """Wait for the uploads, then complete the study's own run with its files.

        Bounded: a tracker that does not answer is asked once more and then given up, and so is one that fails three
        times in a row, or takes nothing for two minutes.

        Args:
            files: The resolved study and its report.
            failed: Whether a cell failed or is missing.
            show: Called about once a second with what is pending.
        """
        with self._changed:
            self._closing = (list(files), failed)
            self._failures_in_a_row = 0
            self._changed.notify_all()
        started = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(timeout=1.0)
            if time.monotonic() - max(started, self._destination.progress) > STALL:
                self._silence = f"{self._name} takes nothing for {STALL:.0f} s"
                return
            if show is not None and self._thread.is_alive():
                show(self.pending())

    @property
    def failures(self) -> list[str]:
        """Why something is not uploaded: each reason once, with the number of cells."""
        lines = [f"{_cells(count)}{reason}" for reason, count in self._dropped.items()]
        left = len(self._waiting.keys() | {self._in_hand} - {""})
        given_up = self._last_failure if left and not self._thread.is_alive() else ""
        return [*lines, f"{_cells(left)}{why}"] if (why := self._silence or given_up) else lines

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
        """Whether there is something to upload, and, at the end of the study, hope of doing so."""
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
            self._silence = f"{self._name} does not answer ({_reason(error)})"
            self._failures_in_a_row += 1
            with self._changed:
                for upload in self._waiting.values():
                    upload.attempts = 0  # what failed before it fell silent says nothing about the upload
            return False
        self._silence = ""
        return True

    def _rest(self, seconds: float) -> None:
        """Leave the interpreter to the driver for as long as it was taken; at the study's end nobody else needs it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, min(seconds, GATHER))

    def _pause(self) -> None:
        """After failures in a row leave the tracker alone, for longer each time; the study's end cuts it short."""
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
        """The first cell that is to be uploaded now; at the study's end none waits any longer."""
        now = time.monotonic()
        return next((cell for cell, upload in self._waiting.items() if self._closing or upload.due <= now), "")

    def _next_due(self) -> float | None:
        """Seconds until something is to be uploaded; None where nothing waits."""
        times = [upload.due for upload in self._waiting.values()]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _upload_next(self) -> None:
        with self._changed:
            cell_id = self._in_hand = self._due()
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
            self._take_back(cell_id, upload, error)
        finally:
            self._in_hand = ""

    def _take_back(self, cell_id: str, upload: _Upload, error: Exception) -> None:
        """Put a failed upload behind the others, unless it has been refused again, or failed again and again."""
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
            log.debug("the study's own run failed", exc_info=True)
            self._silence = f"the study's own run: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """The cause behind an error in one line, without what differs from cell to cell."""
    while (cause := error.__cause__ or error.__context__) and not isinstance(cause, LookupError | AttributeError):
        error = cause
    first_line = str(error).strip().partition("\n")[0] or type(error).__name__
    return re.sub(r"[0-9a-f]{16,}", "...", first_line)[:300]


def _cells(count: int) -> str:
    return "" if count == 0 else "1 cell: " if count == 1 else f"{count} cells: "
