"""Overhead of the engine per cell: 300 cells that compute nothing, compared with raw Ray Tune in the same run.

The path of a cell is Ray Tune, ledger and spool, while the tracker uploads to a database in parallel. Both sides are
timed from the end of the first trial to the end of the last, so that neither includes the start of workers.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import sweeps  # sets variables that ray reads on import, so it comes first  # isort: skip  # noqa: F401
import ray
from ray import tune

from benchmarks.figures import Figure, conclude, table
from benchmarks.trivial import open_recorder, write_study
from benchmarks.trivial_trials import RawTrial, TrivialCell, TrivialCellWithClips
from sweeps.plan import Plan, load
from sweeps.run.cluster import connect
from sweeps.run.progress import notify
from sweeps.run.queue import Queue
from sweeps.run.tune import run_trials
from trainables.trial_spec import RESULT


@dataclass(frozen=True)
class Cells:
    """One run of trivial cells.

    Args:
        path: Milliseconds per cell.
        upload: Milliseconds per run in the tracker, from the end of the first cell to the end of the last upload; at
            least the path, since fast uploads wait for cells.
        waiting: Runs not yet uploaded when the last cell ended.
        rest: Seconds for their upload.
    """

    path: float
    upload: float
    waiting: int
    rest: float


def main() -> int:
    """Measure both sides and save the results with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=300, help="cells per run, a multiple of ten")
    parser.add_argument("--rounds", type=int, default=2, help="rounds; each measures all sides in turn")
    arguments = parser.parse_args()
    rows, trivial, raw = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        plan = load(write_study(Path(scratch), arguments.cells))
        connect()
        try:
            for number in range(arguments.rounds):
                folder = Path(scratch) / f"round{number}"
                raw.append(raw_tune(len(plan.cells), folder / "raw"))
                trivial.append(cell_path(plan, folder / "trivial", TrivialCell))
                with_clips = cell_path(plan, folder / "clips", TrivialCellWithClips)
                rows.append((f"{number}: raw Ray Tune", raw[-1], "", "", ""))
                rows.append((f"{number}: cells with a result only", *vars(trivial[-1]).values()))
                rows.append((f"{number}: cells with strip and films", *vars(with_clips).values()))
        finally:
            ray.shutdown()
    path = sum(cells.path for cells in trivial) / len(trivial)
    figures = [
        Figure("path of a cell (Tune, ledger, spool), ms", path, "at most", 50),
        Figure("upload of a run, ms", sum(cells.upload for cells in trivial) / len(trivial), "at most", 150),
    ]
    head = ("round", "path, ms per cell", "upload, ms per run", "runs waiting at the end", "their upload, s")
    ratio = f"Path of a cell divided by raw Ray Tune: {path * len(raw) / sum(raw):.2f}."
    setting = f"{len(plan.cells)} cells that compute nothing, Ray Tune on all processors, MLflow in a database."
    return conclude("cell_path", setting, [*table(head, rows), "", ratio], figures)


def raw_tune(number: int, storage: Path) -> float:
    """Measure milliseconds per trial of Ray Tune alone, with warm workers."""
    results = tune.Tuner(
        tune.with_resources(RawTrial, {"CPU": 1}),
        tune_config=tune.TuneConfig(num_samples=number, reuse_actors=True),
        run_config=tune.RunConfig(
            name="raw",
            storage_path=str(storage),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()
    if results.num_errors:
        raise RuntimeError(f"{results.num_errors} trials failed: {results.errors[0]}")
    return per_trial([result.metrics["ended"] for result in results])


def cell_path(plan: Plan, storage: Path, trainable: type[TrivialCell]) -> Cells:
    """Run the plan's cells through the engine.

    Raises:
        RuntimeError: A cell is not done, or its run is not uploaded.
    """
    with open_recorder(plan, storage) as recorder:
        run_trials(Queue(plan, {}), recorder, storage, trainable=trainable)
        waiting, worked = recorder.tracker.pending(), time.time()
        recorder.tracker.finish([], False, lambda left: notify(f"{left} runs left"))
        ended = time.time()
    ends = [(recorder.ledger.cell_folder(cell.id) / RESULT).stat().st_mtime for cell in plan.cells]
    if recorder.tracker.uploaded != len(plan.cells):
        raise RuntimeError(
            f"{recorder.tracker.uploaded} of {len(plan.cells)} cells uploaded; {recorder.tracker.failures}"
        )
    uploading = ended - min(ends)
    return Cells(per_trial(ends), 1000 * uploading / len(ends), waiting, ended - worked)


def per_trial(ends: list[float]) -> float:
    """Return the mean milliseconds between the ends of consecutive trials."""
    return 1000 * (max(ends) - min(ends)) / (len(ends) - 1)


if __name__ == "__main__":
    sys.exit(main())
