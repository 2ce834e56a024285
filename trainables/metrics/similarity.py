"""Scores on embeddings of frames and prompts: cosines, averaged per clip, in float64.

Legend: ``b`` clips, ``f`` frames, ``d`` features of one embedding.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]


def clip_score(frames: npt.ArrayLike, text: npt.ArrayLike) -> Array:
    """Compute the CLIP score: 100 times the mean cosine of frame and text embeddings.

        score_k = 100 mean_f cos(frames_kf, text_k)

    In [-100, 100], larger is better; negative cosines are not clamped, and CLIP's logit scale is not used. Values from
    different CLIP models are not comparable.

    Shape:
        frames (b f d), text (b d) -> (b,).

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
    score: Array = 100.0 * np.einsum("bfd,bd->bf", units, prompts).mean(axis=1)
    return score


def temporal_consistency(frames: npt.ArrayLike) -> Array:
    """Compute the mean cosine of the embeddings of consecutive frames.

        score_k = mean over i of cos(frames_ki, frames_k,i+1)

    In [-1, 1], larger is better; 1 for a frozen clip, so interpret it with a motion measure.

    Shape:
        frames (b f d), f at least 2 -> (b,).

    Raises:
        ValueError: Wrong shape, fewer than 2 frames, NaN, infinity, or an embedding of zeros.

    Source: Esser et al. (arXiv 2302.03011), frame consistency; departures: none.
    """
    units = _unit(frames, "frames", ("clips", "frames", "d"), frames_at_least=2)
    cosines = np.einsum("bfd,bfd->bf", units[:, :-1], units[:, 1:])
    return _mean_cosine(cosines)


def video_coherence(frames: npt.ArrayLike) -> Array:
    """Compute the mean cosine of the embeddings over all pairs of frames.

        score_k = mean over i < j of cos(frames_ki, frames_kj)

    In [-1, 1], larger is better; 1 for a frozen clip. Unlike ``temporal_consistency`` it detects slow drift.

    Shape:
        frames (b f d), f at least 2 -> (b,).

    Raises:
        ValueError: Wrong shape, fewer than 2 frames, NaN, infinity, or an embedding of zeros.

    Source: Wu et al. (arXiv 2212.11565), frame consistency over all pairs; departures: none.
    """
    units = _unit(frames, "frames", ("clips", "frames", "d"), frames_at_least=2)
    first, second = np.triu_indices(units.shape[1], k=1)
    cosines = np.einsum("bfd,bgd->bfg", units, units)[:, first, second]
    return _mean_cosine(cosines)


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


def _mean_cosine(cosines: Array) -> Array:
    """Average over the second axis, after clipping rounding errors to [-1, 1]."""
    mean: Array = np.clip(cosines, -1.0, 1.0).mean(axis=1)
    return mean
