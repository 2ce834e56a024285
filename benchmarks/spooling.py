"""Metric points spooled per second while the tracking server is down.

Every point takes the path of a running study: from a training to the cell's spool, then through the recorder to a
tracker that cannot reach its server.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, conclude, table
from benchmarks.trivial import open_recorder, write_study
from sweeps.plan import Plan, load
from trainables.spool import Spool

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing answers


def main() -> int:
    """Measure, and save the result with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=3000, help="points per round, each with one metric")
    parser.add_argument("--rounds", type=int, default=3, help="rounds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        plan = load(write_study(Path(scratch), 10))
        rounds = [spool(plan, Path(scratch) / f"round{number}", arguments.points) for number in range(arguments.rounds)]
    whole = arguments.points * len(rounds) / sum(seconds for seconds, _ in rounds)
    setting = f"{arguments.points} points of {len(plan.cells)} cells in turn, no tracking server."
    head = ("round", "points per second", "points per second of processor time")
    rows = [(str(number), *(arguments.points / took for took in seconds)) for number, seconds in enumerate(rounds)]
    figure = Figure("metric points spooled per second", whole, "at least", 500)
    return conclude("spooling", setting, table(head, rows), [figure])


def spool(plan: Plan, storage: Path, points: int) -> tuple[float, float]:
    """Measure wall and processor seconds in which a study's recorder takes the points, cell by cell in turn.

    Raises:
        RuntimeError: A point is not on disk, or the tracker reached a server.
    """
    with open_recorder(plan, storage, NOWHERE) as recorder:
        for cell in plan.cells:
            recorder.handed_out(cell)
        spools = [Spool(recorder.ledger.cell_folder(cell.id)) for cell in plan.cells]
        started, worked = time.perf_counter(), time.thread_time()
        for step in range(points):
            number = step % len(spools)
            spools[number].append(step, {"loss": 1 / (step + 1)})
            recorder.reported(plan.cells[number].id)
        seconds = time.perf_counter() - started, time.thread_time() - worked
        kept = sum(1 for cell in plan.cells for _ in Spool(recorder.ledger.cell_folder(cell.id)).points())
        recorder.tracker.finish([], failed=True)
    if kept != points or not recorder.tracker.failures:
        raise RuntimeError(f"{kept} of {points} points are on disk; not uploaded: {recorder.tracker.failures}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
