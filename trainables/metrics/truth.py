"""Scores of generated frames against the true continuation of the given frames.

Legend: ``b`` clips, ``f`` frames, ``h w`` pixels, ``c`` = 3 colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainables.metrics.clips import Array, Pixels, as_clips
from trainables.metrics.families import SSIM_WINDOW

LARGEST_PSNR = 100.0
"""PSNR of equal frames, in dB, and the largest one: it would be infinite."""

SSIM = {"window": SSIM_WINDOW, "sigma": 1.5, "k1": 0.01, "k2": 0.03, "colours": "mean over red, green, blue"}
"""Settings of SSIM, recorded with every value."""


@dataclass(frozen=True)
class Continuation:
    """True clips of which a cell's clips continue the first frames.

    Args:
        clips: Decoded frames, uint8 (b f h w c), of the shape of the cell's clips.
        given: Number of first frames that the model was given; they are not scored.
    """

    clips: Pixels
    given: int


def psnr(clips: npt.ArrayLike, truth: Continuation) -> Array:
    """Compute the peak signal-to-noise ratio of every frame that was not given, in dB.

        value_k,i = min(100, 10 log10(255^2 / mean (I_ki - J_ki)^2))

    Larger is better; 100 for equal frames.

    Shape:
        clips uint8 (b f h w c) -> (b f), NaN for given frames.

    Raises:
        ValueError: Not uint8, or shapes differ.

    Source: mean over frames, and 100 for equal frames, as in common_metrics_on_video_quality; departures: none.
    """
    values, pairs = _compared(clips, truth)
    for place, (frame, true) in pairs:
        error = np.square(frame.astype(np.float64) - true).mean()
        values[place] = min(LARGEST_PSNR, 10 * np.log10(255.0**2 / error)) if error else LARGEST_PSNR
    return values


def ssim(clips: npt.ArrayLike, truth: Continuation) -> Array:
    """Compute the structural similarity of every frame that was not given.

        value = mean of (2 m_x m_y + C1) (2 s_xy + C2) / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2))

    with means m and (co)variances s in Gaussian windows of 11 x 11 pixels (sigma 1.5), C1 = (0.01 * 255)^2 and
    C2 = (0.03 * 255)^2; the mean is over all windows inside the frame and over the colours. At most 1, larger is
    better; 1 for equal frames.

    Shape:
        clips uint8 (b f h w c), h and w at least 11 -> (b f), NaN for given frames.

    Raises:
        ValueError: Not uint8, shapes differ, or frames smaller than the window.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004); departures:
    colours are averaged, as in scikit-image and torchmetrics (whose own mean has windows over mirrored edges as well).
    """
    values, pairs = _compared(clips, truth)
    height, width = np.shape(clips)[2:4]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f"frames have {height} x {width} pixels -> at least {SSIM_WINDOW} x {SSIM_WINDOW} for SSIM")
    for place, (frame, true) in pairs:
        values[place] = _similarity(frame.astype(np.float64), true.astype(np.float64))
    return values


def _similarity(x: Array, y: Array) -> float:
    """Compute SSIM of two frames (h w c)."""
    import cv2

    margin = SSIM_WINDOW // 2

    def smooth(image: Array) -> Array:
        blurred = cv2.GaussianBlur(image, (SSIM_WINDOW, SSIM_WINDOW), 1.5)
        return np.asarray(blurred[margin:-margin, margin:-margin], dtype=np.float64)

    small, large = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = smooth(x), smooth(y)
    variance_x, variance_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + small) / (mean_x**2 + mean_y**2 + small)
    structure = (2 * covariance + large) / (variance_x + variance_y + large)
    return float((luminance * structure).mean())


def _compared(
    clips: npt.ArrayLike, truth: Continuation
) -> tuple[Array, list[tuple[tuple[int, int], tuple[Pixels, Pixels]]]]:
    """Return an array of NaN (b f), and the frames to compare with their places in it."""
    array, true = as_clips(clips), as_clips(truth.clips)
    if array.shape != true.shape:
        raise ValueError(
            f"clips have the shape {array.shape}, the true continuations {true.shape} -> clips of the same shape"
        )
    if not truth.given < array.shape[1]:
        raise ValueError(f"all {array.shape[1]} frames were given -> fewer given frames than frames")
    places = [(clip, frame) for clip in range(len(array)) for frame in range(truth.given, array.shape[1])]
    return np.full(array.shape[:2], np.nan), [(place, (array[place], true[place])) for place in places]
