"""What a study ran in: packages, commit and what was not committed, hardware."""

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
"""Longest diff that is kept, in bytes."""

SECONDS = 20
"""Longest that a tool of the system may take."""

NEW_FILES = ("*.py", "*.yaml")
"""Files without a commit that are part of the diff; others may be anything, secrets included."""


def environment_files() -> dict[str, bytes]:
    """What the study's own run carries: ``environment.json`` and, where files differ from the commit, a diff."""
    files = {"environment.json": json.dumps(environment_record(), indent=1).encode()}
    if diff := uncommitted_diff():
        files["uncommitted.diff"] = diff
    return files


def environment_record() -> dict[str, Any]:
    """Packages with their versions, commit, Python, platform and hardware of this process's machine."""
    return {
        "commit": provenance.commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": hardware(),
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Every installed distribution with its version, by name."""
    found = {str(entry.metadata["Name"]): entry.version for entry in distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def hardware() -> dict[str, Any]:
    """Processor, cores, memory in GiB, and GPUs; what cannot be found out is left out."""
    import psutil

    found = {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
    }
    return {key: value for key, value in found.items() if value}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _gpus() -> list[str]:
    """Name, memory and driver of each GPU: from nvidia-smi, else from torch where the process has it loaded."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=SECONDS, check=True)
        return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError):
        pass
    torch = sys.modules.get("torch")
    try:
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if torch else []
    except Exception:  # whatever a broken driver makes of it
        return []


def uncommitted_diff(limit: int = DIFF_LIMIT) -> bytes:
    """What differs from the commit, as one patch: changed files, and new code and studies.

    The checkout is only read: new files are entered in a copy of git's index.

    Args:
        limit: Longest patch in bytes; a longer one is cut, and ends in a line that says so.

    Returns:
        The patch; empty where nothing differs, or outside a checkout.
    """
    try:
        with tempfile.TemporaryDirectory() as scratch:
            index = Path(scratch) / "index"
            where = _git("rev-parse", "--path-format=absolute", "--git-path", "index")
            shutil.copyfile(os.fsdecode(where).rstrip("\n"), index)
            environment = {**os.environ, "GIT_INDEX_FILE": str(index)}
            for pattern in NEW_FILES:  # one by one: git takes none where one of them fits nothing
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
    """The start of a command's output; the command is ended when it has said enough, or takes too long."""
    with subprocess.Popen(
        command, cwd=provenance.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        said = process.stdout.read(limit + 1)
        timer.cancel()
        process.kill()
    return said if len(said) <= limit else said[:limit] + f"\n[cut after {limit:,} bytes]\n".encode()
