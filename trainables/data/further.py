"""Further texts of clips, such as predicted states, in a file beside a dataset's annotations.

``texts.csv`` or ``texts.jsonl`` in the dataset's folder: a column ``clip`` and one column for each further text.
``clip`` is the id (Something-Something V2), the folder below the dataset's (BridgeData), ``video_id:start_frame``
(EPIC-Kitchens-100), or the file's name without its ending (UCF-101).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from trainables.data.annotations import SHOWN_PROBLEMS, AnnotationError, Entry, only_file
from trainables.data.tables import further_texts, rows

NAMES = ("texts.csv", "texts.jsonl")
CLIP = "clip"


def with_further_texts(
    entries: Sequence[Entry], root: Path, other_side: Callable[[], Iterable[Entry]]
) -> Sequence[Entry]:
    """Add further texts to clips; the clips are unchanged if the dataset has no such file.

    Args:
        entries: Clips of one side of the split; each needs its texts.
        root: The dataset's folder.
        other_side: Returns the clips of the other side, which the file may also list; called only if it lists clips
            that are not in ``entries``. If its annotations cannot be read, such clips are ignored.

    Raises:
        AnnotationError: There are two such files, or the file cannot be read, has no column ``clip`` or no other
            column, lists a clip twice or one that is not annotated, has an empty text, or lacks one of ``entries``; all
            problems are listed.
    """
    file = only_file(root, NAMES)
    if file is None:
        return entries
    problems: list[str] = []
    numbered = list(rows(file, (CLIP,), problems))
    if problems and not numbered:
        raise AnnotationError(problems)
    texts = further_texts(numbered, (CLIP,))
    for (line, _), further in zip(numbered, texts, strict=True):
        if gaps := [name for name, text in further.items() if not text.strip()]:
            problems.append(f"{file}:{line}: no {', '.join(gaps)} -> a text in every line, or remove the column")
    if not any(texts):
        raise AnnotationError([*problems, f"{file}:1: no column besides {CLIP} -> a column for each further text"])
    clips = [row[CLIP] for _, row in numbered]
    unknown = _unknown(clips, entries, other_side)
    files: dict[str, set[Path]] = {}
    for entry in entries:
        files.setdefault(entry.key, set()).add(entry.path)
    first: dict[str, int] = {}
    for line, row in numbered:
        clip = row[CLIP]
        if first.setdefault(clip, line) != line:
            problems.append(f"{file}:{line}: clip {clip} is already in line {first[clip]} -> list it once")
        elif clip in unknown:
            problems.append(f"{file}:{line}: clip {clip} is not in the annotations -> an annotated clip")
        elif len(files.get(clip, ())) > 1:
            named = " and ".join(path.relative_to(root).as_posix() for path in sorted(files[clip]))
            problems.append(f"{file}:{line}: clip {clip} may be {named} -> rename one of them")
    problems += _missing([entry.key for entry in entries if entry.key not in first], file)
    if problems:
        raise AnnotationError(problems)
    by_clip = dict(zip(clips, texts, strict=True))
    return [replace(entry, further=by_clip[entry.key]) for entry in entries]


def _unknown(clips: Iterable[str], entries: Iterable[Entry], other_side: Callable[[], Iterable[Entry]]) -> set[str]:
    """Return the clips that are on neither side of the split."""
    unknown = set(clips) - {entry.key for entry in entries}
    if not unknown:
        return unknown
    try:
        return unknown - {entry.key for entry in other_side()}
    except AnnotationError:  # reported when that side is used; until then its clips are unknown
        return set()


def _missing(clips: Sequence[str], file: Path) -> list[str]:
    """Report clips without a line; up to twenty are named."""
    if not clips:
        return []
    more = f" and {len(clips) - SHOWN_PROBLEMS} more" if len(clips) > SHOWN_PROBLEMS else ""
    return [f"{file}: no line for {', '.join(clips[:SHOWN_PROBLEMS])}{more} -> a line for each annotated clip"]
