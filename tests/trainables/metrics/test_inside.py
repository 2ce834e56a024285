"""Metrics of what a model reads and makes before it samples."""

import numpy as np
import pytest

from trainables.metrics.inside import Inside, chance, frame_labels, phase_labels, probe, state_accuracy

ORACLE = "; ".join(["a large red circle drops"] * 4 + ["a small red circle stays"] * 4)


def inside(*states: list[str]) -> Inside:
    return Inside(states, [ORACLE] * len(states))


def test_states_of_the_true_frames_are_right() -> None:
    true = inside(ORACLE.split("; "), ["a large red circle drops", "a small red circle stays"])
    assert np.array_equal(state_accuracy(true, 8), np.ones((2, 8)))


def test_each_wrong_word_counts_at_its_frames() -> None:
    said = inside(["a large red circle drops", "a large green circle stays"], ["the circle, which is RED, drops"], [])
    right = state_accuracy(said, 9)
    assert right[0].tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert right[1].tolist() == [0.75] * 4 + [0.5] * 5, "no size; the motion ends"
    assert right[2].tolist() == [0] * 9, "without states nothing is right"
    assert state_accuracy(said, 9, "colour")[0].tolist() == [1] * 4 + [0] * 5
    assert state_accuracy(said, 9, "motion")[1].tolist() == [1] * 4 + [0] * 5


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    clips, frames = 20, 8
    labels = frame_labels(inside(*[[]] * clips), frames)
    known = rng.normal(size=(frames, 5)) + 0.01 * rng.normal(size=(clips, frames, 5))
    mixed = known @ rng.normal(size=(5, 12))
    assert probe(mixed.astype(np.float32), labels).mean() == 1
    noise = rng.normal(size=(clips, frames, 12)).astype(np.float32)
    share = probe(noise, labels).mean()
    error = (chance(labels) * (1 - chance(labels)) / (clips * frames)) ** 0.5
    assert abs(share - chance(labels)) < 5 * error
    assert probe(np.zeros((clips, frames, 1), np.float32), labels).mean() == pytest.approx(chance(labels))


def test_a_probe_reads_a_small_signal_beside_what_differs_between_clips() -> None:
    rng = np.random.default_rng(0)
    clips, frames, dim = 20, 4, 12
    between, small = rng.normal(size=(3, dim)), 0.02 * rng.normal(size=(frames, dim))
    features = (rng.normal(size=(clips, 1, 3)) @ between + small).astype(np.float32)
    assert probe(features, frame_labels(inside(*[[]] * clips), frames)).mean() > 0.95


def test_a_probe_is_tested_on_clips_it_has_not_seen() -> None:
    """A feature that names the clip, and a label that differs between clips, cannot be read on a new clip."""
    clips = 10
    features = np.eye(clips, dtype=np.float32)[:, None].repeat(4, axis=1)
    assert probe(features, [[clip] * 4 for clip in range(clips)]).mean() == 0


def test_labels() -> None:
    one = inside([])
    assert frame_labels(one, 3) == [[0, 1, 2]]
    assert phase_labels(one, 8) == [["drops"] * 4 + ["stays"] * 4]
    assert chance(phase_labels(one, 8)) == 0.5
