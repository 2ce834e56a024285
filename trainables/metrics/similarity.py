"""Scores on embeddings of frames and prompts: cosines in float64.

Every score has a value per frame; that of a clip is their mean (``clips.over_frames``).

Legend: ``b`` clips, ``f`` frames, ``d`` features of one embedding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainables.metrics.clips import Array, after_first


def clip_score(frames: npt.ArrayLike, text: npt.ArrayLike) -> Array:
    """Compute the CLIP score: 100 times the cosine of frame and text embeddings.

        value_ki = 100 cos(frames_ki, text_k)

    In [-100, 100], larger is better; negative cosines are not clamped, and CLIP's logit scale is not used. Values from
    different CLIP models are not comparable.

    Shape:
        frames (b f d), text (b d) -> (b f).

    Raises:
        ValueError: Wrong shapes, different numbers of clips or widths, NaN, infinity, or an embedding of zeros.

    Source: Hessel et al. (arXiv 2104.08718); departures: factor 100 instead of 2.5, no clamp at 0, mean over
    frames, as usual for video.
    """
    units = _unit(frames, "frames", ("clips", "frames", "d"))
    prompts = _unit(text, "text", ("clips", "d"))
    if len(units) != len(prompts):
        raise ValueError(f"frames have {len(units)} clips, text has {len(prompts)} prompts -> one prompt per clip")
    if units.shape[2] != prompts.shape[1]:
        raise ValueError(
            f"frames have {units.shape[2]} features, text has {prompts.shape[1]} -> both from the same CLIP model"
        )
    values: Array = 100.0 * np.einsum("bfd,bd->bf", units, prompts)
    return values


def temporal_consistency(frames: npt.ArrayLike) -> Array:
    """Compute the cosine of the embeddings of a frame and the frame before.

        value_ki = cos(frames_k,i-1, frames_ki)

    In [-1, 1], larger is better; 1 for a frozen clip, so interpret it with a motion measure.

    Shape:
        frames (b f d), f at least 2 -> (b f), NaN for the first frame.

    Raises:
        ValueError: Wrong shape, fewer than 2 frames, NaN, infinity, or an embedding of zeros.

    Source: Esser et al. (arXiv 2302.03011), frame consistency; departures: none.
    """
    units = _unit(frames, "frames", ("clips", "frames", "d"), frames_at_least=2)
    cosines = np.einsum("bfd,bfd->bf", units[:, :-1], units[:, 1:])
    return after_first(np.clip(cosines, -1.0, 1.0))


def video_coherence(frames: npt.ArrayLike) -> Array:
    """Compute the mean cosine of the embeddings of a frame and all other frames.

        value_ki = mean over j != i of cos(frames_ki, frames_kj)

    Its mean over the frames is the mean over all pairs. In [-1, 1], larger is better; 1 for a frozen clip. Unlike
    ``temporal_consistency`` it detects slow drift.

    Shape:
        frames (b f d), f at least 2 -> (b f).

    Raises:
        ValueError: Wrong shape, fewer than 2 frames, NaN, infinity, or an embedding of zeros.

    Source: Wu et al. (arXiv 2212.11565), frame consistency over all pairs; departures: none.
    """
    units = _unit(frames, "frames", ("clips", "frames", "d"), frames_at_least=2)
    cosines = np.clip(np.einsum("bfd,bgd->bfg", units, units), -1.0, 1.0)
    others = ~np.eye(units.shape[1], dtype=np.bool_)
    values: Array = cosines.sum(axis=2, where=others) / (units.shape[1] - 1)
    return values


def consistency_with_first(frames: npt.ArrayLike) -> Array:
    """Compute the mean cosine of the embeddings of a frame with the first and with the previous frame.

        value_ki = (max(0, cos(frames_k0, frames_ki)) + max(0, cos(frames_k,i-1, frames_ki))) / 2

    In [0, 1], larger is better; 1 for a frozen clip, so interpret it with a motion measure. It is VBench's subject
    consistency with DINO's features, its background consistency with CLIP's.

    Shape:
        frames (b f d), f at least 2 -> (b f), NaN for the first frame.

    Raises:
        ValueError: Wrong shape, fewer than 2 frames, NaN, infinity, or an embedding of zeros.

    Source: VBench (arXiv 2311.17982), subject_consistency and background_consistency; departures: none here; frames are
    antialiased for CLIP (``extractors.ImageTextExtractor``), and VBench's are not.
    """
    units = _unit(frames, "frames", ("clips", "frames", "d"), frames_at_least=2)
    with_first = np.einsum("bfd,bd->bf", units[:, 1:], units[:, 0])
    with_previous = np.einsum("bfd,bfd->bf", units[:, :-1], units[:, 1:])
    return after_first((np.clip(with_first, 0.0, 1.0) + np.clip(with_previous, 0.0, 1.0)) / 2)


def _unit(x: npt.ArrayLike, name: str, axes: tuple[str, ...], frames_at_least: int = 1) -> Array:
    """Normalise embeddings to length 1, in float64."""
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has the type {array.dtype} -> real numbers, such as float32")
    if array.ndim != len(axes) or 0 in array.shape:
        raise ValueError(f"{name} has the shape {array.shape} -> ({', '.join(axes)}), none of them 0")
    if len(axes) == 3 and array.shape[1] < frames_at_least:
        raise ValueError(
            f"{name} has {array.shape[1]} frame per clip -> at least {frames_at_least} for a score between frames"
        )
    vectors = array.astype(np.float64)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} has NaN or infinity -> remove broken clips")
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    if not largest.all():
        raise ValueError(f"{name} has an embedding of zeros, without a direction -> check the feature extractor")
    vectors = vectors / largest  # so that squares neither overflow nor underflow
    units: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return units
