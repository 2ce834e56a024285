"""Interface of data layouts: prompts, and sets of clips that are decoded on demand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.streams import Streams
    from trainables.data.content import Content
    from trainables.data.manifest import Manifest


REFERENCES = "references"
"""Name of the folder under the storage for files that are derived from data."""


CATEGORY = "category"
"""Name of the label that annotations call a category: class, verb or template."""


class ClipSize(NamedTuple):
    """Number of frames of a clip, with height and width in pixels."""

    frames: int
    height: int
    width: int


@dataclass(frozen=True)
class ClipSet:
    """Real clips, decoded on demand.

    Args:
        texts: One per clip.
        identity: Plain values that identify each clip.
        read: Decodes clips by number; uint8 (n f h w 3).
        further: Further texts by name, such as predicted states, one per clip.
        decoders: Library that reads the frames of each clip; empty for clips that are rendered here.
        labels: Labels by name, such as the category, one per clip; further texts are labels too.
    """

    texts: Sequence[str]
    identity: Sequence[Any]
    read: Callable[[Sequence[int]], NDArray[np.uint8]]
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)
    decoders: Sequence[str] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, numbers: Sequence[int]) -> ClipSet:
        """Select clips by number; repeats are allowed."""

        def some(values: Sequence[Any]) -> list[Any]:
            return [values[k] for k in numbers]

        further, labels = ({name: some(texts) for name, texts in of.items()} for of in (self.further, self.labels))
        decoders = some(self.decoders) if self.decoders else ()
        own = some(self.texts), some(self.identity), lambda own: self.read([numbers[k] for k in own])
        return ClipSet(*own, further, decoders, labels)

    def label(self, column: str) -> Sequence[str]:
        """Return a label of each clip.

        Raises:
            ValueError: The clips have no such label.
        """
        known = {**self.further, **self.labels}
        if column not in known:
            raise ValueError(f"clips have no {column} -> {', '.join(known) or 'annotations with labels'}")
        return known[column]

    def all(self) -> NDArray[np.uint8]:
        """Decode all clips: uint8 (n f h w 3)."""
        return self.read(range(len(self)))


class Layout(BaseModel):
    """Base class of layouts: plain data, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    layout: str

    @abstractmethod
    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """Return one prompt per clip. Clip k of a seed has the same prompt in every arm, for any number of clips.

        Args:
            streams: Random streams of the cell's seed.
            clips: Number of clips.

        Raises:
            ValueError: The prompts or annotations cannot be read.
        """

    def identity(self) -> dict[str, Any]:
        """Return plain values that decide the prompts and clips that a cell is asked and shown, for the cell's id."""
        return self.model_dump(mode="json")

    def further_names(self) -> tuple[str, ...]:
        """Return the names of the further texts that every clip has; none by default.

        Raises:
            ValueError: The annotations cannot be read.
        """
        return ()

    def columns(self) -> tuple[str, ...] | None:
        """Return the names of the labels of prompts and clips; None if the annotations are not on this machine."""
        return ()

    def labels(self, column: str, streams: Streams, clips: int) -> list[str]:
        """Return a label of each prompt, in the order of ``prompts``.

        Args:
            column: Name of the label.
            streams: Random streams of the cell's seed.
            clips: Number of clips.

        Raises:
            ValueError: The prompts have no such label, or the annotations cannot be read.
        """
        raise ValueError(f"prompts of the layout {self.layout} have no {column} -> data with annotated clips")

    def label_content(self, columns: Sequence[str]) -> Content:
        """Return number and hash of the labels of all clips; empty where the code alone determines them.

        Raises:
            ValueError: The annotations cannot be read.
        """
        return {}

    @abstractmethod
    def content(self, manifest: Manifest | None, training: int | None) -> Content:
        """Return hashes of all data that a cell is asked and shown: texts, reference clips, training clips.

        Args:
            manifest: Gives the hashes of clips; without it, the content of a layout with clips on disk is unknown.
            training: Number of training clips, 0 for all; None for a system without training.

        Raises:
            ValueError: The prompts or annotations cannot be read.
            UnreadError: The manifest would have to read a clip, and may not.
        """


class ClipLayout(Layout):
    """Base class of layouts with clips, for references, continuation and training."""

    @abstractmethod
    def reference_clips(self, size: ClipSize, folder: Path) -> ClipSet:
        """Return the reference clips, which are not used for training.

        Args:
            size: Size of a clip.
            folder: Folder for files derived from the data; several processes may share it.

        Raises:
            ValueError: The annotations are invalid, or too many clips cannot be decoded.
        """

    def continuable_clips(self, size: ClipSize, folder: Path) -> ClipSet:
        """Return the clips that cells continue: the first of the reference clips, by default all of them.

        Args:
            size: Size of a clip.
            folder: Folder for files derived from the data; several processes may share it.

        Raises:
            ValueError: As for ``reference_clips``.
        """
        return self.reference_clips(size, folder)

    @abstractmethod
    def reference_identity(self) -> list[Any]:
        """Return plain values that identify the reference clips, without decoding: equal values mean equal clips."""

    @abstractmethod
    def training_clips(self, size: ClipSize, most: int | None, folder: Path) -> ClipSet:
        """Return the training clips, from the split without the references.

        Args:
            size: Size of a clip.
            most: Maximum number of clips; the layout's own number by default.
            folder: Folder for files derived from the data.

        Raises:
            ValueError: The annotations are invalid, or too many clips cannot be decoded.
        """


def continued(continuable: ClipSet, streams: Streams, clips: int) -> ClipSet:
    """Draw the clips that a cell's clips continue; repeated only if there are too few.

    Clip k of a seed continues the same clip in every arm, for any number of clips.

    Args:
        continuable: Clips of the layout that cells continue.
        streams: Random streams of the cell's seed.
        clips: Number of clips.
    """
    return continuable.take(continued_numbers(len(continuable), streams, clips))


def continued_numbers(continuable: int, streams: Streams, clips: int) -> list[int]:
    """Draw the numbers of the clips that a cell's clips continue; see ``continued``."""
    order: list[int] = streams.generator("examples").permutation(continuable).tolist()
    return [order[k % len(order)] for k in range(clips)]
