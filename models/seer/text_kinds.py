"""Kinds of text decomposer, as plain data.

Source: Seer (arXiv 2303.14897), FSText, and its released code.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.system import Aliases, Part

if TYPE_CHECKING:
    import torch
    from torch import nn

    from models.streams import Streams

Interpolation = Literal["nearest", "linear"]
Heads = Annotated[int, Field(ge=1, description="must divide the channels of every attention layer")]


class TextDecomposer(Part):
    """How the instruction is decomposed into one text per frame."""

    @abstractmethod
    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the module: instruction (b l c) and a number of frames -> (b f l c)."""

    def warm_up(
        self, text: "nn.Module", context: "torch.Tensor", streams: "Streams", num_frames: int
    ) -> dict[str, float]:
        """One-off initialisation of the module before optimisation; none by default."""
        return {}

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Count the parameters of the module for the base's text."""
        import torch

        from models.backbones import num_parameters
        from models.bases.text_tower import text_shape

        with torch.device("meta"):
            return num_parameters(self.build(*text_shape(networks)))


class _Decomposed(TextDecomposer):
    """Common settings of the kinds that use the frame-sequential decomposer."""

    in_training: ClassVar[tuple[str, ...]] = ("identity_steps", "identity_lr")

    num_layers: Annotated[int, Field(ge=1)] = 8
    num_heads: Heads = 8
    identity_steps: Annotated[
        int, Field(ge=0, description="steps of the identity warm-up; 0 starts from random weights")
    ] = 1000
    identity_lr: Annotated[float, Field(gt=0)] = 1e-3
    position_interpolation: Annotated[
        Interpolation,
        Field(description="of the learnt positions, from 16 to the clip's frames; nearest is the released code's"),
        Aliases("position interpolation", "positional interpolation"),
    ] = "nearest"

    def _settings(self) -> dict[str, Any]:
        heads = {"num_layers": self.num_layers, "num_heads": self.num_heads}
        return {**heads, "interpolation": self.position_interpolation}

    def warm_up(
        self, text: "nn.Module", context: "torch.Tensor", streams: "Streams", num_frames: int
    ) -> dict[str, float]:
        """Train the decomposer to reproduce the instruction on average: L_init = MSE(mean_f s_f, c).

        The mean is over the frames of the study's clips, given ones included, as in the released code.
        """
        from models.seer.text import warm_up

        schedule: dict[str, Any] = {"steps": self.identity_steps, "lr": self.identity_lr}
        return {"identity_loss": warm_up(text, context, streams, **schedule, frames=num_frames)}


class FrameSequential(_Decomposed):
    """Frame-sequential decomposer: computes each frame's text from the instruction and the texts of earlier frames.

    Args:
        num_layers: Layers, each with self-attention, cross-attention to the instruction, and attention over frames.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up, before all other training.
        identity_lr: Learning rate of the warm-up.
        position_interpolation: Rule by which 16 learnt positions serve another number of frames.

    Source: Seer, FSText; departures: see ``FrameSequentialText``. The paper does not state whether the warm-up is a
    separate stage; here it is.
    """

    aliases: ClassVar[tuple[str, ...]] = ("frame sequential text decomposer", "FSText", "FSTextFormer")
    calls: ClassVar[tuple[str, ...]] = ("seer.text.FrameSequentialText.forward",)

    kind: Literal["frame_sequential"] = "frame_sequential"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import FrameSequentialText

        return FrameSequentialText(dim, num_tokens, **self._settings())


class ConstantText(_Decomposed):
    """Constant text: the mean of the decomposer's texts, for every frame.

    Args:
        num_layers: Layers.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up.
        identity_lr: Learning rate of the warm-up.
        position_interpolation: Rule by which 16 learnt positions serve another number of frames.
    """

    aliases: ClassVar[tuple[str, ...]] = ("constant text", "one sub-instruction for all frames")
    calls: ClassVar[tuple[str, ...]] = ("seer.text.FrameSequentialText.forward", "seer.text.GroupedText.forward")

    kind: Literal["constant"] = "constant"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import GroupedText

        return GroupedText(dim, num_tokens, every=None, **self._settings())


class Grouped(_Decomposed):
    """Grouped text: one text per group of consecutive frames, the mean of their texts.

    Args:
        every: Frames per group; 1 is the frame-sequential decomposer itself.
        num_layers: Layers.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up.
        identity_lr: Learning rate of the warm-up.
        position_interpolation: Rule by which 16 learnt positions serve another number of frames.
    """

    aliases: ClassVar[tuple[str, ...]] = ("grouped text", "one text for every few frames")
    calls: ClassVar[tuple[str, ...]] = ("seer.text.FrameSequentialText.forward", "seer.text.GroupedText.forward")

    kind: Literal["grouped"] = "grouped"
    every: Annotated[int, Field(ge=1), Aliases("granularity", "frames per text")] = 2

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import GroupedText

        return GroupedText(dim, num_tokens, every=self.every, **self._settings())

    def notes(self) -> tuple[str, ...]:
        """Note the value of ``every`` that equals another kind."""
        return ("every = 1 is one text per frame, the same as frame_sequential",) if self.every == 1 else ()


class NoDecomposer(TextDecomposer):
    """Removed: the whole instruction for every frame."""

    aliases: ClassVar[tuple[str, ...]] = (
        "global instruction",
        "global text embedding",
        "global CLIP embedding",
        "whole instruction",
    )

    kind: Literal["removed"] = "removed"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the module that repeats the instruction."""
        from models.seer.text import GlobalText

        return GlobalText()
