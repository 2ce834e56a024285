"""Choice and scaling of frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.frames import Consecutive, Stretch, Whole, fit


@given(frames=st.integers(1, 40), more=st.integers(0, 500))
def test_the_whole_clip_from_its_first_frame_to_its_last(frames: int, more: int) -> None:
    available = Whole().least(frames) + more
    numbers = Whole().numbers(available, frames)
    assert len(numbers) == frames
    assert numbers[0] == 0
    assert frames == 1 or numbers[-1] == available - 1
    steps = np.diff(numbers)
    assert (steps >= 1).all()
    assert frames == 1 or steps.max() - steps.min() <= 1


@given(frames=st.integers(1, 40), stride=st.integers(1, 8), more=st.integers(0, 500), position=st.floats(0, 1))
def test_consecutive_frames_lie_within_the_clip(frames: int, stride: int, more: int, position: float) -> None:
    choice = Consecutive(stride=stride)
    available = choice.least(frames) + more
    numbers = choice.numbers(available, frames, position)
    assert numbers == list(range(numbers[0], numbers[0] + frames * stride, stride))
    assert numbers[0] >= 0
    assert numbers[-1] <= available - 1


@pytest.mark.parametrize(
    ("stretch", "bounds"),
    [
        (Stretch(), (0, 10)),
        (Stretch(3), (3, 10)),
        (Stretch(3, 7), (3, 7)),
        (Stretch(3, 70), (3, 10)),
        (Stretch(3, 7, (1.0, 2.0)), (4, 8)),
        (Stretch(seconds=(1.01, 2.01)), (5, 9)),
        (Stretch(seconds=(0.0, 99.0)), (0, 10)),
        (Stretch(seconds=(99.0, 100.0)), (10, 10)),
        (Stretch(seconds=(1.0, 1.0)), (4, 4)),
    ],
)
def test_a_stretch_by_numbers_or_by_time(stretch: Stretch, bounds: tuple[int, int]) -> None:
    # Rounded as containers do, to either side.
    times = np.arange(10) / 4 + np.where(np.arange(10) % 2, 4e-4, -4e-4)
    assert stretch.bounds(10, lambda: times) == bounds


def test_pictures_have_no_times() -> None:
    assert Stretch(3, 7, (1.0, 2.0)).bounds(10, None) == (3, 7)


def test_a_position_moves_the_window_from_one_end_to_the_other() -> None:
    choice = Consecutive(stride=2)
    assert choice.numbers(11, 3, 0.0) == [0, 2, 4]
    assert choice.numbers(11, 3) == [3, 5, 7]
    assert choice.numbers(11, 3, 1.0) == [6, 8, 10]


@pytest.mark.parametrize(("h", "w"), [(48, 64), (64, 48), (16, 90), (20, 20), (32, 32)])
def test_fit_keeps_the_middle_and_the_aspect(h: int, w: int) -> None:
    rows, columns = np.mgrid[0:h, 0:w]
    # Distance from the middle in units of the shorter side: it has to survive scaling and cropping.
    picture = np.stack([(rows - (h - 1) / 2) / min(h, w), (columns - (w - 1) / 2) / min(h, w)])
    frames = np.zeros((2, h, w, 3), np.uint8)
    frames[..., :2] = np.clip(127.5 + 200 * picture, 0, 255).transpose(1, 2, 0)
    cut = fit(frames, 32, 32)
    assert cut.shape == (2, 32, 32, 3)
    assert cut.dtype == np.uint8
    expected = 127.5 + 200 * (np.arange(32) - 15.5) / 32
    assert np.abs(cut[0, 16, :, 1] - expected)[2:-2].max() < 8
    assert np.abs(cut[0, :, 16, 0] - expected)[2:-2].max() < 8


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32), (16, 48)])
@pytest.mark.parametrize(("h", "w"), [(48, 64), (64, 48), (20, 20), (96, 144), (12, 50)])
def test_fit_to_any_shape_scales_both_sides_alike_and_keeps_the_middle(h: int, w: int, height: int, width: int) -> None:
    rows, columns = np.mgrid[0:h, 0:w]
    scale = max(height / h, width / w)
    frames = np.zeros((2, h, w, 3), np.uint8)
    # Distance from the middle, in pixels of the result.
    frames[..., 0] = np.clip(127.5 + 3 * scale * (rows - (h - 1) / 2), 0, 255)
    frames[..., 1] = np.clip(127.5 + 3 * scale * (columns - (w - 1) / 2), 0, 255)
    cut = fit(frames, height, width)
    assert cut.shape == (2, height, width, 3)
    down = np.clip(127.5 + 3 * (np.arange(height) - (height - 1) / 2), 0, 255)
    across = np.clip(127.5 + 3 * (np.arange(width) - (width - 1) / 2), 0, 255)
    # A pixel of the result, by which rounding may shift the cut, is 3 levels; those at the rim are not interpolated.
    assert np.abs(cut[0, :, width // 2, 0] - down)[3:-3].max() < 8
    assert np.abs(cut[0, height // 2, :, 1] - across)[3:-3].max() < 8


def test_shrinking_averages_rather_than_picks() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 200
    assert np.abs(fit(stripes, 32, 32).astype(int) - 100).max() <= 1
