"""What layouts of data offer: prompts, and where they have clips, sets of them that are decoded when asked for."""

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


class Size(NamedTuple):
    """Frames of a clip, and their height and width in pixels."""

    frames: int
    height: int
    width: int


@dataclass(frozen=True)
class ClipSet:
    """Real clips, none of them decoded yet.

    Args:
        texts: One per clip.
        identity: What each clip is known by, as plain values.
        read: Decodes some of them, by number; uint8 (n f h w 3).
        further: Further texts by name, such as predicted states, one per clip.
    """

    texts: Sequence[str]
    identity: Sequence[Any]
    read: Callable[[Sequence[int]], NDArray[np.uint8]]
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, numbers: Sequence[int]) -> ClipSet:
        """Some of the clips, by number; a clip may be taken more than once."""

        def some(values: Sequence[Any]) -> list[Any]:
            return [values[k] for k in numbers]

        further = {name: some(texts) for name, texts in self.further.items()}
        return ClipSet(some(self.texts), some(self.identity), lambda own: self.read([numbers[k] for k in own]), further)

    def all(self) -> NDArray[np.uint8]:
        """All clips, decoded: uint8 (n f h w 3)."""
        return self.read(range(len(self)))


class Layout(BaseModel):
    """A layout: plain data, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    layout: str

    @abstractmethod
    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """One prompt per clip. Clip k of a seed has the same one in every arm, however many clips there are.

        Args:
            streams: Of the cell's seed.
            clips: How many.

        Raises:
            ValueError: The prompts or annotations cannot be read.
        """


class ClipLayout(Layout):
    """A layout with clips: to compare with, to continue, and to train on."""

    @abstractmethod
    def reference_clips(self, size: Size, folder: Path) -> ClipSet:
        """The clips to compare with, which are never trained on.

        Args:
            size: Of a clip.
            folder: For what is kept of the data; several processes may share it.

        Raises:
            ValueError: The annotations are wrong, or too many clips cannot be used.
        """

    @abstractmethod
    def reference_identity(self) -> list[Any]:
        """What the reference clips are, as plain values: as long as it stays the same, so do they. Decodes nothing."""

    @abstractmethod
    def training_clips(self, size: Size, most: int | None, folder: Path) -> ClipSet:
        """The clips to train on: those of the split that is not the references'.

        Args:
            size: Of a clip.
            most: How many at most; the layout's own number by default.
            folder: For what is kept of the data.

        Raises:
            ValueError: The annotations are wrong, or too many clips cannot be used.
        """


def continued(references: ClipSet, streams: Streams, clips: int) -> ClipSet:
    """The reference clips that a cell's clips continue: without repeats as long as there are enough.

    Clip k of a seed has the same one in every arm, however many clips there are.

    Args:
        references: Of the layout.
        streams: Of the cell's seed.
        clips: How many.
    """
    order = streams.generator("examples").permutation(len(references)).tolist()
    return references.take([order[k % len(order)] for k in range(clips)])
