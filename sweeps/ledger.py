"""Which cells are done: the only truth about it, read from the results that workers left behind.

``cells/<id>/result.json`` is written by the worker, by atomic rename. ``ledger.jsonl`` beside it is an index of one
line per result, so that ten thousand cells are read at once; it can be lost, cut or stale and costs only time.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ValidationError

from trainables.trial_spec import RESULT, Result

if TYPE_CHECKING:
    from sweeps.plan import Plan

State = Literal["pending", "done", "failed", "rescore"]


@dataclass(frozen=True)
class Record:
    """What the table needs of one result; a line of the index."""

    cell_id: str
    arm: str
    seed: int
    status: Literal["done", "failed"]
    error: str
    scores: dict[str, float]
    scored_by: dict[str, str]
    code_hash: str

    @classmethod
    def of(cls, result: Result) -> Self:
        """Shorten a result to its line."""
        return cls(
            cell_id=result.cell_id,
            arm=result.spec.arm,
            seed=result.spec.seed,
            status=result.status,
            error=result.error,
            scores={key: score.value for key, score in result.scores.items()},
            scored_by={key: _digest(score.parameters) for key, score in result.scores.items()},
            code_hash=result.provenance.get("code_hash", ""),
        )


def _digest(parameters: dict[str, Any]) -> str:
    """Identity of a metric's settings: two scores compare only where it agrees."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]


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
        indexed = self._indexed()
        records: dict[str, Record] = {}
        try:
            folders = sorted(entry.name for entry in os.scandir(self.cells) if entry.is_dir())
        except FileNotFoundError:
            return records
        for cell_id in folders:
            stamp = self._stamp(cell_id)
            if stamp is None:
                continue
            line = indexed.get(cell_id)
            if line is not None and line[0] == stamp:
                records[cell_id] = line[1]
            elif (result := self.result(cell_id)) is not None:
                records[cell_id] = Record.of(result)
        return records

    def append(self, results: Iterable[Result]) -> None:
        """Add the lines of new results to the index (one writer: the driver of ``run``)."""
        lines = [
            json.dumps({"stamp": self._stamp(result.cell_id), "record": asdict(Record.of(result))}) + "\n"
            for result in results
        ]
        with self.index.open("a", encoding="utf-8") as index:
            if index.tell() and not self._ends_with_newline():
                index.write("\n")  # an earlier driver was killed within a line
            index.writelines(lines)

    def _stamp(self, cell_id: str) -> int | None:
        try:
            return (self.cells / cell_id / RESULT).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _ends_with_newline(self) -> bool:
        with self.index.open("rb") as index:
            index.seek(-1, os.SEEK_END)
            return index.read(1) == b"\n"

    def _indexed(self) -> dict[str, tuple[int, Record]]:
        lines: dict[str, tuple[int, Record]] = {}
        try:
            text = self.index.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return lines
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                record = Record(**entry["record"])
                lines[record.cell_id] = (int(entry["stamp"]), record)
            except (ValueError, KeyError, TypeError):
                continue  # a cut line: its result is read from the cell's own folder
        return lines


def study_folder(storage: Path, study: str) -> Path:
    """Where a study lives under the storage folder."""
    return storage / study


def states(plan: "Plan", storage: Path) -> dict[str, State]:
    """State of every cell of a plan: pending, done, failed, or rescore (clips kept, a metric is missing)."""
    records = Ledger(study_folder(storage, plan.study.name)).records()
    wanted = {metric.key for metric in plan.metrics}
    return {cell.id: _state(records.get(cell.id), wanted) for cell in plan.cells}


def _state(record: Record | None, wanted: set[str]) -> State:
    if record is None:
        return "pending"
    if record.status == "failed":
        return "failed"
    return "done" if wanted <= set(record.scores) else "rescore"
