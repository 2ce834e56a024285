"""Motion measures against clips whose motion is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.tolerance import bound
from trainables.metrics import motion
from trainables.metrics.clips import over_frames
from trainables.metrics.flow import LARGEST_SIDE

Clips = np.ndarray[Any, np.dtype[np.uint8]]
ROUNDING = bound(torch.float64, 2 * 8)
"""Of means of whole numbers, whose sums are exact: a few divisions and subtractions, both ways."""


def temporal_flickering(clips: Any) -> np.ndarray[Any, Any]:
    return over_frames(motion.temporal_flickering(clips))


def motion_magnitude(clips: Any) -> np.ndarray[Any, Any]:
    return over_frames(motion.motion_magnitude(clips))


def warp_error(clips: Any) -> np.ndarray[Any, Any]:
    return over_frames(motion.warp_error(clips))


def texture(side: int, seed: int = 0, grain: float = 2.0) -> Clips:
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), grain)
    return np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX), dtype=np.uint8)


def pan(step: int, side: int = 64, frames: int = 4) -> Clips:
    """One clip in which a texture moves by ``step`` pixels a frame."""
    picture = texture(side + 8 * frames)
    return np.stack([picture[:side, step * index : step * index + side] for index in range(frames)])[None]


def flat(*levels: int) -> Clips:
    return np.stack([np.full((8, 8, 3), level, dtype=np.uint8) for level in levels])[None]


def test_flickering_is_one_minus_the_mean_change() -> None:
    np.testing.assert_allclose(temporal_flickering(flat(100, 110, 105)), [1 - 7.5 / 255], rtol=0, atol=ROUNDING)


def test_flickering_does_not_wrap_around() -> None:
    np.testing.assert_array_equal(temporal_flickering(flat(0, 255, 0)), [0])
    np.testing.assert_allclose(temporal_flickering(flat(3, 1)), [1 - 2 / 255], rtol=0, atol=ROUNDING)


def test_flickering_equals_the_published_formula() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (3, 5, 16, 12, 3)).astype(np.uint8)
    expected = [
        (255.0 - np.mean([cv2.absdiff(clip[i], clip[i + 1]).mean() for i in range(4)])) / 255.0 for clip in clips
    ]
    np.testing.assert_allclose(temporal_flickering(clips), expected, rtol=0, atol=ROUNDING)


def test_a_frozen_clip_does_not_flicker_or_move() -> None:
    frozen = np.repeat(texture(32)[None, None], 5, axis=1)
    np.testing.assert_array_equal(temporal_flickering(frozen), [1])
    np.testing.assert_array_equal(motion_magnitude(frozen), [0])
    assert motion_magnitude(frozen).dtype == temporal_flickering(frozen).dtype == np.float64


def test_motion_grows_with_the_step_and_is_about_its_length() -> None:
    measured = [float(motion_magnitude(pan(step))[0]) * np.hypot(64, 64) for step in range(6)]
    assert measured == sorted(measured)
    np.testing.assert_allclose(measured, range(6), rtol=0.06)


def test_motion_does_not_depend_on_its_direction() -> None:
    forward = pan(2)
    for other in (forward[:, ::-1], forward[:, :, :, ::-1], forward.swapaxes(2, 3)):
        np.testing.assert_allclose(motion_magnitude(other), motion_magnitude(forward), rtol=0.03)


@pytest.mark.parametrize(
    ("height", "width", "step", "grain"), [(32, 48, 1, 1), (48, 32, 1, 1), (2 * LARGEST_SIDE, 3 * LARGEST_SIDE, 6, 6)]
)
def test_motion_in_frames_of_any_shape(height: int, width: int, step: int, grain: float) -> None:
    picture = texture(max(height, width) + 30, grain=grain)
    moving = np.stack([picture[:height, step * index : step * index + width] for index in range(3)])[None]
    np.testing.assert_allclose(motion_magnitude(moving), [step / np.hypot(height, width)], rtol=0.1)
    np.testing.assert_allclose(motion_magnitude(moving.swapaxes(2, 3)), motion_magnitude(moving), rtol=0.03)
    np.testing.assert_allclose(
        temporal_flickering(moving.swapaxes(2, 3)), temporal_flickering(moving), rtol=0, atol=ROUNDING
    )


def test_motion_is_a_mean_over_pairs_of_frames() -> None:
    moving = pan(2, frames=3)
    stops = np.concatenate([moving, moving[:, -1:], moving[:, -1:]], axis=1)  # two pairs move, two do not
    np.testing.assert_allclose(motion_magnitude(stops), motion_magnitude(moving) / 2, rtol=0, atol=ROUNDING)


def test_motion_is_a_share_of_the_frame() -> None:
    small = pan(2)
    large = np.stack([cv2.resize(frame, (128, 128), interpolation=cv2.INTER_CUBIC) for frame in small[0]])[None]
    np.testing.assert_allclose(motion_magnitude(large), motion_magnitude(small), rtol=0.05)


def test_large_frames_are_shrunk_first() -> None:
    height, width = 2 * LARGEST_SIDE, 2 * LARGEST_SIDE + 40
    picture = texture(width + 30, grain=6)
    large = np.stack([picture[:height, 6 * index : 6 * index + width] for index in range(2)])[None]
    half = np.stack([cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for frame in large[0]])
    np.testing.assert_allclose(motion_magnitude(large), motion_magnitude(half[None]), rtol=0.01)
    np.testing.assert_allclose(motion_magnitude(large), [6 / np.hypot(height, width)], rtol=0.05)


@pytest.mark.parametrize("score", [temporal_flickering, motion_magnitude, warp_error])
def test_a_value_per_frame_is_that_of_its_pair(score: Callable[[Any], Any]) -> None:
    clips = np.concatenate([pan(3), pan(1)])
    by_frame = getattr(motion, score.__name__)(clips)
    assert by_frame.shape == (2, 4)
    assert np.isnan(by_frame[:, 0]).all()
    for place in (1, 2, 3):
        np.testing.assert_allclose(by_frame[:, place], score(clips[:, place - 1 : place + 1]), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(score(clips), by_frame[:, 1:].mean(axis=1), rtol=0, atol=ROUNDING)


def test_frames_that_follow_their_flow_have_no_warp_error() -> None:
    frozen = np.repeat(texture(32)[None, None], 4, axis=1)
    np.testing.assert_array_equal(warp_error(frozen), [0])
    moved, noise = warp_error(pan(2))[0], np.random.default_rng(0).integers(-30, 31, pan(2).shape)
    flickering = warp_error(np.clip(pan(2) + noise, 0, 255).astype(np.uint8))[0]
    # Independent noise of both frames, whose squares add up; less where pixels are between others or cut off.
    assert moved < 1e-4 < 5e-3 < flickering < 2 * (noise.std() / 255) ** 2


def test_a_change_of_brightness_is_the_warp_error() -> None:
    # Without texture there is no flow, so nothing is warped and nothing is occluded.
    np.testing.assert_allclose(warp_error(flat(100, 110, 105)), [(10**2 + 5**2) / 2 / 255**2], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(warp_error(flat(0, 255)), [1], rtol=0, atol=ROUNDING)


def test_large_frames_are_warped_small() -> None:
    picture = texture(2 * LARGEST_SIDE + 60, grain=6)
    side = 2 * LARGEST_SIDE
    large = np.stack([picture[:side, 6 * index : 6 * index + side] for index in range(2)])[None]
    small = np.stack([cv2.resize(frame, (side // 2,) * 2, interpolation=cv2.INTER_AREA) for frame in large[0]])
    np.testing.assert_array_equal(warp_error(large), warp_error(small[None]))


def test_every_clip_has_its_own_value() -> None:
    clips = np.concatenate([pan(3), pan(0), pan(1)])
    together = motion_magnitude(clips)
    assert together.shape == (3,)
    np.testing.assert_array_equal(together, np.concatenate([motion_magnitude(clip[None]) for clip in clips]))
    np.testing.assert_array_equal(
        temporal_flickering(clips), np.concatenate([temporal_flickering(clip[None]) for clip in clips])
    )


@pytest.mark.parametrize("side", [1, 2, 4, 8, 16])
def test_tiny_frames_are_scored(side: int) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (1, 3, side, side, 3)).astype(np.uint8)
    assert np.isfinite(motion_magnitude(clips)).all()
    np.testing.assert_array_equal(motion_magnitude(np.repeat(clips[:, :1], 3, axis=1)), [0])


@pytest.mark.parametrize("score", [temporal_flickering, motion_magnitude, warp_error])
@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.zeros((1, 2, 8, 8, 3)), "uint8"),
        (np.zeros((1, 2, 8, 8, 3), dtype=np.int64), "uint8"),
        (np.zeros((1, 1, 8, 8, 3), dtype=np.uint8), "at least 2"),
        (np.zeros((2, 8, 8, 3), dtype=np.uint8), "shape .* -> "),
        (np.zeros((1, 2, 3, 8, 8), dtype=np.uint8), "shape .* -> "),
        (np.zeros((0, 2, 8, 8, 3), dtype=np.uint8), "shape .* -> "),
        (np.zeros((1, 2, 0, 8, 3), dtype=np.uint8), "shape .* -> "),
    ],
)
def test_motion_refuses(score: Callable[[Any], Any], clips: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(clips)
