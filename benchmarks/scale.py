"""Speed of the engine at 10,000 cells: check, plan, resume, statistics and report.

Commands are timed from start to end. The resume decision is timed in one process, from the study file to the first
cell to run (none: all are done), as in ``run`` before it starts Ray.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.commands import python, sweeps
from benchmarks.figures import Figure, conclude, table
from benchmarks.trivial import trivial_result, write_study
from sweeps.plan import Plan, load
from sweeps.report import build
from sweeps.results.ledger import Ledger, study_folder
from sweeps.run.queue import Queue
from trainables.provenance import code_hash
from trainables.trial_spec import RESULT

CHECK = "check"
PLAN = "plan --json, nothing done"
PLAN_DONE = "plan --json, all done"
TABLE = "plan as a table, all done"
LOST_INDEX = "resume decision, index lost"
RESUME = "resume decision"
BUILD = "statistics only"
REPORT = "report --save, all formats, no clips"


class Duration(NamedTuple):
    """Seconds of an action: wall time, and processor time including child processes."""

    wall: float
    processor: float


def main() -> int:
    """Measure everything and save the results with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000, help="cells, a multiple of ten")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each measurement")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measured = measure(Path(scratch), arguments.cells, arguments.rounds)
    seconds = {name: median(duration.wall for duration in times) for name, times in measured.items()}
    figures = [
        Figure("check and plan, nothing done, s", seconds[CHECK] + seconds[PLAN], "at most", 3),
        Figure("check and plan, all done, s", seconds[CHECK] + seconds[PLAN_DONE], "at most", 3),
        Figure("resume decision, s", seconds[RESUME], "at most", 5),
        Figure("resume decision with the index lost, s", seconds[LOST_INDEX], "at most", 5),
        Figure("statistics and report, s", seconds[REPORT], "at most", 10),
    ]
    rows = [
        (
            name,
            min(duration.wall for duration in times),
            seconds[name],
            median(duration.processor for duration in times),
        )
        for name, times in measured.items()
    ]
    setting = f"A study with {arguments.cells} cells, {arguments.rounds} repetitions; figures are medians."
    return conclude("scale", setting, table(("measurement", "minimum, s", "median, s", "processor, s"), rows), figures)


def measure(scratch: Path, cells: int, rounds: int) -> dict[str, list[Duration]]:
    """Time all commands and steps."""
    storage, study = scratch / "runs", write_study(scratch, cells)
    plan = load(study)
    ledger = Ledger(study_folder(storage, plan.study.name))

    def command(name: str, *options: object) -> Callable[[], object]:
        return lambda: sweeps(name, study, storage, *options)

    measured = {CHECK: timed(rounds, lambda: python("sweeps", "check", study))}
    measured[PLAN] = timed(rounds, command("plan", "--json"))
    write_results(plan, ledger)
    measured[LOST_INDEX] = timed(
        rounds, lambda: check_done(study, ledger), lambda: ledger.index.unlink(missing_ok=True)
    )
    measured[RESUME] = timed(rounds, lambda: check_done(study, ledger))
    measured[PLAN_DONE] = timed(rounds, command("plan", "--json"))
    measured[TABLE] = timed(rounds, command("plan"))
    measured[BUILD] = timed(rounds, lambda: build(plan, ledger.records()))
    measured[REPORT] = timed(rounds, command("report", "--save", scratch / "report"))
    return measured


def timed(rounds: int, action: Callable[[], object], before: Callable[[], object] = lambda: None) -> list[Duration]:
    """Time an action repeatedly; ``before`` is not included."""
    times = []
    for _ in range(rounds):
        before()
        started, used = time.perf_counter(), sum(os.times()[:4])
        action()
        times.append(Duration(time.perf_counter() - started, sum(os.times()[:4]) - used))
    return times


def write_results(plan: Plan, ledger: Ledger) -> None:
    """Write a result for every cell, without fsync: the disk is not measured."""
    for cell in plan.cells:
        folder = ledger.cell_folder(cell.id)
        folder.mkdir(parents=True)
        (folder / RESULT).write_text(trivial_result(cell.spec, plan.metrics).model_dump_json(indent=1))


def check_done(study: Path, ledger: Ledger) -> None:
    """Take the resume decision, and check that no cell is left to run."""
    plan = load(study)
    ledger.recover()
    records = ledger.records()
    code_hash("zs2")
    if len(records) != len(plan.cells) or Queue(plan, records):
        raise RuntimeError(f"{len(records)} results for {len(plan.cells)} cells: not all cells are done")


if __name__ == "__main__":
    sys.exit(main())
