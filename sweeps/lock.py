"""One driver per study: who holds it, and how far it is.

The lock is the kernel's, on ``.lock`` in the study's folder, so that a dead driver's lock is no lock. ``driver.json``
beside it is for people: it names the driver and how far it is, and goes when the driver ends.
"""

import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trainables.files import write_atomically

LOCK = ".lock"
DRIVER = "driver.json"
EVERY_S = 1.0


@dataclass(frozen=True)
class Driver:
    """A process that runs a study, and its last word on how far it is.

    Args:
        host: Name of its machine.
        pid: Its process there.
        command: How it was started.
        started: When, in ISO 8601.
        updated: When it last spoke.
        running: Cells at work: id, arm, seed, and since when.
        ended: Cells that ended in this run.
        total: Cells to do in this run, as far as they are known.
        left_s: Seconds left at the pace so far; None while that is not known.
    """

    host: str
    pid: int
    command: str
    started: str
    updated: str
    running: tuple[dict[str, Any], ...] = ()
    ended: int = 0
    total: int = 0
    left_s: float | None = None

    @property
    def alive(self) -> bool | None:
        """Whether the process is there; None where it runs on another machine, which cannot be seen from here."""
        if self.host != socket.gethostname():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.started}"


class Locked(RuntimeError):
    """Another driver has this study; the message names it."""


class StudyLock:
    """The right to write into a study's folder, held while the ``with`` block lasts.

    Raises:
        Locked: On entering, where another living driver holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now = _now()
        self.driver = Driver(socket.gethostname(), os.getpid(), " ".join(sys.argv), started=now, updated=now)
        self._last_update = -EVERY_S

    def __enter__(self) -> Self:
        """Take the lock, or refuse at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Not truncated and never removed: removing it would let two drivers hold locks on two files of one name.
        self._file = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            holder = read_driver(self.folder)
            who = f" by {holder} ({holder.command})" if holder else ""
            raise Locked(f"{self.folder} is being run{who} -> wait for it, or end that process") from None
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        (self.folder / DRIVER).unlink(missing_ok=True)
        os.close(self._file)

    def update(self, *, force: bool = False, **progress: Any) -> None:
        """Say how far the study is, for ``status``: the fields of ``Driver`` that changed, at most once a second."""
        self.driver = replace(self.driver, **progress)
        now = time.monotonic()
        if force or now - self._last_update >= EVERY_S:
            self._last_update = now
            self._write()

    def _write(self) -> None:
        self.driver = replace(self.driver, updated=_now())
        write_atomically(self.folder / DRIVER, json.dumps(asdict(self.driver), indent=1).encode())


def read_driver(folder: Path) -> Driver | None:
    """What the study's driver last said of itself; None where none is there (or it left in good order)."""
    try:
        written = json.loads((folder / DRIVER).read_text(encoding="utf-8"))
        return Driver(**{**written, "running": tuple(written["running"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
