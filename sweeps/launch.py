"""Plan to Ray Tune: hand out the cells that are not done, collect their results, end in the report."""

import logging
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# Read by ray when it is imported: no usage reports, no files of Tune's own beside the ledger's, and a token that keeps
# strangers out of a head which listens on every interface.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints a banner even when told to be silent
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # a base may be a path relative to where the user stands
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.experiment import Trial  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from sweeps.ledger import Ledger, states, study_folder  # noqa: E402
from sweeps.plan import Cell, Plan, requirements  # noqa: E402
from sweeps.progress import Progress  # noqa: E402
from sweeps.report import build, print_terminal, save  # noqa: E402
from trainables.files import write_atomically  # noqa: E402
from trainables.provenance import code_hash, commit  # noqa: E402
from trainables.tracking import Tracker, tracking_uri  # noqa: E402
from trainables.trial import CellTrial  # noqa: E402
from trainables.trial_spec import Result  # noqa: E402

MAX_WORKER_DEATHS = 2


def run(plan: Plan, storage: Path, *, retry_failed: bool = False, warm: bool = True) -> int:
    """Run every cell of the plan that is not done, record each in MLflow, and end in the report.

    Args:
        plan: What to run.
        storage: Folder of all studies; this one lives in ``storage/<study>``.
        retry_failed: Run failed cells once more; otherwise they stay as they are.
        warm: Load each base once per worker; off, everything is loaded anew for each cell.

    Returns:
        Exit code: 0 all cells done, 1 some cell failed or is missing, 2 refused before anything ran.
    """
    problems = [str(problem) for problem in requirements(plan)] + _unwritable(storage)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    ledger = Ledger(study_folder(storage, plan.study.name))
    todo = _todo(plan, storage, retry_failed)
    tracker = _open_tracker(plan, storage)
    uploads = _upload_missing(plan, ledger, tracker) if tracker else 0
    say(f"{plan.study.name}: {len(plan.cells)} cells, {len(plan.cells) - len(todo)} there already, {len(todo)} to do")
    resolved = ledger.folder / "study.yaml"
    if todo:
        try:
            started = _connect()
        except Exception as reason:
            say(f"Ray did not start: {reason} -> free some processor or memory, or name a cluster with RAY_ADDRESS")
            return 2
        ledger.cells.mkdir(parents=True, exist_ok=True)
        write_atomically(resolved, plan.study.to_yaml().encode())
        try:
            _tune(plan, storage, todo, ledger, tracker, warm)
        finally:
            if started:
                ray.shutdown()
    report = build(plan, ledger)
    incomplete = any(state != "done" for state in states(plan, storage).values())
    if todo or uploads:
        files = save(report, ledger, ledger.folder / "report")
        _finish(tracker, [resolved, *files], incomplete)
    print_terminal(report)
    _say_where(plan, storage, ledger)
    if incomplete:
        say("not every cell is done: the same command goes on, --retry-failed repeats failed cells")
    return 1 if incomplete else 0


def _todo(plan: Plan, storage: Path, retry_failed: bool) -> list[Cell]:
    waiting = {"pending", "rescore"} | ({"failed"} if retry_failed else set())
    state = states(plan, storage)
    return [cell for cell in plan.cells if state[cell.id] in waiting]


def _unwritable(storage: Path) -> list[str]:
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage):
            pass
    except OSError as reason:
        return [f"{storage}: storage cannot be written ({reason.strerror}) -> give another folder with --storage DIR"]
    return []


def _open_tracker(plan: Plan, storage: Path) -> Tracker | None:
    """Open the study's runs; without a tracker the study goes on."""
    study = plan.study
    uri = tracking_uri(storage, study.tracking.uri)
    tags = {"commit": commit(), "code_hash": code_hash(), "system": study.system, "base": study.base}
    try:
        return Tracker(uri, study.name, study.question, storage / "mlartifacts" / study.name, tags)
    except Exception as reason:
        say(f"MLflow at {uri} does not answer ({reason}); the study goes on, the next run uploads what is missing")
        return None


def _upload_missing(plan: Plan, ledger: Ledger, tracker: Tracker) -> int:
    """Upload what is on disk and not in MLflow, such as after a driver was killed; returns how many."""
    missing = set(ledger.records()) - tracker.recorded()
    results = [ledger.result(cell.id) for cell in plan.cells if cell.id in missing]
    for result in results:
        if result is not None:
            tracker.record(result, ledger.cell_folder(result.cell_id))
    return len(results)


def _finish(tracker: Tracker | None, files: list[Path], incomplete: bool) -> None:
    if tracker is None:
        return
    if waiting := tracker.pending():
        say(f"uploading {waiting} runs to MLflow")
    tracker.finish(files, failed=incomplete)
    for failure in tracker.failures:
        say(f"not uploaded, the next run tries again: {failure}")


def _say_where(plan: Plan, storage: Path, ledger: Ledger) -> None:
    """The lines that open what the study left."""
    uri = tracking_uri(storage, plan.study.tracking.uri)
    python = os.path.relpath(sys.executable)
    opened = f"{python} -m mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else uri
    print(f"\ntable and frame strips   {ledger.folder / 'report'}")
    print(f"clips and results        {ledger.cells}")
    print(f"every trial in MLflow    {opened}")


def _tune(plan: Plan, storage: Path, cells: list[Cell], ledger: Ledger, tracker: Tracker | None, warm: bool) -> None:
    configs = [
        {
            "cell_id": cell.id,
            "spec": cell.spec.model_dump(mode="json"),
            "storage": str(storage.resolve()),
            "warm": warm,
        }
        for cell in cells
    ]

    def record(result: Result) -> None:
        if tracker is not None:
            tracker.record(result, ledger.cell_folder(result.cell_id))

    scratch = ledger.folder / ".tune"
    try:
        with Progress(len(cells)) as progress:
            tune.Tuner(
                tune.with_resources(CellTrial, worker_resources(plan)),
                tune_config=tune.TuneConfig(
                    search_alg=CellSearcher(configs),
                    num_samples=-1,
                    reuse_actors=True,
                    max_concurrent_trials=plan.study.resources.workers,
                    trial_name_creator=_trial_name,
                    trial_dirname_creator=_trial_name,
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=str(scratch.resolve()),
                    callbacks=[Collector(ledger, progress, record)],
                    failure_config=tune.FailureConfig(max_failures=MAX_WORKER_DEATHS),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    verbose=0,
                ),
            ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _connect() -> bool:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine; True where this call did it."""
    if ray.is_initialized():
        return False
    # The ledger and the lines above speak of what went wrong; Tune's own account is tracebacks of its loop.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    local = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
    ray.init(log_to_driver=False, logging_level="WARNING", **local)
    return True


def worker_resources(plan: Plan) -> dict[str, float]:
    """What Ray reserves for one worker: the study's request, else one processor, and one GPU where there are any."""
    asked = plan.study.resources
    gpus = asked.gpus_per_worker
    if gpus is None:
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
    return {"CPU": asked.cpus_per_worker, "GPU": gpus}


def _trial_name(trial: Trial) -> str:
    return str(trial.config["cell_id"])


def say(message: str) -> None:
    """A line for the person who waits, apart from the results on standard output."""
    print(message, file=sys.stderr, flush=True)


class CellSearcher(Searcher):  # type: ignore[misc]  # ray ships no types
    """Hands out cells in the plan's order, each exactly once."""

    def __init__(self, configs: Iterable[dict[str, Any]]) -> None:
        super().__init__()
        self._waiting = deque(configs)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next cell, or the sign that none is left."""
        return self._waiting.popleft() if self._waiting else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn: a plan's cells do not depend on each other."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger knows what is done."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: Tune's folder is scratch."""


class Collector(tune.Callback):  # type: ignore[misc]  # ray ships no types
    """Follows the trials: index, upload and progress for each cell that ends."""

    def __init__(self, ledger: Ledger, progress: Progress, record: Callable[[Result], None]) -> None:
        self.ledger = ledger
        self.progress = progress
        self.record = record
        self._running: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that never happens here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Count a cell as running (once, also if its worker dies and it starts again)."""
        if trial.trial_id not in self._running:
            self._running.add(trial.trial_id)
            self.progress.start()

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Take the cell's result from its folder."""
        result = self.ledger.result(trial.config["cell_id"])
        if result is not None:
            self.ledger.append([result])
            self.record(result)
        self.progress.end(failed=result is None or result.status == "failed")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The worker died each time: the cell has no result and is started again by the next run."""
        spec = trial.config["spec"]
        say(f"{spec['arm']} seed {spec['seed']}: its worker died {MAX_WORKER_DEATHS + 1} times; see {trial.error_file}")
        self.progress.end(failed=True)
