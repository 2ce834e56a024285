"""Windows: merging inverts partition, sizes are as published, and masks allow the right tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.seer.windows import (
    everything,
    fixed_side,
    frame_causal,
    merge,
    partition,
    positions,
    scaled_side,
    token_causal,
)

CPU = torch.device("cpu")


@given(side=st.sampled_from([0, 1, 2, 4]), rows=st.integers(1, 3), columns=st.integers(1, 3), frames=st.integers(1, 4))
def test_merge_undoes_partition(side: int, rows: int, columns: int, frames: int) -> None:
    height, width = rows * max(side, 1), columns * max(side, 1)
    video = torch.arange(2 * frames * 3 * height * width).reshape(2, frames, 3, height, width)
    tokens = partition(video, side)
    assert tokens.shape == (2 * (1 if side == 0 else rows * columns), frames * (side or height) * (side or width), 3)
    assert torch.equal(merge(tokens, side, frames, height, width), video)


def test_a_window_holds_one_square_of_every_frame_in_order() -> None:
    frame, row, column = torch.meshgrid(torch.arange(2), torch.arange(4), torch.arange(4), indexing="ij")
    video = torch.stack([frame, row, column], dim=1)[None]
    window = partition(video, 2)[3].tolist()  # the fourth of the four windows
    assert window == [[f, r, c] for f in (0, 1) for r in (2, 3) for c in (2, 3)]
    assert positions(2, 4, 4, 2, CPU)[3].tolist() == [16 * f + 4 * r + c for f, r, c in window]


@pytest.mark.parametrize(("height", "side"), [(64, 8), (32, 8), (16, 4), (8, 4), (5, 1), (4, 0), (2, 0)])
def test_windows_scale_as_published(height: int, side: int) -> None:
    assert scaled_side(8)(height, height) == side


def test_windows_that_do_not_divide_give_way() -> None:
    assert scaled_side(8)(36, 36) == 6
    assert scaled_side(8)(40, 48) == 8
    assert fixed_side(4)(8, 8) == 4
    assert fixed_side(4)(6, 6) == 3
    assert fixed_side(4)(4, 4) == 0


def test_what_each_mask_lets_a_token_see() -> None:
    assert everything(2, 3, CPU) is None
    token, frame = token_causal(2, 3, CPU), frame_causal(2, 3, CPU)
    assert token is not None
    assert frame is not None
    assert token.sum(dim=1).tolist() == [1, 2, 3, 4, 5, 6]
    assert frame.sum(dim=1).tolist() == [3, 3, 3, 6, 6, 6]
    assert not frame[:3, 3:].any()
