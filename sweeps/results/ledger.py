"""Which cells are done: the only truth about it, read from the results that workers left behind.

``cells/<id>/result.json`` is written by the worker, by atomic rename. ``ledger.jsonl`` beside it is an index of one
line per result, so that ten thousand cells are read at once; it can be lost, cut or stale and costs only time.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from pydantic import ValidationError

from trainables.files import json_hash, write_atomically
from trainables.trial_spec import RESULT, UPDATE, Failure, Result, Stage, Status

if TYPE_CHECKING:
    from sweeps.plan import Plan

State = Literal["pending", "done", "failed", "lost", "pruned", "rescore"]
WAITING: frozenset[State] = frozenset({"pending", "lost", "rescore"})
"""What is to be done without being asked for once more."""
UNREADABLE = "unreadable.json"


@dataclass(frozen=True)
class Record:
    """What the table needs of one result; a line of the index."""

    cell_id: str
    arm: str
    seed: int
    stage: Stage
    trial: int | None
    search: str
    sampled: dict[str, Any]
    status: Status
    error: str
    attempt: int
    scores: dict[str, float]
    settings: dict[str, str]
    finished: str
    code_hash: str
    base_hash: str
    failure: Failure | Literal[""] = ""
    retries: int = 0
    updates: int = 0
    clips: int = 0
    seconds: float = 0.0
    workers: int = 1
    gpus: float = 0.0

    @property
    def diverged(self) -> bool:
        """Whether the method itself left the finite numbers: a finding, where other failures are accidents."""
        return self.failure == "diverged"

    @property
    def kind(self) -> str:
        """The class of its failure as it is put behind its name; nothing where there is none to say."""
        return f" ({self.failure})" if self.failure not in ("", "error") else ""

    @property
    def lost(self) -> bool:
        """Whether the machine failed, and not the arm: the cell is done again."""
        return self.failure == "infrastructure"

    @classmethod
    def of(cls, result: Result) -> Self:
        """Shorten a result to its line."""
        return cls(
            cell_id=result.cell_id,
            arm=result.spec.arm,
            seed=result.spec.seed,
            stage=result.spec.stage,
            trial=result.spec.trial,
            search=result.spec.search,
            sampled=result.spec.sampled,
            status=result.status,
            error=result.error,
            failure=result.failure,
            retries=len(result.retries),
            updates=_updates(result),
            clips=result.spec.protocol.clips if result.status == "done" else 0,
            seconds=sum(result.seconds.values()),
            workers=result.spec.scaling.workers,
            gpus=result.spec.scaling.workers * (result.spec.scaling.gpus_per_worker or 0),
            attempt=result.attempt,
            scores={key: score.value for key, score in result.scores.items()},
            settings={key: _settings(score.parameters) for key, score in result.scores.items()},
            finished=result.finished,
            code_hash=result.provenance.get("code_hash", ""),
            base_hash=result.provenance.get("base_hash", ""),
        )


def _updates(result: Result) -> int:
    """How often weights were updated: all of a training that came to its end, else what it reported last."""
    if result.spec.training is None:
        return 0
    return result.spec.training.steps if result.status == "done" else int(result.statistics.get(UPDATE, 0))


_BESIDE = ("libraries", "warning", "self_test")
"""What is recorded with a score and does not decide whether it compares: versions are part of the code hash."""


def _settings(parameters: dict[str, Any]) -> str:
    """What two scores have to agree in to be compared: extractor, clips, frames, size, numbers of rows."""
    deciding = {key: value for key, value in parameters.items() if key not in _BESIDE}
    return json_hash(deciding)


class Ledger:
    """The results of one study's folder.

    Reading never writes: a missing or damaged index line is made good in memory from the result itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"
        self.index = folder / "ledger.jsonl"

    def cell_folder(self, cell_id: str) -> Path:
        """Where a cell keeps its result, clips and pictures."""
        return self.cells / cell_id

    def result(self, cell_id: str) -> Result | None:
        """The full result of a cell, or None where there is none that can be read."""
        path = self.cell_folder(cell_id) / RESULT
        try:
            return Result.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            # A result this code cannot read (another version wrote it) is as good as absent: the cell runs again.
            return None

    def records(self) -> dict[str, Record]:
        """Every result on disk by cell id, from the index where it is current and from the results where it is not."""
        return self._read().records

    def recover(self) -> list[str]:
        """Put in order what a killed run left behind, and say what that was; for the driver that holds the lock.

        Temporary files go; a result that cannot be read is put aside, so that its cell runs again; an index that is cut
        or behind its cells is written anew.
        """
        said = []
        leftovers = [
            path for pattern in (".*", "cells/*/.*.*") for path in self.folder.glob(pattern) if _temporary(path)
        ]
        for path in leftovers:
            path.unlink()
        if leftovers:
            said.append(f"removed {len(leftovers)} unfinished files of a run that was cut short")
        found = self._read()
        for cell_id in found.unreadable:
            path = self.cell_folder(cell_id) / RESULT
            os.replace(path, path.with_name(UNREADABLE))
            said.append(f"{path} cannot be read: put aside as {UNREADABLE}, its cell runs again")
        if found.behind:
            lines = [self._line(cell_id, record) for cell_id, record in found.records.items()]
            write_atomically(self.index, "".join(lines).encode())
            said.append(f"{self.index.name} was {found.behind}: written anew from {len(found.records)} results")
        return said

    def append(self, results: Iterable[Result]) -> None:
        """Add the lines of new results to the index (one writer: the driver of ``run``)."""
        with self.index.open("a", encoding="utf-8") as index:
            index.writelines(self._line(result.cell_id, Record.of(result)) for result in results)

    def _line(self, cell_id: str, record: Record) -> str:
        return json.dumps({"stamp": self._stamp(cell_id), "record": asdict(record)}) + "\n"

    def _stamp(self, cell_id: str) -> int | None:
        try:
            return (self.cells / cell_id / RESULT).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _read(self) -> "_Found":
        indexed, cut = self._indexed()
        records: dict[str, Record] = {}
        unreadable, late = [], 0
        try:
            folders = sorted(entry.name for entry in os.scandir(self.cells) if entry.is_dir())
        except FileNotFoundError:
            folders = []
        for cell_id in folders:
            stamp = self._stamp(cell_id)
            if stamp is None:
                continue
            line = indexed.get(cell_id)
            if line is not None and line[0] == stamp:
                records[cell_id] = line[1]
            elif (result := self.result(cell_id)) is not None:
                records[cell_id] = Record.of(result)
                late += 1
            else:
                unreadable.append(cell_id)
        lost = len(indexed.keys() - records.keys())
        behind = f"cut in {cut} lines" * bool(cut) or "behind its cells" * bool(late or lost)
        return _Found(records, unreadable, behind)

    def _indexed(self) -> tuple[dict[str, tuple[int, Record]], int]:
        """The index's lines, and how many of them cannot be read."""
        lines: dict[str, tuple[int, Record]] = {}
        try:
            text = self.index.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return lines, 0
        cut = 0
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                record = Record(**entry["record"])
                lines[record.cell_id] = (int(entry["stamp"]), record)
            except (ValueError, KeyError, TypeError):
                cut += 1  # its result is read from the cell's own folder
        return lines, cut or int(bool(text) and not text.endswith("\n"))


class _Found(NamedTuple):
    """What lies in a study's folder: results, cells whose result cannot be read, and what ails the index."""

    records: dict[str, Record]
    unreadable: list[str]
    behind: str


def _temporary(path: Path) -> bool:
    """Whether a file is an unfinished one of ``write_atomically``."""
    return bool(re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name)) and path.is_file()


def study_folder(storage: Path, study: str) -> Path:
    """Where a study lives under the storage folder."""
    return storage / study


def states(plan: "Plan", records: Mapping[str, Record]) -> dict[str, State]:
    """State of every cell of a plan: pending, done, failed, lost to the machine, or rescore (a metric is missing)."""
    return {cell.id: state(records.get(cell.id), plan) for cell in plan.cells}


def state(record: Record | None, plan: "Plan") -> State:
    """State of one cell, given its result."""
    if record is None:
        return "pending"
    if record.lost:
        return "lost"
    if record.status != "done":
        return record.status
    return "done" if all(metric.key in record.scores for metric in plan.metrics) else "rescore"
