"""Lock of a study, which allows one driver at a time, and the driver's progress file.

The lock is a kernel lock (``flock``) on ``.lock`` in the study's folder: it ends with its process. ``driver.json``
beside it names the driver and its progress, for ``status``; it is removed when the driver ends.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sweeps.results.driver import DRIVER, Driver, read_driver
from trainables.files import write_atomically

LOCK = ".lock"
EVERY_S = 1.0


class Locked(RuntimeError):
    """Another driver is running this study; the message names it."""


class StudyLock:
    """Context manager for the exclusive right to write into a study's folder.

    Raises:
        Locked: On entering, if another driver holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now = _now()
        self.driver = Driver(socket.gethostname(), os.getpid(), " ".join(sys.argv), started=now, updated=now)
        self._last_update, self._stale = -EVERY_S, False

    def __enter__(self) -> Self:
        """Take the lock without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Never removed: otherwise two drivers could lock two files of the same name.
        self._file = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            holder = read_driver(self.folder)
            who = f" by {holder} ({holder.command})" if holder else ""
            raise Locked(f"{self.folder}: already running{who} -> wait for it, or end that process") from None
        try:
            self._write()
        except OSError:
            os.close(self._file)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        (self.folder / DRIVER).unlink(missing_ok=True)
        os.close(self._file)

    def update(self, *, force: bool = False, **progress: Any) -> None:
        """Update fields of ``Driver`` for ``status``; written at most once a second, unless forced."""
        self.driver = replace(self.driver, **progress)
        self._stale = True
        self.tick(force=force)

    def tick(self, *, force: bool = False) -> None:
        """Write what ``update`` left out, where a second has passed."""
        now = time.monotonic()
        if self._stale and (force or now - self._last_update >= EVERY_S):
            self._last_update, self._stale = now, False
            with contextlib.suppress(OSError):  # a full disk must not end the cells that run
                self._write()

    def _write(self) -> None:
        self.driver = replace(self.driver, updated=_now())
        write_atomically(self.folder / DRIVER, json.dumps(asdict(self.driver), indent=1).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
