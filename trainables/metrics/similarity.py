"""Scores on embeddings of frames and prompts: cosines, averaged per clip, in float64.

Legend: ``b`` clips, ``f`` frames, ``d`` features of one embedding.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]


def clip_score(frames: npt.ArrayLike, text: npt.ArrayLike) -> Array:
    """How well a clip's frames match its prompt: 100 times the mean cosine of frame and text embeddings.

        score_k = 100 mean_f cos(frames_kf, text_k)

    In [-100, 100], larger is better; negative cosines count as they are, without a clamp, and CLIP's logit scale is not
    used. Values from different CLIP models do not compare.

    Shape:
        frames (b f d), text (b d) -> (b,).

    Raises:
        ValueError: Wrong shapes, different numbers of clips or widths, NaN, infinity, or an embedding of zeros.

    Source: Hessel et al. (arXiv 2104.08718); departures: 100 in place of 2.5, no clamp at 0, mean over frames, as
    papers on video print it.
    """
    units = _unit(frames, "frames", ("clips", "frames", "d"))
    prompts = _unit(text, "text", ("clips", "d"))
    if len(units) != len(prompts):
        raise ValueError(f"frames hold {len(units)} clips and text {len(prompts)} prompts: give one prompt per clip")
    if units.shape[2] != prompts.shape[1]:
        raise ValueError(
            f"frames have {units.shape[2]} features and text has {prompts.shape[1]}: take both from the same CLIP model"
        )
    score: Array = 100.0 * np.einsum("bfd,bd->bf", units, prompts).mean(axis=1)
    return score


def temporal_consistency(frames: npt.ArrayLike) -> Array:
    """How alike consecutive frames of a clip are: the mean cosine of their embeddings.

        score_k = mean over i of cos(frames_ki, frames_k,i+1)

    In [-1, 1], larger is better; a frozen clip scores 1, so read it beside a motion measure.

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
    """How alike all frames of a clip are: the mean cosine over all pairs of frames.

        score_k = mean over i < j of cos(frames_ki, frames_kj)

    In [-1, 1], larger is better. Unlike ``temporal_consistency`` it sees slow drift; it too is 1 for a frozen clip.

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
    """The embeddings in float64, each of length 1."""
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has the type {array.dtype}; embeddings are real numbers, such as float32")
    if array.ndim != len(axes) or 0 in array.shape:
        raise ValueError(f"{name} has the shape {array.shape}; it must be ({', '.join(axes)}), none of them 0")
    if len(axes) == 3 and array.shape[1] < frames_at_least:
        raise ValueError(
            f"{name} has {array.shape[1]} frame per clip: a score between frames needs at least {frames_at_least}"
        )
    vectors = array.astype(np.float64)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} holds NaN or infinity: look for broken clips before scoring")
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    if not largest.all():
        raise ValueError(f"{name} holds an embedding of zeros, which has no direction: look at the feature extractor")
    vectors = vectors / largest  # so that squares neither overflow nor vanish
    units: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return units


def _mean_cosine(cosines: Array) -> Array:
    """Mean over the second axis, kept within the bounds of a cosine, beyond which only rounding lies."""
    mean: Array = np.clip(cosines, -1.0, 1.0).mean(axis=1)
    return mean
