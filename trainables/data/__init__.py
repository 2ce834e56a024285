"""Where prompts, reference clips and training clips come from: one typed entry per layout."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from models.streams import Streams
from trainables.data.frames import Choice, Whole
from trainables.data.layout import ClipLayout, ClipSet, Size
from trainables.data.prompts import PromptsData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainables.data.annotations import Entry


class ShapesData(ClipLayout):
    """The procedural world of coloured shapes: prompts of its grammar, and rendered clips to compare with.

    Args:
        split: Which scenes are the reference; ``test`` was never trained on.
        references: Number of reference clips, at least 2.
    """

    layout: Literal["shapes"] = "shapes"
    split: Literal["train", "test"] = "test"
    references: Annotated[int, Field(ge=2)] = 256

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

    def reference_clips(self, size: Size, folder: Path) -> ClipSet:
        """Scenes of the split, rendered to H.264 once and decoded when they are asked for.

        Args:
            size: Of a clip.
            folder: Where rendered clips are kept.
        """
        from trainables.data.shapes import WORLD, read_dataset, write_dataset

        # b: frames that are not square were stretched scenes before, and may lie there under the name without it.
        world = f"{WORLD}" if size.height == size.width else f"{WORLD}b"
        name = f"shapes{world}_{self.split}_{self.references}x{'x'.join(map(str, size))}"

        def read(numbers: Sequence[int]) -> NDArray[np.uint8]:
            rendered = write_dataset(folder / name, self.references, self.split, **size._asdict())
            return read_dataset(rendered, size.frames, numbers)[0]

        return self._scenes(self.split, self.references, read)

    def training_clips(self, size: Size, most: int | None, folder: Path) -> ClipSet:
        """Scenes of the other split, rendered when they are asked for; 4,096 by default, as the base was trained on.

        Args:
            size: Of a clip.
            most: How many.
            folder: Not used: nothing is kept.
        """
        import numpy as np

        from trainables.data.scenes import draw_scene
        from trainables.data.shapes import render

        split: Literal["train", "test"] = "train" if self.split == "test" else "test"

        def read(numbers: Sequence[int]) -> NDArray[np.uint8]:
            return np.stack([render(draw_scene(split, k), *size) for k in numbers])

        return self._scenes(split, most or 4096, read)

    @staticmethod
    def _scenes(
        split: Literal["train", "test"], num: int, read: Callable[[Sequence[int]], NDArray[np.uint8]]
    ) -> ClipSet:
        from trainables.data.scenes import draw_scene
        from trainables.data.shapes import WORLD

        texts = [draw_scene(split, index).caption() for index in range(num)]
        return ClipSet(texts, [["shapes", WORLD, split, index] for index in range(num)], read)


class ClipsData(ClipLayout):
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

    def reference_clips(self, size: Size, folder: Path) -> ClipSet:
        """Clips of the split, looked at once and decoded when they are asked for.

        Args:
            size: Of a clip.
            folder: Where the list of clips that cannot be used is kept.

        Raises:
            ValueError: The annotations are wrong, fewer than 2 clips can be used, or more than 5 % cannot.
        """
        return self._usable(self.entries()[: self.references], size, folder)

    def training_clips(self, size: Size, most: int | None, folder: Path) -> ClipSet:
        """Clips of the other split, looked at once and decoded when they are asked for; all by default.

        Raises:
            ValueError: The annotations are wrong, fewer than 2 clips can be used, or more than 5 % cannot.
        """
        other = self.model_copy(update={"split": "train" if self.split == "test" else "test"})
        return other._usable(other.entries()[:most], size, folder)

    def _usable(self, entries: Sequence[Entry], size: Size, folder: Path) -> ClipSet:
        """Those that can be decoded."""
        from trainables.data.ingest import ingest, read_all, stamp

        name = hashlib.sha256(f"{self.folder.resolve()} {self.model_dump_json()} {size[0]}".encode()).hexdigest()[:16]
        good = ingest(entries, self.frames, size, folder / f"{self.layout}-{name}").good
        return ClipSet(
            [entry.text for entry in good],
            [stamp(entry, self.frames) for entry in good],
            lambda numbers: read_all([good[k] for k in numbers], self.frames, size),
            {key: [entry.further[key] for entry in good] for key in good[0].further},
        )


@functools.lru_cache(maxsize=8)
def _entries(layout: str, folder: Path, split: Literal["train", "test"], held_out: float) -> Sequence[Entry]:
    from trainables.data.annotations import READERS, AnnotationError
    from trainables.data.further import with_further_texts

    read = READERS[layout]
    entries: Sequence[Entry] = read(folder, split, held_out)
    if layout != "captions":  # its own file has them
        other: Literal["train", "test"] = "train" if split == "test" else "test"
        entries = with_further_texts(entries, folder, lambda: read(folder, other, held_out))
    if len(entries) < 2:
        raise AnnotationError([f"{folder}: {len(entries)} clips in split {split} -> at least 2"])
    return sorted(entries, key=lambda entry: hashlib.sha256(f"{entry.path.name} {entry.start}".encode()).digest())


Data = Annotated[ShapesData | PromptsData | ClipsData, Field(discriminator="layout")]
"""What a study's ``data:`` may hold; the word ``shapes`` means ``ShapesData()``."""
