"""What a study's driver says of itself: who it is, and how far the study is."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = "driver.json"
"""Its file in the study's folder, which goes when the driver ends."""


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


def read_driver(folder: Path) -> Driver | None:
    """What the study's driver last said of itself; None where none is there (or it left in good order)."""
    try:
        written = json.loads((folder / DRIVER).read_text(encoding="utf-8"))
        return Driver(**{**written, "running": tuple(written["running"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
