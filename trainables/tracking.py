"""MLflow records of a study: one parent run, one run per cell, whatever the number of attempts.

One writer: the driver of ``run``. What is on disk is the truth; a tracker that fails costs a study nothing, and the
next ``run`` uploads what is missing.
"""

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, when mlflow is imported

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Experiment, Metric, Param, Run, RunTag  # noqa: E402
from mlflow.utils.time import get_current_time_millis  # noqa: E402

from trainables.cell_files import PLAYABLE, STRIP  # noqa: E402
from trainables.trial_spec import RESULT, Result  # noqa: E402

log = logging.getLogger(__name__)

ARTIFACTS = (STRIP, PLAYABLE, RESULT)
PARENT = "study"  # where a cell's run has its cell id
MAX_PARAM = 6000  # MLflow cuts longer values without a word


def tracking_uri(storage: Path, uri: str | None) -> str:
    """Where runs go: the study's own ``tracking.uri``, else MLFLOW_TRACKING_URI, else a database in the storage."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage.resolve() / 'mlflow.db'}"


class Tracker:
    """The study's runs in MLflow; uploads happen beside the work, in one thread, in order.

    Args:
        uri: Tracking server or database.
        study: Name of the study, which is the name of its MLflow experiment.
        question: Shown as the parent run's description.
        artifacts: Where artifacts go if a database is written directly; a server decides for itself.
        tags: Tags of the parent run.
    """

    def __init__(self, uri: str, study: str, question: str, artifacts: Path, tags: Mapping[str, str]) -> None:
        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)  # a fresh database announces every migration
        self.uri = uri
        self.failures: list[str] = []
        self._study = study
        self._client = MlflowClient(uri)
        location = artifacts.resolve().as_uri() if uri.startswith("sqlite:") else None
        self._experiment = self._open_experiment(location)
        self._runs = {_identity(run): run for run in self._search()}
        self._about = {**tags, "mlflow.note.content": question}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._uploads: list[Future[None]] = []

    @property
    def experiment_id(self) -> str:
        """Identity of the study's experiment, as the UI's addresses name it."""
        return str(self._experiment.experiment_id)

    def recorded(self) -> set[str]:
        """Cells whose run is complete."""
        ended = {cell for cell, run in self._runs.items() if run.info.status in ("FINISHED", "FAILED")}
        return ended - {PARENT}

    def record(self, result: Result, folder: Path) -> None:
        """Upload a cell's result and artifacts, beside the work, in the order of the calls."""
        self._uploads.append(self._thread.submit(self._record, result, folder))

    def pending(self) -> int:
        """Number of uploads that have not ended."""
        return sum(not upload.done() for upload in self._uploads)

    def finish(self, files: Iterable[Path], failed: bool) -> None:
        """Wait for the uploads, then complete the parent run with the study's files."""
        self._thread.shutdown(wait=True)
        run_id = self._parent
        for path in files:
            self._client.log_artifact(run_id, str(path), None if path.suffix == ".yaml" else "report")
        self._client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    def _open_experiment(self, location: str | None) -> Experiment:
        experiment = self._client.get_experiment_by_name(self._study)
        if experiment is None:
            return self._client.get_experiment(self._client.create_experiment(self._study, location))
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return experiment

    def _search(self) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment.experiment_id], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    @functools.cached_property
    def _parent(self) -> str:
        """Identity of the parent run, opened (again) when there is something to put under it."""
        tags = {**self._about, "role": "study", "study": self._study}
        known = self._runs.get(PARENT)
        if known is None:
            created = self._client.create_run(self._experiment.experiment_id, tags=tags, run_name=self._study)
            return str(created.info.run_id)
        self._client.update_run(known.info.run_id, status="RUNNING")
        self._client.log_batch(known.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        return str(known.info.run_id)

    def _record(self, result: Result, folder: Path) -> None:
        try:
            run_id = self._open_run(result)
            metrics = {key: score.value for key, score in result.scores.items()}
            metrics |= {f"statistics/{key}": value for key, value in result.statistics.items()}
            metrics |= {f"seconds/{key}": value for key, value in result.seconds.items()}
            self._log(run_id, metrics, _parameters(result))
            self._client.log_dict(run_id, result.spec.model_dump(mode="json"), "spec.yaml")
            for pattern in ARTIFACTS:
                for path in sorted(folder.glob(pattern)):
                    self._client.log_artifact(run_id, str(path))
            self._client.set_terminated(run_id, "FAILED" if result.error else "FINISHED")
        except Exception as reason:
            # Tracking may never cost a cell; the next run finds this one missing and uploads it again.
            self.failures.append(f"{result.spec.arm} seed {result.spec.seed}: {reason}")
            log.debug("upload of cell %s failed", result.cell_id, exc_info=True)

    def _open_run(self, result: Result) -> str:
        spec = result.spec
        tags = {
            "study": spec.study,
            "arm": spec.arm,
            "part": spec.part,
            "action": spec.action,
            "role": spec.role,
            "seed": str(spec.seed),
            "cell_id": result.cell_id,
            "surrogate": str(any(score.surrogate for score in result.scores.values())).lower(),
            "mlflow.parentRunId": self._parent,
            **{key: value for key, value in result.provenance.items() if key in ("commit", "code_hash", "base_hash")},
            "error": result.error[:5000],
        }
        known = self._runs.get(result.cell_id)
        if known is None:
            known = self._client.create_run(
                self._experiment.experiment_id, tags=tags, run_name=f"{spec.arm}/s{spec.seed}"
            )
            self._runs[result.cell_id] = known
        else:
            self._client.log_batch(known.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        return str(known.info.run_id)

    def _log(self, run_id: str, metrics: Mapping[str, float], parameters: Mapping[str, str]) -> None:
        now = get_current_time_millis()
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
            params=[Param(key, value[:MAX_PARAM]) for key, value in parameters.items()],
        )


def _identity(run: Run) -> str:
    tags = run.data.tags
    return PARENT if tags.get("role") == "study" else str(tags.get("cell_id", ""))


def _parameters(result: Result) -> dict[str, str]:
    spec = result.spec
    tree = {"arm": spec.arm, "seed": spec.seed, "system": spec.system, "base": spec.base, **spec.tree}
    settings = {"data": spec.data.model_dump(mode="json"), "protocol": spec.protocol.model_dump(exclude_none=True)}
    return {key: str(value) for key, value in _flat({**tree, **settings, "precision": spec.precision})}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
