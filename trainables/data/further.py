"""Further texts of clips, such as predicted states, in a file beside a dataset's own annotations.

``texts.csv`` or ``texts.jsonl`` in the dataset's folder: a column ``clip`` and one column for each further text. A clip
is named as the annotations name it: its id (Something-Something V2), its folder below the dataset's (BridgeData),
``video_id:start_frame`` (EPIC-Kitchens-100), its file's name without ending (UCF-101).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from trainables.data.annotations import SHOWN_PROBLEMS, AnnotationError, Entry, csv_rows, further_texts, json_rows

NAMES = ("texts.csv", "texts.jsonl")
CLIP = "clip"


def with_further_texts(
    entries: Sequence[Entry], root: Path, other_side: Callable[[], Iterable[Entry]]
) -> Sequence[Entry]:
    """Clips with their further texts; unchanged where the dataset has no such file.

    Args:
        entries: Of one side of the split; each needs its texts.
        root: The dataset's folder.
        other_side: Entries of the other side, which the file may name as well; called only if it names clips that are
            not among ``entries``. Where its annotations cannot be read, such clips are passed over.

    Raises:
        AnnotationError: The file cannot be read, has no column ``clip`` or none beside it, names a clip twice or one
            that is not annotated, leaves a text empty, or lacks one of ``entries``; all of these together.
    """
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    if file is None:
        return entries
    problems: list[str] = []
    rows = list((json_rows if file.suffix == ".jsonl" else csv_rows)(file, (CLIP,), problems))
    if problems and not rows:
        raise AnnotationError(problems)
    texts = further_texts(rows, (CLIP,))
    for (line, _), further in zip(rows, texts, strict=True):
        if gaps := [name for name, text in further.items() if not text.strip()]:
            problems.append(f"{file}:{line}: no {', '.join(gaps)} -> a text in every line, or no such column")
    if not any(texts):
        raise AnnotationError([*problems, f"{file}:1: no column beside {CLIP} -> one for each further text"])
    clips = [row[CLIP] for _, row in rows]
    unknown = _unknown(clips, entries, other_side)
    first: dict[str, int] = {}
    for line, row in rows:
        clip = row[CLIP]
        if first.setdefault(clip, line) != line:
            problems.append(f"{file}:{line}: clip {clip} is in line {first[clip]} already -> once")
        elif clip in unknown:
            problems.append(f"{file}:{line}: clip {clip} is not in the annotations -> one of theirs")
    problems += _lacking([entry.key for entry in entries if entry.key not in first], file)
    if problems:
        raise AnnotationError(problems)
    by_clip = dict(zip(clips, texts, strict=True))
    return [replace(entry, further=by_clip[entry.key]) for entry in entries]


def _unknown(clips: Iterable[str], entries: Iterable[Entry], other_side: Callable[[], Iterable[Entry]]) -> set[str]:
    """Clips that no side of the split has."""
    unknown = set(clips) - {entry.key for entry in entries}
    if not unknown:
        return unknown
    try:
        return unknown - {entry.key for entry in other_side()}
    except AnnotationError:  # told when that side is used; until then its clips are not known
        return set()


def _lacking(clips: Sequence[str], file: Path) -> list[str]:
    """That clips have no line, naming up to twenty."""
    if not clips:
        return []
    more = f" and {len(clips) - SHOWN_PROBLEMS} more" if len(clips) > SHOWN_PROBLEMS else ""
    return [f"{file}: no line for {', '.join(clips[:SHOWN_PROBLEMS])}{more} -> one for each annotated clip"]
