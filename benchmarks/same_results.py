"""Compare the results of two versions of the code: ``python -m benchmarks.same_results BEFORE AFTER``.

BEFORE and AFTER are storage folders in which each version has run the same studies. Cells, clips, trained weights,
scores, statistics, proofs, values per seed and every number of the report are compared exactly. Times, code hashes and
texts are not compared.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

IGNORED = {"seconds", "finished", "provenance", "attempt"}
"""Keys of a result with its time and code version."""
HOURS = ("worker_hours", "gpu_hours")
"""Times in a report."""
CALLS = {"no_more_called", "newly_called"}
"""Keys of a proof with names of functions, which may be renamed or moved."""


def main() -> int:
    """Compare two storages; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args()
    studies = sorted(folder.parent.name for folder in arguments.before.glob("*/cells"))
    problems: list[str] = []
    for study in studies:
        before, after = arguments.before / study, arguments.after / study
        cells = sorted(folder.name for folder in (before / "cells").iterdir())
        differences = [*_cells(before, after), *_proofs(before, after), *_reports(before, after)]
        print(f"{study}: {len(cells)} cells, {len(differences)} differences")
        problems += differences
    print(
        "\n".join(problems) or f"no differences: {', '.join(studies)}"
        if studies
        else f"no studies in {arguments.before}"
    )
    return 1 if problems or not studies else 0


def _cells(before: Path, after: Path) -> Iterator[str]:
    names = {folder.name for folder in (before / "cells").iterdir()}
    for name in names ^ {folder.name for folder in (after / "cells").iterdir()}:
        yield f"{name}: only in one storage"
    for name in sorted(names):
        old, new = before / "cells" / name, after / "cells" / name
        if not new.is_dir():
            continue
        results = [json.loads((folder / "result.json").read_bytes()) for folder in (old, new)]
        keys = results[0].keys() - IGNORED
        yield from (f"{old}: {key}" for key in sorted(keys) if results[0][key] != results[1].get(key))
        if not np.array_equal(*(np.load(folder / "clips.npz")["clips"] for folder in (old, new))):
            yield f"{old}: clips"
        trained = [folder / "trained.safetensors" for folder in (old, new)]
        if trained[0].exists() and trained[0].read_bytes() != trained[1].read_bytes():
            yield f"{old}: trained weights"


def _proofs(before: Path, after: Path) -> Iterator[str]:
    proofs = [json.loads((folder / "proof.json").read_bytes())["arms"] for folder in (before, after)]
    for old, new in zip(*proofs, strict=True):
        numbers = (key for key in old.keys() - CALLS if not _is_text(old[key]))
        yield from (f"{before}: proof of {old['arm']}: {key}" for key in sorted(numbers) if old[key] != new[key])


def _reports(before: Path, after: Path) -> Iterator[str]:
    values = [(folder / "report/values.csv").read_bytes() for folder in (before, after)]
    if values[0] != values[1]:
        yield f"{before}: values.csv"
    yield from _numbers(*(json.loads((folder / "report/report.json").read_bytes()) for folder in (before, after)))


def _numbers(old: Any, new: Any, path: str = "report") -> Iterator[str]:
    """Yield numbers that differ and keys that are missing; new keys are allowed."""
    if isinstance(old, dict):
        for key, value in old.items():
            if key not in new:
                yield f"{path}.{key} is missing"
            elif key not in HOURS:
                yield from _numbers(value, new[key], f"{path}.{key}")
    elif isinstance(old, list) and not _is_text(old):
        if len(old) != len(new):
            yield f"{path}: {len(old)} -> {len(new)} entries"
        for index, pair in enumerate(zip(old, new, strict=False)):
            yield from _numbers(*pair, f"{path}[{index}]")
    elif not _is_text(old) and old != new:
        yield f"{path}: {old} -> {new}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


if __name__ == "__main__":
    sys.exit(main())
