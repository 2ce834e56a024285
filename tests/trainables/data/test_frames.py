"""Choice and scaling of frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trainables.data.clips import read_chosen
from trainables.data.frames import GREY, Consecutive, Interpolated, Stretch, Whole, blended, fit, neighbours


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


def test_interpolated_frames_are_those_of_seers_released_code() -> None:
    positions = Interpolated().positions(45, 12)
    assert positions == [1.375, 5.125, 8.875, 12.625, 16.375, 20.125, 23.875, 27.625, 31.375, 35.125, 38.875, 42.625]
    assert neighbours(positions)[:4] == [1, 2, 5, 6]
    assert Interpolated().positions(12, 12) == list(range(12))
    assert list(Interpolated().positions(5, 12)) == list(range(5))
    assert Interpolated().least(12) == 1


@given(frames=st.integers(1, 20), more=st.integers(0, 60))
def test_interpolated_frames_are_torchs_trilinear_interpolation(frames: int, more: int) -> None:
    available = frames + more
    clip = np.random.default_rng(available).integers(0, 256, (available, 2, 2, 3), np.uint8)
    positions = Interpolated().positions(available, frames)
    assert 0 <= positions[0] <= positions[-1] <= available - 1
    ours = blended(clip[neighbours(positions)], positions, frames)
    video = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].double()
    theirs = torch.nn.functional.interpolate(video, size=(frames, 2, 2), mode="trilinear", align_corners=False)
    assert np.abs(ours - theirs[0].permute(1, 2, 3, 0).numpy()).max() <= 0.5 + 1e-3, "rounded to 8 bits"


def numbered(folder: Path) -> Path:
    """Pictures of 12 frames, in which frame k has the brightness 8 k."""
    for number in range(12):
        Image.fromarray(np.full((4, 4, 3), 8 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def brightness(frames: np.ndarray) -> list[int]:
    assert all(frame.min() == frame.max() for frame in frames)
    return [int(frame.max()) for frame in frames]


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, None, [2, 14, 26, 38, 50, 62, 74, 86]),  # positions 0.25, 1.75 ... 10.75
        (0, 8, [0, 8, 16, 24, 32, 40, 48, 56]),
        (3, 5, [24, 32, *[GREY] * 6]),
    ],
)
def test_numbered_frames_are_blended_or_padded_with_grey(
    start: int, stop: int | None, expected: list[int], tmp_path: Path
) -> None:
    frames, decoder = read_chosen(numbered(tmp_path), Stretch(start, stop), Interpolated(), 8)
    assert (brightness(frames), decoder) == (expected, "pillow")


def test_choices_of_whole_frames_blend_nothing(tmp_path: Path) -> None:
    numbered(tmp_path)
    for choice, numbers in ((Whole(), [0, 4, 7, 11]), (Consecutive(stride=2), [2, 4, 6, 8])):
        assert brightness(read_chosen(tmp_path, Stretch(), choice, 4)[0]) == [8 * number for number in numbers]


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
