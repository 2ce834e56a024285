"""Kinds of frame condition, as plain data: the latents that the denoiser takes beside those of every frame.

Source: AID (arXiv 2406.06465), its figure.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from models.system import Part

if TYPE_CHECKING:
    import torch


class FrameCondition(Part):
    """Latents beside those of every frame."""

    @abstractmethod
    def build(self, first: "torch.Tensor", num_frames: int, grey: "Callable[[], torch.Tensor]") -> "torch.Tensor":
        """Make the latents.

        Args:
            first: Latents of the given frames.
            num_frames: Frames of a clip.
            grey: Encodes a grey frame.

        Shape:
            first (b c h w), grey (1 c h w) -> (b f c h w).
        """


class GreyBehind(FrameCondition):
    """The given frame at its own place and grey frames behind it, all encoded by the autoencoder.

    Source: AID, its figure.
    """

    aliases: ClassVar[tuple[str, ...]] = ("grey frames", "gray frames")
    calls: ClassVar[tuple[str, ...]] = ("aid.frame_kinds.grey_behind",)

    kind: Literal["grey"] = "grey"

    def build(self, first: "torch.Tensor", num_frames: int, grey: "Callable[[], torch.Tensor]") -> "torch.Tensor":
        """Put grey frames behind the given one."""
        return grey_behind(first, num_frames, grey())


class Repeated(FrameCondition):
    """The given frame beside every frame, as the base was trained."""

    aliases: ClassVar[tuple[str, ...]] = ("repeated first frame", "first frame repeated")
    calls: ClassVar[tuple[str, ...]] = ("aid.frame_kinds.repeated",)

    kind: Literal["repeated"] = "repeated"

    def build(self, first: "torch.Tensor", num_frames: int, grey: "Callable[[], torch.Tensor]") -> "torch.Tensor":
        """Repeat the given frame."""
        return repeated(first, num_frames)


def grey_behind(first: "torch.Tensor", num_frames: int, grey: "torch.Tensor") -> "torch.Tensor":
    """Return given frames followed by grey ones: (b c h w), (1 c h w) -> (b f c h w)."""
    import torch

    behind = grey.to(first)[:, None].expand(len(first), num_frames - 1, *first.shape[1:])
    return torch.cat([first[:, None], behind], dim=1)


def repeated(first: "torch.Tensor", num_frames: int) -> "torch.Tensor":
    """Repeat given frames: (b c h w) -> (b f c h w)."""
    return first[:, None].expand(-1, num_frames, *first.shape[1:])
