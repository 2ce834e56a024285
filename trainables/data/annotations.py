"""Readers of clip annotations, in the layouts of published datasets.

Clips are not opened here; ``trainables.data.ingest`` checks that they exist and can be decoded.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainables.data.frames import ClipFile, Stretch
from trainables.data.layout import CATEGORY
from trainables.data.tables import BROKEN, further_texts, rows, text_of
from trainables.text import is_broken

Split = Literal["train", "test"]

SHOWN_PROBLEMS = 20
CAPTIONS = ("path", "text", CATEGORY)
"""Columns of a captions file that are not further texts."""
_KINDS = {"Lu": "A", "Lt": "A", "L": "a", "M": "a", "N": "0"}
"""Unicode's categories of capitals, of other letters and their marks, and of digits."""
VIDEOS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")


class AnnotationError(ValueError):
    """Invalid annotations; the message lists files and lines of up to twenty problems."""

    def __init__(self, problems: Sequence[str]) -> None:
        shown = list(problems[:SHOWN_PROBLEMS])
        if len(problems) > SHOWN_PROBLEMS:
            shown.append(f"... and {len(problems) - SHOWN_PROBLEMS} more")
        super().__init__("\n".join(shown))


@dataclass(frozen=True)
class Entry:
    """One annotated clip, or one of its captions.

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

    @property
    def clip(self) -> ClipFile:
        """File and stretch, which entries with several captions of one clip share."""
        return ClipFile(self.path, Stretch(self.start, self.stop, self.seconds))

    def label(self, column: str) -> str:
        """Return the category or a further text; empty if there is none."""
        return self.category if column == CATEGORY else self.further.get(column, "")


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
    label; without a label, the template with its placeholders filled in. A clip is a video, or a folder of pictures,
    named by the id; one that is listed several times has an entry for each label.

    Raises:
        AnnotationError: A list is missing, not JSON, or has entries without id or text.
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

    Every line of ``lang.txt`` is an instruction, and an entry, except those that begin with ``confidence``.

    Raises:
        AnnotationError: No ``lang.txt`` below the folder, or one is empty or not text.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for file in _visible(root, "**/lang.txt"):
        content = text_of(file, problems)
        lines = map(str.strip, (content or "").split("\n"))
        instructions = [line for line in lines if line and not line.startswith("confidence")]
        if content is not None and not instructions:
            problems.append(f"{file}:1: empty -> add the instruction of this trajectory, or delete the file")
        images = file.parent / "images0"
        path = images if images.is_dir() else file.parent
        group = file.parent.relative_to(root).as_posix()
        entries += [Entry(path, instruction, group=group, key=group) for instruction in instructions]
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
    stamps, by frame numbers. A segment with several narrations has an entry for each.

    Raises:
        AnnotationError: A list is missing, lacks a column, or has rows without frame numbers, or invalid time stamps.
    """
    train, validation = (root / f"EPIC_100_{name}.csv" for name in ("train", "validation"))
    published = validation.is_file()
    listing = validation if published and split == "test" else train
    entries: list[Entry] = []
    problems: list[str] = []
    for line, row in rows(listing, ("video_id", "start_frame", "stop_frame", "narration"), problems):
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
    for file in _visible(base, "*/*"):
        if file.suffix.lower() in VIDEOS:
            name = file.parent.name
            entries.append(Entry(file, _in_words(name), name, group=re.sub(r"_c\d+$", "", file.stem), key=file.stem))
    if not entries:
        raise AnnotationError([f"{base}: no class folders with clips -> UCF-101's folders, or another layout"])
    return of_split(entries, split, held_out)


def read_captions(root: Path, split: Split, held_out: float) -> list[Entry]:
    """Read clips with ``captions.csv`` or ``captions.jsonl``: path (below the folder), text, optionally category.

    All other named columns, or keys with strings, are further texts; empty if a line has none. A clip with several
    captions has a line, and an entry, for each; they are on the same side of the split.

    Args:
        root: The folder, or the captions file itself.
        split: Side of the split by hash of the file name.
        held_out: Fraction of the test side.

    Raises:
        AnnotationError: No such file or two, a missing column, not text, or lines without path or text, or unlike the
            header.
    """
    listing = root if root.is_file() else only_file(root, ("captions.csv", "captions.jsonl"))
    if listing is None:
        raise AnnotationError([f"{root}: no captions.csv or captions.jsonl -> add one with path,text[,category]"])
    problems: list[str] = []
    numbered = list(rows(listing, ("path", "text"), problems, also=CAPTIONS))
    entries = []
    for (_, row), further in zip(numbered, further_texts(numbered, CAPTIONS), strict=True):
        path = os.path.normpath(row["path"])  # equal for all captions of a clip
        entries.append(Entry(listing.parent / path, row["text"], row.get("category", ""), group=path, further=further))
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
        labels = json.loads(text_of(listing, problems) or "[]")
    except json.JSONDecodeError as error:
        raise AnnotationError([f"{listing}:{error.lineno}: not JSON ({error.msg}) -> a list of labels"]) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists nested without end
        raise AnnotationError([f"{listing}: not JSON ({error}) -> a list of labels"]) from None
    if not isinstance(labels, list):
        raise AnnotationError([f"{listing}: not a list -> a list of labels, each with id and label"])
    clip_of = _ssv2_clips(root)
    entries = []
    for number, row in enumerate(labels, 1):
        name, text = (str(row.get("id") or ""), _label(row)) if isinstance(row, dict) else ("", "")
        if not name or not text:
            problems.append(f"{listing}: entry {number} has no {'text' if name else 'id'} -> id and label")
        elif is_broken(name + text):
            problems.append(f"{listing}: entry {number}: {BROKEN}")
        else:
            entries.append(Entry(clip_of(name), text, str(row.get("template") or ""), group=name, key=name))
    _validate(entries, problems, listing)
    return entries


def _ssv2_clips(root: Path) -> Callable[[str], Path]:
    """Return the function that finds a clip by its id: a video in any container, or a folder of pictures.

    Clips that do not exist are expected in the first folder that has clips, as published.
    """
    folders = [root / name for name in ("20bn-something-something-v2", "videos", "frames", "")]
    found: dict[str, Path] = {}
    for folder in filter(Path.is_dir, folders):
        with os.scandir(folder) as items:
            visible = [item for item in items if not item.name.startswith(".")]
        videos = [Path(item.path) for item in visible if Path(item.name).suffix.lower() in VIDEOS]
        for file in sorted(videos, key=lambda file: file.suffix != ".webm"):
            found.setdefault(file.stem, file)
        for item in visible:
            if item.name.isdecimal() and item.is_dir():
                found.setdefault(item.name, Path(item.path))
    expected = next(iter(found.values())).parent if found else folders[0]
    return lambda name: found.get(name, expected / f"{name}.webm")


def only_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the file of a folder that has one of these names; None if there is none.

    Raises:
        AnnotationError: The folder has several of them.
    """
    found = [name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise AnnotationError([f"{folder}: has {' and '.join(found)} -> keep one of them"])
    return folder / found[0] if found else None


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


def _in_words(name: str) -> str:
    """Split a class name at capitals and numbers ("Übung2AmBarren": übung 2 am barren), in any script."""
    name = unicodedata.normalize("NFC", name)  # macOS stores letters and their accents separately
    categories = map(unicodedata.category, name)
    kinds = "".join(_KINDS.get(category, _KINDS.get(category[0], " ")) for category in categories)
    words = [name[match.start() : match.end()] for match in re.finditer("A?a+|A+(?!a)|0+", kinds)]
    return " ".join(words).lower() or name


def _visible(folder: Path, pattern: str) -> list[Path]:
    """List files by pattern, sorted, without hidden files and folders, such as macOS leaves beside clips.

    Raises:
        AnnotationError: A name is not UTF-8, as after unpacking an archive in another encoding.
    """
    files = {str(file.relative_to(folder)): file for file in folder.glob(pattern)}
    visible = {name: file for name, file in files.items() if not re.search(r"(^|/)\.", name)}
    if broken := [os.fsencode(name) for name in visible if is_broken(name)]:
        raise AnnotationError([f"{folder}: {name!r}: a name that is not UTF-8 -> rename it" for name in broken])
    return sorted(visible.values())


def _epic_video(root: Path, video: str) -> Path:
    """Find a video in the folders of the dataset's download, or in the folder itself; the first path if none exists."""
    person = video.partition("_")[0]
    places = [root / person / "videos", root / person, root / "videos", root]
    files = [folder / f"{video}{ending}" for folder in places for ending in (".MP4", ".mp4")]
    files.append(root / person / "rgb_frames" / video)
    return next((file for file in files if file.exists()), files[0])


def _validate(entries: Sequence[Entry], problems: list[str], listing: Path) -> None:
    """Raise if there are problems, or no clips."""
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
