"""Timed commands in separate processes."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import ROOT

ELSEWHERE = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")  # benchmarks start their own servers and use no others
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Done:
    """A successful command: seconds from start to end, and standard output."""

    seconds: float
    output: str


def python(module: str, *arguments: object, timeout: float = 600, **environment: str) -> Done:
    """Run ``python -m MODULE`` in the repository.

    Raises:
        RuntimeError: The command failed.
        subprocess.TimeoutExpired: The command did not end in time.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**inherited, **QUIET, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr[-3000:]}")
    return Done(seconds, done.stdout)


def free_port() -> str:
    """Return a free port on loopback, for the rendezvous of processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def sweeps(command: str, study: Path, storage: Path, *options: object) -> Done:
    """Run a command of the engine."""
    return python("sweeps", command, study, "--storage", storage, *options)
