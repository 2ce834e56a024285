"""What does the quickstart cost beside one plain process, and beside a plain Ray Tune script?

Time per cell is taken with one worker on one thread, over the cells after the first (which pays for loading), beside a
process that only loops over the same cells. Cells per hour are taken from the start of the command to its end, on all
processors, beside the script of ``benchmarks/peers/plain_tune.py``, whose table has to be the same.
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
SAME = 1e-4  # relative difference up to which two means are one


@dataclass(frozen=True)
class Round:
    """Seconds of one round: per cell of the plain process and of one worker, and from start to end of all three."""

    plain_cell: float
    engine_cell: float
    plain: float
    script: float
    engine: float


def main() -> int:
    """Measure all sides in turn, print the ratios, and keep them with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="rounds, all sides in turn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        study = one_worker(Path(scratch))
        rounds = [measure(study, Path(scratch) / f"round{number}") for number in range(arguments.rounds)]
        cells = len(list((Path(scratch) / "round0" / "engine").glob("*/cells/*/result.json")))
    total = Round(*(sum(values) for values in zip(*(vars(one).values() for one in rounds), strict=True)))
    per_hour = [3600 * cells * len(rounds) / seconds for seconds in (total.engine, total.script)]
    figures = [
        Figure("time per cell over the plain process's", total.engine_cell / total.plain_cell, "at most", 1.1),
        Figure("cells per hour over the plain Ray Tune script's", total.script / total.engine, "at least", 2),
    ]
    head = ("round", "plain process, s a cell", "engine, s a cell", "plain process, s", "script, s", "engine, s")
    rows = [(str(number), *vars(one).values()) for number, one in enumerate(rounds)]
    hourly = f"Cells per hour: engine {per_hour[0]:.0f}, plain Ray Tune script {per_hour[1]:.0f}."
    setting = (
        f"The quickstart, {cells} cells. Seconds a cell: one worker, one thread, cells after the first. Other seconds: "
        "from start to end of the command; the plain process on one thread, script and engine on all processors."
    )
    return conclude("quickstart", setting, [*table(head, rows), "", hourly], figures)


def one_worker(folder: Path) -> Path:
    """The quickstart as a study that does one cell at a time, on one thread."""
    study = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    path = folder / "one_worker.yaml"
    path.write_text(yaml.safe_dump({**study, "resources": {"max_concurrent": 1, "cpus_per_worker": 1}}))
    return path


def measure(study: Path, folder: Path) -> Round:
    """One round: all sides after one another."""
    plain = python("benchmarks.peers.plain_process", study, OMP_NUM_THREADS="1")
    sweeps("run", study, folder / "one_worker")
    (folder / "script").mkdir()
    script = python("benchmarks.peers.plain_tune", folder / "script")
    engine = sweeps("run", QUICKSTART, folder / "engine")
    demand_same_table(script, folder / "engine")
    ends = sorted(path.stat().st_mtime for path in folder.glob("one_worker/*/cells/*/result.json"))
    plain_ends = [float(line) for line in plain.output.split()]
    return Round(per_cell(plain_ends), per_cell(ends), plain.seconds, script.seconds, engine.seconds)


def per_cell(ends: list[float]) -> float:
    """Mean time between the ends of consecutive cells."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def demand_same_table(script: Done, storage: Path) -> None:
    """Compare only what did the same work: the script's means have to be the engine's.

    Raises:
        RuntimeError: They are not.
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
