"""Prompts of one's own, without any clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, Field, StringConstraints

from models.streams import Streams
from trainables.data.layout import Layout, TrainingClips

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PromptsData(Layout):
    """Prompts only, of one's own.

    Args:
        prompts: A list of prompts, or the path of a text file (UTF-8) with one prompt per line.
    """

    layout: Literal["prompts"]
    source: Annotated[
        Annotated[list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]], Field(min_length=1)]
        | Annotated[str, StringConstraints(min_length=1)],
        Field(validation_alias=AliasChoices("prompts", "source")),
    ]

    @property
    def has_references(self) -> bool:
        """Whether there are clips for distances between sets."""
        return False

    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """The prompts in their order, from the start again where there are more clips than prompts.

        Args:
            streams: Not used: the prompts are given.
            clips: How many.

        Raises:
            ValueError: The text file is missing, empty or not UTF-8.
        """
        given = self.source if isinstance(self.source, list) else _lines(Path(self.source))
        return [given[k % len(given)] for k in range(clips)]

    def reference_identity(self) -> list[Any]:
        """None there are."""
        return []

    def reference_clips(self, frames: int, height: int, width: int, folder: Path) -> NDArray[np.uint8]:
        """None there are.

        Raises:
            ValueError: Always; ``has_references`` says so beforehand.
        """
        raise ValueError("data layout prompts has no reference clips -> metrics without references, or data: shapes")

    def example_prompts(
        self, streams: Streams, clips: int, frames: int, height: int, width: int, folder: Path
    ) -> list[str]:
        """None there are.

        Raises:
            ValueError: Always; ``has_references`` says so beforehand.
        """
        raise ValueError("data layout prompts has no clips to continue -> data: shapes, or a layout of clips")

    def example_clips(
        self, streams: Streams, clips: int, frames: int, height: int, width: int, folder: Path
    ) -> NDArray[np.uint8]:
        """None there are.

        Raises:
            ValueError: Always.
        """
        raise ValueError("data layout prompts has no clips to continue -> data: shapes, or a layout of clips")

    def training_clips(self, frames: int, height: int, width: int, most: int | None, folder: Path) -> TrainingClips:
        """None there are.

        Raises:
            ValueError: Always.
        """
        raise ValueError("data layout prompts has no clips to train on -> data: shapes, or a layout of clips")


def _lines(path: Path) -> list[str]:
    """Lines of a text file that hold anything."""
    try:
        lines = [line.strip() for line in path.expanduser().read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise ValueError(
            f"prompts {path}: cannot be read ({error.strerror}) -> a text file, one prompt per line"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"prompts {path}: not UTF-8 -> save the text file as UTF-8") from error
    found = [line for line in lines if line]
    if not found:
        raise ValueError(f"prompts {path}: empty -> a text file, one prompt per line")
    return found
