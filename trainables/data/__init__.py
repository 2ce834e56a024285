"""Sources of prompts, reference clips and training clips: one typed entry per layout."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from models.streams import Streams
from trainables.data.content import LABELS, Content, summary
from trainables.data.frames import FrameChoice, Whole
from trainables.data.layout import CATEGORY, ClipLayout, ClipSet, ClipSize
from trainables.data.prompts import PromptsData
from trainables.files import many_objects

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainables.data.annotations import Entry
    from trainables.data.manifest import Manifest


ORACLE = "oracle"
"""Further text of a procedural clip: its description in consecutive parts, from the true frames."""

CONTINUABLE = 256
"""Most procedural clips that cells continue: the first of the reference clips. Further ones decide no sample."""

WORLD = 2
"""Version of the procedural scenes, part of the names of rendered folders: changed scenes are rendered again."""


class ShapesData(ClipLayout):
    """Procedural scenes of coloured shapes: prompts of their grammar, and rendered reference clips.

    Args:
        split: Split of the reference scenes; ``test`` is not used for training.
        references: Number of reference clips, at least 2. With few, arms of equal distance differ by which clips they
            happen to be.
        frames_per_motion: Frames of each motion, at a constant pace, so that longer clips have more motions; by default
            one or two motions span the clip, whatever its number of frames.
    """

    layout: Literal["shapes"] = "shapes"
    split: Literal["train", "test"] = "test"
    references: Annotated[int, Field(ge=2)] = 2048
    # Left out if not set: identities of studies with the default are those of versions without it.
    frames_per_motion: Annotated[int | None, Field(ge=1, exclude_if=lambda value: value is None)] = None

    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """Draw one prompt per clip; every 12 consecutive prompts have every shape three times and every colour twice.

        Clip k of a seed has the same prompt in every arm, for any number of clips.

        Args:
            streams: Random streams of the cell's seed.
            clips: Number of clips.
        """
        from trainables.data.scenes import study_caption

        return [study_caption(*drawn) for drawn in self._drawn(streams, clips)]

    def columns(self) -> tuple[str, ...]:
        """Return the names of the labels: category (the first motion), shape, colour, and number of motions."""
        from trainables.data.scenes import LABELS

        return LABELS

    def labels(self, column: str, streams: Streams, clips: int) -> list[str]:
        """Return a label of each prompt."""
        from trainables.data.scenes import labels

        return [labels(*drawn)[column] for drawn in self._drawn(streams, clips)]

    def _drawn(self, streams: Streams, clips: int) -> list[tuple[str, str, tuple[str, ...]]]:
        """Draw shape, colour and motions of each prompt."""
        from trainables.data.scenes import COLOURS, SHAPES, draw_motions

        shapes = streams.generator("prompt_shapes").permutation(SHAPES).tolist()
        colours = streams.generator("prompt_colours").permutation(list(COLOURS)).tolist()
        drawn = []
        for k in range(clips):
            shape, colour = shapes[k % len(shapes)], colours[(k + k // 12) % len(colours)]
            phases, first, second = streams.generator("prompt", k).random(3).tolist()
            drawn.append((shape, colour, draw_motions(phases, first, second)))
        return drawn

    def identity(self) -> dict[str, Any]:
        """Return the values that decide prompts and continued clips; further references can be scored with later."""
        return {**super().identity(), "references": self._continuable}

    def content(self, manifest: Manifest | None, training: int | None) -> Content:
        """Return the version of the scenes, which with the code determines them."""
        return {"scenes": f"version {WORLD}"}

    def reference_identity(self) -> list[Any]:
        """Return plain values that identify the reference clips: equal values mean equal clips."""
        return ["shapes", WORLD, self.split, self.references, *self._pace]

    @property
    def _pace(self) -> list[int]:
        return [] if self.frames_per_motion is None else [self.frames_per_motion]

    @property
    def _continuable(self) -> int:
        return min(self.references, CONTINUABLE)

    def reference_clips(self, size: ClipSize, folder: Path) -> ClipSet:
        """Return the scenes of the split, rendered on demand: their features alone are kept.

        Args:
            size: Size of a clip.
            folder: Not used.
        """
        return self._rendered(self.split, self.references, size)

    def continuable_clips(self, size: ClipSize, folder: Path) -> ClipSet:
        """Return the first scenes of the split, rendered to H.264 once and decoded on demand, as clips on disk are.

        Args:
            size: Size of a clip.
            folder: Folder of rendered clips.
        """
        from trainables.data.shapes import read_dataset, write_dataset

        # Suffix b: older versions stored stretched scenes for frames that are not square, under the name without it.
        world = f"{WORLD}" if size.height == size.width else f"{WORLD}b"
        name = f"shapes{world}_{self.split}_{self._continuable}x{'x'.join(map(str, size))}"
        name += "".join(f"_pace{frames}" for frames in self._pace)

        def read(numbers: Sequence[int]) -> NDArray[np.uint8]:
            rendered = write_dataset(
                folder / name,
                self._continuable,
                self.split,
                frames_per_motion=self.frames_per_motion,
                **size._asdict(),
            )
            return read_dataset(rendered, size.frames, numbers)[0]

        return self._scenes(self.split, self._continuable, size.frames, read)

    def training_clips(self, size: ClipSize, most: int | None, folder: Path) -> ClipSet:
        """Return scenes of the other split, rendered on demand; 4,096 by default, as for the training of the base.

        Args:
            size: Size of a clip.
            most: Number of clips.
            folder: Not used.
        """
        return self._rendered("train" if self.split == "test" else "test", most or 4096, size)

    def _rendered(self, split: Literal["train", "test"], num: int, size: ClipSize) -> ClipSet:
        """Return the first scenes of a split, rendered on demand."""
        import numpy as np

        from trainables.data.shapes import render, scene_of

        def read(numbers: Sequence[int]) -> NDArray[np.uint8]:
            scenes = [scene_of(split, k, frames=size.frames, frames_per_motion=self.frames_per_motion) for k in numbers]
            return np.stack([render(scene, *size) for scene in scenes])

        return self._scenes(split, num, size.frames, read)

    def _scenes(
        self,
        split: Literal["train", "test"],
        num: int,
        frames: int,
        read: Callable[[Sequence[int]], NDArray[np.uint8]],
    ) -> ClipSet:
        captions, states, labels = _described(split, num, frames, self.frames_per_motion)
        identity = [["shapes", WORLD, split, index, *self._pace] for index in range(num)]
        return ClipSet(captions, identity, read, {ORACLE: states}, labels=labels)

    def further_names(self) -> tuple[str, ...]:
        """Return ``oracle``: what happens in consecutive parts of a clip."""
        return (ORACLE,)


@functools.lru_cache(maxsize=8)
def _described(
    split: Literal["train", "test"], num: int, frames: int, pace: int | None
) -> tuple[Sequence[str], Sequence[str], Mapping[str, Sequence[str]]]:
    """Return captions, states and labels of the first scenes of a split; drawing 2,048 scenes takes half a second."""
    from trainables.data.scenes import LABELS
    from trainables.data.shapes import scene_of, states_of

    scenes = [scene_of(split, k, frames=frames, frames_per_motion=pace) for k in range(num)]
    labels = {column: tuple(scene.labels()[column] for scene in scenes) for column in LABELS}
    states = tuple("; ".join(states_of(scene, frames)) for scene in scenes)
    return tuple(scene.caption() for scene in scenes), states, labels


class ClipsData(ClipLayout):
    """Dataset on disk: video files with annotations, in the layout of a published dataset.

    Args:
        layout: ``ssv2`` (Something-Something V2), ``bridge`` (BridgeData), ``epic`` (EPIC-Kitchens-100), ``ucf101``,
            or ``captions``: any clips with ``captions.csv`` or ``captions.jsonl`` (path, text, optionally category).
        path: Folder of the dataset; for ``captions`` also the captions file itself.
        split: Split of prompts and references; training clips are from the other split.
        held_out: Fraction of recordings in ``test`` if the dataset publishes no split, in (0, 1).
        frames: Choice of the frames of a clip: ``whole``, ``consecutive``, or ``interpolated`` as in Seer's released
            code. The default is ``whole`` for all systems, since the choice decides which clips a study compares.
        references: Number of reference clips, at least 2; the whole split if it has fewer.
    """

    layout: Literal["ssv2", "bridge", "epic", "ucf101", "captions"]
    path: Annotated[str, StringConstraints(min_length=1)]
    split: Literal["train", "test"] = "test"
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    frames: FrameChoice = Whole()
    references: Annotated[int, Field(ge=2)] = 256

    @property
    def folder(self) -> Path:
        """Path of the dataset, with ``~`` expanded."""
        return Path(self.path).expanduser()

    def entries(self) -> Sequence[Entry]:
        """Read the annotated clips of the split, in an order independent of the seed that mixes classes and recordings.

        A clip with several captions has several entries. All clips with their first captions precede second captions.

        Raises:
            ValueError: The annotations are missing or invalid, or the split has fewer than 2 clips.
        """
        return _entries(self.layout, self.folder, self.split, self.held_out)

    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """Draw texts of clips without replacement; they are repeated in order if there are more clips than texts.

        Clip k of a seed has the same prompt in every arm, for any number of clips.

        Args:
            streams: Random streams of the cell's seed.
            clips: Number of clips.

        Raises:
            ValueError: The annotations are missing or invalid.
        """
        return [entry.text for entry in self._drawn(streams, clips)]

    def columns(self) -> tuple[str, ...] | None:
        """Return the names of the labels, by the header of the annotations."""
        from trainables.data.labels import columns

        try:
            return columns(self.layout, self.folder) if self.folder.exists() else None
        except ValueError:  # reported with the annotations
            return None

    def labels(self, column: str, streams: Streams, clips: int) -> list[str]:
        """Return a label of each prompt."""
        return [entry.label(column) for entry in self._drawn(streams, clips)]

    def label_content(self, columns: Sequence[str]) -> Content:
        """Return number and hash of the labels of the split's clips."""
        if not columns:
            return {}
        labels = [[*self._place(entry), *map(entry.label, columns)] for entry in self.entries()]
        return {LABELS: summary("labels", labels)}

    def _drawn(self, streams: Streams, clips: int) -> list[Entry]:
        """Draw the entry of each prompt."""
        entries = self.entries()
        order = streams.generator("prompt_entries").permutation(len(entries)).tolist()
        return [entries[order[k % len(order)]] for k in range(clips)]

    def content(self, manifest: Manifest | None, training: int | None) -> Content:
        """Return number and hash of the split's texts, of the reference clips, and of the training clips.

        Of a clip's path, only the part below the dataset's folder counts.
        """
        if manifest is None:
            return {}
        with many_objects():
            texts = [[*self._place(entry), entry.text] for entry in self.entries()]
            found = {
                "texts": summary("texts", texts),
                "references": self._summary(self._references(), manifest),
            }
            if training is not None:
                found["training"] = self._summary(self._other_split(training or None), manifest)
        return found

    def further_names(self) -> tuple[str, ...]:
        """Return the further texts of the annotations."""
        return tuple(self.entries()[0].further)

    def _summary(self, entries: Sequence[Entry], manifest: Manifest) -> str:
        """Return number and hash of clips with their texts."""
        hashes = manifest.hashes(self.folder, [entry.clip for entry in entries])
        return summary(
            "clips",
            [
                [*self._place(entry), entry.text, dict(entry.further), digest]
                for entry, digest in zip(entries, hashes, strict=True)
            ],
        )

    def _place(self, entry: Entry) -> list[Any]:
        """Return where a clip is: its path below the dataset's folder, and its stretch."""
        return [str(entry.path).removeprefix(self._root), entry.start, entry.stop, entry.seconds]

    @functools.cached_property
    def _root(self) -> str:
        folder = self.folder if self.folder.is_dir() else self.folder.parent  # path may be that of a captions file
        return os.path.join(folder, "")

    def reference_identity(self) -> list[Any]:
        """Return plain values that identify the reference clips: file state, frame range and choice of frames."""
        from trainables.data.ingest import stamps

        return stamps(self._references(), self.frames)

    def reference_clips(self, size: ClipSize, folder: Path) -> ClipSet:
        """Return clips of the split, each with its first caption, checked once and decoded on demand.

        Args:
            size: Size of a clip.
            folder: Folder for the list of unusable clips.

        Raises:
            ValueError: The annotations are invalid, or more than 5 % of the clips cannot be decoded.
        """
        return self._usable(self._references(), size, folder)

    def training_clips(self, size: ClipSize, most: int | None, folder: Path) -> ClipSet:
        """Return clips of the other split, checked once and decoded on demand; all by default.

        Raises:
            ValueError: The annotations are invalid, or more than 5 % of the clips cannot be decoded.
        """
        other: Literal["train", "test"] = "train" if self.split == "test" else "test"
        return self.model_copy(update={"split": other})._usable(self._other_split(most), size, folder)

    def _other_split(self, most: int | None) -> Sequence[Entry]:
        """Return the entries of the split without the references, at most so many."""
        other: Literal["train", "test"] = "train" if self.split == "test" else "test"
        return _entries(self.layout, self.folder, other, self.held_out)[:most]

    def _references(self) -> Sequence[Entry]:
        """Return each clip once: repeated clips would distort distances between sets."""
        first: dict[Any, Entry] = {}
        for entry in self.entries():
            first.setdefault(entry.clip, entry)
        return list(first.values())[: self.references]

    def _usable(self, entries: Sequence[Entry], size: ClipSize, folder: Path) -> ClipSet:
        """Make a set of the clips that can be decoded."""
        from trainables.data.ingest import ingest, read_all, stamps

        name = hashlib.sha256(f"{self.folder.resolve()} {self.model_dump_json()} {size[0]}".encode()).hexdigest()[:16]
        good = ingest(entries, self.frames, size, folder / f"{self.layout}-{name}").good
        return ClipSet(
            [entry.text for entry in good],
            [[*stamp, entry.decoder] for entry, stamp in zip(good, stamps(good, self.frames), strict=True)],
            lambda numbers: read_all([good[k] for k in numbers], self.frames, size),
            {key: [entry.further[key] for entry in good] for key in good[0].further},
            [entry.decoder or "" for entry in good],
            {CATEGORY: [entry.category for entry in good]},
        )


@functools.lru_cache(maxsize=8)
def _entries(layout: str, folder: Path, split: Literal["train", "test"], held_out: float) -> Sequence[Entry]:
    from trainables.data.annotations import READERS, AnnotationError
    from trainables.data.further import with_further_texts

    read = READERS[layout]
    with many_objects():
        entries: Sequence[Entry] = read(folder, split, held_out)
    if layout != "captions":  # its own file has them
        other: Literal["train", "test"] = "train" if split == "test" else "test"
        entries = with_further_texts(entries, folder, lambda: read(folder, other, held_out))
    captions: Counter[Any] = Counter()  # of each clip so far
    order = []
    for entry in entries:
        mixed = hashlib.sha256(f"{entry.path.name} {entry.start}".encode()).digest()
        order.append((captions[entry.clip], mixed))
        captions[entry.clip] += 1
    if len(captions) < 2:
        raise AnnotationError([f"{folder}: split {split} has {len(captions)} clips -> at least 2"])
    return [entries[k] for k in sorted(range(len(entries)), key=order.__getitem__)]


Data = Annotated[ShapesData | PromptsData | ClipsData, Field(discriminator="layout")]
"""Type of a study's ``data:``; the string ``shapes`` means ``ShapesData()``."""
