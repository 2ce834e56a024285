"""Arrays of clips, and values by frame.

Legend: ``b`` clips, ``f`` frames, ``h w`` pixels, ``c`` = 3 colours, red first.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Pixels: TypeAlias = npt.NDArray[np.uint8]


def as_clips(clips: npt.ArrayLike, *, frames_at_least: int = 1) -> Pixels:
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
        frames = "1 frame" if array.shape[1] == 1 else f"{array.shape[1]} frames"
        raise ValueError(f"clips have {frames} each -> at least {frames_at_least} for a score between frames")
    return array


def over_frames(values: Array) -> Array:
    """Average values by frame over the frames that have one.

    Shape:
        values (b f), NaN for a frame without a value -> (b,).
    """
    return np.array(np.nanmean(values, axis=1), dtype=np.float64)


def after_first(values: npt.ArrayLike) -> Array:
    """Give values of pairs of consecutive frames to the later frame; the first frame has none.

    Shape:
        values (b f-1) -> (b f), NaN for the first frame.
    """
    return np.pad(np.asarray(values, dtype=np.float64), ((0, 0), (1, 0)), constant_values=np.nan)
