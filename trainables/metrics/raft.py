"""VBench's dynamic degree: whether a clip has large motion, by the optical flow of RAFT.

Legend: ``b`` clips, ``f`` frames, ``n`` pairs of frames, ``h w`` pixels, ``c`` = 3 colours.
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
from trainables.metrics.clips import Array, Pixels, after_first, as_clips
from trainables.metrics.extractors import load_torchscript, sha256_of

Flows: TypeAlias = Callable[[Pixels, Pixels], npt.NDArray[np.float32]]
"""Computes the flow (h w 2) from one frame to another, in pixels."""

CELL = 8
"""RAFT takes sides that are a multiple of this."""

LARGEST = 0.05
"""Share of the pixels, those of the largest motion, whose mean motion decides."""

PIXELS = 6.0
"""Threshold of that motion in pixels per frame, at a shorter side of 256 px."""


def dynamic_degree(clips: npt.ArrayLike, flow: Flows) -> Array:
    """Find clips with large motion.

        value_ki = [ number of frames j > 1 with mean of the largest 5 % of |flow(I_k,j-1, I_kj)| > 6 min(h, w) / 256
                     is at least round(f / 4) ]

    0 or 1, the same for all frames of a clip; the mean over clips is the share of dynamic ones. More is not better by
    itself. Frames count as 1/8 s apart, whatever the study's rate.

    Args:
        clips: Decoded frames.
        flow: Optical flow between two frames.

    Shape:
        clips uint8 (b f h w c), f at least 3 -> (b f), NaN for the first frame.

    Raises:
        ValueError: Not uint8, wrong shape, or fewer than 3 frames.

    Source: VBench (arXiv 2311.17982), dynamic_degree; departures: all frames are used, at 8 frames per second.
    """
    array = as_clips(clips, frames_at_least=3)
    frames, threshold = array.shape[1], PIXELS * min(array.shape[2:4]) / 256
    least = round(frames / 4)
    values = []
    for clip in array:
        moving = sum(_motion(flow(*pair)) > threshold for pair in zip(clip[:-1], clip[1:], strict=True))
        values.append([float(moving >= least)] * (frames - 1))
    return after_first(values)


def _motion(flow: npt.NDArray[np.float32]) -> float:
    """Compute the mean length of the largest 5 % of a flow (h w 2)."""
    lengths = np.sort(np.linalg.norm(flow.astype(np.float64), axis=-1), axis=None)
    return float(lengths[lengths.size - int(LARGEST * lengths.size) :].mean())


class Raft:
    """RAFT, a torchscript file.

    The network takes ``image1`` and ``image2`` (1 3 h w) in [0, 255], whose sides are multiples of 8, and returns the
    flow (1 2 h w) in pixels.

    Attributes:
        name: Name in metric keys.
        sha256: Hash of the file.
        parameters: Preprocessing, as JSON values.
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        self._network: Any = load_torchscript(ref, "raft", device, ("image1", "image2"))
        self._device = device
        self.name = ref.name
        self.sha256 = sha256_of([Path(ref.source).expanduser()])
        self.parameters: dict[str, Any] = {
            "preprocessing": f"in [0, 255]; edges repeated up to a multiple of {CELL} px",
            "largest": LARGEST,
            "pixels": PIXELS,
        }

    def flow(self, earlier: Pixels, later: Pixels) -> npt.NDArray[np.float32]:
        """Compute the flow from one frame to another, padded as the frames are.

        Shape:
            earlier (h w c), later (h w c) -> (h' w' 2).

        Raises:
            ValueError: The network returns another shape.
        """
        height, width = earlier.shape[:2]
        down, across = -height % CELL, -width % CELL
        sides = (across // 2, across - across // 2, down // 2, down - down // 2)
        frames = [torch.from_numpy(frame.copy()).to(self._device, torch.float32) for frame in (earlier, later)]
        images = [functional.pad(frame.movedim(-1, 0)[None], sides, mode="replicate") for frame in frames]
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            flow = self._network(*images)
        if flow.shape != (1, 2, *images[0].shape[2:]):
            raise ValueError(
                f"{self.name} returned a flow of shape {tuple(flow.shape)}, not {(1, 2, *images[0].shape[2:])}: the "
                f"file has another network -> get {HOW_TO_GET['raft']}"
            )
        return np.asarray(flow[0].movedim(0, -1).float().cpu().numpy())
