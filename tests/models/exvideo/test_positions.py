"""Positions of frames: closed forms of every repetition, the base's sinusoid, random rows, rotary embedding."""

import math
from typing import Any

import pytest
import torch
from diffusers.models.embeddings import Timesteps
from hypothesis import given
from hypothesis import strategies as st

from models.exvideo import ExVideo, positions
from models.streams import Streams


def released(i: int) -> int:
    """The released code's rule for 25 frames, of which 20 are reused."""
    if i < 25:
        return i
    k = (i - 25) % 40
    return 23 - k if k < 20 else k - 15


def test_the_mirrored_repetition_is_that_of_the_released_code() -> None:
    assert positions.mirrored(300, 25) == [released(i) for i in range(300)]
    assert positions.mirrored(48, 25)[25:] == [*range(23, 3, -1), 5, 6, 7]


@given(base=st.integers(2, 40), rows=st.integers(1, 200), reused=st.floats(0.05, 1.0))
def test_mirrored_neighbours_are_neighbours_and_return_after_twice_the_reused_part(
    base: int, rows: int, reused: float
) -> None:
    places = positions.mirrored(rows, base, reused)
    r = min(max(1, round(reused * base)), base - 1)
    assert places[:base] == [*range(min(base, rows))]
    assert all(abs(after - before) == 1 for before, after in zip(places, places[1:], strict=False))
    assert all(base - 1 - r <= place <= base - 1 for place in places[base:])
    assert places[base + 2 * r :] == places[base : max(base, rows - 2 * r)]


def test_a_full_mirror_reuses_all_frames() -> None:
    assert positions.mirrored(20, 8, reused=1.0) == [*range(8), *range(6, -1, -1), *range(1, 6)]


def test_the_other_repetitions() -> None:
    assert positions.modulo(7, 3) == [0, 1, 2, 0, 1, 2, 0]
    assert positions.clamped(6, 3) == [0, 1, 2, 2, 2, 2]
    assert positions.interpolated(5, 3) == [0, 0.5, 1, 1.5, 2]
    assert positions.straight(4, 2) == [0, 1, 2, 3]
    assert positions.interpolated(1, 3) == [0]


def test_the_sinusoid_is_that_of_the_base() -> None:
    base = Timesteps(32, True, 0)
    assert torch.equal(positions.sinusoid([0.0, 3.0, 9.0], 32), base(torch.tensor([0, 3, 9])))
    row = positions.sinusoid([2.5], 6)[0]
    speeds = [10000 ** (-2 * j / 6) for j in range(3)]
    closed = [*(math.cos(2.5 * w) for w in speeds), *(math.sin(2.5 * w) for w in speeds)]
    torch.testing.assert_close(row, torch.tensor(closed), rtol=0, atol=8 * torch.finfo(torch.float32).eps)


def test_random_rows_belong_to_the_seed_and_have_a_sinusoids_variance() -> None:
    def rows(seed: int, name: str = "a") -> torch.Tensor:
        table = positions.PositionTable(torch.zeros(64, 256), drawn=True)
        table.draw(Streams(seed), name)
        return table.weight.detach()

    assert torch.equal(rows(1), rows(1))
    assert not torch.equal(rows(1), rows(2))
    assert not torch.equal(rows(1), rows(1, "b"))
    n = 64 * 256  # the mean square of n draws from N(0, 1/2) has the standard error sqrt(2 / n) / 2
    assert float(rows(1).square().mean()) == pytest.approx(0.5, abs=4 * math.sqrt(2 / n) / 2)


class _Attention:
    """As much of diffusers' attention as the processor uses: two heads, all projections the identity."""

    heads = 2

    def __getattr__(self, name: str) -> Any:
        return [lambda x: x] if name == "to_out" else lambda x: x


def test_rotary_attention_depends_on_distances_alone() -> None:
    rng = torch.Generator().manual_seed(0)
    frame = torch.rand(1, 1, 16, generator=rng, dtype=torch.float64)
    tokens = frame.expand(1, 6, -1) + 0
    out = positions.RotaryProcessor()(_Attention(), tokens)  # type: ignore[arg-type]
    # All frames are alike: every output is their common value, whatever the weights.
    torch.testing.assert_close(out, tokens)
    different = torch.rand(2, 5, 16, generator=rng, dtype=torch.float64)
    plain = torch.nn.functional.scaled_dot_product_attention(
        *[different.view(2, 5, 2, 8).transpose(1, 2)] * 3
    ).transpose(1, 2)
    rotated = positions.RotaryProcessor()(_Attention(), different)  # type: ignore[arg-type]
    assert not torch.allclose(rotated, plain.reshape(2, 5, 16), atol=1e-3)


def test_kinds_say_how_many_frames_they_reach() -> None:
    tree = ExVideo()
    assert tree.position.most_frames == 128
    assert tree.edit({"position": {"kind": "static", "rows": 40}}).position.most_frames == 40
    assert tree.edit({"position": "rotary"}).position.most_frames is None
    assert tree.edit({"position": "removed"}).position.most_frames is None
