import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics import paired_difference, smallest_p, standard_deviation

Pairs = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=20)


@given(Pairs, st.floats(0.5, 0.999))
def test_interval_is_scipys(pairs: list[tuple[float, float]], confidence: float) -> None:
    arm, control = zip(*pairs, strict=True)
    differences = np.subtract(arm, control)
    found = paired_difference(arm, control, confidence)
    assert found.difference == pytest.approx(differences.mean(), abs=1e-9)
    spread = stats.sem(differences)
    if spread > 1e-9:
        low, high = stats.t.interval(confidence, len(arm) - 1, differences.mean(), spread)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


@given(Pairs)
def test_swapping_arms_mirrors_the_interval(pairs: list[tuple[float, float]]) -> None:
    arm, control = zip(*pairs, strict=True)
    one, other = paired_difference(arm, control), paired_difference(control, arm)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low), abs=1e-9)


def test_pairing_removes_what_both_share() -> None:
    shared = np.random.default_rng(0).normal(0, 100, 10)
    found = paired_difference(list(shared + 1), list(shared))
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(1)


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    covered = [
        low <= 0.3 <= high
        for _ in range(1000)
        for _, low, high, _ in [paired_difference(list(rng.normal(0.3, 1, 6)), [0.0] * 6)]
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_one_pair_has_a_difference_and_no_interval() -> None:
    found = paired_difference([2.0], [1.5])
    assert found.difference == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize(
    ("arm", "control", "confidence"),
    [
        ([], [], 0.95),
        ([1.0], [1.0, 2.0], 0.95),
        ([math.nan], [1.0], 0.95),
        ([1.0], [math.inf], 0.95),
        ([1.0], [1.0], 1),
    ],
)
def test_refuses(arm: list[float], control: list[float], confidence: float) -> None:
    with pytest.raises(ValueError, match="must|need"):
        paired_difference(arm, control, confidence)


def test_standard_deviation_is_the_samples() -> None:
    assert standard_deviation([1.0, 2.0, 4.0]) == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert math.isnan(standard_deviation([1.0]))


def test_smallest_p() -> None:
    assert [smallest_p(n) for n in (1, 2, 3, 6, 16)] == [1.0, 0.5, 0.25, 0.03125, 2**-15]
