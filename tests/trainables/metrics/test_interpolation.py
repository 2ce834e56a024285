"""Motion smoothness against clips whose middle frames are known, and against the published loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.tolerance import bound
from tests.trainables.metrics.conftest import Amt, save_torchscript
from tests.trainables.metrics.test_motion import pan, texture
from trainables.metrics import ExtractorRef, MetricKey
from trainables.metrics.clips import over_frames
from trainables.metrics.flow import LARGEST_SIDE
from trainables.metrics.interpolation import Interpolator, half_warp, half_warp_smoothness, motion_smoothness
from trainables.metrics.loading import load_extractor

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
ROUNDING = bound(torch.float64, 2 * 8)


def mean_of_both(before: Pixels, after: Pixels) -> np.ndarray[Any, Any]:
    return (before.astype(np.float64) + after) / 2


def flat(*levels: int) -> Pixels:
    return np.stack([np.full((8, 8, 3), level, dtype=np.uint8) for level in levels])[None]


def load_amt(file: str) -> Interpolator:
    key = MetricKey("motion_smoothness", "m/x", "max", False, "", ExtractorRef("amt", "vbench_amt_s", file), 3)
    network = load_extractor(key, "cpu")
    assert isinstance(network, Interpolator)
    return network


@pytest.mark.parametrize("frames", [3, 4, 5, 8])
def test_a_frozen_clip_is_smooth(frames: int) -> None:
    frozen = np.repeat(texture(32)[None, None], frames, axis=1)
    values = half_warp_smoothness(frozen)
    assert values.shape == (1, frames)
    odd_with_both = [place for place in range(frames) if place % 2 and place < frames - 1]
    np.testing.assert_array_equal(values[0, odd_with_both], 1)
    assert np.flatnonzero(~np.isnan(values[0])).tolist() == odd_with_both
    np.testing.assert_array_equal(over_frames(values), [1])


def test_only_odd_frames_are_estimated_and_a_last_one_is_left_out() -> None:
    # Means of neighbours: 20 for the frame of 30, 40 for the frame of 60; the last frame has no right neighbour.
    values = motion_smoothness(flat(10, 30, 30, 60, 50, 255), mean_of_both)
    expected = [[np.nan, 1 - 10 / 255, np.nan, 1 - 20 / 255, np.nan, np.nan]]
    np.testing.assert_allclose(values, expected, rtol=0, atol=ROUNDING)


def test_the_flow_tells_a_smooth_pan_from_jitter_and_the_mean_does_not() -> None:
    picture = texture(160, grain=3)
    shifts = np.random.default_rng(0).integers(-1, 2, (9, 2))

    def moved(step: int, jitter: bool) -> Pixels:
        tops = [8 + shift[0] * jitter for shift in shifts]
        lefts = [8 + step * index + shift[1] * jitter for index, shift in enumerate(shifts)]
        return np.stack([picture[top : top + 64, left : left + 64] for top, left in zip(tops, lefts, strict=True)])[
            None
        ]

    smooth, fast, jitter = moved(2, False), moved(4, False), moved(2, True)
    by_flow = [float(over_frames(half_warp_smoothness(clip))[0]) for clip in (smooth, fast, jitter)]
    by_mean = [float(over_frames(motion_smoothness(clip, mean_of_both))[0]) for clip in (smooth, fast, jitter)]
    assert by_flow[0] > 0.995
    assert by_flow[1] > 0.99
    assert by_flow[2] < 0.985
    assert by_mean[1] < by_mean[2]


def test_the_middle_is_the_same_both_ways_and_between_equal_frames_the_frame() -> None:
    before, after = pan(3)[0, :2]
    np.testing.assert_array_equal(half_warp(before, after), half_warp(after, before))
    np.testing.assert_array_equal(half_warp(before, before), before)


def test_large_frames_are_shrunk_first() -> None:
    side = 2 * LARGEST_SIDE
    picture = texture(side + 60, grain=6)
    large = np.stack([picture[:side, 6 * index : 6 * index + side] for index in range(3)])[None]
    small = np.stack([cv2.resize(frame, (side // 2,) * 2, interpolation=cv2.INTER_AREA) for frame in large[0]])
    np.testing.assert_array_equal(half_warp_smoothness(large), half_warp_smoothness(small[None]))


@pytest.mark.parametrize("frames", [1, 2])
def test_fewer_than_three_frames_are_refused(frames: int) -> None:
    with pytest.raises(ValueError, match=rf"{frames} frames? each -> at least 3"):
        half_warp_smoothness(np.zeros((1, frames, 8, 8, 3), np.uint8))


def published(network: torch.nn.Module, frames: Pixels) -> float:
    """VBench's motion_score on the CPU, with AMT's padding and rounding."""
    inputs = [torch.tensor(frame.transpose(2, 0, 1)).float()[None] / 255.0 for frame in frames[::2]]
    height, width = inputs[0].shape[-2:]
    down, right = (((height // 16) + 1) * 16 - height) % 16, (((width // 16) + 1) * 16 - width) % 16
    pads = [right // 2, right - right // 2, down // 2, down - down // 2]
    inputs = [torch.nn.functional.pad(image, pads, mode="replicate") for image in inputs]
    outputs = []
    for first, second in zip(inputs[:-1], inputs[1:], strict=True):
        with torch.no_grad():
            estimate = network(first, second, torch.tensor(1 / 2).float().view(1, 1, 1, 1))
        cut = estimate[..., pads[2] : estimate.shape[-2] - pads[3], pads[0] : estimate.shape[-1] - pads[1]]
        outputs.append((cut * 255.0).squeeze(0).permute(1, 2, 0).numpy().clip(0, 255).astype(np.uint8))
    scores = [cv2.absdiff(frame, output).mean() for frame, output in zip(frames[1::2], outputs, strict=False)]
    return float((255.0 - np.mean(scores)) / 255.0)


@pytest.mark.parametrize(("frames", "size"), [(3, (32, 32)), (6, (20, 40)), (7, (33, 31))])
def test_a_network_gives_the_published_score(frames: int, size: tuple[int, int], amt_file: str) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, frames, *size, 3)).astype(np.uint8)
    network = load_amt(amt_file)
    found = over_frames(motion_smoothness(clips, network.middle))
    torch.manual_seed(0)
    plain = Amt().eval()
    expected = [published(plain, clip) for clip in clips]
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    assert len(network.sha256) == 64


def test_a_network_of_another_kind_is_refused(i3d_file: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another network, without the argument img0, img1, embt"):
        load_amt(i3d_file)
    network = load_amt(save_torchscript(Halved(), tmp_path / "halved.pt"))
    with pytest.raises(ValueError, match=r"returned a frame of shape \(1, 3, 8, 16\), not \(1, 3, 16, 16\)"):
        network.middle(*np.zeros((2, 16, 16, 3), np.uint8))


class Halved(torch.nn.Module):
    """The signature of AMT, but half of the frame."""

    def forward(self, img0: torch.Tensor, img1: torch.Tensor, embt: torch.Tensor) -> torch.Tensor:
        return img0[:, :, ::2]
