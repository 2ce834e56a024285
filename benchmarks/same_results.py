"""Whether two versions of the code give the same results: ``python -m benchmarks.same_results BEFORE AFTER``.

Each of the two is a storage folder into which one version has run the same studies. Compared to the last bit are cells,
clips, trained weights, scores and statistics, proofs, values per seed and every number of the report. Left aside are
times, code hashes and words.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ASIDE = {"seconds", "finished", "provenance", "attempt"}
"""Keys of a result that tell when and by which code it was made."""
HOURS = ("worker_hours", "gpu_hours")
"""Numbers of a report that are times."""
CALLS = {"no_more_called", "newly_called"}
"""Keys of a proof that name functions, which may be renamed or moved."""


def main() -> int:
    """Compare two storages; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    asked = parser.parse_args()
    studies = sorted(folder.parent.name for folder in asked.before.glob("*/cells"))
    problems: list[str] = []
    for study in studies:
        before, after = asked.before / study, asked.after / study
        cells = sorted(folder.name for folder in (before / "cells").iterdir())
        found = [*_cells(before, after), *_proofs(before, after), *_reports(before, after)]
        print(f"{study}: {len(cells)} cells, {len(found)} differences")
        problems += found
    print("\n".join(problems) or f"the same: {', '.join(studies) or 'nothing, no study is there'}")
    return 1 if problems or not studies else 0


def _cells(before: Path, after: Path) -> Iterator[str]:
    names = {folder.name for folder in (before / "cells").iterdir()}
    for name in names ^ {folder.name for folder in (after / "cells").iterdir()}:
        yield f"{name}: in one of them only"
    for name in sorted(names):
        one, other = before / "cells" / name, after / "cells" / name
        if not other.is_dir():
            continue
        results = [json.loads((folder / "result.json").read_bytes()) for folder in (one, other)]
        keys = results[0].keys() - ASIDE
        yield from (f"{one}: {key}" for key in sorted(keys) if results[0][key] != results[1].get(key))
        if not np.array_equal(*(np.load(folder / "clips.npz")["clips"] for folder in (one, other))):
            yield f"{one}: clips"
        trained = [folder / "trained.safetensors" for folder in (one, other)]
        if trained[0].exists() and trained[0].read_bytes() != trained[1].read_bytes():
            yield f"{one}: trained weights"


def _proofs(before: Path, after: Path) -> Iterator[str]:
    proofs = [json.loads((folder / "proof.json").read_bytes())["arms"] for folder in (before, after)]
    for one, other in zip(*proofs, strict=True):
        numbers = (key for key in one.keys() - CALLS if not _is_words(one[key]))
        yield from (f"{before}: proof of {one['arm']}: {key}" for key in sorted(numbers) if one[key] != other[key])


def _reports(before: Path, after: Path) -> Iterator[str]:
    values = [(folder / "report/values.csv").read_bytes() for folder in (before, after)]
    if values[0] != values[1]:
        yield f"{before}: values.csv"
    yield from _numbers(*(json.loads((folder / "report/report.json").read_bytes()) for folder in (before, after)))


def _numbers(one: Any, other: Any, path: str = "report") -> Iterator[str]:
    """Numbers that differ, and keys that are gone; keys may be added."""
    if isinstance(one, dict):
        for key, value in one.items():
            if key not in other:
                yield f"{path}.{key} is gone"
            elif key not in HOURS:
                yield from _numbers(value, other[key], f"{path}.{key}")
    elif isinstance(one, list) and not _is_words(one):
        if len(one) != len(other):
            yield f"{path}: {len(one)} -> {len(other)} entries"
        for place, pair in enumerate(zip(one, other, strict=False)):
            yield from _numbers(*pair, f"{path}[{place}]")
    elif not _is_words(one) and one != other:
        yield f"{path}: {one} -> {other}"


def _is_words(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


if __name__ == "__main__":
    sys.exit(main())
