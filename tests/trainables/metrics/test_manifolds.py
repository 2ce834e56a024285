"""Precision, recall and the Vendi score against sets made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tolerance import bound
from trainables.metrics.manifolds import precision, recall, vendi_score

LINE = np.arange(8.0)[:, None]
"""Points 1 apart: the third neighbour of an inner one is 2 away, of an outer one 3, of the ones beside those 2."""


def test_points_are_near_within_the_distance_of_the_third_neighbour() -> None:
    generated = np.array([[3.5], [-3.0], [-3.001], [10.0], [10.5]])
    assert precision(LINE, generated) == 3 / 5
    assert precision(LINE, LINE) == recall(LINE, LINE) == 1


def test_recall_is_precision_of_the_real_clips() -> None:
    half = np.arange(4.0)[:, None]
    assert precision(LINE, half) == 1
    # The balls around 0, 1, 2, 3 have the radii 3, 2, 2, 3: they reach up to 6.
    assert recall(LINE, half) == 7 / 8
    assert recall(LINE, half) == precision(half, LINE)


def test_one_clip_repeated_is_precise_and_recalls_little() -> None:
    one = np.full((5, 1), 4.0)
    assert precision(LINE, one) == 1
    assert recall(LINE, one) == 1 / 8


def test_four_clips_at_least_have_neighbours() -> None:
    with pytest.raises(ValueError, match="3 clips have no 3 neighbours each -> at least 4"):
        precision(LINE[:3], LINE)
    with pytest.raises(ValueError, match="at least 4"):
        recall(LINE, LINE[:3])
    with pytest.raises(ValueError, match="same feature extractor"):
        recall(LINE, np.zeros((5, 2)))


def test_the_vendi_score_is_the_number_of_different_clips() -> None:
    rounding = bound(torch.float64, 6 * 6, 6)
    assert vendi_score(LINE, np.eye(6)) == pytest.approx(6, rel=0, abs=rounding)
    assert vendi_score(LINE, np.eye(6)[:1].repeat(6, axis=0)) == pytest.approx(1, rel=0, abs=rounding)
    assert vendi_score(LINE, np.eye(6)[:2].repeat(3, axis=0) * 7) == pytest.approx(2, rel=0, abs=rounding)


def test_the_vendi_score_is_the_entropy_of_the_kernels_eigenvalues() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 5))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(units @ units.T / 12)
    values = values[values > 1e-12]
    # An eigenvalue of 0 comes out as large as rounding.
    assert vendi_score(LINE, rows) == pytest.approx(np.exp(-np.sum(values * np.log(values))), rel=1e-9)
    with pytest.raises(ValueError, match="features of zeros"):
        vendi_score(LINE, np.zeros((3, 2)))
