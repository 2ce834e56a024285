"""Clips looked at once before anything is computed from them: what cannot be decoded is listed, not stumbled over."""

import csv
import io
import json
import os
import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.annotations import Entry
from trainables.data.clips import ClipError
from trainables.data.decoder import LIMIT_S, Decoder
from trainables.data.frames import Choice
from trainables.files import locked, write_atomically

QUARANTINE = "quarantine.csv"
LOOKED_AT = "looked_at.jsonl"
MOST_BAD = 0.05


class IngestError(ValueError):
    """Too many clips of a dataset cannot be used, or none is left."""


@dataclass(frozen=True)
class Bad:
    """A clip that cannot be used, and why."""

    entry: Entry
    reason: str


@dataclass(frozen=True)
class Ingested:
    """What came of looking at clips: those that can be used, in their order, and those that cannot."""

    good: tuple[Entry, ...]
    bad: tuple[Bad, ...]


def ingest(
    entries: Sequence[Entry],
    choice: Choice,
    size: tuple[int, int, int],
    folder: Path,
    *,
    limit_s: float = LIMIT_S,
    show: Callable[[int, int], None] | None = None,
) -> Ingested:
    """Decode every clip once as it will be used; what was looked at before and has not changed is not decoded again.

    Leaves ``quarantine.csv`` (path, start, stop, reason) in the folder, and what it found for the next time.

    Args:
        entries: Clips to look at.
        choice: Which frames are used.
        size: Frames, height and width.
        folder: Where the two files go; one for each dataset and choice of frames.
        limit_s: Seconds that one clip may take.
        show: Called with the clips looked at and their number.

    Raises:
        IngestError: More than 5 % of the clips cannot be used, or there is none; ``quarantine.csv`` is there.
    """
    if not entries:
        raise IngestError("no clip is left after filtering -> another split, or another folder")
    folder.mkdir(parents=True, exist_ok=True)
    # Height and width change nothing in what can be decoded.
    stamps = [json.dumps([*stamp(entry, choice), size[0]]) for entry in entries]
    with locked(folder / ".lock"):  # one process looks, and all others take what it found
        known = _known(folder / LOOKED_AT)
        new = [(entry, mark) for entry, mark in zip(entries, stamps, strict=True) if mark not in known]
        reasons = _look_at([entry for entry, _ in new], choice, size, limit_s, show)
        known |= {mark: reason for (_, mark), reason in zip(new, reasons, strict=True)}
        if new:
            lines = [json.dumps([mark, known[mark]]) for mark in dict.fromkeys(stamps)]
            write_atomically(folder / LOOKED_AT, "\n".join([*lines, ""]).encode())
    bad = tuple(Bad(entry, known[mark]) for entry, mark in zip(entries, stamps, strict=True) if known[mark])
    good = tuple(entry for entry, mark in zip(entries, stamps, strict=True) if not known[mark])
    write_atomically(folder / QUARANTINE, _table(bad).encode())
    if len(bad) > MOST_BAD * len(entries):
        shown = "\n".join(f"  {one.reason}" for one in bad[:3])
        raise IngestError(
            f"{len(bad)} of {len(entries)} clips cannot be used, more than {MOST_BAD:.0%}; the first of them:\n"
            f"{shown}\nall are in {folder / QUARANTINE} -> mend or remove them"
        )
    return Ingested(good, bad)


def read_all(
    entries: Iterable[Entry], choice: Choice, size: tuple[int, int, int], *, limit_s: float = LIMIT_S
) -> NDArray[np.uint8]:
    """The clips' frames.

    Shape:
        (n f h w 3) uint8.

    Raises:
        ClipError: One of them cannot be decoded any more.
    """
    with Decoder(limit_s) as decoder:
        return np.stack([decoder.read(entry, choice, *size) for entry in entries])


def _look_at(
    entries: Sequence[Entry],
    choice: Choice,
    size: tuple[int, int, int],
    limit_s: float,
    show: Callable[[int, int], None] | None,
) -> list[str]:
    """Why each clip cannot be used, or nothing; as many at a time as there are processors."""
    if not entries:
        return []
    number = min(len(entries), os.cpu_count() or 1)
    decoders: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
    for _ in range(number):
        decoders.put(Decoder(limit_s))

    def look(entry: Entry) -> str:
        decoder = decoders.get()
        try:
            decoder.read(entry, choice, *size)
        except ClipError as error:
            return str(error)
        finally:
            decoders.put(decoder)
        return ""

    reasons = []
    try:
        with ThreadPoolExecutor(number) as pool:
            for reason in pool.map(look, entries):
                reasons.append(reason)
                if show is not None:
                    show(len(reasons), len(entries))
    finally:
        for _ in range(number):
            decoders.get().__exit__(None, None, None)
    return reasons


def stamp(entry: Entry, choice: Choice) -> list[Any]:
    """What a clip is known by: its file as it is now, and which of its frames are used."""
    try:
        about = entry.path.stat()
        file = [about.st_size, about.st_mtime_ns]
    except OSError:
        file = []
    return [str(entry.path), entry.start, entry.stop, file, choice.model_dump()]


def _known(file: Path) -> dict[str, str]:
    """What was found earlier; a line that cannot be read is looked at again."""
    known: dict[str, str] = {}
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return known
    for line in lines:
        try:
            mark, reason = json.loads(line)
            known[str(mark)] = str(reason)
        except ValueError:
            continue
    return known


def _table(bad: Iterable[Bad]) -> str:
    text = io.StringIO()
    rows = [(one.entry.path, one.entry.start, one.entry.stop or "", one.reason) for one in bad]
    csv.writer(text, lineterminator="\n").writerows([("path", "start", "stop", "reason"), *rows])
    return text.getvalue()
