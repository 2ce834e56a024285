"""Step-down max-T: against enumeration, its smallest value, its power beside Holm's, and its error."""

import itertools
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.results.pairing import Pairs
from sweeps.results.pairing import family as align
from sweeps.statistics.bootstrap import bootstrap_t
from sweeps.statistics.max_t import max_t
from sweeps.statistics.paired import ALPHA, EXACT_PAIRS, FLIPS, holm, paired_difference, smallest_p

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)
Families = st.tuples(st.integers(1, 5), st.integers(2, 7), st.integers(0, 10**6))


def family(arms: int, units: int, seed: int, effect: float = 0.5) -> Matrix:
    """Differences of arms that share a control."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(arms, units)) - rng.normal(size=units)) / sqrt(2) + effect


def enumerated(d: Matrix) -> list[float]:
    """Corrected p-values by Student's t of every sign pattern."""
    observed = np.abs(stats.ttest_1samp(d, 0, axis=1).statistic)
    patterns = np.array(list(itertools.product((1, -1), repeat=d.shape[1])))
    t = np.abs([stats.ttest_1samp(d * signs, 0, axis=1).statistic for signs in patterns])
    order, corrected, largest = np.argsort(-observed), [0.0] * len(d), 0.0
    for rank, arm in enumerate(order):
        extreme = t[:, order[rank:]].max(axis=1) >= observed[arm] * (1 - 1e-9)
        largest = max(largest, float(extreme.mean()))
        corrected[arm] = largest
    return corrected


@quick
@given(Families)
def test_it_is_what_enumeration_gives(shape: tuple[int, int, int]) -> None:
    d = family(*shape)
    assert max_t(d) == pytest.approx(enumerated(d), abs=1e-12)


@quick
@given(st.integers(2, 20), st.integers(0, 10**6))
def test_for_one_arm_it_is_the_sign_flip_test(units: int, seed: int) -> None:
    d = family(1, units, seed)
    assert max_t(d) == [paired_difference(d[0].tolist(), [0.0] * units).p_value]


@pytest.mark.parametrize("arms", [1, 6, 40])
def test_the_smallest_value_does_not_depend_on_the_number_of_arms(arms: int) -> None:
    d = 1 + 0.1 * family(arms, 8, 0, 0)
    assert max_t(d) == [smallest_p(8)] * arms


@quick
@given(Families, st.floats(1e-6, 1e6))
def test_units_of_measure_and_the_order_of_arms_do_not_count(shape: tuple[int, int, int], factor: float) -> None:
    d = family(*shape)
    scaled = d * np.where(np.arange(len(d)) % 2, factor, 1.0)[:, None]
    assert max_t(scaled, [1e-12 * abs(row).sum() for row in scaled]) == pytest.approx(max_t(d), abs=1e-12)
    assert max_t(-d[::-1]) == pytest.approx(max_t(d)[::-1], abs=1e-12)


@quick
@given(Families)
def test_a_value_is_between_that_of_the_arm_alone_and_holms(shape: tuple[int, int, int]) -> None:
    """Arms that share a control depend on each other, which Holm's correction does not know."""
    d = family(*shape)
    alone = [max_t([row])[0] for row in d]
    corrected = max_t(d)
    assert all(one <= p + 1e-12 for one, p in zip(alone, corrected, strict=True))
    assert max(corrected) <= min(1.0, len(d) * max(alone)) + 1e-12


def test_arms_with_missing_pairs_are_compared_by_their_t() -> None:
    d = family(3, 7, 3)
    d[1, 5:] = np.nan
    signs = np.array(list(itertools.product((1, -1), repeat=7)))

    def t(values: Matrix) -> list[float]:
        return [abs(stats.ttest_1samp(row[~np.isnan(row)], 0).statistic) for row in values]

    observed, flipped = np.array(t(d)), np.array([t(d * e) for e in signs])
    first = int(np.argmax(observed))
    assert max_t(d)[first] == pytest.approx(float((flipped.max(axis=1) >= observed[first] * (1 - 1e-9)).mean()))


def test_ties_within_rounding_count() -> None:
    rough = [[0.1 + 0.2 - 0.3, 0.3 - 0.1 - 0.2, 1e-17, -1e-17]]
    assert max_t(rough, [1e-15]) == [1.0]
    assert max_t([[0.0] * 5, [1.0] * 5]) == [1.0, smallest_p(5)]


@pytest.mark.parametrize("noise", [1.2e-13, -1.2e-13])
def test_an_arm_that_differs_by_rounding_alone_takes_nothing_from_the_others(noise: float) -> None:
    """One ulp of 1,000 at one unit."""
    units, control = tuple(range(8)), [1000.0] * 8
    real = Pairs(units, [1001.0, 1001.2, 1000.9, 1001.1, 1001.0, 1000.8, 1001.3, 1001.1], control)
    inert = Pairs(units, [1000.0 + noise * (unit == 3) for unit in units], control)
    assert inert.arm != control
    together = align([real, inert])
    assert max_t(together.differences, together.rounding) == [smallest_p(8), 1.0]
    assert bootstrap_t(together.differences)[1] == 1.0
    own = max_t([[*real.differences.values()], [1.0, -1.0] * 4], [0.0, 10.0])
    assert own[0] <= 2 * smallest_p(8), "ties are an arm's own"


def test_an_arm_with_one_pair_has_no_evidence() -> None:
    assert max_t([[1.0, np.nan, np.nan], [1.0, 1.0, 1.0]]) == [1.0, smallest_p(3)]
    assert max_t([]) == []
    with pytest.raises(ValueError, match="finite"):
        max_t([[np.inf, 1.0]])


def test_above_16_units_patterns_are_drawn() -> None:
    d = family(3, EXACT_PAIRS + 4, 0, 3)
    assert max_t(d) == [1 / (FLIPS + 1)] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "arms", "effect", "of_holm", "of_max_t"),
    [(6, 3, 2, 0, 0.67), (6, 6, 2, 0, 0.55), (6, 12, 2, 0, 0.45), (8, 6, 1.5, 0.57, 0.72), (8, 12, 1.5, 0, 0.63)],
)
def test_power_and_error(units: int, arms: int, effect: float, of_holm: float, of_max_t: float) -> None:
    """Half of the arms have an effect, in standard deviations of the differences; power is the share of these found."""
    studies, real = 400, arms // 2
    found, wrong = np.zeros(2), 0
    for study in range(studies):
        d = family(arms, units, study, 0.0)
        d[:real] += effect
        singles = [paired_difference(row.tolist(), [0.0] * units).p_value for row in d]
        corrected = max_t(d)
        found += [np.mean([p <= ALPHA for p in ps[:real]]) for ps in (holm(singles), corrected)]
        wrong += min(corrected[real:]) <= ALPHA
    power = found / studies
    print(f"{units} units, {arms} arms: Holm {power[0]:.2f}, max-T {power[1]:.2f}; error {wrong / studies:.3f}")
    assert power == pytest.approx([of_holm, of_max_t], abs=3 * sqrt(0.25 / studies))
    assert wrong / studies <= ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / studies)
