"""Where prompts, reference clips and training clips come from: one typed entry per layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

from models.streams import Streams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class _Layout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ShapesData(_Layout):
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


class PromptsData(_Layout):
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

    def reference_clips(self, frames: int, height: int, width: int, folder: Path) -> NDArray[np.uint8]:
        """None there are.

        Raises:
            ValueError: Always; ``has_references`` says so beforehand.
        """
        raise ValueError("data layout prompts has no reference clips -> metrics without references, or data: shapes")


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


Data = Annotated[ShapesData | PromptsData, Field(discriminator="layout")]
"""What a study's ``data:`` may hold; the word ``shapes`` means ``ShapesData()``."""
