"""Provenance of a result: commit, code hash, library versions, hardware."""

import functools
import hashlib
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from models import SYSTEMS
from models.bases import base_hash, weights_hash
from trainables.trial_spec import TrialSpec

ROOT = Path(__file__).resolve().parent.parent

REGISTRIES = ("models/__init__.py", "models/bases/families.py")
"""Files that only list systems and families."""

SHARED_BY_FAMILIES = ("models/bases/__init__.py", "models/bases/text_tower.py")
"""Files of ``models/bases/`` that are part of several families."""

NO_PART_OF_A_RESULT = (
    "trainables/pretrain.py",
    "trainables/pretraining/",
    "trainables/spool.py",
)
"""Files that do not influence results, and the training of embedded bases, whose weights are hashed separately."""

LIBRARIES = ("torch", "diffusers", "transformers", "deepspeed")


@functools.cache
def code_hash(system: str, root: Path = ROOT) -> str:
    """Hash the code that determines a system's results, to 16 hexadecimal digits.

    It covers the ``*.py`` of ``models/`` and ``trainables/`` that build, train, sample and score: shared files, the
    system's folder and its family of bases, and the versions of torch, diffusers, transformers and deepspeed. Not
    covered: other systems and families, their registries, pretraining, and files that only upload results.

    Args:
        system: Name of the system.
        root: Root of the checkout.
    """
    return _hash(root, [f"models/{system}/", f"models/bases/{SYSTEMS[system].family.name}.py"])


@functools.cache
def scoring_hash() -> str:
    """Hash the code that all systems share, which reads reference clips and scores, to 16 hexadecimal digits."""
    return _hash(ROOT, [])


def _hash(root: Path, own: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for package in ("models", "trainables"):
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if _is_shared(name) or name.startswith(tuple(own)):
                digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    for library in LIBRARIES:
        # "2.13.0+cpu" and "2.13.0" are builds of the same release.
        digest.update(f"{library}={version(library).partition('+')[0]}\n".encode())
    return digest.hexdigest()[:16]


def _is_shared(name: str) -> bool:
    """Whether a file can influence the results of every system."""
    if name in REGISTRIES or name.startswith(NO_PART_OF_A_RESULT):
        return False
    package, *folders, _ = name.split("/")
    return package == "trainables" or not folders or name in SHARED_BY_FAMILIES


def weights_of(spec: TrialSpec) -> str:
    """Return the SHA-256 of all pretrained weights of a cell: its base, and what predicts its states.

    Empty if they cannot be read, or are a hub id that is not in the local cache.
    """
    try:
        base, predictor = base_hash(spec.ref), SYSTEMS[spec.system].model_validate(spec.tree).predictor
        if predictor is None:
            return base
        llava = weights_hash(predictor.folder(spec.ref))
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(f"{base}\n{llava}\n".encode()).hexdigest()


def origin(spec: TrialSpec) -> dict[str, str]:
    """Return the code hash and the hash of weights of a training."""
    return {"code_hash": code_hash(spec.system), "base_hash": weights_of(spec)}


@functools.cache
def commit() -> str:
    """Git commit of the checkout, with the suffix ``-dirty`` if files differ; ``unknown`` outside a checkout."""
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
    """Return library versions and the machine as strings."""
    versions = {library: version(library) for library in (*LIBRARIES, "ray", "mlflow", "numpy")}
    return {**versions, "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
