"""Cells as Ray Tune trials: one Tuner, one searcher that hands out the queue, one recorder of the results."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from sweeps.plan import Cell, Plan
from sweeps.run.cluster import num_slots, placed
from sweeps.run.early_stopping import SearchTrialsOnly
from sweeps.run.progress import cannot_continue, notify
from sweeps.run.queue import Exhausted, Queue
from sweeps.run.recorder import Follower
from trainables.failures import DISK_FULL, is_unwritable, unwritten
from trainables.trial import CellTrial
from trainables.trial_spec import UPDATE

MAX_WORKER_DEATHS = 2


def run_trials(
    queue: Queue,
    recorder: Follower,
    storage: Path,
    *,
    warm: bool = True,
    trainable: type[tune.Trainable] = CellTrial,
) -> None:
    """Run all cells of the queue with one Tuner.

    Args:
        queue: The queue of cells.
        recorder: Receives the events of all cells.
        storage: Folder of all studies.
        warm: Load each base once per worker, instead of once per cell.
        trainable: Class that runs one cell.
    """
    plan = queue.plan
    search = plan.search

    def config(cell: Cell) -> dict[str, Any]:
        return {
            "cell_id": cell.id,
            "spec": cell.spec.model_copy(update={"scaling": placed(cell.spec.scaling)}).model_dump(mode="json"),
            "storage": str(storage.resolve()),
            "warm": warm,
            "objective": search.objectives[0].key if search else "",
        }

    scratch = recorder.ledger.folder / ".tune"
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=CellSearcher(queue, recorder, config),
                scheduler=_scheduler(plan),
                num_samples=-1,
                # Beside worker groups, an idle actor that is kept for reuse would hold the CPU that a group waits for.
                reuse_actors=all(arm.system.is_trained == plan.is_trained for arm in plan.arms),
                max_concurrent_trials=num_slots(plan) if plan.is_trained else plan.study.resources.max_concurrent,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(scratch.resolve()),
                callbacks=[Following(recorder)],
                failure_config=tune.FailureConfig(max_failures=MAX_WORKER_DEATHS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scheduler(plan: Plan) -> SearchTrialsOnly | None:
    """Make the scheduler for early stopping, by validation loss for trained systems, else by the first objective."""
    search = plan.search
    if search is None or search.trial_scheduler is None:
        return None
    mode = "min" if plan.is_trained else search.objectives[0].direction
    return SearchTrialsOnly(search.trial_scheduler, mode, plan.study.resources.report_every)


def _trial_name(trial: Trial) -> str:
    return str(trial.config["cell_id"])


class CellSearcher(Searcher):  # type: ignore[misc]  # ray ships no types
    """Hands the queue's cells to Tune, and passes their results to queue and recorder."""

    def __init__(self, queue: Queue, recorder: Follower, config: Callable[[Cell], dict[str, Any]]) -> None:
        super().__init__()
        self._queue = queue
        self._recorder = recorder
        self._config = config
        self._of_trial: dict[str, Cell] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state: Tune pickles its searcher for a restore that is never used here."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next cell's configuration; None while it depends on running cells, FINISHED if no cell is left."""
        try:
            cell = self._queue.next()
        except Exhausted:
            return str(Searcher.FINISHED)
        if cell is None:
            return None
        self._of_trial[trial_id] = cell
        self._recorder.handed_out(cell)
        return self._config(cell)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record the end of a cell, and report it to the queue."""
        cell = self._of_trial.pop(trial_id)
        if result and result.get("failure") == DISK_FULL:
            self._stop(f"cannot be written ({str(result['error']).partition(': ')[2]})")
        try:
            self._queue.ended(cell, self._recorder.ended(cell, result, died=error))
        except OSError as failure:
            if not is_unwritable(failure):
                raise
            self._stop(unwritten(failure))

    def _stop(self, reason: str) -> None:
        """Hand out no further cell, since no result could be written; print the reason once."""
        if not self._queue.unwritten:
            self._queue.unwritten = reason
            notify(cannot_continue(self._queue.plan.study.name, reason))

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger holds the results."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: Tune's folder is temporary."""


class Following(tune.Callback):  # type: ignore[misc]  # ray ships no types
    """Passes starts, reports and losses of trials to the recorder."""

    def __init__(self, recorder: Follower) -> None:
        self._recorder = recorder

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state: Tune pickles its callbacks for a restore that is never used here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Count a cell as running."""
        self._recorder.started(trial.config["cell_id"])

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Note that time has passed: Tune's loop takes a step several times a second, also without events."""
        self._recorder.tick()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Upload the new metric points of a running cell."""
        if not result.get("status"):
            self._recorder.reported(trial.config["cell_id"], result.get(UPDATE, 0))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Print a message on a cell that is lost since its worker died in every attempt; the next run restarts it."""
        spec = trial.config["spec"]
        lost = f"its worker died {MAX_WORKER_DEATHS + 1} times"
        notify(f"{spec['arm']} seed {spec['seed']}: {lost} -> the next run starts it again")
