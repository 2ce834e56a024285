"""Scores on pixels, without a network: flicker, amount of motion, error of frames warped by their motion.

Every score has a value per frame; that of a clip is their mean (``clips.over_frames``).

Legend: ``b`` clips, ``f`` frames, ``h w`` pixels, ``c`` = 3 colours, red first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainables.metrics.clips import Array, Pixels, after_first, as_clips
from trainables.metrics.flow import flow_between, grey, occluded, shrunk, warped


def temporal_flickering(clips: npt.ArrayLike) -> Array:
    """Compute VBench's temporal flickering: 1 minus the mean change of pixels from the frame before.

        value_ki = (255 - mean |I_k,i-1 - I_ki|) / 255

    In [0, 1], larger is better; 1 for a frozen clip. It is designed for static scenes and penalises motion. Use frames
    as generated, since lossy video files reduce flicker.

    Shape:
        clips uint8 (b f h w c), f at least 2 -> (b f), NaN for the first frame.

    Raises:
        ValueError: Not uint8, wrong shape, or fewer than 2 frames.

    Source: VBench (arXiv 2311.17982), temporal_flickering; departures: float64, and no filter for static clips.
    """
    frames = as_clips(clips, frames_at_least=2)
    # int16, since differences of uint8 wrap around; clip by clip, to save memory
    change = [np.abs(np.diff(clip.astype(np.int16), axis=0)).mean(axis=(1, 2, 3), dtype=np.float64) for clip in frames]
    return after_first((255.0 - np.array(change, dtype=np.float64)) / 255.0)


def motion_magnitude(clips: npt.ArrayLike) -> Array:
    """Compute the amount of motion: mean length of the optical flow from the frame before, over the frame's diagonal.

        value_ki = mean over pixels of |flow(I_k,i-1, I_ki)| / sqrt(h^2 + w^2)

    0 for a frozen clip; 0.01 is 1 % of the diagonal per frame. It is context for consistency scores: more motion is not
    better by itself. Flow is computed on grey values, with frames larger than ``flow.LARGEST_SIDE`` shrunk first, since
    its settings are for small frames; areas without texture have no flow.

    Shape:
        clips uint8 (b f h w c), f at least 2 -> (b f), NaN for the first frame.

    Raises:
        ValueError: Not uint8, wrong shape, or fewer than 2 frames.

    Source: mean length of ``flow.flow_between``; departures: none.
    """
    return after_first([_flow_lengths(clip) for clip in as_clips(clips, frames_at_least=2)])


def warp_error(clips: npt.ArrayLike) -> Array:
    """Compute the error of a frame, warped by its optical flow, at the pixels of the frame before that it shows.

        value_ki = mean over colours and over x not occluded of (I_ki(x + w(x)) - I_k,i-1(x))^2,   I in [0, 1]

    w is the flow from frame i - 1 to frame i. In [0, 1], smaller is better; 0 for a frozen clip. Frames larger than
    ``flow.LARGEST_SIDE`` are shrunk first. Occluded pixels are those of ``flow.occluded``; where all are, the mean is
    over all pixels. The flow is that of the scored clip itself, since a generated clip has no other.

    Shape:
        clips uint8 (b f h w c), f at least 2 -> (b f), NaN for the first frame.

    Raises:
        ValueError: Not uint8, wrong shape, or fewer than 2 frames.

    Source: Lai et al. (arXiv 1808.00449), evaluate_WarpError.py; departures: Farneback's flow of the scored clip
    instead of FlowNet2's of the input video.
    """
    return after_first([_warp_errors(shrunk(clip)) for clip in as_clips(clips, frames_at_least=2)])


def _flow_lengths(clip: Pixels) -> list[float]:
    """Compute the mean length of the flow to each frame (f h w c) but the first, over the diagonal."""
    frames = _in_grey(clip)
    diagonal = np.hypot(*frames[0].shape)
    flows = (flow_between(*pair) for pair in zip(frames[:-1], frames[1:], strict=True))
    return [float(np.linalg.norm(flow.astype(np.float64), axis=-1).mean() / diagonal) for flow in flows]


def _in_grey(clip: Pixels) -> list[Pixels]:
    """Convert frames to grey, then shrink them if they are large."""
    return list(shrunk(np.stack([grey(frame) for frame in clip])))


def _warp_errors(clip: Pixels) -> list[float]:
    """Compute the error of each frame (f h w c) but the first."""
    frames = [grey(frame) for frame in clip]
    errors = []
    for place in range(1, len(clip)):
        forward = flow_between(frames[place - 1], frames[place])
        visible = ~occluded(forward, flow_between(frames[place], frames[place - 1]))
        difference = (warped(clip[place], forward) - clip[place - 1]).astype(np.float64) / 255.0
        errors.append(float(np.square(difference[visible] if visible.any() else difference).mean()))
    return errors
