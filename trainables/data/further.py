"""Further texts of clips, such as predicted states, in a file beside a dataset's own annotations.

``texts.csv`` or ``texts.jsonl`` in the dataset's folder: a column ``clip`` and one column for each further text. A clip
is named as the annotations name it: its id (Something-Something V2), its folder below the dataset's (BridgeData),
``video_id:start_frame`` (EPIC-Kitchens-100), its file's name without ending (UCF-101).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainables.data.annotations import AnnotationError, Entry, csv_rows, json_rows

NAMES = ("texts.csv", "texts.jsonl")
CLIP = "clip"


def with_further_texts(entries: Sequence[Entry], root: Path) -> list[Entry]:
    """The clips with their further texts; as they are where the dataset has no such file.

    Args:
        entries: Of one side of the split; the file may name clips of the other too.
        root: The dataset's folder.

    Raises:
        AnnotationError: The file cannot be read, names a clip twice, leaves a text empty, or lacks one of the clips.
    """
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    if file is None:
        return list(entries)
    problems: list[str] = []
    texts: dict[str, dict[str, str]] = {}
    names: dict[str, None] = {}
    rows = json_rows if file.suffix == ".jsonl" else csv_rows
    for line, row in rows(file, (CLIP,), problems):
        clip = row.pop(CLIP)
        names |= dict.fromkeys(row)
        if clip in texts:
            problems.append(f"{file}:{line}: {clip} is there twice -> once")
        if lacking := [name for name in names if not row.get(name)]:
            problems.append(f"{file}:{line}: {clip} has no {', '.join(lacking)}")
        texts[clip] = row
    if not names and not problems:
        problems.append(f"{file}:1: no column beside {CLIP} -> one for each further text")
    if not problems:
        problems += [f"{file}: no line for clip {entry.key}" for entry in entries if entry.key not in texts]
    if problems:
        raise AnnotationError(problems)
    return [replace(entry, further=texts[entry.key]) for entry in entries]
