"""Time of the quickstart compared with one plain process and with a plain Ray Tune script.

Time per cell is measured with one worker on one thread, without the first cell (which includes loading), and compared
with a process that only loops over the same cells. Cells per hour are measured from start to end of the command, on all
processors, and compared with the script ``benchmarks/peers/plain_tune.py``, whose table must be the same.
"""

import argparse
import json
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.commands import Done, python, sweeps
from benchmarks.figures import ROOT, Figure, conclude, table

QUICKSTART = ROOT / "sweeps" / "quickstart.yaml"
SAME = 1e-4  # largest relative difference of means that count as the same


@dataclass(frozen=True)
class Round:
    """Seconds of one round: per cell for the plain process and for one worker, and from start to end for all three."""

    plain_cell: float
    engine_cell: float
    plain: float
    script: float
    engine: float


def main() -> int:
    """Measure all sides in turn, and save the ratios with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="rounds; each measures all sides in turn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        study = one_worker(Path(scratch))
        rounds = [measure(study, Path(scratch) / f"round{number}") for number in range(arguments.rounds)]
        cells = len(list((Path(scratch) / "round0" / "engine").glob("*/cells/*/result.json")))
    total = Round(*(sum(values) for values in zip(*(vars(values).values() for values in rounds), strict=True)))
    per_hour = [3600 * cells * len(rounds) / seconds for seconds in (total.engine, total.script)]
    figures = [
        Figure("time per cell, relative to the plain process", total.engine_cell / total.plain_cell, "at most", 1.1),
        Figure("cells per hour, relative to the plain Ray Tune script", total.script / total.engine, "at least", 2),
    ]
    head = ("round", "plain process, s per cell", "engine, s per cell", "plain process, s", "script, s", "engine, s")
    rows = [(str(number), *vars(values).values()) for number, values in enumerate(rounds)]
    hourly = f"Cells per hour: engine {per_hour[0]:.0f}, plain Ray Tune script {per_hour[1]:.0f}."
    setting = (
        f"The quickstart, {cells} cells. Seconds per cell: one worker, one thread, without the first cell. "
        "Other seconds: from start to end of the command; the plain process on one thread, script and engine on all "
        "processors."
    )
    return conclude("quickstart", setting, [*table(head, rows), "", hourly], figures)


def one_worker(folder: Path) -> Path:
    """Write the quickstart as a study that runs one cell at a time, on one thread."""
    study = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    path = folder / "one_worker.yaml"
    path.write_text(yaml.safe_dump({**study, "resources": {"max_concurrent": 1, "cpus_per_worker": 1}}))
    return path


def measure(study: Path, folder: Path) -> Round:
    """Measure one round: all sides, one after the other."""
    plain = python("benchmarks.peers.plain_process", study, OMP_NUM_THREADS="1")
    sweeps("run", study, folder / "one_worker")
    (folder / "script").mkdir()
    script = python("benchmarks.peers.plain_tune", folder / "script")
    engine = sweeps("run", QUICKSTART, folder / "engine")
    check_same_table(script, folder / "engine")
    ends = sorted(path.stat().st_mtime for path in folder.glob("one_worker/*/cells/*/result.json"))
    plain_ends = [float(line) for line in plain.output.split()]
    return Round(per_cell(plain_ends), per_cell(ends), plain.seconds, script.seconds, engine.seconds)


def per_cell(ends: list[float]) -> float:
    """Return the mean time between the ends of consecutive cells."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def check_same_table(script: Done, storage: Path) -> None:
    """Check that script and engine have the same means, so that both did the same work.

    Raises:
        RuntimeError: A mean differs.
    """
    theirs = json.loads(script.output.splitlines()[-1])
    arms = json.loads(sweeps("report", QUICKSTART, storage, "--format", "json").output)["arms"]
    for arm in arms:
        for key, summary in arm["metrics"].items():
            mean = theirs[arm["id"]][key.partition("/")[0]]
            if not math.isclose(mean, summary["mean"], rel_tol=SAME):
                raise RuntimeError(f"{arm['id']}, {key}: {mean} by the script, {summary['mean']} by the engine")


if __name__ == "__main__":
    sys.exit(main())
