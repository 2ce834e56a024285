"""MLflow records of a study: one parent run, and one run per cell, whatever the number of attempts.

The driver of ``run`` is the only writer. The files on disk are authoritative: each cell's result, and its metric points
in the spool. A background thread copies them to MLflow. If MLflow is slow, down or returns errors, no cell waits;
missing data is uploaded when it answers again, or by the next ``run``.
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from mlflow.entities import Metric, Param, Run, RunTag  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402

from sweeps.tracking import run_record  # noqa: E402
from sweeps.tracking.environment import environment_files  # noqa: E402
from sweeps.tracking.location import database_file, database_uri  # noqa: E402
from trainables.cell_files import PLAYABLE, STRIP  # noqa: E402
from trainables.spool import Spool, Uploads  # noqa: E402
from trainables.trial_spec import RESULT, Result, TrialSpec  # noqa: E402

PARENT = "study"  # identity of the parent run, as the cell id of a cell's run
ENDS = {"done": "FINISHED", "failed": "FAILED", "pruned": "KILLED"}
LOGGED, TABLES = (
    "mlflow.loggedArtifacts",
    json.dumps([{"path": run_record.TABLE, "type": "table"}]),
)  # artifacts that the UI shows as tables
PAGE = 250  # runs per response, to stay within the timeout
MAX_METRICS = 1000  # per log_batch
MAX_PARAM = 6000  # characters; MLflow truncates longer values silently

Strings = Mapping[str, str]
NOTHING: Strings = MappingProxyType({})


def _create_database(uri: str) -> None:
    """Create a missing SQLite database atomically.

    MlflowClient creates tables one by one; a file with only some of them, left by a killed driver, cannot be opened.
    """
    path = database_file(uri)
    if path is None or path.exists():
        return
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        MlflowClient(database_uri(fresh)).search_experiments(max_results=1)
        with contextlib.suppress(FileExistsError):  # created by the driver of another study in the meantime
            os.link(fresh, path)


class Tracker(Uploads):
    """Uploads the study's runs to MLflow.

    Args:
        uri: Tracking server or database.
        study: Name of the study and of its MLflow experiment.
        question: Description of the parent run.
        artifacts: Folder of artifacts if a database is written directly; a server uses its own.
        tags: Tags of the parent run.
    """

    def __init__(self, uri: str, study: str, question: str, artifacts: Path, tags: Mapping[str, str]) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)  # a new database logs every migration
        # Errors are reported by ``failures``; MLflow would print the traceback of each attempt.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        parent_tags = {**tags, "role": PARENT, "study": study, "mlflow.note.content": question}
        super().__init__(_StudyRuns(uri, study, artifacts, parent_tags), f"MLflow at {uri}")


@dataclass
class _Run:
    """Known state of a run in MLflow: ``files`` are uploaded for certain, points up to ``line`` and ``step``."""

    id: str
    artifacts: str
    status: str
    started: int
    tags: dict[str, str]
    params: set[str]
    files: dict[str, str]
    line: int = 0
    step: int = 0

    @classmethod
    def of(cls, run: Run) -> "_Run":
        info, tags = run.info, dict(run.data.tags)
        # The tag is set before the upload and the run ends after it, so the tag is reliable for ended runs only.
        files = json.loads(tags.get("files") or "{}") if info.status in ENDS.values() else {}
        return cls(info.run_id, info.artifact_uri, info.status, info.start_time, tags, set(run.data.params), files)

    @property
    def emptiness(self) -> tuple[bool, bool, int]:
        """Sort key: complete runs first, then runs with files, then the oldest."""
        return self.status not in ENDS.values(), "files" not in self.tags, self.started

    def has_result(self, digest: str) -> bool:
        """Whether the run holds this result completely: ending the run is the last step of an upload."""
        return self.status in ENDS.values() and self.tags.get("result") == digest


class _StudyRuns:
    """The study's experiment and runs in MLflow; used by the upload thread alone."""

    def __init__(self, uri: str, study: str, artifacts: Path, parent_tags: Mapping[str, str]) -> None:
        self.progress = time.monotonic()
        self._uri = uri
        self._study = study
        self._location = artifacts.resolve().as_uri() if database_file(uri) else None
        self._parent_tags = parent_tags
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[str, _Run] = {}
        self._sure = False
        self._doubtful: set[str] = set()
        self._create_failed = False
        self._environment: dict[str, bytes] = {}

    def open(self) -> None:
        """Connect to MLflow and find the runs of earlier drivers; after a failure, check that it answers."""
        if self._sure:
            return
        if self._client is None:
            _create_database(self._uri)
            self._client = MlflowClient(self._uri)
        experiment = self._open_experiment()
        if experiment != self._experiment:
            self._experiment, self._runs = experiment, {}
            self._find()
        self._sure = True
        self.progress = time.monotonic()

    def doubt(self, cell_id: str) -> None:
        """Forget the known state of a cell's run after a failed upload; the connection is checked before the next."""
        self._runs.pop(cell_id, None)
        self._doubtful.add(cell_id)
        self._sure = False

    def hold(self, cell_id: str, folder: Path) -> bool:
        """Whether MLflow holds a cell's result completely."""
        run = self._runs.get(cell_id)
        try:
            return run is not None and run.has_result(_digest((folder / RESULT).read_bytes()))
        except OSError:
            return False

    def record(self, cell_id: str, folder: Path) -> bool:
        """Upload a cell's result; return False if it was uploaded already."""
        content = (folder / RESULT).read_bytes()
        result, digest = Result.model_validate_json(content), _digest(content)
        start = run_record.end_of(result) - int(1000 * sum(result.seconds.values()))
        table = run_record.table(result)
        tags = {**self._tags(cell_id, result.spec), **run_record.outcome(result), **({LOGGED: TABLES} if table else {})}
        run = self._get_or_create(cell_id, run_record.name(result.spec), tags, start)
        if run.has_result(digest):
            return False
        self._reopen(run)
        pictures = {path.name: path.read_bytes() for pattern in (STRIP, PLAYABLE) for path in folder.glob(pattern)}
        files = _Files(run, {**pictures, **table, RESULT: content})
        self._send(run, folder, result.spec, {**tags, **files.tag, "result": digest}, result)
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
        contents = _Files(run, {**self._environment, **named})
        status = "FAILED" if failed else "FINISHED"
        if contents.changed or run.status != status:
            self._reopen(run)
            self._log(run, tags=contents.tag)
            self._upload(run, contents)
            self._end(run, status)

    def _open_experiment(self) -> str:
        tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on the table of runs
        experiment = self._client.get_experiment_by_name(self._study)
        if experiment is None:
            return str(self._client.create_experiment(self._study, self._location, tags))
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        for key in tags.keys() - experiment.tags.keys():
            self._client.set_experiment_tag(experiment.experiment_id, key, tags[key])
        return str(experiment.experiment_id)

    def _find(self, filter_string: str = "") -> None:
        """Find the runs in MLflow, one for each cell, and delete duplicates.

        A server that answers late may create duplicates. Of these, the run in use is kept, else the most complete, else
        the oldest.
        """
        of_cells: dict[str, list[_Run]] = {}
        token: str | None = None
        while token != "":
            page = self._client.search_runs([self._experiment], filter_string, max_results=PAGE, page_token=token)
            for run in map(_Run.of, page):
                of_cells.setdefault(self._identity(run), []).append(run)
            token = page.token or ""
        of_cells.pop("", None)
        for identity, runs in of_cells.items():
            known = self._runs.get(identity)
            first, *others = sorted(runs, key=lambda run: (known is None or run.id != known.id, *run.emptiness))
            self._runs[identity] = first
            for other in others:
                self._client.delete_run(other.id)

    def _identity(self, run: _Run) -> str:
        """Return the run's cell id, ``PARENT`` for the parent run, or an empty string for a run of another study."""
        if run.tags.get("study") != self._study:
            return ""
        return PARENT if run.tags.get("role") == PARENT else run.tags.get("cell_id", "")

    def _get_or_create(self, identity: str, name: str, tags: Strings, started: int | None) -> _Run:
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
            self._runs[identity] = _Run.of(created)
        return self._runs[identity]

    def _open_parent(self) -> _Run:
        """Return the parent run, created or reopened, with the environment files."""
        run = self._get_or_create(PARENT, self._study, self._parent_tags, None)
        self._reopen(run)
        if not self._environment:
            self._environment = environment_files()
            files = _Files(run, self._environment)
            self._log(run, tags={**self._parent_tags, **files.tag})
            self._upload(run, files)
        return run

    def _reopen(self, run: _Run) -> None:
        if run.status != "RUNNING":
            self._client.update_run(run.id, status="RUNNING")
            run.status = "RUNNING"

    def _end(self, run: _Run, status: str, end: int | None = None) -> None:
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
            "search": spec.search,
            "cell_id": cell_id,
            "mlflow.parentRunId": self._open_parent().id,
        }

    def _send(self, run: _Run, folder: Path, spec: TrialSpec, tags: Strings, result: Result | None = None) -> None:
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
        self, run: _Run, metrics: Sequence[Any] = (), parameters: Strings = NOTHING, tags: Strings = NOTHING
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

    def _upload(self, run: _Run, files: "_Files") -> None:
        if files.changed:
            with tempfile.TemporaryDirectory() as staging:
                for name, content in files.changed.items():
                    path = Path(staging) / name
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(content)
                # As MlflowClient.log_artifacts, without the request for the run.
                get_artifact_repository(run.artifacts, tracking_uri=self._uri).log_artifacts(staging)
        run.files |= files.digests


class _Files:
    """Files of a run: ``changed`` since the last upload, and ``tag`` with the digests of all uploaded files."""

    def __init__(self, run: _Run, contents: Mapping[str, bytes]) -> None:
        self.digests = {name: _digest(content)[:8] for name, content in contents.items()}
        self.changed = {name: contents[name] for name, digest in self.digests.items() if run.files.get(name) != digest}
        tag = json.dumps(run.files | self.digests, separators=(",", ":"))
        self.tag = {"files": tag if len(tag) <= run_record.MAX_TAG else ""}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
