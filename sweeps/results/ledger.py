"""Ledger of a study: the results that workers wrote, which alone decide which cells are done.

``cells/<id>/result.json`` is written by the worker, by atomic rename. ``ledger.jsonl`` beside it is an index of one
line per result, so that ten thousand cells are read quickly; a lost, truncated or stale index costs only time.
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
from trainables.data.content import LABELS
from trainables.files import write_atomically
from trainables.trial_spec import RESULT, Result

State = Literal["pending", "done", "failed", "lost", "pruned", "rescore"]
WAITING: frozenset[State] = frozenset({"pending", "lost", "rescore"})
"""States of cells that a run computes without ``--retry-failed``."""
UNREADABLE = "unreadable.json"


class Ledger:
    """Results in one study's folder.

    Reading never writes: a missing or damaged index line is replaced in memory by the result itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"
        self.index = folder / "ledger.jsonl"

    def cell_folder(self, cell_id: str) -> Path:
        """Return the folder with a cell's result, clips and pictures."""
        return self.cells / cell_id

    def result(self, cell_id: str) -> Result | None:
        """Return the full result of a cell, or None where no readable one exists."""
        path = self.cell_folder(cell_id) / RESULT
        try:
            return Result.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            # A result that this version cannot read counts as absent: the cell is rerun.
            return None

    def records(self) -> dict[str, Record]:
        """Return every result on disk by cell id, from the index where it is current, else from the result itself."""
        return self._read().records

    def recover(self) -> list[str]:
        """Repair the folder after an interrupted run, and return a message per repair; the driver must hold the lock.

        Temporary files are removed; an unreadable result is renamed, so that its cell is rerun; a truncated or stale
        index is rewritten.
        """
        messages = []
        leftovers = [
            path for pattern in (".*", "cells/*/.*.*") for path in self.folder.glob(pattern) if _temporary(path)
        ]
        for path in leftovers:
            path.unlink()
        if leftovers:
            messages.append(f"removed {len(leftovers)} temporary files of an interrupted run")
        contents = self._read()
        for cell_id in contents.unreadable:
            path = self.cell_folder(cell_id) / RESULT
            os.replace(path, path.with_name(UNREADABLE))
            messages.append(f"{path} cannot be read: renamed to {UNREADABLE}; the cell is rerun")
        if contents.behind:
            lines = [self._line(cell_id, record) for cell_id, record in contents.records.items()]
            write_atomically(self.index, "".join(lines).encode())
            messages.append(f"{self.index.name} {contents.behind}: rewritten from {len(contents.records)} results")
        return messages

    def append(self, results: Iterable[Result]) -> None:
        """Append new results to the index; only the driver of ``run`` writes it."""
        with self.index.open("a", encoding="utf-8") as index:
            index.writelines(self._line(result.cell_id, Record.of(result)) for result in results)

    def _line(self, cell_id: str, record: Record) -> str:
        return json.dumps({"stamp": self._stamp(cell_id), "record": asdict(record)}) + "\n"

    def _stamp(self, cell_id: str) -> int | None:
        try:
            return (self.cells / cell_id / RESULT).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _read(self) -> "_Contents":
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
        behind = f"had {cut} unreadable lines" * bool(cut) or "was out of date" * bool(late or lost)
        return _Contents(records, unreadable, behind)

    def _indexed(self) -> tuple[dict[str, tuple[int, Record]], int]:
        """Read the index: its lines by cell id, and the number of unreadable lines."""
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


class _Contents(NamedTuple):
    """Contents of a study's folder: results, cells with an unreadable result, and what is wrong with the index."""

    records: dict[str, Record]
    unreadable: list[str]
    behind: str


def _temporary(path: Path) -> bool:
    """Whether a file is a leftover of ``write_atomically``."""
    return bool(re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name)) and path.is_file()


def _has_other_labels(record: Record, plan: Plan) -> bool:
    """Whether annotations have changed since the clips were sorted into groups; labels that are not known have not."""
    now = plan.cells[0].spec.content.get(LABELS)
    return now is not None and record.content.get(LABELS) != now


def study_folder(storage: Path, study: str) -> Path:
    """Return the folder of a study under the storage folder."""
    return storage / study


def state(record: Record | None, plan: Plan) -> State:
    """Return the state of one cell, given its result."""
    if record is None:
        return "pending"
    if record.lost:
        return "lost"
    if record.status != "done":
        return record.status
    if plan.study.by is not None and (record.by != plan.study.by.identity or _has_other_labels(record, plan)):
        return "rescore"
    if record.references not in (0, getattr(plan.cells[0].spec.data, "references", 0)):
        return "rescore"
    return "done" if all(metric.key in record.scores for metric in plan.metrics) else "rescore"
