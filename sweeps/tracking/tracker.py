"""MLflow records of a study: one parent run, and one run per cell, whatever the number of attempts.

The driver of ``run`` is the only writer. The files on disk are authoritative: each cell's result, and its metric points
in the spool. A background thread copies them to MLflow. If MLflow is slow, down or returns errors, no cell waits;
missing data is uploaded when it answers again, or by the next ``run``.
"""

import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

# Settings of mlflow. No retries inside mlflow: a create that timed out may have created its run, and a retry would
# create a second one. No messages and no progress bars per run on the terminal.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402

from sweeps.tracking import differences, run_record  # noqa: E402
from sweeps.tracking.environment import environment_files  # noqa: E402
from sweeps.tracking.inputs import dataset_digest, dataset_inputs  # noqa: E402
from sweeps.tracking.known_run import ENDS, Files, KnownRun, digest  # noqa: E402
from sweeps.tracking.location import create_database, database_file  # noqa: E402
from sweeps.tracking.views import Review, first_view, view_name, view_tags  # noqa: E402
from trainables.cell_files import PLAYABLE, STRIP  # noqa: E402
from trainables.spool import Spool, Uploads  # noqa: E402
from trainables.trial_spec import RESULT, Result, TrialSpec  # noqa: E402

PARENT = "study"  # identity of the parent run, as the cell id of a cell's run
DATASETS = "datasets"
PAGE = 250  # runs per response, to stay within the timeout
MAX_METRICS = 1000  # per log_batch
MAX_PARAM = 6000  # characters; MLflow truncates longer values silently

REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "PERMISSION_DENIED")
"""Errors of a server that lacks or forbids a feature."""

Strings = Mapping[str, str]
NOTHING: Strings = MappingProxyType({})


class Tracker(Uploads):
    """Uploads the study's runs to MLflow.

    Args:
        uri: Tracking server or database.
        study: Name of the study and of its MLflow experiment.
        question: Description of the parent run.
        artifacts: Folder of artifacts if a database is written directly; a server uses its own.
        tags: Tags of the parent run.
        review: What the saved views show; none are made without metrics.
    """

    def __init__(
        self,
        uri: str,
        study: str,
        question: str,
        artifacts: Path,
        tags: Mapping[str, str],
        review: Review = Review(),  # noqa: B008  # frozen
    ) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)  # a new database logs every migration
        # Errors are reported by ``failures``; MLflow would print the traceback of each attempt.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        parent_tags = {**tags, "role": PARENT, "study": study, "mlflow.note.content": question}
        self._study = _StudyRuns(uri, study, artifacts, parent_tags, review)
        super().__init__(self._study, f"MLflow at {uri}")

    @property
    def refusals(self) -> list[str]:
        """What this server does not accept at all, such as one of the views, each with the reason."""
        return [f"{what}: {reason}" for what, reason in dict(self._study.refused).items()]

    @property
    def link(self) -> str:
        """Address of the study's first view; empty where it is not known, such as for another database."""
        return self._study.link()


class _StudyRuns:
    """The study's experiment and runs in MLflow; used by the upload thread alone."""

    def __init__(self, uri: str, study: str, artifacts: Path, parent_tags: Mapping[str, str], review: Review) -> None:
        self.refused: dict[str, str] = {}
        self.progress = time.monotonic()
        self._uri = uri
        self._study = study
        self._location = artifacts.resolve().as_uri() if database_file(uri) else None
        self._parent_tags = parent_tags
        self._review = review
        self._views = view_tags(review)
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[str, KnownRun] = {}
        self._sure = False
        self._doubtful: set[str] = set()
        self._create_failed = False
        self._environment: dict[str, bytes] = {}

    def open(self) -> None:
        """Connect to MLflow and find the runs of earlier drivers; after a failure, check that it answers."""
        if self._sure:
            return
        if self._client is None:
            create_database(self._uri)
            self._client = MlflowClient(self._uri)
        experiment = self._open_experiment()
        if experiment != self._experiment:
            self._experiment, self._runs = experiment, {}
            try:
                self._find()
                self._mark_current()
            except Exception:
                self._experiment = ""  # the next attempt begins again: an unknown run would be created twice
                raise
        self._sure = True
        self.progress = time.monotonic()

    def doubt(self, cell_id: str) -> None:
        """Forget the known state of a cell's run after a failed upload; the connection is checked before the next."""
        self._runs.pop(cell_id, None)
        self._doubtful.add(cell_id)
        self._sure = False

    def hold(self, cell_id: str, folder: Path) -> bool:
        """Whether MLflow holds a cell's result completely, with its image and its data."""
        run = self._runs.get(cell_id)
        try:
            return run is not None and run.is_complete(digest((folder / RESULT).read_bytes()), self._review)
        except OSError:
            return False

    def record(self, cell_id: str, folder: Path) -> bool:
        """Upload a cell's result; return False if it was uploaded already."""
        content = (folder / RESULT).read_bytes()
        result, found = Result.model_validate_json(content), digest(content)
        start = run_record.end_of(result) - int(1000 * sum(result.seconds.values()))
        table = run_record.table(result)
        tags = {**self._tags(cell_id, result.spec), **run_record.outcome(result)}
        run = self._get_or_create(cell_id, run_record.name(result.spec), tags, start)
        is_held = run.has_result(found)
        is_pictured = self._review.is_pictured(cell_id, result.spec.seed) and not (is_held and run.is_pictured)
        images = run_record.images(cell_id, folder) if is_pictured else {}
        if is_held and not images and (dataset_digest(result.spec) in ("", *run.data) or DATASETS in self.refused):
            return False
        self._reopen(run)
        pictures = {path.name: path.read_bytes() for pattern in (STRIP, PLAYABLE) for path in folder.glob(pattern)}
        files = Files(run, {**pictures, **images, **table, RESULT: content})
        tags |= run_record.shown(table, images) | files.tag
        if is_held:  # by a version without images or data, or of another first seed: its points are there
            self._log(run, tags=tags)
        else:
            self._send(run, folder, result.spec, {**tags, "result": found}, result)
        self._log_data(run, result.spec)
        self._upload(run, files)
        self._end(run, ENDS[result.status], run_record.end_of(result))
        self.progress = time.monotonic()
        return True

    def report(self, spec: TrialSpec, folder: Path) -> None:
        """Upload the missing metric points of a running cell."""
        tags = {**self._tags(spec.cell_id, spec), "status": "running"}
        run = self._get_or_create(spec.cell_id, run_record.name(spec), tags, None)
        self._reopen(run)
        self._send(run, folder, spec, tags)
        self.progress = time.monotonic()

    def refuses(self, error: Exception) -> bool:
        """Whether the error is permanent: unusable files, or content that MLflow rejects."""
        wrong = isinstance(error, ValueError | FileNotFoundError)
        return wrong or getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE"

    def close(self, files: Sequence[Path], failed: bool) -> None:
        """Complete the parent run, if it has any child runs."""
        if self._create_failed:
            self._find()  # a create that failed may have created its run since
        if not self._runs:
            return
        run = self._runs.get(PARENT) or self._open_parent()
        named = {path.name if path.suffix == ".yaml" else f"report/{path.name}": path.read_bytes() for path in files}
        compared = differences.read_differences(files)
        table = {differences.TABLE: compared.table} if compared else {}
        contents = Files(run, {**self._environment, **named, **table})
        status = "FAILED" if failed else "FINISHED"
        if contents.changed or run.status != status:
            self._reopen(run)
            self._log(run, tags={**contents.tag, **run_record.shown(table)})
            self._upload(run, contents)
            self._end(run, status)
        if compared:
            self._offer("differences", lambda: self._log_differences(run, compared))

    def link(self) -> str:
        """Return the address of the first view; empty where it is not known."""
        is_saved = bool(self._views) and view_name(next(iter(self._views))) not in self.refused
        return first_view(self._uri, self._experiment, self._review) if self._experiment and is_saved else ""

    def _open_experiment(self) -> str:
        tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on the table of runs
        experiment = self._client.get_experiment_by_name(self._study)
        if experiment is None:
            created = str(self._client.create_experiment(self._study, self._location, tags))
            self._save_views(created, self._views)
            return created
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        missing = {key: value for key, value in tags.items() if key not in experiment.tags}
        changed = {key: value for key, value in self._views.items() if experiment.tags.get(key) != value}
        for key, value in missing.items():
            self._client.set_experiment_tag(experiment.experiment_id, key, value)
        self._save_views(experiment.experiment_id, changed)
        return str(experiment.experiment_id)

    def _save_views(self, experiment: str, views: Strings) -> None:
        """Save views one by one: a view over the server's limit keeps no other from being saved."""
        for key, value in views.items():
            self._offer(view_name(key), partial(self._client.set_experiment_tag, experiment, key, value))

    def _offer(self, what: str, upload: Callable[[], None]) -> None:
        """Upload what an older or a restricted server may refuse: the refusal is reported, and costs nothing else."""
        if what in self.refused:
            return
        try:
            upload()
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            self.refused[what] = str(error).partition("\n")[0][:300]

    def _find(self, filter_string: str = "") -> None:
        """Find the runs in MLflow, one for each cell, and delete duplicates.

        A server that answers late may create duplicates. Of these, the run in use is kept, else the most complete, else
        the oldest.
        """
        of_cells: dict[str, list[KnownRun]] = {}
        token: str | None = None
        while token != "":
            page = self._client.search_runs([self._experiment], filter_string, max_results=PAGE, page_token=token)
            for run in map(KnownRun.of, page):
                of_cells.setdefault(self._identity(run), []).append(run)
            token = page.token or ""
        of_cells.pop("", None)
        for identity, runs in of_cells.items():
            known = self._runs.get(identity)
            first, *others = sorted(runs, key=lambda run: (known is None or run.id != known.id, *run.emptiness))
            self._runs[identity] = first
            for other in others:
                self._client.delete_run(other.id)

    def _mark_current(self) -> None:
        """Correct the mark of runs whose cells have become part of the study, or no longer are, since it was set."""
        for identity, run in self._runs.items():
            current = self._review.mark(identity, run.tags.get("search", ""))
            if self._review.cells and identity != PARENT and run.tags.get("current") != current:
                self._log(run, tags={"current": current})
                self.progress = time.monotonic()

    def _identity(self, run: KnownRun) -> str:
        """Return the run's cell id, ``PARENT`` for the parent run, or an empty string for a run of another study."""
        if run.tags.get("study") != self._study:
            return ""
        return PARENT if run.tags.get("role") == PARENT else run.tags.get("cell_id", "")

    def _get_or_create(self, identity: str, name: str, tags: Strings, started: int | None) -> KnownRun:
        """Return the run of a cell, created if it is missing."""
        if identity in self._doubtful:
            self._find(f"tags.role = '{PARENT}'" if identity == PARENT else f"tags.cell_id = '{identity}'")
            self._doubtful.remove(identity)
        if identity not in self._runs:
            filled = {key: value for key, value in tags.items() if value}
            try:
                created = self._client.create_run(self._experiment, start_time=started, tags=filled, run_name=name)
            except Exception:
                # The server may have created the run, or create it later, although its response is lost.
                self._doubtful.add(identity)
                self._create_failed = True
                raise
            self._runs[identity] = KnownRun.of(created)
        return self._runs[identity]

    def _open_parent(self) -> KnownRun:
        """Return the parent run, created or reopened, with the environment files."""
        run = self._get_or_create(PARENT, self._study, self._parent_tags, None)
        self._reopen(run)
        if not self._environment:
            self._environment = environment_files()
            files = Files(run, self._environment)
            self._log(run, tags={**self._parent_tags, **files.tag})
            self._upload(run, files)
        return run

    def _reopen(self, run: KnownRun) -> None:
        if run.status != "RUNNING":
            self._client.update_run(run.id, status="RUNNING")
            run.status = "RUNNING"

    def _end(self, run: KnownRun, status: str, end: int | None = None) -> None:
        self._client.set_terminated(run.id, status, end)
        run.status = status

    def _tags(self, cell_id: str, spec: TrialSpec) -> dict[str, str]:
        return {
            "study": spec.study,
            "arm": spec.arm,
            "part": spec.part,
            "action": spec.action,
            "role": spec.role,
            "seed": str(spec.seed),
            "stage": spec.stage,
            "trial": "" if spec.trial is None else str(spec.trial),
            "repeat": str(spec.repeat) if spec.search else "",
            "search": spec.search,
            "cell_id": cell_id,
            "current": self._review.mark(cell_id, spec.search),
            "mlflow.parentRunId": self._open_parent().id,
        }

    def _send(self, run: KnownRun, folder: Path, spec: TrialSpec, tags: Strings, result: Result | None = None) -> None:
        """Upload a run's missing points, then its result, in as few requests as MLflow allows."""
        batch: list[Any] = []
        for point in Spool(folder).points(run.line):
            if len(batch) + len(point.metrics) > MAX_METRICS:
                self._log(run, batch)
                self.progress = time.monotonic()
                batch = []
            batch += [Metric(key, value, point.time, point.step) for key, value in point.metrics.items()]
            run.line, run.step = point.line + 1, max(run.step, point.step)
        if result is not None:
            batch += [
                Metric(key, value, run_record.end_of(result), run.step)
                for key, value in run_record.metrics(result).items()
            ]
        self._log(run, batch, run_record.parameters(spec), tags)

    def _log(
        self, run: KnownRun, metrics: Sequence[Any] = (), parameters: Strings = NOTHING, tags: Strings = NOTHING
    ) -> None:
        """Log one batch; only new parameters (MLflow refuses to change one) and changed tags are sent."""
        params = {key: value for key, value in parameters.items() if key not in run.params}
        changed = {key: value for key, value in tags.items() if run.tags.get(key, "") != value}
        self._client.log_batch(
            run.id,
            metrics=metrics,
            params=[Param(key, value[:MAX_PARAM]) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in changed.items()],
        )
        run.params |= params.keys()
        run.tags |= changed

    def _log_data(self, run: KnownRun, spec: TrialSpec) -> None:
        """Log the cell's data as an input of its run, once."""
        found = dataset_digest(spec)
        if found and found not in run.data:
            self._offer(DATASETS, lambda: self._client.log_inputs(run.id, dataset_inputs(spec)))
            run.data.add(found)

    def _log_differences(self, run: KnownRun, compared: differences.Differences) -> None:
        """Log the differences of the study and of its cells, as far as they have changed."""
        self._replace(run, compared.of_study)
        for identity, cell in self._runs.items():
            if identity in self._review.cells:
                place = cell.tags.get("arm", ""), cell.tags.get("seed", "")
                self._replace(cell, compared.of_cells.get(place, {}))

    def _replace(self, run: KnownRun, metrics: Mapping[str, float]) -> None:
        """Log the changed differences of a run; those that exist no more become NaN, since MLflow deletes no metric."""
        gone = (key for key, value in run.metrics.items() if differences.is_difference(key) and not math.isnan(value))
        now = {**dict.fromkeys(gone, math.nan), **metrics}
        changed = [(key, value) for key, value in now.items() if run.metrics.get(key) != value]
        at = time.time_ns() // 1_000_000
        for start in range(0, len(changed), MAX_METRICS):
            batch = changed[start : start + MAX_METRICS]
            self._log(run, [Metric(key, value, at, 0) for key, value in batch])
            run.metrics |= dict(batch)
            self.progress = time.monotonic()

    def _upload(self, run: KnownRun, files: Files) -> None:
        if files.changed:
            with tempfile.TemporaryDirectory() as staging:
                files.write(Path(staging))
                # As MlflowClient.log_artifacts, without the request for the run.
                get_artifact_repository(run.artifacts, tracking_uri=self._uri).log_artifacts(staging)
        run.files |= files.digests
