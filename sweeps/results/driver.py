"""The driver of a study: its process and its progress, as it last reported them."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = "driver.json"
"""File in the study's folder with the driver's state; removed when the driver ends."""


@dataclass(frozen=True)
class Driver:
    """A process that runs a study, with its last reported progress.

    Args:
        host: Host name of its machine.
        pid: Process id on that machine.
        command: Command that started it.
        started: Start time, ISO 8601.
        updated: Time of its last report, ISO 8601.
        running: Running cells: id, arm, seed and start time.
        ended: Cells that ended in this run.
        total: Cells of this run, as far as they are known.
        left_s: Estimated seconds left; None while unknown.
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
        """Whether the process exists; None where it runs on another machine and cannot be checked."""
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


def read_driver(folder: Path) -> Driver | None:
    """Read the last report of a study's driver; None without a driver, or after one that ended normally."""
    try:
        written = json.loads((folder / DRIVER).read_text(encoding="utf-8"))
        return Driver(**{**written, "running": tuple(written["running"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
