"""Cells as Ray Tune trials: one Tuner, one searcher that hands out the agenda, one book of what came of it."""

import gc
import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from models import SYSTEMS
from sweeps.plan import Cell, Plan
from sweeps.run.early_stopping import SearchTrialsOnly
from sweeps.run.progress import say
from sweeps.run.queue import Agenda, Over
from sweeps.run.recorder import Follower
from trainables.scaling import Scaling
from trainables.trial import CellTrial

MAX_WORKER_DEATHS = 2


def run_trials(
    agenda: Agenda,
    book: Follower,
    storage: Path,
    *,
    warm: bool = True,
    trainable: type[tune.Trainable] = CellTrial,
) -> None:
    """Run all cells of the agenda under one Tuner.

    Args:
        agenda: What to hand out.
        book: Where it is written down.
        storage: Folder of all studies.
        warm: Load each base once per worker; off, everything is loaded anew for each cell.
        trainable: What runs one cell.
    """
    plan = agenda.plan
    search = plan.search
    scaling = _scaling(plan)

    def config(cell: Cell) -> dict[str, Any]:
        return {
            "cell_id": cell.id,
            "spec": cell.spec.model_copy(update={"scaling": scaling}).model_dump(mode="json"),
            "storage": str(storage.resolve()),
            "warm": warm,
            "objective": search.objectives[0].key if search else "",
        }

    scratch = book.ledger.folder / ".tune"
    try:
        tune.Tuner(
            tune.with_resources(trainable, trial_resources(plan)),
            tune_config=tune.TuneConfig(
                search_alg=CellSearcher(agenda, book, config),
                scheduler=_scheduler(plan),
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=num_slots(plan) if is_trained(plan) else plan.study.resources.max_concurrent,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(scratch.resolve()),
                callbacks=[Following(book)],
                failure_config=tune.FailureConfig(max_failures=MAX_WORKER_DEATHS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def connect(*, dashboard: bool = False) -> bool:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine; True where this call did it.

    Args:
        dashboard: Whether a Ray of our own gets one, which Ray Train asks before it frees what a lost group reserved.
    """
    if ray.is_initialized():
        return False
    # The ledger and the progress line speak of what went wrong; Tune's own account is tracebacks of its loop.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    # Ray hides a node's GPUs from workers that are given none only where their environment says so.
    hidden = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
    if os.environ.get("RAY_ADDRESS"):
        where: dict[str, Any] = {"runtime_env": {"env_vars": hidden}}
    else:
        os.environ.update(hidden)  # inherited, which costs no worker a start of its own
        # Left to itself, Ray joins any cluster that runs here, and ends with it.
        where = {"address": "local", "include_dashboard": dashboard}
    ray.init(log_to_driver=False, logging_level="WARNING", **where)
    return True


def disconnect() -> None:
    """Leave the cluster; what this driver started ends with it.

    Tune leaves references to remote objects in cycles. One that were collected by another thread while Ray shuts down
    would end the whole process at once, before the report.
    """
    gc.collect()
    ray.shutdown()


def is_trained(plan: Plan) -> bool:
    """Whether a cell has a worker group."""
    return SYSTEMS[plan.study.system].is_trained


def trial_resources(plan: Plan) -> dict[str, float]:
    """What Ray reserves for a trial: its worker's share, or next to nothing where its worker group has its own.

    A trial that held a processor beside its group's would keep another group from starting, each waiting for the other.
    """
    return {"memory": 1} if is_trained(plan) else worker_resources(plan)


def worker_resources(plan: Plan) -> dict[str, float]:
    """What one worker of a cell is given."""
    return _scaling(plan).per_worker


def _scaling(plan: Plan) -> Scaling:
    """The worker group of a cell on this cluster: where the study asks for no GPUs, one each if there are any."""
    asked = plan.study.resources.scaling
    if asked.gpus_per_worker is not None:
        return asked
    return asked.model_copy(update={"gpus_per_worker": float(ray.cluster_resources().get("GPU", 0) >= 1)})


def num_slots(plan: Plan) -> int:
    """How many cells the cluster holds at a time, as it is now; a worker lies whole on one node."""
    return max(1, min(_room(plan) // plan.study.resources.workers, plan.study.resources.max_concurrent or sys.maxsize))


def too_large(plan: Plan) -> str:
    """Why a cell's worker group never fits the cluster as it is, with the arithmetic; empty where it does."""
    room, workers = _room(plan), plan.study.resources.workers
    if room >= workers:
        return ""
    each = " and ".join(f"{need:g} {name}" for name, need in worker_resources(plan).items() if need)
    nodes = "; ".join(
        ", ".join(f"{node['Resources'].get(name, 0):g} {name}" for name in ("CPU", "GPU")) for node in _nodes()
    )
    asked = f"{plan.study.name}: a cell asks for {workers} workers with {each} each"
    return f"{asked}, and the cluster's nodes ({nodes}) hold {room} -> fewer workers, or a larger cluster"


def _room(plan: Plan) -> int:
    """How many workers the cluster's nodes hold."""
    needs = {name: need for name, need in worker_resources(plan).items() if need}
    return sum(min(int(node["Resources"].get(name, 0) / need) for name, need in needs.items()) for node in _nodes())


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _scheduler(plan: Plan) -> SearchTrialsOnly | None:
    """What stops a search's hopeless trials: by a training's validation loss, or by the objective."""
    search = plan.search
    if search is None or search.trial_scheduler is None:
        return None
    mode = "min" if is_trained(plan) else search.objectives[0].direction
    return SearchTrialsOnly(search.trial_scheduler, mode, plan.study.resources.report_every)


def _trial_name(trial: Trial) -> str:
    return str(trial.config["cell_id"])


class CellSearcher(Searcher):  # type: ignore[misc]  # ray ships no types
    """Hands the agenda's cells to Tune and takes note of how each ended."""

    def __init__(self, agenda: Agenda, book: Follower, config: Callable[[Cell], dict[str, Any]]) -> None:
        super().__init__()
        self._agenda = agenda
        self._book = book
        self._config = config
        self._of_trial: dict[str, Cell] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for a restore that never happens here."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next cell; None while it depends on others, or the sign that none is left."""
        try:
            cell = self._agenda.next()
        except Over:
            return str(Searcher.FINISHED)
        if cell is None:
            return None
        self._of_trial[trial_id] = cell
        self._book.handed_out(cell)
        return self._config(cell)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Write the cell's end down, and let the search learn from it."""
        cell = self._of_trial.pop(trial_id)
        self._agenda.ended(cell, self._book.ended(cell, result, died=error))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger knows what is done."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: Tune's folder is scratch."""


class Following(tune.Callback):  # type: ignore[misc]  # ray ships no types
    """Follows the trials on their way: what starts, what reports, what is lost."""

    def __init__(self, book: Follower) -> None:
        self._book = book

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that never happens here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Count a cell as running."""
        self._book.started(trial.config["cell_id"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Have the figures uploaded that a cell left on its way."""
        if not result.get("status"):
            self._book.reported(trial.config["cell_id"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The worker died each time: the cell has no result and is started again by the next run."""
        spec = trial.config["spec"]
        lost = f"its worker died {MAX_WORKER_DEATHS + 1} times"
        say(f"{spec['arm']} seed {spec['seed']}: {lost}; the next run starts it again")
