"""A study whose cells compute nothing, to measure the overhead of the engine."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.plan import Plan
from sweeps.results.ledger import Ledger, study_folder
from sweeps.run.lock import StudyLock
from sweeps.run.progress import Progress
from trainables.metrics import MetricKey
from trainables.trial_spec import Result, Score, TrialSpec

if TYPE_CHECKING:
    from sweeps.run.recorder import Recorder

NUM_ARMS = 10
STUDY = """
name: trivial
question: What is left of a cell that computes nothing?
system: zs2
base: shapes
metrics: [clip_score, temporal_consistency]
seeds: {seeds}
ablations:
  - {{part: attention, action: REMOVE}}
  - {{part: noise, action: REMOVE}}
  - {{part: attention.mu, action: VALUES, values: [0.5, 0.6, 0.7, 0.8]}}
  - {{part: noise.threshold, action: VALUES, values: [0.001, 0.1, 1.0]}}
"""
PARAMETERS: dict[str, Any] = {
    "clips": 8,
    "frames": 8,
    "size": [32, 32],
    "libraries": {"torch": "2", "transformers": "5", "numpy": "2", "opencv": "5"},
    "extractor": {"name": "shapes_clip", "sha256": "0" * 64, "resize": "none", "mean": [0.5] * 3, "std": [0.5] * 3},
}
"""Settings of a score, as many as a real one has."""


def write_study(folder: Path, cells: int) -> Path:
    """Write the study with a number of cells, a multiple of ten; return its file."""
    path = folder / "study.yaml"
    path.write_text(STUDY.format(seeds=cells // NUM_ARMS))
    return path


def trivial_result(spec: TrialSpec, metrics: Sequence[MetricKey]) -> Result:
    """Make a result of realistic size, with values computed from the arm and the seed."""
    return Result(
        cell_id=spec.cell_id,
        spec=spec,
        status="done",
        prompts=("nothing",) * PARAMETERS["clips"],
        scores={metric.key: _score(spec, metric) for metric in metrics},
        statistics={"divergence": 0.1, "frame_correlation": 0.9, "frames_without_root": 0.0},
        seconds={"load": 0.0, "sample": 0.0, "save": 0.0, "score": 0.0},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance={"commit": "0" * 40, "code_hash": "0" * 16, "base_hash": "0" * 64},
    )


def _score(spec: TrialSpec, metric: MetricKey) -> Score:
    value = 0.2 * _uniform(metric.key, spec.arm) + _uniform(metric.key, spec.seed)
    per_clip = [value + _uniform(metric.key, spec.arm, spec.seed, clip) for clip in range(PARAMETERS["clips"])]
    return Score(
        value=sum(per_clip) / len(per_clip),
        per_clip=per_clip,
        direction=metric.direction,
        surrogate=metric.surrogate,
        parameters=PARAMETERS,
    )


def _uniform(*key: object) -> float:
    """Return a number in [0, 1) from a key, the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big") / 2**32


@contextmanager
def open_recorder(plan: Plan, storage: Path, uri: str | None = None) -> "Iterator[Recorder]":
    """Open a study's folder as ``run`` does: lock, ledger, tracker, progress.

    Args:
        plan: Plan of the study.
        storage: Folder of all studies.
        uri: Tracking URI; a database in the storage by default.
    """
    from sweeps.run.recorder import Recorder
    from sweeps.tracking.tracker import Tracker, tracking_uri

    study = plan.study
    with StudyLock(study_folder(storage, study.name)) as lock, Progress(len(plan.cells)) as progress:
        ledger = Ledger(lock.folder)
        ledger.cells.mkdir(parents=True, exist_ok=True)
        uri = tracking_uri(storage, uri)
        tracker = Tracker(uri, study.name, study.question, storage / "mlartifacts" / study.name, {})
        yield Recorder(ledger, tracker, progress, lock)
