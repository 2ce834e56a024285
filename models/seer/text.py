"""Seer's frame-sequential text decomposer: one text matrix per frame from one instruction.

Axes: b clips, f frames, l text tokens, c channels, n heads, d head width.
"""

from typing import Literal

import torch
from diffusers.models.attention import FeedForward
from einops import rearrange, repeat
from torch import nn
from torch.nn import functional as F

from models.rotary import rotate
from models.streams import Streams


class TextAttention(nn.Module):
    """Multi-head attention over tokens, with a separate head width.

    Shape:
        x (b l c), context (b m c) -> (b l c).
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * num_heads * head_dim, bias=False)
        self.to_out = nn.Linear(num_heads * head_dim, dim)

    def forward(self, x: torch.Tensor, context: torch.Tensor, *, sequential: bool = False) -> torch.Tensor:
        """Compute the attention; ``sequential`` adds a causal mask and rotary positions."""
        q = rearrange(self.to_q(x), "b l (n d) -> b n l d", n=self.num_heads)
        k, v = rearrange(self.to_kv(context), "b l (two n d) -> two b n l d", two=2, n=self.num_heads)
        if sequential:
            place = torch.arange(x.shape[1], device=x.device)[None, None]
            q, k = rotate(q, place), rotate(k, place)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=sequential)
        attended: torch.Tensor = self.to_out(rearrange(out, "b n l d -> b l (n d)"))
        return attended


class TextSequentialBlock(nn.Module):
    """Self-attention among the tokens of a frame, then cross-attention to the instruction.

        x <- x + SelfAttn(LN(x)),   x <- x + CrossAttn(LN(x), c),   x <- x + FF(LN(x))

    Shape:
        x (b f l c), context (b l c) -> (b f l c).
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_ff = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.self_attention = TextAttention(dim, num_heads, head_dim)
        self.cross_attention = TextAttention(dim, num_heads, head_dim)
        self.ff = FeedForward(dim, activation_fn="geglu")

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        b, f, _, _ = x.shape
        frames = rearrange(self.norm_self(x), "b f l c -> (b f) l c")
        x = x + rearrange(self.self_attention(frames, frames), "(b f) l c -> b f l c", f=f)
        queries = rearrange(self.norm_cross(x), "b f l c -> b (f l) c")
        x = x + rearrange(self.cross_attention(queries, context), "b (f l) c -> b f l c", f=f)
        out: torch.Tensor = x + self.ff(self.norm_ff(x))
        return out


class FrameSequentialBlock(nn.Module):
    """Causal attention of each token to the same token of the previous frames.

        x <- x + CausalSelfAttn over frames(LN(x)),   x <- x + FF(LN(x))

    Shape:
        x (b f l c) -> (b f l c).
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm_frames, self.norm_ff = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = TextAttention(dim, num_heads, head_dim)
        self.ff = FeedForward(dim, activation_fn="geglu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        b = len(x)
        tokens = rearrange(self.norm_frames(x), "b f l c -> (b l) f c")
        x = x + rearrange(self.attention(tokens, tokens, sequential=True), "(b l) f c -> b f l c", b=b)
        out: torch.Tensor = x + self.ff(self.norm_ff(x))
        return out


class FrameSequentialText(nn.Module):
    """Decomposes the instruction's text matrix into one matrix per frame.

        x_0 = q + pos,   x <- FrameSequential(TextSequential(x, c)) for every layer,   s = LN(x)

    q and pos are learnt, initially 0; pos, of T frames, is interpolated to f frames:

        nearest: frame i has row floor(i T / f);   linear: position (i + 1/2) T / f - 1/2 between rows, clamped

    Args:
        dim: Width of the text states.
        num_tokens: l.
        num_layers: Layers, each with both blocks.
        num_heads: n, a divisor of ``dim``; head width d = dim / n.
        max_frames: T, frames of the learnt pos.
        interpolation: Rule for numbers of frames other than T.

    Shape:
        context (b l c) -> (b f l c).

    Source: Seer (arXiv 2303.14897) and its released code, whose interpolation is nearest; departure: pos has as many
    tokens as the text, not 1,024.
    """

    def __init__(
        self,
        dim: int,
        num_tokens: int,
        *,
        num_layers: int = 8,
        num_heads: int = 8,
        max_frames: int = 16,
        interpolation: Literal["nearest", "linear"] = "nearest",
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels of text")
        head_dim = dim // num_heads
        self.query = nn.Parameter(torch.zeros(1, 1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, max_frames, num_tokens, dim))
        self.text = nn.ModuleList(TextSequentialBlock(dim, num_heads, head_dim) for _ in range(num_layers))
        self.frames = nn.ModuleList(FrameSequentialBlock(dim, num_heads, head_dim) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.interpolation = interpolation

    def forward(self, context: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Decompose an instruction."""
        x = repeat(self.query + self._positions(num_frames), "1 f l c -> b f l c", b=len(context))
        for text, frames in zip(self.text, self.frames, strict=True):
            x = frames(text(x, context))
        states: torch.Tensor = self.norm(x)
        return states

    def _positions(self, num_frames: int) -> torch.Tensor:
        learnt = self.position
        if num_frames == learnt.shape[1]:
            return learnt
        flat = rearrange(learnt, "1 f l c -> 1 (l c) f")
        resized = F.interpolate(flat, size=num_frames, mode=self.interpolation)
        return rearrange(resized, "1 (l c) f -> 1 f l c", l=learnt.shape[2])


def identity_loss(states: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Compute the warm-up loss: the distance of the frames' mean text from the instruction's text.

        L_init = MSE(mean_f s_f, c)

    Shape:
        states (b f l c), context (b l c) -> ().
    """
    return F.mse_loss(states.mean(dim=1), context)


class GroupedText(FrameSequentialText):
    """Decomposer with one text per group of frames, the mean of their texts; the last group may be shorter.

    Args:
        every: Frames per group; None is the whole clip.

    Shape:
        context (b l c) -> (b f l c).
    """

    def __init__(
        self,
        dim: int,
        num_tokens: int,
        *,
        every: int | None,
        num_layers: int = 8,
        num_heads: int = 8,
        max_frames: int = 16,
        interpolation: Literal["nearest", "linear"] = "nearest",
    ) -> None:
        common = {"num_layers": num_layers, "num_heads": num_heads, "max_frames": max_frames}
        super().__init__(dim, num_tokens, **common, interpolation=interpolation)
        self.every = every

    def forward(self, context: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Decompose an instruction, and average over groups."""
        groups = torch.split(super().forward(context, num_frames), self.every or num_frames, dim=1)
        return torch.cat([group.mean(dim=1, keepdim=True).expand_as(group) for group in groups], dim=1)


class GlobalText(nn.Module):
    """Repeats the instruction for every frame.

    Shape:
        context (b l c) -> (b f l c).
    """

    def forward(self, context: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Repeat the instruction."""
        return repeat(context, "b l c -> b f l c", f=num_frames)


def warm_up(
    text: nn.Module, context: torch.Tensor, streams: Streams, *, steps: int, lr: float, frames: int, batch: int = 8
) -> float:
    """Train a decomposer to reproduce the instruction on average, before other training; return the final loss.

    This also trains a decomposer that is frozen afterwards.

    Args:
        text: The decomposer.
        context: Text states of instructions.
        streams: Draw the instructions of each step.
        steps: Steps of AdamW.
        lr: Learning rate, constant.
        frames: Frames of a clip, given ones included: the mean over them is trained.
        batch: Instructions per step.

    Shape:
        context (n l c).
    """
    frozen = [weight for weight in text.parameters() if not weight.requires_grad]
    text.requires_grad_(True)
    optimizer = torch.optim.AdamW(text.parameters(), lr=lr, weight_decay=0.0, foreach=False)
    for step in range(steps):
        chosen = streams.generator("warm_up", step).integers(len(context), size=batch)
        loss = identity_loss(text(context[torch.from_numpy(chosen)], frames), context[torch.from_numpy(chosen)])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    optimizer.zero_grad()  # later training must not start with these gradients
    for weight in frozen:
        weight.requires_grad_(False)
    with torch.no_grad():
        return float(identity_loss(text(context[:batch], frames), context[:batch]))
