"""Which cells are done: the only truth about it, read from the results that workers left behind.

``cells/<id>/result.json`` is written by the worker, by atomic rename. ``ledger.jsonl`` beside it is an index of one
line per result, so that ten thousand cells are read at once; it can be lost, cut or stale and costs only time.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from sweeps.plan import Plan
from sweeps.results.record import Record
from trainables.files import write_atomically
from trainables.trial_spec import RESULT, Result

State = Literal["pending", "done", "failed", "lost", "pruned", "rescore"]
WAITING: frozenset[State] = frozenset({"pending", "lost", "rescore"})
"""What is to be done without being asked for once more."""
UNREADABLE = "unreadable.json"


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
        lines_said = []
        leftovers = [
            path for pattern in (".*", "cells/*/.*.*") for path in self.folder.glob(pattern) if _temporary(path)
        ]
        for path in leftovers:
            path.unlink()
        if leftovers:
            lines_said.append(f"removed {len(leftovers)} unfinished files of a run that was cut short")
        contents = self._read()
        for cell_id in contents.unreadable:
            path = self.cell_folder(cell_id) / RESULT
            os.replace(path, path.with_name(UNREADABLE))
            lines_said.append(f"{path} cannot be read: put aside as {UNREADABLE}, its cell runs again")
        if contents.behind:
            lines = [self._line(cell_id, record) for cell_id, record in contents.records.items()]
            write_atomically(self.index, "".join(lines).encode())
            lines_said.append(
                f"{self.index.name} was {contents.behind}: written anew from {len(contents.records)} results"
            )
        return lines_said

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


def state(record: Record | None, plan: Plan) -> State:
    """State of one cell, given its result."""
    if record is None:
        return "pending"
    if record.lost:
        return "lost"
    if record.status != "done":
        return record.status
    return "done" if all(metric.key in record.scores for metric in plan.metrics) else "rescore"
