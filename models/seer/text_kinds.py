"""The kinds of text decomposer, as plain data: how an instruction becomes one text per frame.

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

Heads = Annotated[int, Field(ge=1, description="it must divide every width that it attends in")]


class TextDecomposer(Part):
    """How the instruction becomes one text per frame."""

    @abstractmethod
    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the module: instruction (b l c) and a number of frames -> (b f l c)."""

    def warm_up(self, text: "nn.Module", context: "torch.Tensor", streams: "Streams") -> dict[str, float]:
        """One-off initialisation of the module before optimisation; none by default."""
        return {}

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Of the module for the base's text."""
        import torch

        from models.backbones import num_parameters
        from models.bases.stable_diffusion import text_shape

        with torch.device("meta"):
            return num_parameters(self.build(*text_shape(networks)))


class _Decomposed(TextDecomposer):
    """The frame-sequential decomposer, whatever is then done with its texts."""

    in_training: ClassVar[tuple[str, ...]] = ("identity_steps", "identity_lr")

    num_layers: Annotated[int, Field(ge=1)] = 8
    num_heads: Heads = 8
    identity_steps: Annotated[int, Field(ge=0, description="0 is a random start")] = 1000
    identity_lr: Annotated[float, Field(gt=0)] = 1e-3

    def warm_up(self, text: "nn.Module", context: "torch.Tensor", streams: "Streams") -> dict[str, float]:
        """Train it to reproduce the instruction on average: L_init = MSE(mean_f s_f, c)."""
        from models.seer.text import warm_up

        return {"identity_loss": warm_up(text, context, streams, steps=self.identity_steps, lr=self.identity_lr)}


class FrameSequential(_Decomposed):
    """Frame-sequential decomposer: each frame's text is read from the instruction and from those of earlier frames.

    Args:
        num_layers: Layers, each of attention among tokens, to the instruction, and along frames.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up, before all other training.
        identity_lr: Its learning rate.

    Source: Seer, FSText; departures: see ``FrameSequentialText``. Whether the warm-up is a stage of its own is not
    published: here it is.
    """

    aliases: ClassVar[tuple[str, ...]] = ("frame sequential text decomposer", "FSText", "FSTextFormer")
    calls: ClassVar[tuple[str, ...]] = ("seer.text.FrameSequentialText.forward",)

    kind: Literal["frame_sequential"] = "frame_sequential"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import FrameSequentialText

        return FrameSequentialText(dim, num_tokens, num_layers=self.num_layers, num_heads=self.num_heads)


class ConstantText(_Decomposed):
    """The decomposer's mean text for every frame.

    Args:
        num_layers: Layers.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up.
        identity_lr: Its learning rate.
    """

    aliases: ClassVar[tuple[str, ...]] = ("constant text", "one sub-instruction for all frames")
    calls: ClassVar[tuple[str, ...]] = ("seer.text.FrameSequentialText.forward", "seer.text.GroupedText.forward")

    kind: Literal["constant"] = "constant"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import GroupedText

        return GroupedText(dim, num_tokens, every=None, num_layers=self.num_layers, num_heads=self.num_heads)


class Grouped(_Decomposed):
    """One text for every few frames: the mean of theirs.

    Args:
        every: Frames that share a text; 1 is the frame-sequential decomposer itself.
        num_layers: Layers.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up.
        identity_lr: Its learning rate.
    """

    aliases: ClassVar[tuple[str, ...]] = ("grouped text", "one text for every few frames")
    calls: ClassVar[tuple[str, ...]] = ("seer.text.FrameSequentialText.forward", "seer.text.GroupedText.forward")

    kind: Literal["grouped"] = "grouped"
    every: Annotated[int, Field(ge=1), Aliases("granularity", "frames per text")] = 2

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import GroupedText

        return GroupedText(dim, num_tokens, every=self.every, num_layers=self.num_layers, num_heads=self.num_heads)

    def notes(self) -> tuple[str, ...]:
        """Where it is another kind in effect."""
        return ("one text per frame is frame_sequential",) if self.every == 1 else ()


class NoDecomposer(TextDecomposer):
    """Absence: the whole instruction for every frame."""

    aliases: ClassVar[tuple[str, ...]] = (
        "global instruction",
        "global text embedding",
        "global CLIP embedding",
        "whole instruction",
    )

    kind: Literal["removed"] = "removed"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the module that repeats."""
        from models.seer.text import GlobalText

        return GlobalText()
