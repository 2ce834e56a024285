"""Adapters of a frozen video denoiser: small bottlenecks that start as the identity.

They hook themselves into diffusers' blocks, so that the names of the base's weights stay. Where an adapter is parallel
to a layer, the block's own residual is the "X +" of its formula.

Axes: b clips, f frames, c channels, d bottleneck channels, h height, w width, l tokens of a frame.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

Start = Literal["zero", "default", "gate"]
Mask = Callable[[int], torch.Tensor]
"""Number of frames -> which frame (row) may attend to which (column): (f f), True where it may."""


class Adapter(nn.Module):
    """A bottleneck W_up g(W_down x), and where it is attached.

    Args:
        dim: c.
        ratio: d / c, in (0, 1]; d is at least 1.
        start: How it starts: with W_up = 0, with torch's random W_up, or random behind a factor that starts at 0.
    """

    def __init__(self, dim: int, *, ratio: float, start: Start) -> None:
        super().__init__()
        self.width = max(1, round(ratio * dim))
        self.down, self.up = nn.Linear(dim, self.width), nn.Linear(self.width, dim)
        self.gate = nn.Parameter(torch.zeros(1)) if start == "gate" else None
        if start == "zero":
            for parameter in self.up.parameters():
                nn.init.zeros_(parameter)

    def raised(self, x: torch.Tensor) -> torch.Tensor:
        """Apply W_up, and the factor if there is one."""
        up: torch.Tensor = self.up(x)
        return up if self.gate is None else self.gate * up

    @staticmethod
    @abstractmethod
    def places(transformer: Any) -> list[tuple[Any, int]]:
        """Return the modules of a spatio-temporal transformer to which it is attached, with their channels."""

    @abstractmethod
    def attach(self, place: Any) -> None:
        """Become part of a module."""


class SpatialAdapter(Adapter):
    """S-adapter, beside the spatial self-attention.

        y = Attn(LN x) + W_up GELU(W_down LN x)

    Shape:
        ((b f) l c) -> what is added, of the same shape.

    Source: AID (arXiv 2406.06465) and its figure; sizes from SimDA (arXiv 2308.09710).
    """

    @staticmethod
    def places(transformer: Any) -> list[tuple[Any, int]]:
        """Return the spatial blocks."""
        return [(block, transformer.inner_dim) for block in transformer.transformer_blocks]

    def attach(self, place: Any) -> None:
        """Become part of a spatial block."""
        place.spatial_adapter = self
        place.attn1.register_forward_hook(lambda layer, args, out: out + self(args[0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the bottleneck."""
        return self.raised(F.gelu(self.down(x)))


class ShortTermAdapter(Adapter):
    """ST-adapter, in series behind each residual block that a transformer follows.

        y = x + W_up Conv(W_down x),   Conv over time, height and width with zeros around the clip

    Args:
        dim: c.
        ratio: d / c.
        start: How W_up starts.
        kernel: Odd sizes of the kernel in time, height and width.
        depthwise: One kernel per channel instead of d x d.

    Shape:
        x (b c f h w) -> what is added, of the same shape.

    Source: AID (arXiv 2406.06465) and its figure; sizes and place from SimDA (arXiv 2308.09710). Departures:
    torch's uniform initialisation in place of a normal one of about the same variance; the convolution has no bias,
    which that of W_up makes redundant.
    """

    def __init__(
        self, dim: int, *, ratio: float, start: Start, kernel: tuple[int, int, int], depthwise: bool = True
    ) -> None:
        super().__init__(dim, ratio=ratio, start=start)
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        groups = self.width if depthwise else 1
        self.conv = nn.Conv3d(self.width, self.width, kernel, padding=padding, groups=groups, bias=False)

    @staticmethod
    def places(transformer: Any) -> list[tuple[Any, int]]:
        """Return the transformer itself: its input is the output of the residual block before."""
        return [(transformer, transformer.in_channels)]

    def attach(self, place: Any) -> None:
        """Become part of a transformer."""
        place.short_term_adapter = self
        place.register_forward_pre_hook(self._before, with_kwargs=True)

    def _before(self, transformer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        maps, *others = args
        video = rearrange(maps, "(b f) c h w -> b c f h w", f=kwargs["image_only_indicator"].shape[-1])
        return (maps + rearrange(self(video), "b c f h w -> (b f) c h w"), *others), kwargs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the bottleneck with its convolution."""
        narrow = rearrange(self.down(rearrange(x, "b c f h w -> b f h w c")), "b f h w d -> b d f h w")
        convolved = rearrange(self._convolved(narrow), "b d f h w -> b f h w d")
        return rearrange(self.raised(convolved), "b f h w c -> b c f h w")

    def _convolved(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve; over time alone in two dimensions, for which torch's depthwise kernels are several times faster."""
        conv = self.conv
        if conv.kernel_size[1:] != (1, 1):
            convolved: torch.Tensor = conv(x)
            return convolved
        places = rearrange(x, "b d f h w -> b d f (h w)")
        over_time = F.conv2d(places, conv.weight[..., 0], padding=(conv.kernel_size[0] // 2, 0), groups=conv.groups)
        return rearrange(over_time, "b d f (h w) -> b d f h w", h=x.shape[-2])


class LongTermAdapter(Adapter):
    """LT-adapter, beside the temporal self-attention: attention over the frames of a clip at every place.

        y = Attn(LN x) + W_up SelfAttn(W_down LN x)

    Frames are told apart by the base's embedding of their position, which x contains.

    Args:
        dim: c.
        ratio: d / c.
        start: How W_up starts.
        num_heads: Attention heads, a divisor of d.
        mask: Which frames attend to which; None: all to all.

    Shape:
        ((b h w) f c) -> what is added, of the same shape.

    Raises:
        ValueError: The heads do not divide d.

    Source: AID (arXiv 2406.06465) and its figure; the ratio is SimDA's (arXiv 2308.09710) for its temporal adapter.
    """

    def __init__(self, dim: int, *, ratio: float, start: Start, num_heads: int = 2, mask: Mask | None = None) -> None:
        super().__init__(dim, ratio=ratio, start=start)
        if self.width % num_heads:
            raise ValueError(f"{num_heads} heads do not divide the {self.width} channels of the long-term adapter")
        self.num_heads, self.mask = num_heads, mask
        self.to_qkv = nn.Linear(self.width, 3 * self.width, bias=False)

    @staticmethod
    def places(transformer: Any) -> list[tuple[Any, int]]:
        """Return the temporal blocks."""
        return [(block, transformer.inner_dim) for block in transformer.temporal_transformer_blocks]

    def attach(self, place: Any) -> None:
        """Become part of a temporal block."""
        place.long_term_adapter = self
        place.attn1.register_forward_hook(lambda layer, args, out: out + self(args[0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend to the frames."""
        q, k, v = rearrange(self.to_qkv(self.down(x)), "p f (three n d) -> three p n f d", three=3, n=self.num_heads)
        mask = None if self.mask is None else self.mask(x.shape[1]).to(x.device)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.raised(rearrange(attended, "p n f d -> p f (n d)"))


class FeedForwardAdapter(Adapter):
    """Adapter beside the spatial feed-forward layer; its input is not normalised.

        y = FF(LN x) + W_up GELU(W_down x)

    Shape:
        ((b f) l c) -> what is added, of the same shape.

    Source: SimDA (arXiv 2308.09710), its code.
    """

    def __init__(self, dim: int, *, ratio: float, start: Start) -> None:
        super().__init__(dim, ratio=ratio, start=start)
        self._entering: torch.Tensor | None = None

    @staticmethod
    def places(transformer: Any) -> list[tuple[Any, int]]:
        """Return the spatial blocks."""
        return [(block, transformer.inner_dim) for block in transformer.transformer_blocks]

    def attach(self, place: Any) -> None:
        """Become part of a spatial block."""
        place.feed_forward_adapter = self
        place.norm3.register_forward_pre_hook(self._note)
        place.ff.register_forward_hook(self._beside)

    def _note(self, norm: nn.Module, args: tuple[Any, ...]) -> None:
        """Remember what enters the norm before the feed-forward layer, which sees the normalised values only."""
        self._entering = args[0]

    def _beside(self, layer: nn.Module, args: tuple[Any, ...], out: torch.Tensor) -> torch.Tensor:
        entering, self._entering = self._entering, None
        added: torch.Tensor = out + self(entering)
        return added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the bottleneck."""
        return self.raised(F.gelu(self.down(x)))


def causal(num_frames: int) -> torch.Tensor:
    """Return the mask of attention to the frame itself and earlier ones: j <= i."""
    return torch.ones(num_frames, num_frames, dtype=torch.bool).tril()


def windowed(num_frames: int, reach: int) -> torch.Tensor:
    """Return the mask of attention to frames nearby: |i - j| <= reach."""
    frame = torch.arange(num_frames)
    return (frame[:, None] - frame[None, :]).abs() <= reach
