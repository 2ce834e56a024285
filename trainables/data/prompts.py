"""Layout with prompts only, without clips."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, Field, StringConstraints

from models.streams import Streams
from trainables.data.content import Content, summary
from trainables.data.layout import Layout
from trainables.text import TextError, read_text

if TYPE_CHECKING:
    from trainables.data.manifest import Manifest


class PromptsData(Layout):
    """Prompts given by the study, without clips.

    Args:
        prompts: A list of prompts, or the path of a text file with one prompt per line.
    """

    layout: Literal["prompts"]
    source: Annotated[
        Annotated[list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]], Field(min_length=1)]
        | Annotated[str, StringConstraints(min_length=1)],
        Field(validation_alias=AliasChoices("prompts", "source")),
    ]

    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """Deal out the prompts: seed s takes those from s * clips on, and begins again at the end of the list.

        So seeds are replications, and consecutive ones use every prompt equally often, up to one.

        Args:
            streams: Streams of the cell's seed.
            clips: Number of clips.

        Raises:
            ValueError: The text file is missing, empty or not text.
        """
        given = self.listed()
        return [given[(streams.seed * clips + k) % len(given)] for k in range(clips)]

    def content(self, manifest: Manifest | None, training: int | None) -> Content:
        """Return number and hash of the prompts."""
        return {"prompts": summary("prompts", self.listed())}

    def identity(self) -> dict[str, Any]:
        """Return the prompts or their file, and how they are dealt: earlier versions gave every seed the first."""
        return {**super().identity(), "dealt": "over seeds"}

    def listed(self) -> list[str]:
        """Return the prompts in their order.

        Raises:
            ValueError: The text file is missing, empty or not text.
        """
        return self.source if isinstance(self.source, list) else _lines(Path(os.path.expanduser(self.source)))


def _lines(path: Path) -> list[str]:
    """Read the non-empty lines of a text file."""
    try:
        text = read_text(path)
    except TextError as error:
        raise ValueError(f"prompts {error}, one prompt per line") from None
    filled = [line.strip() for line in text.split("\n") if line.strip()]
    if not filled:
        raise ValueError(f"prompts {path}: empty -> a text file, one prompt per line")
    return filled
