"""Means with errors from several sources: against closed forms, and each source by itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics.combined import (
    CombinedMean,
    Error,
    over_draws,
    over_repeats,
    smallest_difference_of_searches,
    within_arm,
)
from sweeps.statistics.paired import Difference, mean_interval
from tests.tolerance import bound

VALUES = [0.3, -0.1, 0.8, 0.4, 0.25]
EXACT = 1e-12
"""Relative: a chain of some hundred operations, and a quantile that is inverted to the last digits."""


def test_one_error_gives_the_t_interval_and_the_t_test() -> None:
    mean = CombinedMean(math.fsum(VALUES) / 5, (Error.of(VALUES),))
    assert mean.interval() == pytest.approx(mean_interval(VALUES), rel=EXACT)
    # The root is found to 2e-12, the tolerance of scipy's brentq.
    assert mean.p_value == pytest.approx(stats.ttest_1samp(VALUES, 0).pvalue, abs=4e-12)


def test_squares_of_half_widths_are_added() -> None:
    mean = CombinedMean(1.0, (Error(0.3, 2), Error(0.4, 7)))
    halves = stats.t.isf(0.025, 2) * 0.3, stats.t.isf(0.025, 7) * 0.4
    _, low, high = mean.interval()
    assert (high - low) / 2 == pytest.approx(math.hypot(*halves), rel=EXACT)


@given(st.floats(-5, 5), st.floats(0.01, 2), st.floats(0, 2), st.integers(1, 9))
def test_the_interval_of_level_p_ends_at_zero(mean: float, size: float, other: float, freedom: int) -> None:
    found = CombinedMean(mean, (Error(size, freedom), Error(other, 7)))
    if 1e-6 < found.p_value < 1 - 1e-6:
        assert found.half(found.p_value) == pytest.approx(abs(mean), rel=1e-5)  # p is known to 2e-12, which is 2e-6 p
    assert (found.p_value <= 0.05) == (found.half(0.05) <= abs(mean))


def test_without_any_error_a_difference_is_certain_and_none_is_none() -> None:
    assert CombinedMean(0.0, (Error(0.0, 2),)).p_value == 1
    assert CombinedMean(0.1, (Error(0.0, 2),)).p_value == 0


def test_equivalence_is_an_interval_within_the_margin() -> None:
    mean = CombinedMean(0.1, (Error(0.05, 4),))
    edge = 0.1 + stats.t.isf(0.05, 4) * 0.05
    assert mean.is_within(edge * 1.001)
    assert not mean.is_within(edge * 0.999)


def test_the_luck_of_both_searches_and_the_units_are_in_the_error() -> None:
    arm = np.array([[1.0, 2.0, 4.0], [2.0, 2.5, 3.0], [0.0, 1.0, 5.0]])
    control = np.array([[0.5, 1.0, 2.0], [1.5, 1.5, 3.0]])
    found = over_repeats(arm, control)
    assert found.mean == pytest.approx(arm.mean() - control.mean(), rel=EXACT)
    expected = [stats.sem(arm.mean(axis=1)), stats.sem(control.mean(axis=1)), stats.sem(arm.mean(0) - control.mean(0))]
    assert [error.size for error in found.errors] == pytest.approx(expected, rel=EXACT)
    assert [error.freedom for error in found.errors] == [2, 1, 2]


def test_an_untuned_arm_has_no_luck() -> None:
    found = over_repeats([[1.0, 2.0, 4.0]], [[0.5, 1.0, 2.0]])
    assert [error.freedom for error in found.errors] == [2]
    assert found.p_value == pytest.approx(stats.ttest_rel([1, 2, 4], [0.5, 1, 2]).pvalue, abs=4e-12)
    assert [error.freedom for error in within_arm([[1.0, 2.0, 4.0], [1.0, 3.0, 4.0]]).errors] == [1, 2]


def test_what_all_runs_of_a_seed_share_cancels() -> None:
    rng = np.random.default_rng(0)
    arm, control, seeds = rng.normal(size=(3, 8)), rng.normal(size=(3, 8)), 1000 * rng.normal(size=8)
    plain, shifted = over_repeats(arm, control), over_repeats(arm + seeds, control + seeds)
    rounded = bound(torch.float64, 4 * arm.size, 1000 * float(np.abs(seeds).max()))
    assert shifted.half(0.05) == pytest.approx(plain.half(0.05), abs=stats.t.isf(0.025, 2) * rounded)


@pytest.mark.parametrize(
    ("arm", "control"),
    [
        ([[1.0]], [[2.0]]),
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]]),
        ([1.0, 2.0], [1.0, 2.0]),
        ([[1.0, math.nan]], [[1.0, 2.0]]),
    ],
)
def test_values_that_do_not_match_are_refused(arm: list[list[float]], control: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="values must be finite|rows of the same"):
        over_repeats(arm, control)


def test_drawn_orders_widen_an_interval() -> None:
    plain = Difference(1.0, 0.4, 1.6, 6, 0.03, 0.03)
    assert over_draws(plain, [1.0, 1.0, 1.0]) == pytest.approx(plain, rel=1e-9)
    wide = over_draws(plain, [0.5, 1.0, 1.5])
    half = math.hypot(0.6, stats.t.isf(0.025, 2) * 0.5 / math.sqrt(3))
    assert (wide.low, wide.high) == pytest.approx((1 - half, 1 + half), rel=EXACT)
    assert wide.p_value > plain.p_value


@pytest.mark.parametrize(("repeats", "expected"), [(2, 12.7), (3, 3.5), (5, 1.8), (10, 1.0)])
def test_what_so_many_searches_can_show(repeats: int, expected: float) -> None:
    assert smallest_difference_of_searches(repeats) == pytest.approx(expected, abs=0.05)  # one decimal is documented
