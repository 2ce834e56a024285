"""PSNR and SSIM against closed forms and against torchmetrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.tolerance import bound
from trainables.metrics.truth import Continuation, psnr, ssim

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
SUMS = 2 * (32 * 32 * 3 + 20)
"""Operations of both ways to a mean over a frame."""


def noisy(clips: Pixels, spread: int) -> Pixels:
    noise = np.random.default_rng(1).integers(-spread, spread + 1, clips.shape)
    return np.clip(clips + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def true() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (2, 5, 32, 24, 3)).astype(np.uint8)


def test_a_constant_error_has_a_known_psnr(true: Pixels) -> None:
    clips = np.where(true < 128, true + 10, true - 10).astype(np.uint8)
    values = psnr(clips, Continuation(true, 2))
    assert np.isnan(values[:, :2]).all()
    np.testing.assert_allclose(values[:, 2:], 20 * np.log10(25.5), rtol=0, atol=bound(torch.float64, SUMS, 30))


@pytest.mark.parametrize("score", [psnr, ssim])
def test_equal_frames_have_the_largest_value_and_given_frames_none(
    score: Callable[[Any, Continuation], Any], true: Pixels
) -> None:
    best = 100 if score is psnr else 1
    for given in (0, 1, 4):
        values = score(true, Continuation(true, given))
        assert values.shape == (2, 5)
        assert np.isnan(values[:, :given]).all()
        np.testing.assert_allclose(values[:, given:], best, rtol=0, atol=bound(torch.float64, 1000, 1))
    other = true.copy()
    other[:, :2] = 0
    np.testing.assert_array_equal(score(other, Continuation(true, 2))[:, 2:], score(true, Continuation(true, 2))[:, 2:])


@pytest.mark.parametrize("spread", [3, 40, 255])
def test_psnr_is_torchmetrics(spread: int, true: Pixels) -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    clips = noisy(true, spread)
    values = psnr(clips, Continuation(true, 0))
    for place in np.ndindex(2, 5):
        frame, real = (torch.from_numpy(frames[place].astype(np.float64)) for frames in (clips, true))
        expected = peak_signal_noise_ratio(frame, real, data_range=255.0).item()
        # torchmetrics takes natural logarithms of both parts in float32.
        assert values[place] == pytest.approx(expected, abs=bound(torch.float32, SUMS, 100))


@pytest.mark.parametrize("spread", [3, 40, 255])
def test_ssim_is_torchmetrics(spread: int, true: Pixels) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    clips = noisy(true, spread)
    values = ssim(clips, Continuation(true, 0))
    for place in np.ndindex(2, 5):
        frame, real = (
            torch.from_numpy(frames[place].astype(np.float64)).movedim(-1, 0)[None] for frames in (clips, true)
        )
        _, by_window = structural_similarity_index_measure(frame, real, data_range=255.0, return_full_image=True)
        expected = by_window[..., 5:-5, 5:-5].mean()  # torchmetrics' own mean has windows over mirrored edges
        # Differences of squares of up to 255^2 over variances of at least C2 = 58.5, in sums of 121 products.
        rounding = bound(torch.float64, 2 * (121 + 20), 4 * 255**2 / (0.03 * 255) ** 2)
        # Coefficients of torchmetrics' window are in float32.
        assert values[place] == pytest.approx(expected.item(), abs=rounding + bound(torch.float32, 20, 4))


def test_more_noise_is_worse(true: Pixels) -> None:
    for score in (psnr, ssim):
        means = [np.nanmean(score(noisy(true, spread), Continuation(true, 1))) for spread in (2, 20, 200)]
        assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("score", [psnr, ssim])
def test_other_shapes_and_only_given_frames_are_refused(
    score: Callable[[Any, Continuation], Any], true: Pixels
) -> None:
    with pytest.raises(ValueError, match="clips of the same shape"):
        score(true, Continuation(true[:, :4], 1))
    with pytest.raises(ValueError, match="all 5 frames were given"):
        score(true, Continuation(true, 5))
    with pytest.raises(ValueError, match="uint8"):
        score(true.astype(np.float64), Continuation(true, 1))


def test_ssim_needs_its_window(true: Pixels) -> None:
    small = true[:, :, :11, :11]
    assert np.isfinite(ssim(small, Continuation(small, 0))).all()
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(true[:, :, :10], Continuation(true[:, :, :10], 0))
