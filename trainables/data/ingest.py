"""Decoding check of all clips before use, with a list of the unusable ones."""

import csv
import io
import json
import os
import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.data.annotations import Entry
from trainables.data.clips import ClipError, DecoderName
from trainables.data.decoder import LIMIT_S, Decoder
from trainables.data.frames import FrameChoice
from trainables.data.manifest import json_lines, states_of
from trainables.files import locked, write_atomically

QUARANTINE = "quarantine.csv"
CHECKED = "looked_at.jsonl"
MAX_BAD_SHARE = 0.05


class IngestError(ValueError):
    """Too many clips of a dataset cannot be used, or the selection is empty."""


@dataclass(frozen=True)
class Bad:
    """A clip that cannot be used, with the reason."""

    entry: Entry
    reason: str


class Outcome(NamedTuple):
    """Outcome of the check of a clip: the reason that it cannot be used, or the library that reads it correctly."""

    reason: str
    decoder: DecoderName | None


@dataclass(frozen=True)
class Ingested:
    """Usable clips, in their order, each with its decoder, and unusable ones."""

    good: tuple[Entry, ...]
    bad: tuple[Bad, ...]


def ingest(
    entries: Sequence[Entry],
    choice: FrameChoice,
    size: tuple[int, int, int],
    folder: Path,
    *,
    limit_s: float = LIMIT_S,
    show: Callable[[int, int], None] | None = None,
) -> Ingested:
    """Decode every clip once as it will be used; clips that are unchanged since an earlier check are not decoded again.

    The check also finds out which library reads the frames of a clip correctly, which its ``Entry.decoder`` then tells.

    Writes ``quarantine.csv`` (path, start, stop, reason) to the folder, and the outcome for the next check.

    Args:
        entries: Clips to check.
        choice: Choice of the frames.
        size: Frames, height and width.
        folder: Folder of the two files; one for each dataset and choice of frames.
        limit_s: Time limit per clip in seconds.
        show: Called with the number of checked clips and of all clips.

    Raises:
        IngestError: There are no clips, or more than 5 % cannot be used; these are listed in ``quarantine.csv``.
    """
    if not entries:
        raise IngestError("no clips selected -> another split, or another folder")
    folder.mkdir(parents=True, exist_ok=True)
    # Height and width do not affect whether a clip can be decoded.
    marks = [json.dumps([*stamp, size[0]]) for stamp in stamps(entries, choice)]
    with locked(folder / ".lock"):  # one process checks, the others read its outcome
        known = _known(folder / CHECKED)
        new = [(entry, mark) for entry, mark in zip(entries, marks, strict=True) if mark not in known]
        outcomes = _check([entry for entry, _ in new], choice, size, limit_s, show)
        known |= {mark: outcome for (_, mark), outcome in zip(new, outcomes, strict=True)}
        if new:
            lines = [json.dumps([mark, *known[mark]]) for mark in dict.fromkeys(marks)]
            write_atomically(folder / CHECKED, "\n".join([*lines, ""]).encode())
    checked = [(entry, known[mark]) for entry, mark in zip(entries, marks, strict=True)]
    bad = tuple(Bad(entry, outcome.reason) for entry, outcome in checked if outcome.reason)
    good = tuple(replace(entry, decoder=outcome.decoder) for entry, outcome in checked if not outcome.reason)
    write_atomically(folder / QUARANTINE, _table(bad).encode())
    if len(bad) > MAX_BAD_SHARE * len(entries):
        shown = "\n".join(f"  {clip.reason}" for clip in bad[:3])
        raise IngestError(
            f"{len(bad)} of {len(entries)} clips cannot be used, more than {MAX_BAD_SHARE:.0%}; the first:\n"
            f"{shown}\n-> repair or remove the clips listed in {folder / QUARANTINE}"
        )
    return Ingested(good, bad)


def read_all(
    entries: Iterable[Entry], choice: FrameChoice, size: tuple[int, int, int], *, limit_s: float = LIMIT_S
) -> NDArray[np.uint8]:
    """Decode the frames of clips.

    Shape:
        (n f h w 3) uint8.

    Raises:
        ClipError: A clip can no longer be decoded.
    """
    with Decoder(limit_s) as decoder:
        return np.stack([decoder.read(entry, choice, *size) for entry in entries])


def _check(
    entries: Sequence[Entry],
    choice: FrameChoice,
    size: tuple[int, int, int],
    limit_s: float,
    show: Callable[[int, int], None] | None,
) -> list[Outcome]:
    """Check clips in parallel on all CPU cores."""
    if not entries:
        return []
    number = min(len(entries), os.cpu_count() or 1)
    decoders: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
    for _ in range(number):
        decoders.put(Decoder(limit_s))

    def check(entry: Entry) -> Outcome:
        process = decoders.get()
        try:
            return Outcome("", process.decode(entry, choice, *size).decoder)
        except ClipError as error:
            return Outcome(str(error), None)
        finally:
            decoders.put(process)

    outcomes = []
    try:
        with ThreadPoolExecutor(number) as pool:
            for outcome in pool.map(check, entries):
                outcomes.append(outcome)
                if show is not None:
                    show(len(outcomes), len(entries))
    finally:
        for _ in range(number):
            decoders.get().__exit__(None, None, None)
    return outcomes


def stamps(entries: Sequence[Entry], choice: FrameChoice) -> list[list[Any]]:
    """Return plain values that identify each clip on this machine: state of its files, stretch, choice of frames."""
    taken = choice.model_dump()
    states = states_of([entry.clip for entry in entries])
    return [
        [str(entry.path), entry.start, entry.stop, *([list(entry.seconds)] if entry.seconds else []), state, taken]
        for entry, state in zip(entries, states, strict=True)
    ]


def _known(file: Path) -> dict[str, Outcome]:
    """Read the outcome of earlier checks; clips of unreadable lines, or without a decoder, are checked again."""
    return {str(mark): Outcome(str(reason), decoder) for mark, reason, decoder in json_lines(file, 3)}


def _table(bad: Iterable[Bad]) -> str:
    text = io.StringIO()
    rows = [(clip.entry.path, clip.entry.start, clip.entry.stop or "", clip.reason) for clip in bad]
    csv.writer(text, lineterminator="\n").writerows([("path", "start", "stop", "reason"), *rows])
    return text.getvalue()
