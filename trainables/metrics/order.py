"""Order in time: whether clips move as their prompts say, which sets of clips do not tell.

Played backwards, procedural clips are distributed as before: who moves left then moves right, which is as frequent. So
no distance between sets can hear it; each clip's own prompt can.

Legend: ``b`` clips, ``f`` frames, ``n`` parts of clips, ``h w`` pixels, ``c`` = 3 colours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trainables.data.scenes import MOTIONS, motions_of
from trainables.metrics.clips import Array, Pixels, as_clips

Recognise: TypeAlias = Callable[[Pixels], npt.NDArray[np.int64]]
"""Names the motion of each half of clips (n f h w c), by its number among ``MOTIONS``: (n 2)."""

Part: TypeAlias = tuple[int, int, int, list[int]]
"""Clip, first frame, one past the last frame, and the motion of each half."""

TRAINED_FRAMES = 8
"""Frames of the clips that the classifier was trained on: of one motion, or of two."""


def motion_accuracy(clips: npt.ArrayLike, prompts: Sequence[str], recognise: Recognise) -> Array:
    """Compare the motion that a classifier recognises at each frame with the one that the prompt names.

        value_ki = [ recognised motion of the half that frame i is in = its motion in prompt k ]

    In [0, 1], larger is better. Motions last equally long. A clip is cut into parts of one motion each; of two, one for
    each half, where a motion lasts less than the 8 frames of the classifier's training.

    Args:
        clips: Decoded frames.
        prompts: One per clip, in the words of the procedural scenes.
        recognise: The classifier.

    Shape:
        clips uint8 (b f h w c) -> (b f).

    Raises:
        ValueError: Not uint8, wrong shape, or a prompt names no motion, or more than the clip has frames.

    Source: none; the classifier is that of the base.
    """
    array = as_clips(clips)
    right = np.zeros(array.shape[:2])
    by_length: dict[int, list[Part]] = defaultdict(list)
    for clip, prompt in enumerate(prompts):
        for first, end, wanted in _parts(prompt, array.shape[1]):
            by_length[end - first].append((clip, first, end, wanted))
    for length, parts in by_length.items():
        found = recognise(np.stack([array[clip, first:end] for clip, first, end, _ in parts]))
        half = np.arange(length) * 2 // length
        for (clip, first, end, wanted), motions in zip(parts, found, strict=True):
            right[clip, first:end] = (motions == wanted)[half]
    return right


def _parts(prompt: str, frames: int) -> list[tuple[int, int, list[int]]]:
    """Cut a clip into parts of one or two motions: first frame, one past the last, and the motion of each half."""
    motions = [MOTIONS.index(motion) for motion in motions_of(prompt)]
    if not 0 < len(motions) <= frames:
        raise ValueError(f"{prompt!r} names {len(motions)} motions for {frames} frames -> a prompt of data: shapes")
    bounds = [round(place * frames / len(motions)) for place in range(len(motions) + 1)]
    together = 1 if frames >= TRAINED_FRAMES * len(motions) else 2
    ends = [(start, min(start + together, len(motions))) for start in range(0, len(motions), together)]
    return [(bounds[start], bounds[end], [motions[start], motions[end - 1]]) for start, end in ends]
