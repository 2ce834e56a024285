"""Seer's temporal transformer: attention between frames after each spatial transformer.

Axes: b clips, f frames, c channels, n heads, d head width.
"""

import torch
from diffusers.models.attention import FeedForward
from einops import rearrange, repeat
from torch import nn
from torch.nn import functional as F

from models.rotary import rotate
from models.seer.windows import Mask, Side, merge, partition, positions


class WindowAttention(nn.Module):
    """Self-attention of a clip's tokens within windows over all frames.

        out_i = softmax(R(q_i) R(k_j)^T / sqrt(d)) v_j   over the j in i's window that the mask allows

    R rotates the first min(32, d) features by a token's position in the clip (rotary embedding), so that only relative
    positions matter.

    Args:
        dim: Channels.
        side: Rule for the size of the windows.
        mask: Rule for the attention mask.
        num_heads: n, a divisor of ``dim``.

    Shape:
        video (b f c h w) -> the same.

    Source: Seer (arXiv 2303.14897), scaled autoregressive window attention; departures: none.
    """

    def __init__(self, dim: int, side: Side, mask: Mask, num_heads: int = 8) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels")
        self.side, self.mask, self.num_heads = side, mask, num_heads
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Compute the attention."""
        b, f, _, h, w = video.shape
        side = self.side(h, w)
        tokens = partition(video, side)
        q, k, v = rearrange(self.to_qkv(tokens), "b l (three n d) -> three b n l d", three=3, n=self.num_heads)
        place = repeat(positions(f, h, w, side, video.device), "i l -> (b i) 1 l", b=b)
        mask = self.mask(f, tokens.shape[1] // f, video.device)
        out = F.scaled_dot_product_attention(rotate(q, place), rotate(k, place), v, attn_mask=mask)
        return merge(self.to_out(rearrange(out, "b n l d -> b l (n d)")), side, f, h, w)


class FrameConcatenation(nn.Module):
    """Projects each frame's features concatenated with the previous frame's; no attention between frames.

        out_i = W [x_i ; x_{i-1}] + b,   x_{-1} = x_0

    Args:
        dim: Channels.

    Shape:
        video (b f c h w) -> the same.

    Source: the replacement of Seer's spatial-temporal attention in ablation plan 000.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(2 * dim, dim)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Concatenate and project."""
        before = torch.cat([video[:, :1], video[:, :-1]], dim=1)
        both = rearrange(torch.cat([video, before], dim=2), "b f c h w -> b f h w c")
        projected: torch.Tensor = rearrange(self.proj(both), "b f h w c -> b f c h w")
        return projected


class TemporalTransformer(nn.Module):
    """A transformer block over a clip's feature maps, initialised to the identity.

        y = W_in GroupNorm(x),   y <- y + mix(LN(y)),   y <- y + FF(LN(y)),   out = x + W_out y,   W_out = 0 at first

    Args:
        dim: Channels.
        mix: Module that mixes frames, with the same channels.
        norm: Group norm over the feature maps of a clip.

    Shape:
        video (b f c h w) -> the same.

    Source: Seer (arXiv 2303.14897), its released code; departures: reference frames pass through the feed-forward
    layers in training as in sampling.
    """

    def __init__(self, dim: int, mix: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.proj_in = nn.Linear(dim, dim)
        self.norm_mix, self.norm_ff = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mix = mix
        self.ff = FeedForward(dim, activation_fn="geglu")
        self.proj_out = nn.Linear(dim, dim)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        y = self.proj_in(rearrange(self.norm(video), "b f c h w -> b f h w c"))
        mixed = self.mix(rearrange(self.norm_mix(y), "b f h w c -> b f c h w"))
        y = y + rearrange(mixed, "b f c h w -> b f h w c")
        y = y + self.ff(self.norm_ff(y))
        out: torch.Tensor = video + rearrange(self.proj_out(y), "b f h w c -> b f c h w")
        return out
