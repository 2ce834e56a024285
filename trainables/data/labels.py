"""Labels of clips: the category and further texts of annotations, by which metrics are reported."""

import math
from collections.abc import Sequence
from pathlib import Path

from trainables.data.annotations import CAPTIONS, Entry, only_file
from trainables.data.further import CLIP, NAMES
from trainables.data.layout import CATEGORY
from trainables.data.tables import rows

_WITH_CATEGORY = ("ssv2", "epic", "ucf101")
"""Layouts whose published annotations have a category: template, verb, class."""


def columns(layout: str, folder: Path) -> tuple[str, ...]:
    """Return the names of the labels that a dataset's annotations have, by their header alone.

    Args:
        layout: Layout of the dataset.
        folder: Its folder; for ``captions`` also the captions file itself.

    Raises:
        ValueError: The annotations are missing or invalid.
    """
    if layout == "captions":
        listing = folder if folder.is_file() else only_file(folder, ("captions.csv", "captions.jsonl"))
        return _named(listing, ("path", "text"))
    category = (CATEGORY,) if layout in _WITH_CATEGORY else ()
    return (*category, *_named(only_file(folder, NAMES), (CLIP,)))


def _named(file: Path | None, others: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a file in its first row, except ``others``; none without a file."""
    if file is None:
        return ()
    first = next(rows(file, others, [], also=CAPTIONS), None)
    return tuple(name for name in (first[1] if first else ()) if name and name not in others)


def unlabelled(entries: Sequence[Entry], column: str) -> str:
    """Describe the clips without a label; empty if all have one."""
    lacking = [entry for entry in entries if not entry.label(column).strip()]
    return _such(lacking, entries, f"no {column}")


def no_numbers(entries: Sequence[Entry], column: str) -> str:
    """Describe the clips whose label is no number; empty if there is none."""
    others = [entry for entry in entries if not is_number(entry.label(column))]
    return _such(others, entries, f"a {column} that is no number")


def is_number(label: str) -> bool:
    """Whether a label can be compared with a number."""
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def _such(found: Sequence[Entry], entries: Sequence[Entry], words: str) -> str:
    return f"{len(found):,} of {len(entries):,} clips have {words}, such as {found[0].path.name}" if found else ""
