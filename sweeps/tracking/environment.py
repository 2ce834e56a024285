"""Environment of a study: packages, commit, uncommitted changes, hardware."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from trainables import provenance

DIFF_LIMIT = 1_000_000
"""Maximum size of the stored diff in bytes."""

SECONDS = 20
"""Timeout of external commands in seconds."""

NEW_FILES = ("*.py", "*.yaml")
"""Untracked files that the diff includes; others are left out, since they may hold secrets."""


def environment_files() -> dict[str, bytes]:
    """Return the artifacts of the study's run: ``environment.json``, and a diff if files differ from the commit."""
    files = {"environment.json": json.dumps(environment_record(), indent=1).encode()}
    if diff := uncommitted_diff():
        files["uncommitted.diff"] = diff
    return files


def environment_record() -> dict[str, Any]:
    """Return packages with versions, commit, Python, platform and hardware of this machine."""
    return {
        "commit": provenance.commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": hardware(),
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Return the versions of all installed distributions, sorted by name."""
    versions = {str(entry.metadata["Name"]): entry.version for entry in distributions()}
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def hardware() -> dict[str, Any]:
    """Return processor, cores, memory in GiB, and GPUs; unknown values are left out."""
    import psutil

    values = {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
    }
    return {key: value for key, value in values.items() if value}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _gpus() -> list[str]:
    """Return name, memory and driver of each GPU from nvidia-smi, else names from torch if it is loaded already."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=SECONDS, check=True)
        return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError):
        pass
    torch = sys.modules.get("torch")
    try:
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if torch else []
    except Exception:  # any error of a broken driver
        return []


def uncommitted_diff(limit: int = DIFF_LIMIT) -> bytes:
    """Return the uncommitted changes as one patch: changed files, and untracked code and studies.

    The checkout is not modified: untracked files are added to a copy of git's index.

    Args:
        limit: Maximum size in bytes; a larger patch is cut, and ends with a line that states this.

    Returns:
        The patch; empty without changes, or outside a checkout.
    """
    try:
        with tempfile.TemporaryDirectory() as scratch:
            index = Path(scratch) / "index"
            where = _git("rev-parse", "--path-format=absolute", "--git-path", "index")
            shutil.copyfile(os.fsdecode(where).rstrip("\n"), index)
            environment = {**os.environ, "GIT_INDEX_FILE": str(index)}
            for pattern in NEW_FILES:  # one call each: git adds nothing if any pattern matches no file
                _git("add", "--intent-to-add", "--", pattern, environment=environment, check=False)
            return _read_bounded(["git", "diff", "--no-color", "--no-ext-diff", "HEAD", "--", "."], environment, limit)
    except (OSError, subprocess.SubprocessError):
        return b""


def _git(*arguments: str, environment: dict[str, str] | None = None, check: bool = True) -> bytes:
    command = ["git", *arguments]
    where = provenance.ROOT
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, timeout=SECONDS, check=check)
    return done.stdout


def _read_bounded(command: list[str], environment: dict[str, str], limit: int) -> bytes:
    """Read a command's output up to a limit, then end the command; it is also ended at the timeout."""
    with subprocess.Popen(
        command, cwd=provenance.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        output = process.stdout.read(limit + 1)
        timer.cancel()
        process.kill()
    return output if len(output) <= limit else output[:limit] + f"\n[cut after {limit:,} bytes]\n".encode()
