"""Optical flow between frames, and frames warped by it.

Legend: ``h w`` pixels, ``c`` colours; a flow (h w 2) has the displacement in pixels, first to the right, then down.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Flow: TypeAlias = npt.NDArray[np.float32]
Pixels: TypeAlias = npt.NDArray[np.uint8]
Frame: TypeAlias = npt.NDArray[np.float32]

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

OCCLUSION = {"of_lengths": 0.01, "pixels": 0.5, "edge_of_length": 0.01, "edge": 0.002}
"""Thresholds of ``occluded``, on squares of lengths in pixels; recorded with every value."""


def shrunk(clip: Pixels) -> Pixels:
    """Shrink large frames until the shorter side is ``LARGEST_SIDE``.

    Shape:
        clip (f h w c) -> (f h' w' c).
    """
    import cv2

    height, width = clip.shape[1:3]
    scale = LARGEST_SIDE / min(height, width)
    if scale >= 1.0:
        return clip
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack(
        [cv2.resize(np.ascontiguousarray(frame), size, interpolation=cv2.INTER_AREA) for frame in clip], dtype=np.uint8
    )


def grey(frame: Pixels) -> Pixels:
    """Convert a frame (h w c) to grey values (h w)."""
    import cv2

    return np.asarray(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY))


def flow_between(earlier: Pixels, later: Pixels) -> Flow:
    """Compute Farneback's flow from one grey frame to another.

    Shape:
        earlier (h w), later (h w) -> (h w 2).

    Source: Farneback, "Two-frame motion estimation based on polynomial expansion" (2003), as in OpenCV; departures: the
    flow between identical frames is defined as 0 (OpenCV's is not exactly 0 at the right and lower edges).
    """
    import cv2

    if np.array_equal(earlier, later):
        return np.zeros((*earlier.shape, 2), np.float32)
    return np.asarray(cv2.calcOpticalFlowFarneback(earlier, later, None, **FLOW), np.float32)


def warped(image: npt.NDArray[Any], flow: Flow) -> Frame:
    """Look up an image at the ends of a flow: out(x) = image(x + flow(x)), bilinear, with the edge repeated outside.

    Shape:
        image (h w c), flow (h w 2) -> (h w c).
    """
    import cv2

    height, width = flow.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    looked_up = cv2.remap(
        np.ascontiguousarray(image, np.float32),
        columns + flow[..., 0],
        rows + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(looked_up, np.float32).reshape(image.shape)


def occluded(forward: Flow, backward: Flow) -> npt.NDArray[np.bool_]:
    """Find pixels of a frame that the next frame does not show.

        |w(x) + w'(x + w(x))|^2 > 0.01 (|w(x)|^2 + |w'(x + w(x))|^2) + 0.5      forward and backward flow disagree
        |grad u(x)|^2 + |grad v(x)|^2 > 0.01 |w(x)|^2 + 0.002                   edge of a motion, w = (u, v)
        x + w(x) outside the frame

    Args:
        forward: Flow w to the next frame.
        backward: Flow w' from the next frame.

    Shape:
        (h w 2), (h w 2) -> (h w).

    Source: Ruder, Dosovitskiy and Brox (arXiv 1604.08610), as in the code of Lai et al. (arXiv 1808.00449); departures:
    pixels that leave the frame are occluded as well.
    """
    back = warped(backward, forward)
    lengths = np.square(forward).sum(axis=-1) + np.square(back).sum(axis=-1)
    disagree = np.square(forward + back).sum(axis=-1) > OCCLUSION["of_lengths"] * lengths + OCCLUSION["pixels"]
    gradients = np.zeros(forward.shape[:2], np.float32)
    gradients[:, :-1] += np.square(np.diff(forward, axis=1)).sum(axis=-1)
    gradients[:-1] += np.square(np.diff(forward, axis=0)).sum(axis=-1)
    length = np.square(forward).sum(axis=-1)
    edge = gradients > OCCLUSION["edge_of_length"] * length + OCCLUSION["edge"]
    height, width = forward.shape[:2]
    columns = np.arange(width) + forward[..., 0]
    rows = np.arange(height)[:, None] + forward[..., 1]
    outside = (columns < 0) | (columns > width - 1) | (rows < 0) | (rows > height - 1)
    return np.asarray(disagree | edge | outside)
