"""Cosine scores against angles chosen by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.tolerance import bound
from trainables.metrics import similarity
from trainables.metrics.clips import over_frames

Array = np.ndarray[Any, np.dtype[np.float64]]
ROUNDING = bound(torch.float64, 2 * (3 * 17 + 20), size=100)
"""Of both ways to a score of up to 100: lengths, products and means of at most 17 features and 10 pairs of frames."""


def clip_score(frames: Any, text: Any) -> Array:
    return over_frames(similarity.clip_score(frames, text))


def temporal_consistency(frames: Any) -> Array:
    return over_frames(similarity.temporal_consistency(frames))


def video_coherence(frames: Any) -> Array:
    return over_frames(similarity.video_coherence(frames))


def consistency_with_first(frames: Any) -> Array:
    return over_frames(similarity.consistency_with_first(frames))


def at_angles(*degrees: float) -> Array:
    """Vectors in the plane at these angles, with different lengths."""
    radians = np.deg2rad(degrees)
    lengths = np.arange(1, len(degrees) + 1)[:, None]
    return lengths * np.stack([np.cos(radians), np.sin(radians)], axis=-1)


def cosine(degrees: float) -> float:
    return float(np.cos(np.deg2rad(degrees)))


def test_clip_score_is_the_mean_of_cosines_times_100_without_a_clamp() -> None:
    frames = np.stack([at_angles(0, 60, 180), at_angles(180, 180, 180)])
    text = np.stack([at_angles(0)[0] * 7, at_angles(0)[0]])
    score = clip_score(frames, text)
    assert score.dtype == np.float64
    # Renormalising the mean embedding, or clamping at 0, would give other values.
    np.testing.assert_allclose(score, [100 * (1 + 0.5 - 1) / 3, -100], rtol=0, atol=ROUNDING)


def test_clip_score_of_a_single_frame() -> None:
    np.testing.assert_allclose(clip_score(at_angles(60)[None], at_angles(0)), [50], rtol=0, atol=ROUNDING)


def test_consistency_sees_neighbours_and_coherence_all_pairs() -> None:
    frames = np.stack([at_angles(0, 30, 60, 90), at_angles(0, 90, 0, 90)])
    consecutive = [cosine(30), 0.0]
    pairs = [(3 * cosine(30) + 2 * cosine(60) + cosine(90)) / 6, 2 / 6]
    np.testing.assert_allclose(temporal_consistency(frames), consecutive, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(video_coherence(frames), pairs, rtol=0, atol=ROUNDING)
    assert temporal_consistency(frames).dtype == video_coherence(frames).dtype == np.float64


def test_with_two_frames_both_are_one_cosine() -> None:
    frames = at_angles(10, 50)[None]
    np.testing.assert_allclose(temporal_consistency(frames), [cosine(40)], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(video_coherence(frames), [cosine(40)], rtol=0, atol=ROUNDING)


def test_a_frozen_clip_scores_one() -> None:
    frames = np.repeat(np.random.default_rng(0).standard_normal((3, 1, 17)), 5, axis=1)
    np.testing.assert_allclose(temporal_consistency(frames), 1, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(video_coherence(frames), 1, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(consistency_with_first(frames), 1, rtol=0, atol=ROUNDING)
    assert temporal_consistency(frames).max() <= 1


def test_consistency_with_the_first_frame_is_the_published_loop() -> None:
    frames = np.random.default_rng(0).standard_normal((3, 5, 17)) + np.linspace(-1, 1, 5)[:, None]
    expected = []
    for clip in torch.from_numpy(frames):  # VBench's subject_consistency.py
        similarity_sum, former, first = 0.0, clip[:1], clip[:1]
        for image in clip[1:].split(1):
            with_former = max(0.0, torch.cosine_similarity(former, image).item())
            with_first = max(0.0, torch.cosine_similarity(first, image).item())
            similarity_sum += (with_former + with_first) / 2
            former = image
        expected.append(similarity_sum / (len(clip) - 1))
    np.testing.assert_allclose(consistency_with_first(frames), expected, rtol=0, atol=ROUNDING)


def test_consistency_with_the_first_frame_sees_drift_and_counts_opposites_as_zero() -> None:
    frames = np.stack([at_angles(0, 30, 60, 90), at_angles(0, 180, 0, 180)])
    with_first = (cosine(30) + cosine(60) + cosine(90)) / 3
    by_hand = [(with_first + cosine(30)) / 2, 1 / 6]
    np.testing.assert_allclose(consistency_with_first(frames), by_hand, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    "score", [similarity.temporal_consistency, similarity.video_coherence, similarity.consistency_with_first]
)
def test_a_value_per_frame(score: Callable[[Any], Array]) -> None:
    frames = np.random.default_rng(0).standard_normal((2, 6, 8))
    by_frame = score(frames)
    assert by_frame.shape == (2, 6)
    known = ~np.isnan(by_frame)
    assert known[:, 1:].all()
    assert known[:, 0].all() == (score is similarity.video_coherence)
    # The values of a clip's first frames do not depend on those after, except where all pairs count.
    if score is not similarity.video_coherence:
        np.testing.assert_array_equal(score(frames[:, :4]), by_frame[:, :4])


def test_order_matters_to_consistency_only() -> None:
    frames = at_angles(0, 30, 60, 90)[None]
    shuffled = frames[:, [0, 2, 1, 3]]
    assert temporal_consistency(shuffled)[0] < temporal_consistency(frames)[0]
    np.testing.assert_allclose(video_coherence(shuffled), video_coherence(frames), rtol=0, atol=ROUNDING)


def test_length_does_not_matter_even_where_squares_leave_the_range() -> None:
    frames, text = at_angles(0, 30, 60)[None], at_angles(20)
    for scale in (1e-200, 1e-3, 1e200):
        np.testing.assert_allclose(clip_score(frames * scale, text), clip_score(frames, text), rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(video_coherence(frames * scale), video_coherence(frames), rtol=0, atol=ROUNDING)


def test_computed_in_double_precision_whatever_comes_in() -> None:
    frames = np.random.default_rng(0).standard_normal((2, 4, 8)).astype(np.float16)
    np.testing.assert_array_equal(temporal_consistency(frames), temporal_consistency(frames.astype(np.float64)))


@pytest.mark.parametrize("score", [temporal_consistency, video_coherence, consistency_with_first])
@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.ones((2, 1, 4)), "at least 2"),
        (np.ones((2, 4)), "shape .* -> "),
        (np.ones((0, 3, 4)), "shape .* -> "),
        (np.ones((2, 3, 0)), "shape .* -> "),
        (np.zeros((2, 3, 4)), "zeros"),
        (np.full((2, 3, 4), np.inf), "NaN or infinity"),
        (np.ones((2, 3, 4), dtype=complex), "real numbers"),
    ],
)
def test_scores_between_frames_refuse(score: Callable[[Any], Array], frames: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(frames)


@pytest.mark.parametrize(
    ("frames", "text", "message"),
    [
        (np.ones((2, 3, 4)), np.ones((3, 4)), "one prompt per clip"),
        (np.ones((2, 3, 4)), np.ones((2, 5)), "same CLIP model"),
        (np.ones((2, 3, 4)), np.ones((2, 3, 4)), "shape .* -> "),
        (np.ones((2, 4)), np.ones((2, 4)), "shape .* -> "),
        (np.ones((2, 3, 4)), np.zeros((2, 4)), "zeros"),
        (np.ones((2, 3, 4)), np.full((2, 4), np.nan), "NaN"),
        (np.ones((2, 0, 4)), np.ones((2, 4)), "shape .* -> "),
    ],
)
def test_clip_score_refuses(frames: Any, text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_score(frames, text)
