import math
import time
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics.paired import (
    FLIPS,
    holm,
    mean_interval,
    paired_difference,
    pairing_correlation,
    smallest_p,
    standard_deviation,
)
from sweeps.statistics.verdicts import equivalent

Pairs = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=20)
Whole = st.integers(-8, 8).map(float)  # sums of these are exact, and often tied
WholePairs = st.lists(st.tuples(Whole, Whole), min_size=1, max_size=9)
Ps = st.lists(st.floats(0, 1), min_size=1, max_size=12)
quick = settings(max_examples=50, deadline=None, derandomize=True, database=None)

# ----------------------------------------------------------------------------------------------------------- intervals


@quick
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


def test_interval_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    arm, control = rng.normal(0.4, 1, 7).tolist(), rng.normal(0, 1, 7).tolist()
    low, high = stats.ttest_rel(arm, control).confidence_interval(0.9)
    found = paired_difference(arm, control, 0.9)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_interval_of_a_mean() -> None:
    # t of 0.975 with 2 degrees of freedom is 4.302653; the sd of 1, 2, 4 is sqrt(7/3).
    half = 4.302653 * math.sqrt(7 / 3) / math.sqrt(3)
    assert mean_interval([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, 7 / 3 - half, 7 / 3 + half), rel=1e-6)
    assert mean_interval([2.0])[0] == 2.0
    assert all(map(math.isnan, mean_interval([2.0])[1:]))
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])


@quick
@given(Pairs)
def test_swapping_arms_mirrors_the_interval(pairs: list[tuple[float, float]]) -> None:
    arm, control = zip(*pairs, strict=True)
    one, other = paired_difference(arm, control), paired_difference(control, arm)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low), abs=1e-9)
    assert one.p_value == other.p_value


def test_pairing_removes_what_both_share() -> None:
    shared = np.random.default_rng(0).normal(0, 100, 10)
    found = paired_difference(list(shared + 1), list(shared))
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(1)


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    found = [paired_difference(list(rng.normal(0.3, 1, 6)), [0.0] * 6) for _ in range(1000)]
    assert 0.93 <= np.mean([one.low <= 0.3 <= one.high for one in found]) <= 0.97


def test_one_pair_has_a_difference_and_nothing_more() -> None:
    found = paired_difference([2.0], [1.5])
    assert (found.difference, found.n, found.p_value, found.smallest_p) == (0.5, 1, 1.0, 1.0)
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


# ---------------------------------------------------------------------------------------------------------- sign flips


def scipys_p(differences: list[float]) -> float:
    """The same test as scipy does it: all patterns of signs of the differences, two-sided."""
    found = stats.permutation_test(
        (np.asarray(differences),), lambda x: abs(x.sum()), permutation_type="samples", alternative="greater"
    )
    return float(found.pvalue)


@quick
@given(WholePairs)
def test_p_is_scipys(pairs: list[tuple[float, float]]) -> None:
    assume(len(pairs) > 1)
    arm, control = zip(*pairs, strict=True)
    assert paired_difference(arm, control).p_value == pytest.approx(scipys_p(list(np.subtract(arm, control))))


@quick
@given(st.permutations(range(1, 9)), st.lists(st.booleans(), min_size=8, max_size=8))
def test_on_ranks_it_is_the_signed_rank_test(ranks: list[int], signs: list[bool]) -> None:
    differences = [float(rank if up else -rank) for rank, up in zip(ranks, signs, strict=True)]
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert paired_difference(differences, [0.0] * 8).p_value == pytest.approx(expected)


def test_closed_forms() -> None:
    # 1, 2, 3, -1 sum to 5: above in size are the 2 patterns of sum 7, and two more pairs of patterns have 5.
    assert paired_difference([1.0, 2.0, 3.0, -1.0], [0.0] * 4).p_value == 6 / 16
    assert paired_difference([5.0, 5.0, 5.0], [1.0, 2.0, 3.0]).p_value == 2 / 8
    # Equal sizes: the sign test. P(|B - 8| >= 5) for 16 coins.
    expected = 2 * stats.binom.cdf(3, 16, 0.5)
    assert paired_difference([1.0] * 13 + [-1.0] * 3, [0.0] * 16).p_value == pytest.approx(expected)


def test_ties_count_although_decimals_do_not_add_up() -> None:
    # Differences of 0.1, 0.2 and -0.3, up to rounding: every pattern with |sum| >= 0 counts.
    assert paired_difference([0.9 + 0.1, 0.7 + 0.2, 0.9], [0.9, 0.7, 0.9 + 0.3]).p_value == 1
    scores = [0.1 + 0.2, 1.1 + 2.2, 0.7 + 0.1]
    assert paired_difference(scores, [0.3, 3.3, 0.8]).p_value == 1  # they differ by rounding only


def test_no_difference_at_all_is_no_evidence() -> None:
    for n in (1, 5, 16, 30):
        values = np.random.default_rng(n).normal(size=n).tolist()
        found = paired_difference(values, values)
        assert (found.difference, found.p_value) == (0, 1)


def test_the_smallest_p_is_reached() -> None:
    assert [smallest_p(n) for n in (1, 2, 3, 6, 16)] == [1.0, 0.5, 0.25, 0.03125, 2**-15]
    assert smallest_p(17) == smallest_p(1000) == 1 / (FLIPS + 1)
    for n in (1, 2, 3, 6, 16, 40):
        found = paired_difference([1.0 + i / 7 for i in range(n)], [0.0] * n)
        assert found.p_value == found.smallest_p == smallest_p(n)


def test_drawn_flips_agree_with_all_flips() -> None:
    rng = np.random.default_rng(5)
    for shift in (0.0, 0.3, 0.6):
        differences = rng.normal(shift, 1, 18)
        signs = np.where(np.arange(2**18)[:, None] >> np.arange(18) & 1, 1.0, -1.0)
        exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
        found = paired_difference(list(differences), [0.0] * 18)
        assert found.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / FLIPS) + 2 / FLIPS)
        assert found.p_value == paired_difference(list(differences), [0.0] * 18).p_value
        count = found.p_value * (FLIPS + 1)
        assert count == pytest.approx(round(count))


@quick
@given(WholePairs, st.integers(-1000, 1000), st.sampled_from([0.125, 2.0, 1024.0]), st.randoms())
def test_what_p_does_not_depend_on(pairs: list[tuple[float, float]], shift: int, scale: float, random: Random) -> None:
    arm, control = zip(*pairs, strict=True)
    p = paired_difference(arm, control).p_value
    assert smallest_p(len(arm)) <= p <= 1
    assert paired_difference([scale * (x + shift) for x in arm], [scale * (x + shift) for x in control]).p_value == p
    arm, control = zip(*sorted(pairs, key=lambda _: random.random()), strict=True)
    assert paired_difference(arm, control).p_value == p


def test_p_is_uniform_where_there_is_no_effect() -> None:
    rng = np.random.default_rng(11)
    ps = [paired_difference(list(rng.normal(size=6)), [0.0] * 6).p_value for _ in range(3200)]
    counts = np.bincount(np.rint(np.multiply(ps, 32)).astype(int), minlength=33)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_two_thousand_comparisons_take_no_time() -> None:
    arms = np.random.default_rng(0).normal(size=(2000, 16)).tolist()
    start = time.process_time()
    for arm in arms:
        paired_difference(arm, arms[0])
    assert time.process_time() - start < 3


# ---------------------------------------------------------------------------------------------------------- correction


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.3, 0.6, 0.9]) == pytest.approx([0.9, 1.0, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@quick
@given(Ps)
def test_holm_is_monotone_and_between_raw_and_bonferroni(ps: list[float]) -> None:
    corrected = holm(ps)
    assert all(p <= q <= min(1, len(ps) * p) for p, q in zip(ps, corrected, strict=True))
    pairs = sorted(zip(ps, corrected, strict=True))
    assert all(one[1] <= other[1] for one, other in zip(pairs, pairs[1:], strict=False))
    assert max(corrected) >= max(ps)


@quick
@given(Ps, st.floats(0.001, 0.999))
def test_holm_rejects_as_the_step_down_procedure_does(ps: list[float], alpha: float) -> None:
    rejected = set()
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if (len(ps) - rank) * ps[place] > alpha:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(holm(ps)) if p <= alpha} == rejected


@quick
@given(Ps)
def test_holm_is_never_below_the_false_discovery_rate(ps: list[float]) -> None:
    assert all(q >= fdr - 1e-12 for q, fdr in zip(holm(ps), stats.false_discovery_control(ps), strict=True))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(p: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        holm([0.5, p])


# --------------------------------------------------------------------------------------------------------- equivalence


@quick
@given(st.integers(2, 12), st.floats(0.05, 3), st.integers(0, 10**6))
def test_equivalence_is_two_one_sided_t_tests(n: int, margin: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arm, control = rng.normal(0.2, 1, n), rng.normal(0, 1, n)
    above = stats.ttest_rel(arm, control - margin, alternative="greater").pvalue
    below = stats.ttest_rel(arm, control + margin, alternative="less").pvalue
    assert equivalent(list(arm), list(control), margin) == (max(above, below) <= 0.05)


@quick
@given(st.integers(2, 12), st.floats(0.05, 3), st.integers(0, 10**6))
def test_equivalence_is_an_interval_within_the_margin(n: int, margin: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arm, control = list(rng.normal(0.2, 1, n)), list(rng.normal(0, 1, n))
    _, low, high, *_ = paired_difference(arm, control, 0.9)
    assert equivalent(arm, control, margin) == (-margin <= low and high <= margin)


def test_equivalence_without_spread() -> None:
    assert equivalent([1.5, 2.5], [1.0, 2.0], 0.6)
    assert not equivalent([1.5, 2.5], [1.0, 2.0], 0.5)
    assert not equivalent([1.0], [1.0], 0.5)  # one pair shows nothing


def test_equivalence_is_claimed_wrongly_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(3)
    claimed = [equivalent(list(rng.normal(1, 1, 12)), [0.0] * 12, margin=1) for _ in range(2000)]
    assert 0.03 < np.mean(claimed) < 0.07


@pytest.mark.parametrize(("margin", "alpha"), [(0, 0.05), (-1, 0.05), (math.nan, 0.05), (1, 0), (1, 0.5)])
def test_equivalence_refuses(margin: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="must"):
        equivalent([1.0, 2.0], [1.0, 2.0], margin, alpha)


# --------------------------------------------------------------------------------------------------------- correlation


@quick
@given(Pairs)
def test_correlation_is_pearsons(pairs: list[tuple[float, float]]) -> None:
    arm, control = zip(*pairs, strict=True)
    found = pairing_correlation(arm, control)
    if len(arm) < 3:
        assert math.isnan(found)
    elif np.ptp(arm) > 1e-6 and np.ptp(control) > 1e-6:
        assert found == pytest.approx(stats.pearsonr(arm, control).statistic, abs=1e-9)


def test_correlation_is_undefined_where_it_says_nothing() -> None:
    assert math.isnan(pairing_correlation([1.0, 2.0], [3.0, 4.0]))
    assert math.isnan(pairing_correlation([0.1 + 0.2, 0.3, 0.3], [1.0, 2.0, 3.0]))
    assert math.isnan(pairing_correlation([0.0, 0.0, 1e-200], [1.0, 2.0, 3.0]))
    assert pairing_correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1)
    with pytest.raises(ValueError, match="equal lengths"):
        pairing_correlation([1.0], [1.0, 2.0])
