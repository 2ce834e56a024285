"""Motion smoothness: how well every second frame follows from its neighbours.

Legend: ``b`` clips, ``f`` frames, ``h w`` pixels, ``c`` = 3 colours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from trainables.metrics import HOW_TO_GET, ExtractorRef
from trainables.metrics.clips import Array, Pixels, as_clips
from trainables.metrics.extractors import load_torchscript, sha256_of
from trainables.metrics.flow import flow_between, grey, shrunk, warped

Middle: TypeAlias = Callable[[Pixels, Pixels], npt.NDArray[Any]]
"""Estimates the frame (h w c) in the middle of two frames, in [0, 255]."""

CELL = 16
"""AMT's networks take sides that are a multiple of this."""


def motion_smoothness(clips: npt.ArrayLike, middle: Middle) -> Array:
    """Compute the error of every second frame, interpolated from its neighbours.

        value_k,i = (255 - mean |middle(I_k,i-1, I_k,i+1) - I_k,i|) / 255   for i = 1, 3, 5, ... with both neighbours

    In [0, 1], larger is better; 1 for a frozen clip. A last frame without a right neighbour is left out.

    Args:
        clips: Decoded frames.
        middle: Interpolation of the frame in the middle.

    Shape:
        clips uint8 (b f h w c), f at least 3 -> (b f), NaN for frames that are not estimated.

    Raises:
        ValueError: Not uint8, wrong shape, or fewer than 3 frames.

    Source: VBench (arXiv 2311.17982), motion_smoothness; departures: none here, see the interpolations.
    """
    array = as_clips(clips, frames_at_least=3)
    values = np.full(array.shape[:2], np.nan)
    for clip, row in zip(array, values, strict=True):
        for place in range(1, len(clip) - 1, 2):
            estimate = middle(clip[place - 1], clip[place + 1]).astype(np.float64)
            row[place] = (255.0 - np.abs(estimate - clip[place]).mean()) / 255.0
    return values


def half_warp_smoothness(clips: npt.ArrayLike) -> Array:
    """Compute motion smoothness with ``half_warp``, on frames whose shorter side is at most ``flow.LARGEST_SIDE``.

    Shape:
        clips uint8 (b f h w c), f at least 3 -> (b f), NaN for frames that are not estimated.

    Raises:
        ValueError: Not uint8, wrong shape, or fewer than 3 frames.
    """
    array = as_clips(clips, frames_at_least=3)
    return np.concatenate([motion_smoothness(shrunk(clip)[None], half_warp) for clip in array])


def half_warp(before: Pixels, after: Pixels) -> npt.NDArray[np.float32]:
    """Estimate the frame between two frames: each is moved by half of the flow towards the other, then averaged.

        middle(x) = (before(x + w'(x) / 2) + after(x + w(x) / 2)) / 2

    w is the flow from before to after, w' the flow back, both by Farneback's method on grey values. Exchanging the
    frames gives the same estimate; two equal frames give themselves.

    Shape:
        before (h w c), after (h w c) -> (h w c).
    """
    first, last = grey(before), grey(after)
    forward, backward = flow_between(first, last), flow_between(last, first)
    half = np.float32(0.5)
    moved = warped(before, half * backward), warped(after, half * forward)
    return np.asarray(np.mean(moved, axis=0), np.float32)


class Interpolator:
    """AMT-S: estimates the frame in the middle of two frames; a torchscript file.

    The network takes ``img0`` and ``img1`` (n c h w) in [0, 1], with sides that are multiples of 16, and ``embt``
    (n 1 1 1), the time of the estimate from 0 to 1, and returns the estimate (n c h w) in [0, 1]. Frames are padded by
    repeating their edges, and the estimate is cut to whole numbers, as in VBench.

    Attributes:
        name: Name in metric keys.
        sha256: Hash of the file.
        parameters: Settings, as JSON values.

    Source: Li et al. (arXiv 2304.09790) as in VBench (arXiv 2311.17982); departures: frames are never scaled (VBench
    scales them on GPUs with little memory).
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        self._network = load_torchscript(ref, "amt", device, ("img0", "img1", "embt"))
        self.name = ref.name
        self.sha256 = sha256_of([Path(ref.source).expanduser()])
        self.device = device
        self.parameters: dict[str, Any] = {"preprocessing": f"padded to multiples of {CELL}", "time": 0.5}

    def middle(self, before: Pixels, after: Pixels) -> Pixels:
        """Estimate the frame in the middle of two frames.

        Shape:
            before (h w c), after (h w c) -> (h w c).

        Raises:
            ValueError: The network returns another shape.
        """
        height, width = before.shape[:2]
        down, right = -height % CELL, -width % CELL
        pads = (right // 2, right - right // 2, down // 2, down - down // 2)
        images = [self._padded(frame, pads) for frame in (before, after)]
        full = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), full:
            estimate = self._network(*images, torch.full((1, 1, 1, 1), 0.5, device=self.device))
        if estimate.shape != images[0].shape:
            raise ValueError(
                f"{self.name} returned a frame of shape {tuple(estimate.shape)}, not {tuple(images[0].shape)}: the "
                f"file has another network -> get {HOW_TO_GET['amt']}"
            )
        frame = estimate[0, :, pads[2] : pads[2] + height, pads[0] : pads[0] + width] * 255.0
        return np.asarray(frame.clamp(0, 255).to(torch.uint8).movedim(0, -1).cpu().numpy())

    def _padded(self, frame: Pixels, pads: tuple[int, int, int, int]) -> torch.Tensor:
        image = torch.from_numpy(frame.copy()).to(self.device, torch.float32).movedim(-1, 0)[None] / 255.0
        return functional.pad(image, pads, mode="replicate")
