"""Where a result comes from: commit, code hash, library versions, hardware."""

import functools
import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from models.bases import base_hash, find_base

ROOT = Path(__file__).resolve().parent.parent

REPORTING = {"spool.py"}
"""Files that tell of results and decide none."""

LIBRARIES = ("torch", "diffusers", "transformers", "deepspeed")


@functools.cache
def code_hash() -> str:
    """Identity of the code that decides a result: 16 hexadecimal digits.

    Covers every ``*.py`` of ``models/`` and ``trainables/`` except those that only tell of results, and the versions of
    torch, diffusers, transformers and deepspeed.
    """
    digest = hashlib.sha256()
    for package in ("models", "trainables"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name not in REPORTING:
                digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for library in LIBRARIES:
        # "2.13.0+cpu" and "2.13.0" are one release built twice.
        digest.update(f"{library}={version(library).partition('+')[0]}\n".encode())
    return digest.hexdigest()[:16]


def origin(base: str) -> dict[str, str]:
    """Code and weights that a cell's training begins with; the base's hash is empty where it is not on this machine."""
    try:
        return {"code_hash": code_hash(), "base_hash": base_hash(find_base(base))}
    except (OSError, ValueError):
        return {"code_hash": code_hash(), "base_hash": ""}


@functools.cache
def commit() -> str:
    """Git commit of the checkout, with ``-dirty`` behind it where files differ; ``unknown`` outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


def environment() -> dict[str, str]:
    """Library versions and the machine, as plain strings."""
    versions = {library: version(library) for library in (*LIBRARIES, "ray", "mlflow", "numpy")}
    return {**versions, "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
