"""Where prompts, reference clips and training clips come from: one typed entry per layout."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from models.streams import Streams
from trainables.data.frames import Choice, Whole
from trainables.data.layout import Layout, TrainingClips
from trainables.data.prompts import PromptsData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainables.data.annotations import Entry


def _examples(streams: Streams, clips: int, references: int) -> list[int]:
    """Numbers of the reference clips that a cell's clips continue: without repeats as long as there are enough."""
    order = streams.generator("examples").permutation(references).tolist()
    return [order[k % references] for k in range(clips)]


class ShapesData(Layout):
    """The procedural world of coloured shapes: prompts of its grammar, and rendered clips to compare with.

    Args:
        split: Which scenes are the reference; ``test`` was never trained on.
        references: Number of reference clips, at least 2.
    """

    layout: Literal["shapes"] = "shapes"
    split: Literal["train", "test"] = "test"
    references: Annotated[int, Field(ge=2)] = 256

    @property
    def has_references(self) -> bool:
        """Whether there are clips for distances between sets."""
        return True

    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """One prompt per clip, balanced: any 12 in a row hold every shape three times and every colour twice.

        Clip k of a seed has the same prompt in every arm, however many clips there are.

        Args:
            streams: Of the cell's seed.
            clips: How many.
        """
        from trainables.data.scenes import COLOURS, SHAPES, draw_motions, study_caption

        shapes = streams.generator("prompt_shapes").permutation(SHAPES).tolist()
        colours = streams.generator("prompt_colours").permutation(list(COLOURS)).tolist()
        prompts = []
        for k in range(clips):
            shape, colour = shapes[k % len(shapes)], colours[(k + k // 12) % len(colours)]
            phases, first, second = streams.generator("prompt", k).random(3).tolist()
            prompts.append(study_caption(shape, colour, draw_motions(phases, first, second)))
        return prompts

    def reference_identity(self) -> list[Any]:
        """What the reference clips are, as plain values: as long as it stays the same, so do they."""
        from trainables.data.shapes import WORLD

        return ["shapes", WORLD, self.split, self.references]

    def reference_clips(self, frames: int, height: int, width: int, folder: Path) -> NDArray[np.uint8]:
        """Reference clips, rendered to H.264 once and decoded here.

        Args:
            frames: Per clip.
            height: Pixels.
            width: Pixels.
            folder: Where rendered clips are kept; several processes may share it.

        Shape:
            (n f h w 3) uint8.

        Raises:
            ClipError: A clip that was rendered earlier cannot be read any more.
        """
        from trainables.data.shapes import WORLD, read_dataset, write_dataset

        name = f"shapes{WORLD}_{self.split}_{self.references}x{frames}x{height}x{width}"
        size = {"frames": frames, "height": height, "width": width}
        clips, _ = read_dataset(write_dataset(folder / name, self.references, self.split, **size), frames)
        return clips

    def example_prompts(
        self, streams: Streams, clips: int, frames: int, height: int, width: int, folder: Path
    ) -> list[str]:
        """Captions of the reference clips that a cell's clips continue, for systems that are given first frames.

        Clip k of a seed has the same one in every arm, however many clips there are.

        Args:
            streams: Of the cell's seed.
            clips: How many.
            frames: Per clip; like what follows, not used: any scene can be rendered.
            height: Pixels.
            width: Pixels.
            folder: Where rendered clips are kept.
        """
        from trainables.data.scenes import draw_scene

        return [draw_scene(self.split, index).caption() for index in _examples(streams, clips, self.references)]

    def example_clips(
        self, streams: Streams, clips: int, frames: int, height: int, width: int, folder: Path
    ) -> NDArray[np.uint8]:
        """The reference clips of ``example_prompts`` themselves, as ``reference_clips`` gives them."""
        return self.reference_clips(frames, height, width, folder)[_examples(streams, clips, self.references)]

    def training_clips(self, frames: int, height: int, width: int, most: int | None, folder: Path) -> TrainingClips:
        """Scenes of the split that is not the references', rendered when they are asked for.

        Args:
            frames: Per clip.
            height: Pixels.
            width: Pixels.
            most: How many; 4,096 by default, as many as the base was trained on.
            folder: Not used: nothing is kept.
        """
        import numpy as np

        from trainables.data.scenes import draw_scene
        from trainables.data.shapes import WORLD, render

        split: Literal["train", "test"] = "train" if self.split == "test" else "test"
        scenes = [draw_scene(split, index) for index in range(most or 4096)]
        return TrainingClips(
            [scene.caption() for scene in scenes],
            [["shapes", WORLD, split, index] for index in range(len(scenes))],
            lambda numbers: np.stack([render(scenes[k], frames, height, width) for k in numbers]),
        )


class ClipsData(Layout):
    """A dataset of one's own: video files with annotations, in a layout in which such datasets are published.

    Args:
        layout: ``ssv2`` (Something-Something V2), ``bridge`` (BridgeData), ``epic`` (EPIC-Kitchens-100), ``ucf101``,
            or ``captions``: any clips with ``captions.csv`` or ``captions.jsonl`` (path, text, perhaps category).
        path: Its folder; for ``captions`` also the captions file itself.
        split: ``test`` gives prompts and references, and is never trained on.
        held_out: Share of recordings that is ``test`` where the dataset publishes no split of its own, in (0, 1).
        frames: Which frames of a clip are taken.
        references: Number of reference clips, at least 2; all of the split where it has fewer.
    """

    layout: Literal["ssv2", "bridge", "epic", "ucf101", "captions"]
    path: Annotated[str, StringConstraints(min_length=1)]
    split: Literal["train", "test"] = "test"
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    frames: Choice = Whole()
    references: Annotated[int, Field(ge=2)] = 256

    @property
    def folder(self) -> Path:
        """Where the dataset is."""
        return Path(self.path).expanduser()

    @property
    def has_references(self) -> bool:
        """Whether there are clips for distances between sets."""
        return True

    def entries(self) -> Sequence[Entry]:
        """The annotated clips of the split, in an order that depends on no seed and mixes classes and recordings.

        Raises:
            ValueError: The annotations are absent or wrong, or the split is empty.
        """
        return _entries(self.layout, self.folder, self.split, self.held_out)

    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """Texts of clips drawn without repeats; from the start again where there are more clips than texts.

        Clip k of a seed has the same prompt in every arm, however many clips there are.

        Args:
            streams: Of the cell's seed.
            clips: How many.

        Raises:
            ValueError: The annotations are absent or wrong.
        """
        entries = self.entries()
        order = streams.generator("prompt_entries").permutation(len(entries)).tolist()
        return [entries[order[k % len(order)]].text for k in range(clips)]

    def reference_identity(self) -> list[Any]:
        """What the reference clips are: their files as they are now, the stretches and frames taken of them."""
        from trainables.data.ingest import stamp

        return [stamp(entry, self.frames) for entry in self.entries()[: self.references]]

    def reference_clips(self, frames: int, height: int, width: int, folder: Path) -> NDArray[np.uint8]:
        """Reference clips, looked at once and then decoded here.

        Args:
            frames: Per clip.
            height: Pixels.
            width: Pixels.
            folder: Where the list of clips that cannot be used is kept.

        Shape:
            (n f h w 3) uint8.

        Raises:
            ValueError: The annotations are wrong, fewer than 2 clips can be used, or more than 5 % cannot.
        """
        from trainables.data.ingest import read_all

        size = (frames, height, width)
        return read_all(self._references(size, folder), self.frames, size)

    def example_prompts(
        self, streams: Streams, clips: int, frames: int, height: int, width: int, folder: Path
    ) -> list[str]:
        """Texts of the reference clips that a cell's clips continue, for systems that are given first frames.

        Clip k of a seed has the same one in every arm, however many clips there are.

        Args:
            streams: Of the cell's seed.
            clips: How many.
            frames: Per clip.
            height: Pixels.
            width: Pixels.
            folder: Where the list of clips that cannot be used is kept.

        Raises:
            ValueError: The annotations are wrong, fewer than 2 clips can be used, or more than 5 % cannot.
        """
        good = self._references((frames, height, width), folder)
        return [good[k].text for k in _examples(streams, clips, len(good))]

    def example_clips(
        self, streams: Streams, clips: int, frames: int, height: int, width: int, folder: Path
    ) -> NDArray[np.uint8]:
        """The clips of ``example_prompts`` themselves.

        Raises:
            ClipError: One of them cannot be decoded.
        """
        from trainables.data.ingest import read_all

        size = (frames, height, width)
        good = self._references(size, folder)
        return read_all([good[k] for k in _examples(streams, clips, len(good))], self.frames, size)

    def training_clips(self, frames: int, height: int, width: int, most: int | None, folder: Path) -> TrainingClips:
        """Clips of the split that is not the references', looked at once and decoded when they are asked for.

        Args:
            frames: Per clip.
            height: Pixels.
            width: Pixels.
            most: How many at most; all by default.
            folder: Where the list of clips that cannot be used is kept.

        Raises:
            ValueError: The annotations are wrong, fewer than 2 clips can be used, or more than 5 % cannot.
        """
        from trainables.data.ingest import read_all, stamp

        size = (frames, height, width)
        other = self.model_copy(update={"split": "train" if self.split == "test" else "test"})
        good = other._good(other.entries()[:most], size, folder)
        return TrainingClips(
            [entry.text for entry in good],
            [stamp(entry, self.frames) for entry in good],
            lambda numbers: read_all([good[k] for k in numbers], self.frames, size),
        )

    def _references(self, size: tuple[int, int, int], folder: Path) -> Sequence[Entry]:
        """The reference clips that can be used."""
        return self._good(self.entries()[: self.references], size, folder)

    def _good(self, entries: Sequence[Entry], size: tuple[int, int, int], folder: Path) -> Sequence[Entry]:
        """Those that can be used, looked at once."""
        from trainables.data.ingest import ingest

        name = hashlib.sha256(f"{self.folder.resolve()} {self.model_dump_json()} {size[0]}".encode()).hexdigest()[:16]
        return ingest(entries, self.frames, size, folder / f"{self.layout}-{name}").good


@functools.lru_cache(maxsize=8)
def _entries(layout: str, folder: Path, split: Literal["train", "test"], held_out: float) -> Sequence[Entry]:
    from trainables.data.annotations import READERS, AnnotationError

    entries = READERS[layout](folder, split, held_out)
    if len(entries) < 2:
        raise AnnotationError([f"{folder}: {len(entries)} clips in split {split} -> at least 2"])
    return sorted(entries, key=lambda entry: hashlib.sha256(f"{entry.path.name} {entry.start}".encode()).digest())


Data = Annotated[ShapesData | PromptsData | ClipsData, Field(discriminator="layout")]
"""What a study's ``data:`` may hold; the word ``shapes`` means ``ShapesData()``."""
