"""Positions of frames in temporal attention: sinusoids, tables of them, rotary embedding.

Legend: i frame number, M the base's own number of frames, c channels.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from einops import rearrange
from torch import nn

from models.rotary import rotate
from models.streams import Streams

Places = Callable[[int, int], list[float]]
"""Maps the number of rows, and the base's number of frames M, to the place of each row on the base's sinusoid."""

REUSED = 0.8
"""Part of the base's frames that the mirrored repetition goes through: 20 of 25, as published."""


def mirrored(rows: int, base_frames: int, reused: float = REUSED) -> list[float]:
    """Return places that go to the end, back and forth again, so that neighbours have neighbouring places.

        id(i) = i   for i < M;   else with k = (i - M) mod 2R:   M - 2 - k   if k < R,   else   k + M - 2R

    For M = 25 and R = 20: 0 .. 24, 23 .. 4, 5 .. 24, 23 .. 4, ...; the first M - 1 - R places are not reused.

    Args:
        rows: Number of places.
        base_frames: M.
        reused: R / M, above 0 and at most 1; R is at most M - 1.

    Source: ExVideo (arXiv 2406.14130), its released code.
    """
    m = base_frames
    r = min(max(1, round(reused * m)), max(1, m - 1))

    def place(i: int) -> int:
        k = (i - m) % (2 * r)
        return i if i < m else m - 2 - k if k < r else k + m - 2 * r

    return [float(place(i)) for i in range(rows)]


def modulo(rows: int, base_frames: int) -> list[float]:
    """Return places that start again after the base's frames: i mod M."""
    return [float(i % base_frames) for i in range(rows)]


def interpolated(rows: int, base_frames: int) -> list[float]:
    """Return the base's places stretched over all rows: i (M - 1) / (rows - 1)."""
    return [i * (base_frames - 1) / max(1, rows - 1) for i in range(rows)]


def clamped(rows: int, base_frames: int) -> list[float]:
    """Return places that end at the base's last frame: min(i, M - 1)."""
    return [float(min(i, base_frames - 1)) for i in range(rows)]


def straight(rows: int, base_frames: int) -> list[float]:
    """Return the frame numbers, beyond those that the base has seen: i."""
    return [float(i) for i in range(rows)]


def sinusoid(places: list[float], channels: int) -> torch.Tensor:
    """Return the base's sinusoidal embedding at places.

        (cos(w_0 p) .. cos(w_{c/2-1} p), sin(w_0 p) ..),   w_j = 10000^(-2j / c)

    Shape:
        (rows c), float32.

    Source: ``diffusers.Timesteps`` as Stable Video Diffusion sets it: cosines first, no shift.
    """
    embedding: torch.Tensor = get_timestep_embedding(
        torch.tensor(places), channels, flip_sin_to_cos=True, downscale_freq_shift=0
    )
    return embedding


PLACES: dict[str, Places] = {
    "straight": straight,
    "modulo": modulo,
    "interpolation": interpolated,
    "clamp": clamped,
}


def initial_rows(name: str, rows: int, base_frames: int, channels: int, reused: float = REUSED) -> torch.Tensor:
    """Return the base's sinusoid at named places: a row per frame.

    Args:
        name: ``mirrored``, or one of ``PLACES``.
        rows: Number of rows.
        base_frames: Frames that the base was trained on.
        channels: c.
        reused: For ``mirrored``.

    Shape:
        (rows c), float32.
    """
    places = mirrored(rows, base_frames, reused) if name == "mirrored" else PLACES[name](rows, base_frames)
    return sinusoid(places, channels)


class PositionTable(nn.Module):
    """A learnt embedding per frame, in place of the base's sinusoid.

    Args:
        start: Initial rows (rows c).
        drawn: Whether they are replaced by random ones, of the variance of a sinusoid.

    Shape:
        frame numbers (n,) -> (n c).
    """

    def __init__(self, start: torch.Tensor, *, drawn: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(start)
        self.drawn = drawn

    @torch.no_grad()
    def draw(self, streams: Streams, name: str) -> None:
        """Draw the rows from N(0, 1/2), the mean square of a sinusoid."""
        draws = streams.normal(f"initialisation/{name}.weight", shape=tuple(self.weight.shape))
        self.weight.copy_(torch.from_numpy(draws) * 0.5**0.5)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Look up the rows."""
        return _rows(self.weight, frames)


class FixedPositions(nn.Module):
    """An embedding per frame that is not trained.

    Args:
        rows: (rows c).

    Shape:
        frame numbers (n,) -> (n c).
    """

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Look up the rows."""
        return _rows(self.get_buffer("rows"), frames)


def _rows(table: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    return table[frames]


class NoPosition(nn.Module):
    """No embedding: zero for every frame.

    Args:
        channels: c.

    Shape:
        (n, any) -> (n c).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return zeros."""
        return embedding.new_zeros(len(embedding), self.channels)


class RotaryProcessor:
    """Self-attention over frames with rotary embedding of the frame number.

    out_i = softmax(R_i q_i (R_j k_j)^T / sqrt(d)) v_j
    """

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Compute the attention; hidden_states is ((b l) f c)."""
        q, k, v = (
            rearrange(project(hidden_states), "b f (n d) -> b n f d", n=attn.heads)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        place = torch.arange(hidden_states.shape[1], device=hidden_states.device).view(1, 1, -1)
        out = nn.functional.scaled_dot_product_attention(rotate(q, place), rotate(k, place), v)
        projected: torch.Tensor = attn.to_out[0](rearrange(out, "b n f d -> b f (n d)"))
        return projected


def without_position(transformer: TransformerSpatioTemporalModel) -> None:
    """Remove the position that a transformer adds before its temporal block."""
    transformer.time_pos_embed = NoPosition(transformer.in_channels)
