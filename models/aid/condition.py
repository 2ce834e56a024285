"""DQFormer, the dual query transformer, which makes MCondition: the tokens that every frame's cross-attention reads.

Axes: b clips, f frames, l text tokens, s states, n visual tokens, q queries of a frame, m tokens of MCondition,
c channels.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from einops import rearrange, repeat
from torch import nn
from torch.nn import functional as F

from models.bases.text_tower import text_shape
from models.streams import Streams

QUERY_STD = 0.02
"""Standard deviation of the queries at the start, as of BLIP-2's (arXiv 2301.12597)."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of what MCondition is made from.

    Args:
        text: Channels of the text states.
        visual: Channels of the visual tokens.
        out: Channels of MCondition: those that the base's cross-attention reads.
        frames: Frames that have queries of their own.
    """

    text: int
    visual: int
    out: int
    frames: int

    @classmethod
    def of(cls, networks: Any) -> "Sizes":
        """Return the sizes on a base, from its networks by name.

        Raises:
            ValueError: The base has no text encoder.
        """
        unet = networks["unet"].config
        visual = int(networks["image_encoder"].config.hidden_size)
        return cls(text_shape(networks)[0], visual, int(unet.cross_attention_dim), int(unet.num_frames))

    def as_list(self) -> list[int]:
        """Return the sizes in order, as plain data."""
        return [*astuple(self)]


class AttentionLayer(nn.Module):
    """Attention of tokens among themselves, or to a context: x <- x + Attn(LN(x), context).

    Shape:
        x (b l c), context (b m d) -> (b l c).
    """

    def __init__(self, dim: int, num_heads: int, context: int | None = None) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {dim} channels of the condition")
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, cross_attention_dim=context, heads=num_heads, dim_head=dim // num_heads)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the layer."""
        out: torch.Tensor = x + self.attention(self.norm(x), encoder_hidden_states=context)
        return out


class FeedForwardLayer(nn.Module):
    """Feed-forward layer of width 4 c: x <- x + FF(LN(x))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.ff = FeedForward(dim, activation_fn="gelu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer."""
        out: torch.Tensor = x + self.ff(self.norm(x))
        return out


class MultimodalBranch(nn.Module):
    """Upper branch: the instruction's tokens look at the given frame; the same for all frames.

        x = P t1;   per layer  x <- x + SelfAttn(LN x),   x <- x + CrossAttn(LN x, v),   x <- x + FF(LN x);   e_m = x

    Args:
        sizes: Sizes of texts, visual tokens and MCondition.
        num_layers: Layers.
        num_heads: Heads of every attention.

    Shape:
        text (b l c_t), visual (b n c_v) -> (b f l c).

    Source: AID (arXiv 2406.06465), multimodal embedding; departures: projection, residuals, norms and feed-forward
    layers, which the paper does not give.
    """

    def __init__(self, sizes: Sizes, *, num_layers: int, num_heads: int) -> None:
        super().__init__()
        dim = sizes.out
        self.project = nn.Linear(sizes.text, dim)
        self.own = nn.ModuleList(AttentionLayer(dim, num_heads) for _ in range(num_layers))
        self.visual = nn.ModuleList(AttentionLayer(dim, num_heads, sizes.visual) for _ in range(num_layers))
        self.ff = nn.ModuleList(FeedForwardLayer(dim) for _ in range(num_layers))

    def forward(
        self, text: torch.Tensor, states: torch.Tensor | None, visual: torch.Tensor, num_frames: int
    ) -> torch.Tensor:
        """Make the branch's tokens; states are not read."""
        x: torch.Tensor = self.project(text)
        for own, to_visual, ff in zip(self.own, self.visual, self.ff, strict=True):
            x = ff(to_visual(own(x), visual))
        return repeat(x, "b l c -> b f l c", f=num_frames)


class DecomposedBranch(nn.Module):
    """Lower branch: learnt queries of every frame read the instruction, then the predicted states.

        per layer  Q' = Q + CrossAttn(LN Q, t1),   e = Q' + CrossAttn(LN Q', t2),   e <- e + FF(LN e)

    Queries do not attend to one another, so the tokens of frame i depend on the queries of frame i alone. For another
    number of frames than they were made for, the queries are interpolated linearly between the first and the last.

    Args:
        sizes: Sizes of texts and MCondition, and frames with queries of their own.
        num_queries: q, queries of a frame.
        states: Whether there are states; without them the branch ends after t1.
        num_layers: Layers.
        num_heads: Heads of every attention.

    Shape:
        text (b l c_t), states (b s l c_t) -> (b f q c).

    Source: AID (arXiv 2406.06465), decomposed embedding; departures: residuals, norms and feed-forward layers, which
    the paper does not give.
    """

    def __init__(self, sizes: Sizes, *, num_queries: int, states: bool, num_layers: int, num_heads: int) -> None:
        super().__init__()
        dim = sizes.out
        self.queries = nn.Parameter(torch.zeros(sizes.frames, num_queries, dim))
        self.instruction = nn.ModuleList(AttentionLayer(dim, num_heads, sizes.text) for _ in range(num_layers))
        with_states = num_layers if states else 0
        self.states = nn.ModuleList(AttentionLayer(dim, num_heads, sizes.text) for _ in range(with_states))
        self.ff = nn.ModuleList(FeedForwardLayer(dim) for _ in range(num_layers))

    @torch.no_grad()
    def draw(self, streams: Streams, name: str) -> None:
        """Draw the queries, keyed by the branch's name in the network."""
        draws = streams.normal(f"initialisation/{name}.queries", shape=tuple(self.queries.shape))
        self.queries.copy_(QUERY_STD * torch.from_numpy(draws))

    def forward(
        self, text: torch.Tensor, states: torch.Tensor | None, visual: torch.Tensor, num_frames: int
    ) -> torch.Tensor:
        """Make the branch's tokens; visual tokens are not read."""
        # A copy, since torch's counter of FLOPs fails on views of parameters without gradient.
        x = repeat(self._rows(num_frames), "f q c -> b (f q) c", b=len(text)).clone()
        merged = None if states is None else rearrange(states, "b s l c -> b (s l) c")
        for layer, (to_text, ff) in enumerate(zip(self.instruction, self.ff, strict=True)):
            x = to_text(x, text)
            for to_states in self.states[layer : layer + 1]:
                x = to_states(x, merged)
            x = ff(x)
        return rearrange(x, "b (f q) c -> b f q c", f=num_frames)

    def _rows(self, num_frames: int) -> torch.Tensor:
        """Return the queries of every frame (f q c)."""
        if num_frames == len(self.queries):
            return self.queries
        flat = rearrange(self.queries, "f q c -> 1 (q c) f")
        resized = F.interpolate(flat, size=num_frames, mode="linear", align_corners=True)
        return rearrange(resized, "1 (q c) f -> f q c", q=self.queries.shape[1])


class AveragedBranch(DecomposedBranch):
    """The lower branch averaged over the frames, for every frame: the same size without what frames differ in.

    Shape:
        as ``DecomposedBranch``; equal for all f.
    """

    def forward(
        self, text: torch.Tensor, states: torch.Tensor | None, visual: torch.Tensor, num_frames: int
    ) -> torch.Tensor:
        """Average the branch's tokens."""
        tokens = super().forward(text, states, visual, num_frames)
        return tokens.mean(dim=1, keepdim=True).expand(-1, num_frames, -1, -1)


class PlainText(nn.Module):
    """The instruction's own tokens, projected, for every frame: (b l c_t) -> (b f l c)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.project = nn.Linear(sizes.text, sizes.out)

    def forward(
        self, text: torch.Tensor, states: torch.Tensor | None, visual: torch.Tensor, num_frames: int
    ) -> torch.Tensor:
        """Project and repeat the tokens."""
        tokens: torch.Tensor = self.project(text)
        return repeat(tokens, "b l c -> b f l c", f=num_frames)


class Concatenated(nn.Module):
    """MCondition: the tokens of all branches, one behind the other: (b f m c).

    Args:
        branches: Branches by name.
    """

    def __init__(self, branches: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(dict(branches))

    def forward(
        self, text: torch.Tensor, states: torch.Tensor | None, visual: torch.Tensor, num_frames: int
    ) -> torch.Tensor:
        """Make MCondition."""
        return torch.cat([branch(text, states, visual, num_frames) for branch in self.branches.values()], dim=2)
