"""State of a run in MLflow, as far as the driver knows it, and the files to upload to it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.tracking import run_record
from sweeps.tracking.views import Review

if TYPE_CHECKING:
    from mlflow.entities import Run

ENDS = {"done": "FINISHED", "failed": "FAILED", "pruned": "KILLED"}
"""Status of a cell -> status of its run."""


@dataclass
class KnownRun:
    """Known state of a run in MLflow.

    ``files`` are uploaded for certain, points up to ``line`` and ``step``; ``data`` has the digests of its datasets.
    """

    id: str
    artifacts: str
    status: str
    started: int
    tags: dict[str, str]
    params: set[str]
    files: dict[str, str]
    metrics: dict[str, float]
    data: set[str]
    line: int = 0
    step: int = 0

    @classmethod
    def of(cls, run: "Run") -> "KnownRun":
        """Take the state from MLflow's answer."""
        info, tags = run.info, dict(run.data.tags)
        # The tag is set before the upload and the run ends after it, so the tag is reliable for ended runs only.
        files = json.loads(tags.get("files") or "{}") if info.status in ENDS.values() else {}
        data = {entry.dataset.digest for entry in run.inputs.dataset_inputs} if run.inputs else set()
        return cls(
            id=info.run_id,
            artifacts=info.artifact_uri,
            status=info.status,
            started=info.start_time,
            tags=tags,
            params=set(run.data.params),
            files=files,
            metrics=dict(run.data.metrics),
            data=data,
        )

    @property
    def emptiness(self) -> tuple[bool, bool, int]:
        """Sort key: complete runs first, then runs with files, then the oldest."""
        return self.status not in ENDS.values(), "files" not in self.tags, self.started

    @property
    def is_pictured(self) -> bool:
        """Whether the run has its images."""
        return self.tags.get(run_record.PICTURED) == "True"

    def has_result(self, digest: str) -> bool:
        """Whether the run holds this result completely: ending the run is the last step of an upload."""
        return self.status in ENDS.values() and self.tags.get("result") == digest

    def is_complete(self, digest: str, review: Review) -> bool:
        """Whether the run holds this result, and the image and the dataset that a version before may have left out.

        A cell whose parameters name no content of its data has no dataset.
        """
        if not self.has_result(digest):
            return False
        wants_image = review.is_pictured(self.tags.get("cell_id", ""), int(self.tags.get("seed", -1)))
        wants_data = any(name.startswith(run_record.CONTENT) for name in self.params)
        return (self.is_pictured or not wants_image) and (bool(self.data) or not wants_data)


class Files:
    """Files of a run: ``changed`` since the last upload, and ``tag`` with the digests of all uploaded files."""

    def __init__(self, run: KnownRun, contents: Mapping[str, bytes]) -> None:
        self.digests = {name: digest(content)[:8] for name, content in contents.items()}
        self.changed = {name: contents[name] for name, short in self.digests.items() if run.files.get(name) != short}
        tag = json.dumps(run.files | self.digests, separators=(",", ":"))
        self.tag = {"files": tag if len(tag) <= run_record.MAX_TAG else ""}

    def write(self, folder: Path) -> None:
        """Write the changed files into a folder."""
        for name, content in self.changed.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)


def digest(content: bytes) -> str:
    """Return 16 hexadecimal digits of the hash of a file's content."""
    return hashlib.sha256(content).hexdigest()[:16]
