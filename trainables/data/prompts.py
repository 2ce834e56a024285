"""Layout with prompts only, without clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, StringConstraints

from models.streams import Streams
from trainables.data.layout import Layout


class PromptsData(Layout):
    """Prompts given by the study, without clips.

    Args:
        prompts: A list of prompts, or the path of a text file (UTF-8) with one prompt per line.
    """

    layout: Literal["prompts"]
    source: Annotated[
        Annotated[list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]], Field(min_length=1)]
        | Annotated[str, StringConstraints(min_length=1)],
        Field(validation_alias=AliasChoices("prompts", "source")),
    ]

    def prompts(self, streams: Streams, clips: int) -> list[str]:
        """Return the prompts in their order, repeated if there are more clips than prompts.

        Args:
            streams: Not used.
            clips: Number of clips.

        Raises:
            ValueError: The text file is missing, empty or not UTF-8.
        """
        given = self.source if isinstance(self.source, list) else _lines(Path(self.source))
        return [given[k % len(given)] for k in range(clips)]


def _lines(path: Path) -> list[str]:
    """Read the non-empty lines of a text file."""
    try:
        lines = [line.strip() for line in path.expanduser().read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise ValueError(
            f"prompts {path}: cannot be read ({error.strerror}) -> a text file, one prompt per line"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"prompts {path}: not UTF-8 -> save the text file as UTF-8") from error
    filled = [line for line in lines if line]
    if not filled:
        raise ValueError(f"prompts {path}: empty -> a text file, one prompt per line")
    return filled
