"""Convolution over a clip's feature maps between position and temporal attention.

Axes: b clips, f frames, c channels, h height, w width, l = h w tokens of a frame.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from einops import rearrange
from torch import nn
from torch.nn import functional as F

Start = Literal["identity", "random", "zero"]
Padding = Literal["reflect", "zeros"]


class ClipConvolution(nn.Module):
    """A convolution over time, height and width, which can start as the identity.

        y = K * x + b            K_identity: 1 at the centre tap of each channel, else 0;  b = 0
        y = x + K * x + b        with ``residual``; K = 0, b = 0 at first

    Args:
        channels: C.
        kernel: Odd sizes of the kernel in time, height and width.
        depthwise: One kernel per channel instead of C x C.
        start: Initial kernel; ``random`` keeps torch's distribution.
        padding: At the borders: mirrored without the border itself, or zeros. An axis of length 1 is repeated
            instead of mirrored.
        residual: Whether the input is added.

    Shape:
        (b c f h w) -> the same.

    Source: ExVideo (arXiv 2406.14130), identity 3-D convolution; departures: none.
    """

    def __init__(
        self,
        channels: int,
        kernel: tuple[int, int, int] = (3, 3, 3),
        *,
        depthwise: bool = False,
        start: Start = "identity",
        padding: Padding = "reflect",
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, kernel, groups=channels if depthwise else 1)
        self.padding, self.residual, self.drawn = padding, residual, start == "random"
        if start != "random":
            with torch.no_grad():
                for parameter in self.conv.parameters():
                    parameter.zero_()
                if start == "identity":
                    self._centre().fill_(1.0)

    def _centre(self) -> torch.Tensor:
        """Return a view of each channel's own weight at the centre tap."""
        t, h, w = (size // 2 for size in self.conv.kernel_size)
        centre = self.conv.weight[:, :, t, h, w]
        return centre[:, 0] if self.conv.groups > 1 else centre.diagonal()

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Apply the convolution."""
        out: torch.Tensor = self.conv(self._padded(video))
        return video + out if self.residual else out

    def _padded(self, video: torch.Tensor) -> torch.Tensor:
        margins = [size // 2 for size in self.conv.kernel_size]
        if self.padding == "zeros":
            return F.pad(video, _per_side(margins))
        mirrored = [margin if length > 1 else 0 for margin, length in zip(margins, video.shape[2:], strict=True)]
        repeated = [margin - own for margin, own in zip(margins, mirrored, strict=True)]
        video = F.pad(video, _per_side(mirrored), mode="reflect") if any(mirrored) else video
        return F.pad(video, _per_side(repeated), mode="replicate") if any(repeated) else video


def _per_side(margins: Sequence[int]) -> list[int]:
    """Return the margins as ``torch.nn.functional.pad`` takes them: last axis first, both sides."""
    return [margin for size in reversed(margins) for margin in (size, size)]


class PositionalConvolution(nn.Module):
    """Inserts a convolution into diffusers' spatio-temporal transformer, after the position is added.

    It hooks itself into the transformer, so that the names of the base's weights stay.

    Args:
        convolution: Convolution over (b c f h w).
        transformer: The transformer; its temporal block then receives convolved feature maps.
    """

    def __init__(self, convolution: nn.Module, transformer: TransformerSpatioTemporalModel) -> None:
        super().__init__()
        self.convolution = convolution
        self._size = (0, 0)
        (block,) = transformer.temporal_transformer_blocks
        transformer.register_forward_pre_hook(self._note_size, with_kwargs=True)
        block.register_forward_pre_hook(self._convolve, with_kwargs=True)

    def _note_size(self, transformer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember height and width, which the temporal block's tokens do not tell."""
        maps = args[0] if args else kwargs["hidden_states"]
        self._size = tuple(maps.shape[-2:])

    def _convolve(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (self(args[0], kwargs["num_frames"]), *args[1:]), kwargs

    def forward(self, tokens: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Convolve the tokens of all frames: ((b f) l c) -> the same."""
        h, w = self._size
        video = rearrange(tokens, "(b f) (h w) c -> b c f h w", f=num_frames, h=h, w=w)
        convolved: torch.Tensor = rearrange(self.convolution(video), "b c f h w -> (b f) (h w) c")
        return convolved
