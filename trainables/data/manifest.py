"""Manifests of datasets: hashes of their clips, kept with size and time of the files.

A clip is read once, and again only if size or time of its files differ.
"""

import hashlib
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainables.data.clips import picture_names
from trainables.data.frames import ClipFile, Stretch
from trainables.files import json_hash, locked, write_atomically

Show = Callable[[int, int], None]
"""Called with the number of clips that were read, and of all clips to read."""

PICTURES = 64
"""Most pictures of one clip that are examined, evenly spaced and with the first and last."""
BLOCKS, BLOCK = 64, 2**16
"""Most blocks of one file that are hashed, and their size in bytes: files up to 4 MiB are hashed whole."""
READERS = 8
"""Threads that read clips; they wait for the disk most of the time."""


class UnreadError(Exception):
    """A clip is not in the manifest, or has changed since, and may not be read now."""


_Key = tuple[str, int, int | None, tuple[float, float] | None]


class _Known(NamedTuple):
    """State of a clip's files when they were read, and their hash."""

    state: list[Any]
    digest: str


@dataclass(frozen=True)
class Manifest:
    """Hashes of the clips of datasets, in a folder that several processes may share.

    Args:
        folder: Folder of the files, one for each dataset.
        read: Whether clips may be read; else all clips must be known and unchanged.
        show: Called while clips are read.
    """

    folder: Path
    read: bool = True
    show: Show | None = None
    _files: dict[Path, dict[_Key, _Known]] = field(default_factory=dict, init=False, compare=False)

    def hashes(self, root: Path, clips: Sequence[ClipFile]) -> list[str]:
        """Return a hash for each clip, of the size and content of its files; empty for a missing one.

        Args:
            root: Folder of the dataset.
            clips: Clips of the dataset.

        Raises:
            UnreadError: A clip would have to be read, and may not be.
        """
        file = self.folder / f"content-{json_hash(str(root.resolve()))}.jsonl"
        keys, states = [_key(clip) for clip in clips], states_of(clips)
        known = self._files.get(file) or _known(file)
        differ = (k for k, key in enumerate(keys) if key not in known or known[key].state != states[k])
        new = list({keys[k]: k for k in differ}.values())  # a clip with two captions is read once
        if new and not self.read:
            raise UnreadError(str(clips[new[0]].path))
        if new:
            self.folder.mkdir(parents=True, exist_ok=True)
            hashes = self._hashed([clips[k] for k in new], [states[k] for k in new])
            with locked(file.with_suffix(".lock")):
                known = _known(file)
                known |= {keys[k]: _Known(states[k], digest) for k, digest in zip(new, hashes, strict=True)}
                write_atomically(file, "".join(json.dumps([*key, *at]) + "\n" for key, at in known.items()).encode())
        self._files[file] = known
        return [known[key].digest for key in keys]

    def _hashed(self, clips: Sequence[ClipFile], states: Sequence[list[Any]]) -> list[str]:
        hashes = []
        with ThreadPoolExecutor(READERS) as pool:
            for digest in pool.map(_hash, clips, states):
                hashes.append(digest)
                if self.show is not None:
                    self.show(len(hashes), len(clips))
        return hashes


def states_of(clips: Sequence[ClipFile]) -> list[list[Any]]:
    """Return size and time of the files of each clip, without reading them; empty for a missing one.

    For pictures, these are names, sizes and times of up to 64 of them, and their number.
    """
    states: list[list[Any]] = [[] for _ in clips]
    order = sorted(range(len(clips)), key=lambda k: str(clips[k].path))
    for path, numbers in itertools.groupby(order, key=lambda k: clips[k].path):
        try:
            about = path.stat()
            names = picture_names(path) if stat.S_ISDIR(about.st_mode) else None
        except OSError:
            continue
        for k in numbers:
            states[k] = _pictures(path, names, clips[k].stretch) if names is not None else _state(about)
    return states


def _state(about: os.stat_result) -> list[int]:
    return [about.st_size, about.st_mtime_ns]


def _pictures(folder: Path, names: Sequence[str], stretch: Stretch) -> list[Any]:
    """Return the number of pictures of a stretch, and name, size and time of some."""
    first, end = stretch.bounds(len(names), None)
    inside = names[first : max(first, end)]
    found: list[Any] = [len(inside)]
    for number in _spread(len(inside), PICTURES):
        try:
            found.append([inside[number], *_state((folder / inside[number]).stat())])
        except OSError:
            found.append([inside[number]])
    return found


def _spread(available: int, most: int) -> Iterable[int]:
    """Return numbers from 0 to ``available``: all, or ``most`` of them, evenly spaced and with the first and last."""
    if available <= most:
        return range(available)
    return (round(k * (available - 1) / (most - 1)) for k in range(most))


def _hash(clip: ClipFile, state: Sequence[Any]) -> str:
    """Hash the files of a clip: for pictures those that its state names."""
    if not state:
        return ""
    digest = hashlib.sha256()
    try:
        if not clip.path.is_dir():
            _update(digest, clip.path)
            return digest.hexdigest()[:32]
        digest.update(str(state[0]).encode())
        for name, *_ in state[1:]:
            digest.update(f"\0{name}\0".encode(errors="surrogateescape"))
            _update(digest, clip.path / name)
    except OSError:
        return ""
    return digest.hexdigest()[:32]


def _update(digest: Any, path: Path) -> None:
    """Add a file's size, and its content or evenly spaced blocks of it, to a hash."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "big"))
        for number in _spread(-(-size // BLOCK), BLOCKS):
            file.seek(number * BLOCK)
            digest.update(file.read(BLOCK))


def _key(clip: ClipFile) -> _Key:
    """Return a clip as plain values, of which 200,000 are compared faster than paths."""
    return str(clip.path), clip.stretch.start, clip.stretch.stop, clip.stretch.seconds


def _known(file: Path) -> dict[_Key, _Known]:
    """Read a file of hashes."""
    return {
        (path, start, stop, seconds and tuple(seconds)): _Known(state, digest)
        for path, start, stop, seconds, state, digest in json_lines(file, 6)
    }


def json_lines(file: Path, length: int) -> Iterator[list[Any]]:
    """Iterate over the lines of a file that are JSON lists of a length; other lines, as of a cut file, are skipped."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, list) and len(values) == length:
            yield values
