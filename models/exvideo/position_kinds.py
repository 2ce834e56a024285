"""Kinds of frame position in temporal attention, as plain data.

Source: ExVideo (arXiv 2406.14130), section 3.2 and its released code.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.bases import Count
from models.system import Aliases, Part

Rows = Annotated[Count, Field(description="largest number of frames")]
Reused = Annotated[
    float, Field(gt=0, le=1, description="part of the base's frames that the repetition goes through; 0.8 is 20 of 25")
]


class Position(Part):
    """How temporal attention tells frames apart."""

    @property
    def most_frames(self) -> int | None:
        """Largest number of frames; None without a limit."""
        return None

    @abstractmethod
    def attach(self, transformer: Any, base_frames: int) -> None:
        """Change the position of a spatio-temporal transformer.

        Args:
            transformer: One of the denoiser's.
            base_frames: Frames that the base was trained on.
        """

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Count the parameters of the tables of all temporal blocks."""
        from models.image_to_video import transformers

        return sum(part.in_channels * (self.most_frames or 0) for part in transformers(networks["unet"]))


class LearnablePosition(Position):
    """A learnt embedding per frame that starts from the base's sinusoid, repeated beyond the base's frames.

    Args:
        start: Places of the initial rows on the base's sinusoid: ``mirrored`` goes back and forth, ``modulo`` starts
            again, ``interpolation`` stretches the base's frames over all rows, ``clamp`` stays at the last frame;
            ``random`` draws the rows.
        rows: Rows of the table: the largest number of frames.
        reused: Part of the base's frames that the mirrored repetition goes through.

    Source: ExVideo; 128 rows, 20 of 25 frames reused.
    """

    aliases: ClassVar[tuple[str, ...]] = ("learnable embedding", "trainable positional embedding", "cyclic embedding")
    calls: ClassVar[tuple[str, ...]] = ("exvideo.positions.PositionTable.forward",)

    kind: Literal["learnable"] = "learnable"
    start: Annotated[
        Literal["mirrored", "modulo", "interpolation", "clamp", "random"],
        Field(description="initial rows"),
        Aliases("initialization"),
    ] = "mirrored"
    rows: Rows = 128
    reused: Reused = 0.8

    @property
    def most_frames(self) -> int | None:
        """Rows of the table."""
        return self.rows

    def attach(self, transformer: Any, base_frames: int) -> None:
        """Put the table in place of the sinusoid."""
        from models.exvideo import positions

        places = "straight" if self.start == "random" else self.start
        rows = positions.initial_rows(places, self.rows, base_frames, transformer.in_channels, self.reused)
        transformer.time_proj = positions.PositionTable(rows, drawn=self.start == "random")


class StaticPosition(Position):
    """The base's own sinusoid, which is not trained.

    Args:
        places: Places of the frames on it: ``straight`` is the frame's number, also beyond the frames that the base has
            seen; the others repeat or stretch the base's frames, as in ``learnable``.
        rows: Largest number of frames.
        reused: Part of the base's frames that the mirrored repetition goes through.
    """

    aliases: ClassVar[tuple[str, ...]] = ("static embedding", "sinusoidal embedding", "fixed positional embedding")
    calls: ClassVar[tuple[str, ...]] = ("exvideo.positions.FixedPositions.forward",)

    kind: Literal["static"] = "static"
    places: Annotated[
        Literal["straight", "mirrored", "modulo", "interpolation", "clamp"],
        Field(description="places of the frames on the base's sinusoid"),
    ] = "straight"
    rows: Rows = 128
    reused: Reused = 0.8

    @property
    def most_frames(self) -> int | None:
        """Rows of the table."""
        return self.rows

    def attach(self, transformer: Any, base_frames: int) -> None:
        """Put a fixed table in place of the sinusoid."""
        from models.exvideo import positions

        rows = positions.initial_rows(self.places, self.rows, base_frames, transformer.in_channels, self.reused)
        transformer.time_proj = positions.FixedPositions(rows)

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Return 0: nothing is learnt."""
        return 0


class RotaryPosition(Position):
    """Rotary embedding of the frame number in temporal self-attention; nothing is added to the feature maps.

        out_i = softmax(R_i q_i (R_j k_j)^T / sqrt(d)) v_j

    Source: RoFormer (arXiv 2104.09864).
    """

    aliases: ClassVar[tuple[str, ...]] = ("rotary embedding", "RoPE")
    calls: ClassVar[tuple[str, ...]] = ("exvideo.positions.RotaryProcessor.__call__",)

    kind: Literal["rotary"] = "rotary"

    def attach(self, transformer: Any, base_frames: int) -> None:
        """Remove the added position, and rotate queries and keys."""
        from models.exvideo import positions

        positions.without_position(transformer)
        for block in transformer.temporal_transformer_blocks:
            block.attn1.set_processor(positions.RotaryProcessor())


class NoPosition(Position):
    """Removed: temporal attention does not know the order of the frames; only convolutions do."""

    kind: Literal["removed"] = "removed"

    def attach(self, transformer: Any, base_frames: int) -> None:
        """Remove the added position."""
        from models.exvideo import positions

        positions.without_position(transformer)
