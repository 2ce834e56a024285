"""Readers of clip annotations, in the layouts of published datasets.

Clips are not opened here; ``trainables.data.ingest`` checks that they exist and can be decoded.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Split = Literal["train", "test"]

SHOWN_PROBLEMS = 20
CAPTIONS = ("path", "text", "category")
"""Columns of a captions file that are not further texts."""
VIDEOS = (".mp4", ".webm", ".avi", ".mkv", ".mov")


class AnnotationError(ValueError):
    """Invalid annotations; the message lists files and lines of up to twenty problems."""

    def __init__(self, problems: Sequence[str]) -> None:
        shown = list(problems[:SHOWN_PROBLEMS])
        if len(problems) > SHOWN_PROBLEMS:
            shown.append(f"... and {len(problems) - SHOWN_PROBLEMS} more")
        super().__init__("\n".join(shown))


@dataclass(frozen=True)
class Entry:
    """One annotated clip.

    Args:
        path: Video file, or folder with one picture per frame.
        text: Caption.
        category: Class, or template of the text; empty if there is none.
        start: First frame.
        stop: One past the last frame; None is the end.
        group: Recording; a split by hash keeps its clips together.
        key: Name of the clip in the annotations, by which further texts are matched.
        further: Further texts by name, such as predicted states.
        seconds: Start and end in seconds, which take the place of frame numbers in a video.
        decoder: Library that reads the clip's frames correctly, as its check found; None before.
    """

    path: Path
    text: str
    category: str = ""
    start: int = 0
    stop: int | None = None
    group: str = ""
    key: str = ""
    further: Mapping[str, str] = field(default_factory=dict, hash=False)
    seconds: tuple[float, float] | None = None
    decoder: str | None = field(default=None, compare=False)


def of_split(entries: Iterable[Entry], split: Split, held_out: float) -> list[Entry]:
    """Select one side of a split by hash, which does not depend on the machine or on other clips.

        test where  SHA-256(group) / 2^256 < held_out

    Args:
        entries: Clips of the whole dataset.
        split: Side of the split.
        held_out: Fraction of the recordings in ``test``, in (0, 1).
    """

    def is_test(entry: Entry) -> bool:
        digest = hashlib.sha256(entry.group.encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < held_out

    return [entry for entry in entries if is_test(entry) == (split == "test")]


def read_ssv2(root: Path, split: Split, held_out: float) -> list[Entry]:
    """Read Something-Something V2: ``labels/train.json`` and ``validation.json``, clips in a folder beside them.

    ``test`` is the published validation list, or a split by hash if only the training list exists. The text is the
    label; without a label, the template with its placeholders filled in.

    Raises:
        AnnotationError: A list is missing, not JSON, or has entries without id or text, or duplicates.
    """
    train, validation = (_labels(root, names) for names in (("train",), ("validation", "val")))
    if train is None or (split == "test" and validation is not None):
        listing = validation if split == "test" else None
        if listing is None:
            raise AnnotationError([f"{root}/labels: no train.json -> the labels of Something-Something V2"])
        return _ssv2(root, listing)
    entries = _ssv2(root, train)
    return entries if validation is not None else of_split(entries, split, held_out)


def read_bridge(root: Path, split: Split, held_out: float) -> list[Entry]:
    """Read BridgeData: a folder per trajectory with ``lang.txt`` and its frames, in ``images0`` or beside it.

    Raises:
        AnnotationError: No ``lang.txt`` below the folder, or one is empty or not UTF-8.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for file in sorted(root.rglob("lang.txt")):
        content = _text(file, problems)
        lines = [line.strip() for line in content.splitlines() if line.strip()]
        if content and (not lines or lines[0].startswith("confidence")):
            problems.append(f"{file}:1: empty -> add the instruction of this trajectory, or delete the file")
        elif lines:
            images = file.parent / "images0"
            group = file.parent.relative_to(root).as_posix()
            entries.append(Entry(images if images.is_dir() else file.parent, lines[0], group=group, key=group))
    if problems:
        raise AnnotationError(problems)
    if not entries:
        raise AnnotationError([f"{root}: no lang.txt in its subfolders -> BridgeData's folders, or another layout"])
    return of_split(entries, split, held_out)


def read_epic(root: Path, split: Split, held_out: float) -> list[Entry]:
    """Read EPIC-Kitchens-100: ``EPIC_100_train.csv``, ``EPIC_100_validation.csv``; actions are parts of long videos.

    ``test`` is the published validation list, or a split of the videos by hash if it is missing. Frames are numbered
    from 1 in the lists, at 50 or 60 per second, and the stop frame is inclusive. Some videos are recorded at other
    rates, so actions in videos are taken by their time stamps; in folders of pictures, or from lists without time
    stamps, by frame numbers.

    Raises:
        AnnotationError: A list is missing, lacks a column, or has rows without frame numbers, invalid time stamps, or
            duplicates.
    """
    train, validation = (root / f"EPIC_100_{name}.csv" for name in ("train", "validation"))
    published = validation.is_file()
    listing = validation if published and split == "test" else train
    entries: list[Entry] = []
    problems: list[str] = []
    for line, row in csv_rows(listing, ("video_id", "start_frame", "stop_frame", "narration"), problems):
        video = row["video_id"]
        try:
            start, stop = int(row["start_frame"]) - 1, int(row["stop_frame"])
        except ValueError:
            problems.append(f"{listing}:{line}: start_frame and stop_frame -> whole numbers")
            continue
        if not 0 <= start < stop:
            problems.append(f"{listing}:{line}: frames {start + 1} to {stop} -> 1 <= start_frame <= stop_frame")
            continue
        stamps = row.get("start_timestamp", ""), row.get("stop_timestamp", "")
        try:
            seconds = (_seconds(stamps[0]), _seconds(stamps[1])) if all(stamps) else None
        except ValueError:
            problems.append(f"{listing}:{line}: time stamps {' and '.join(stamps)} -> as in 00:01:02.50")
            continue
        if seconds is not None and seconds[0] > seconds[1]:
            problems.append(f"{listing}:{line}: time stamps {' to '.join(stamps)} -> start_timestamp <= stop_timestamp")
            continue
        category = row.get("verb", "") or row.get("verb_class", "")
        key = f"{video}:{start + 1}"
        path = _epic_video(root, video)
        entries.append(Entry(path, row["narration"], category, start, stop, video, key, seconds=seconds))
    _validate(entries, problems, listing)
    return entries if published else of_split(entries, split, held_out)


def read_ucf101(root: Path, split: Split, held_out: float) -> list[Entry]:
    """Read UCF-101: a folder per class; clips of one group show one scene and are on one side of the split.

    The text is the class name in words ("ApplyEyeMakeup": apply eye makeup).

    Raises:
        AnnotationError: No class folder with clips.
    """
    inner = root / "UCF-101"
    base = inner if inner.is_dir() else root
    entries = []
    for file in sorted(base.glob("*/*")):
        if file.suffix.lower() in VIDEOS:
            name = file.parent.name
            words = " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).lower()
            entries.append(Entry(file, words or name, name, group=re.sub(r"_c\d+$", "", file.stem), key=file.stem))
    if not entries:
        raise AnnotationError([f"{base}: no class folders with clips -> UCF-101's folders, or another layout"])
    return of_split(entries, split, held_out)


def read_captions(root: Path, split: Split, held_out: float) -> list[Entry]:
    """Read clips with ``captions.csv`` or ``captions.jsonl``: path (below the folder), text, optionally category.

    All other named columns, or keys with strings, are further texts; empty if a line has none.

    Args:
        root: The folder, or the captions file itself.
        split: Side of the split by hash of the file name.
        held_out: Fraction of the test side.

    Raises:
        AnnotationError: No such file, a missing column, not UTF-8, lines without path or text, or duplicates.
    """
    files = [root] if root.is_file() else [root / name for name in ("captions.csv", "captions.jsonl")]
    listing = next((file for file in files if file.is_file()), None)
    if listing is None:
        raise AnnotationError([f"{root}: no captions.csv or captions.jsonl -> add one with path,text[,category]"])
    problems: list[str] = []
    rows = json_rows if listing.suffix == ".jsonl" else csv_rows
    numbered = list(rows(listing, ("path", "text"), problems))
    entries = [
        Entry(listing.parent / row["path"], row["text"], row.get("category", ""), group=row["path"], further=further)
        for (_, row), further in zip(numbered, further_texts(numbered, CAPTIONS), strict=True)
    ]
    _validate(entries, problems, listing)
    return of_split(entries, split, held_out)


# -------------------------------------------------------------------------------------------------- reading the lists


def _labels(root: Path, names: Iterable[str]) -> Path | None:
    """Find a published list under any of its names."""
    candidates = (
        folder / f"{before}{name}.json"
        for folder in (root / "labels", root)
        for name in names
        for before in ("", "something-something-v2-")
    )
    return next((file for file in candidates if file.is_file()), None)


def _ssv2(root: Path, listing: Path) -> list[Entry]:
    problems: list[str] = []
    try:
        rows = json.loads(_text(listing, problems) or "[]")
    except json.JSONDecodeError as error:
        raise AnnotationError([f"{listing}:{error.lineno}: not JSON ({error.msg}) -> a list of labels"]) from None
    if not isinstance(rows, list):
        raise AnnotationError([f"{listing}: not a list -> a list of labels, each with id and label"])
    folders = (root / "20bn-something-something-v2", root / "videos", root)
    clips = next((folder for folder in folders if any(folder.glob("*.webm"))), folders[0])
    entries = []
    for number, row in enumerate(rows, 1):
        name, text = (str(row.get("id") or ""), _label(row)) if isinstance(row, dict) else ("", "")
        if not name or not text:
            problems.append(f"{listing}: entry {number} has no {'text' if name else 'id'} -> id and label")
        else:
            template = str(row.get("template") or "")
            entries.append(Entry(clips / f"{name}.webm", text, template, group=name, key=name))
    _validate(entries, problems, listing)
    return entries


def _label(row: dict[str, Any]) -> str:
    """Return the label, or the template with its brackets replaced by the placeholders."""
    label, template, placeholders = row.get("label"), row.get("template"), row.get("placeholders")
    if label or not isinstance(template, str) or not isinstance(placeholders, list):
        return str(label or "")
    names = iter(placeholders)
    return re.sub(r"\[[^\]]*\]", lambda bracket: str(next(names, bracket[0])), template)


def _seconds(stamp: str) -> float:
    """Convert ``hours:minutes:seconds`` to seconds.

    Raises:
        ValueError: Not of this form.
    """
    match = re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)", stamp)
    if match is None:
        raise ValueError(stamp)
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])


def _epic_video(root: Path, video: str) -> Path:
    """Find a video in the folders of the dataset's download, or in the folder itself; the first path if none exists."""
    person = video.partition("_")[0]
    places = [root / person / "videos", root / person, root / "videos", root]
    files = [folder / f"{video}{ending}" for folder in places for ending in (".MP4", ".mp4")]
    files.append(root / person / "rgb_frames" / video)
    return next((file for file in files if file.exists()), files[0])


def _text(file: Path, problems: list[str]) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(f"{file}: not UTF-8 at byte {error.start} -> save it as UTF-8")
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror})")
    return ""


Rows = Iterator[tuple[int, dict[str, str]]]


def csv_rows(file: Path, columns: Sequence[str], problems: list[str]) -> Rows:
    """Iterate over the lines of a CSV file that have all these columns, each with its number."""
    reader = csv.DictReader(io.StringIO(_text(file, problems)))  # line breaks within quotes are kept
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing and not problems:
        problems.append(f"{file}:1: no column {', '.join(missing)} -> {', '.join(columns)}")
    if problems:
        return
    for row in reader:
        if empty := [column for column in columns if not (row[column] or "").strip()]:
            problems.append(f"{file}:{reader.line_num}: no {', '.join(empty)}")
        else:
            yield reader.line_num, {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}


def json_rows(file: Path, columns: Sequence[str], problems: list[str]) -> Rows:
    """Iterate over the lines of a JSON-lines file that have all these keys, each with its number."""
    for number, line in enumerate(_text(file, problems).split("\n"), 1):  # strings may contain other line separators
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{file}:{number}: not JSON ({error.msg})")
            continue
        if not isinstance(row, dict) or not all(isinstance(row.get(column), str) and row[column] for column in columns):
            problems.append(f"{file}:{number}: not a map with {' and '.join(columns)}")
        else:
            kept = {key: value for key, value in row.items() if isinstance(value, str) or key in CAPTIONS}
            yield number, {key: str(value) for key, value in kept.items() if value is not None}


def further_texts(rows: Iterable[tuple[int, Mapping[str, str]]], others: Sequence[str]) -> list[dict[str, str]]:
    """Return the further texts of each line: all named columns except ``others``, with empty texts for gaps."""
    rows = list(rows)
    names = [name for name in dict.fromkeys(key for _, row in rows for key in row) if name and name not in others]
    return [{name: row.get(name, "") for name in names} for _, row in rows]


def _validate(entries: Sequence[Entry], problems: list[str], listing: Path) -> None:
    """Raise if there are problems, duplicate clips, or no clips."""
    seen: set[tuple[Path, int, int | None]] = set()
    for entry in entries:
        key = (entry.path, entry.start, entry.stop)
        if key in seen:
            problems.append(f"{listing}: {entry.path.name} from frame {entry.start} is listed twice -> list it once")
        seen.add(key)
    if not entries and not problems:
        problems.append(f"{listing}: empty -> at least one clip")
    if problems:
        raise AnnotationError(problems)


Reader = Callable[[Path, Split, float], list[Entry]]
READERS: dict[str, Reader] = {
    "ssv2": read_ssv2,
    "bridge": read_bridge,
    "epic": read_epic,
    "ucf101": read_ucf101,
    "captions": read_captions,
}
