"""Scores on pixels, without a network: flicker and amount of motion.

Legend: ``b`` clips, ``f`` frames, ``h w`` pixels, ``c`` = 3 colours, red first.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

FLOW: dict[str, Any] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""Settings of Farneback's method, recorded with every value."""

LARGEST_SIDE = 256
"""Largest shorter side of a frame in pixels; larger frames are shrunk before the flow is computed."""


def temporal_flickering(clips: npt.ArrayLike) -> Array:
    """Compute VBench's temporal flickering: 1 minus the mean change of pixels between consecutive frames.

        score_k = (255 - mean over i of mean |I_ki - I_k,i+1|) / 255

    In [0, 1], larger is better; 1 for a frozen clip. It is designed for static scenes and penalises motion. Use frames
    as generated, since lossy video files reduce flicker.

    Shape:
        clips uint8 (b f h w c), f at least 2 -> (b,).

    Raises:
        ValueError: Not uint8, wrong shape, or fewer than 2 frames.

    Source: VBench (arXiv 2311.17982), temporal_flickering; departures: float64, and no filter for static clips.
    """
    frames = as_clips(clips, frames_at_least=2)
    # int16, since differences of uint8 wrap around; clip by clip, to save memory
    change = [np.abs(np.diff(clip.astype(np.int16), axis=0)).mean(dtype=np.float64) for clip in frames]
    return (255.0 - np.array(change, dtype=np.float64)) / 255.0


def motion_magnitude(clips: npt.ArrayLike) -> Array:
    """Compute the amount of motion: mean length of the optical flow between frames, over the frame's diagonal.

        score_k = mean over i, pixels of |flow(I_ki, I_k,i+1)| / sqrt(h^2 + w^2)

    0 for a frozen clip; 0.01 is 1 % of the diagonal per frame. It is context for consistency scores: more motion is not
    better by itself. Flow is computed on grey values, with frames larger than ``LARGEST_SIDE`` shrunk first, since its
    settings are for small frames; areas without texture have no flow.

    Shape:
        clips uint8 (b f h w c), f at least 2 -> (b,).

    Raises:
        ValueError: Not uint8, wrong shape, or fewer than 2 frames.

    Source: Farneback, "Two-frame motion estimation based on polynomial expansion" (2003), as in OpenCV; departures: the
    flow between identical frames is defined as 0 (OpenCV's is not exactly 0 at the right and lower edges).
    """
    frames = as_clips(clips, frames_at_least=2)
    return np.array([np.mean([_flow_length(*pair) for pair in _grey_pairs(clip)]) for clip in frames], dtype=np.float64)


def as_clips(clips: npt.ArrayLike, *, frames_at_least: int = 1) -> npt.NDArray[np.uint8]:
    """Check that ``clips`` are decoded frames, and return them.

    Shape:
        uint8 (b f h w 3), no axis empty.

    Raises:
        ValueError: Not uint8, wrong shape, or too few frames.
    """
    array: npt.NDArray[Any] = np.asarray(clips)
    if array.dtype != np.uint8:
        raise ValueError(f"clips have the type {array.dtype} -> decoded frames as uint8 in [0, 255]")
    if array.ndim != 5 or array.shape[-1] != 3 or 0 in array.shape:
        raise ValueError(f"clips have the shape {array.shape} -> (clips, frames, height, width, 3), none of them 0")
    if array.shape[1] < frames_at_least:
        raise ValueError(
            f"clips have {array.shape[1]} frame each -> at least {frames_at_least} for a score between frames"
        )
    return array


def _grey_pairs(clip: npt.NDArray[np.uint8]) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    """Return pairs of consecutive frames (f h w c) in grey, shrunk if they are large."""
    import cv2

    height, width = clip.shape[1:3]
    scale = min(1.0, LARGEST_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in clip]
    if scale < 1.0:
        grey = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in grey]
    return list(zip(grey[:-1], grey[1:], strict=True))


def _flow_length(earlier: npt.NDArray[np.uint8], later: npt.NDArray[np.uint8]) -> float:
    """Compute the mean length of the flow from one grey frame (h w) to the next, over the diagonal."""
    import cv2

    if np.array_equal(earlier, later):
        return 0.0
    flow = cv2.calcOpticalFlowFarneback(earlier, later, None, **FLOW)
    length = np.linalg.norm(flow.astype(np.float64), axis=-1).mean()
    return float(length / np.hypot(*earlier.shape))
