"""The studentised bootstrap, against resampling one sample at a time."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.statistics.bootstrap import SAMPLES, _counts, bootstrap_p, bootstrap_t

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def t(values: Matrix, mean: float) -> float:
    spread = values.std(ddof=1)
    return float(abs(values.mean() - mean) / (spread / sqrt(len(values)))) if spread > 1e-9 else np.inf


def resampled(d: Matrix) -> list[float]:
    """Corrected p-values from the samples themselves."""
    counts = _counts(d.shape[1]).astype(int).T
    observed = np.array([t(row, 0.0) for row in d])
    drawn = np.array([[t(np.repeat(row, count), row.mean()) for row in d] for count in counts])
    order, corrected, largest = np.argsort(-observed), [0.0] * len(d), 0.0
    for rank, arm in enumerate(order):
        extreme = drawn[:, order[rank:]].max(axis=1) >= observed[arm] * (1 - 1e-12)
        largest = max(largest, (extreme.sum() + 1) / (SAMPLES + 1))
        corrected[arm] = largest
    return corrected


@pytest.mark.parametrize(("arms", "units"), [(1, 6), (3, 9)])
def test_it_is_what_resampling_gives(arms: int, units: int) -> None:
    d = np.random.default_rng([arms, units]).exponential(size=(arms, units)) - 0.7
    assert bootstrap_t(d) == pytest.approx(resampled(d), abs=2 / SAMPLES)


@settings(deadline=None, max_examples=20, derandomize=True, database=None)
@given(st.integers(2, 20), st.integers(0, 10**6), st.floats(1e-6, 1e6))
def test_side_and_unit_of_measure_do_not_count(units: int, seed: int, factor: float) -> None:
    d = np.random.default_rng(seed).normal(size=(2, units)) + 0.3
    assert bootstrap_t(-factor * d) == pytest.approx(bootstrap_t(d), abs=2 / SAMPLES)


def test_without_correction_each_arm_is_by_itself() -> None:
    d = np.random.default_rng(3).normal(size=(4, 9)) + 0.4
    assert bootstrap_p(d) == [bootstrap_t([row])[0] for row in d]


def test_what_has_no_evidence() -> None:
    assert bootstrap_t([]) == []
    assert bootstrap_t([[0.0] * 6]) == [1.0]
    assert bootstrap_t([[1.0, np.nan, np.nan], [1.0, 1.1, 0.9]])[0] == 1.0
    assert bootstrap_t([[1.0] * 8]) == [1.0], "a sample without spread is extreme, and so is every other one"


def test_a_missing_pair_is_left_out() -> None:
    d = np.random.default_rng(5).normal(size=(1, 9)) + 1
    with_gap = np.concatenate([d, [[np.nan]]], axis=1)
    assert bootstrap_t(with_gap) == pytest.approx(bootstrap_t(d), abs=0.02)
