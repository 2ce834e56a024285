"""Paired comparisons of an arm with the control: intervals, tests, corrections.

The unit is a seed, a clip or a prompt: every arm sees the same ones, and each gives one pair.
"""

import functools
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

ALPHA = 0.05
CONFIDENCE = 0.95
EXACT_PAIRS = 16
"""Largest number of pairs for which the sign-flip test enumerates all 2^n sign patterns; above, it samples them."""
FLIPS = 100_000
_FLIP_SEED = 0
_BLOCK = 4096


class Interval(NamedTuple):
    """A mean with its interval; the bounds are NaN for fewer than 2 values."""

    mean: float
    low: float
    high: float


class Difference(NamedTuple):
    """Mean paired difference, arm minus control, over n pairs.

    ``low`` and ``high`` are NaN for a single pair; ``smallest_p`` is the smallest ``p_value`` that n pairs can reach.
    """

    difference: float
    low: float
    high: float
    n: int
    p_value: float
    smallest_p: float


def paired_difference(arm: Sequence[float], control: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Compute the mean difference of paired values with a Student-t interval and a two-sided sign-flip test.

        d_s = arm_s - control_s,   mean(d) +- t_{(1 + confidence) / 2, n - 1} sd(d) / sqrt(n)
        p = share of the sign patterns e in {-1, 1}^n with |sum_s e_s d_s| >= |sum_s d_s|

    Pairing by seed removes the variation that both arms share, such as prompts and start noise. The test assumes only
    that without an effect each d_s is symmetric about zero. It is exact for n <= 16; above, it
    counts b of m = 100,000 patterns drawn with a fixed seed, and p = (b + 1) / (m + 1). Sums that differ by no more
    than the rounding of the values are tied and count, so that differences which are all zero give p = 1.

    Args:
        arm: One value per seed.
        control: The control's values at the same seeds, in the same order.
        confidence: Coverage of the interval, in (0, 1).

    Raises:
        ValueError: Different lengths, no pair, a value that is not finite, or a confidence outside (0, 1).

    Source: Fisher, The Design of Experiments (1935), section 21; +1 rule: Phipson and Smyth (2010).
    """
    differences = paired(arm, control)
    mean, low, high = mean_interval(differences, confidence)
    n = len(differences)
    return Difference(mean, low, high, n, sign_flip(differences, rounding(arm, control)), smallest_p(n))


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Compute the mean of independent values with its Student-t interval.

        mean(x) +- t_{(1 + confidence) / 2, n - 1} sd(x) / sqrt(n)

    Args:
        values: At least one number; a single one has no interval.
        confidence: Coverage of the interval, in (0, 1).

    Raises:
        ValueError: No value, one that is not finite, or a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    if not len(values):
        raise ValueError("a mean needs at least one value")
    if not all(map(math.isfinite, values)):
        raise ValueError("values must be finite")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan)
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * standard_deviation(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def standard_deviation(values: Sequence[float]) -> float:
    """Compute the sample standard deviation (n - 1 in the denominator); NaN for fewer than 2 values."""
    n = len(values)
    if n < 2:
        return math.nan
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))


def smallest_p(pairs: int) -> float:
    """Return the smallest two-sided p-value that the sign-flip test can reach with so many pairs.

    2 / 2^n where it is exact (n <= 16), else 1 / 100,001, since it samples 100,000 patterns.
    """
    return min(1.0, 2.0 ** (1 - pairs)) if pairs <= EXACT_PAIRS else 1 / (FLIPS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values by Holm's step-down method, which bounds the family-wise error rate.

        p'_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)),   p_(1) <= ... <= p_(m)

    Rejecting where p' <= alpha keeps the family-wise error at most alpha under any dependence between the tests; arms
    that share a control are dependent.

    Args:
        p_values: One per arm, each in [0, 1].

    Returns:
        Corrected p-values in the order given.

    Raises:
        ValueError: A number outside [0, 1], or NaN.

    Source: Holm (1979).
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values must lie in [0, 1], got {list(p_values)}")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def pairing_correlation(arm: Sequence[float], control: Sequence[float]) -> float:
    """Compute the Pearson correlation of arm and control over the seeds, which measures the gain from pairing.

        var(mean(d)) = (1 - r) (var(arm) + var(control)) / n   for equal variances; without pairing r is 0

    NaN where it is undefined or uninformative: fewer than 3 pairs, or values that are all equal.

    Raises:
        ValueError: Different lengths, no pair, or a value that is not finite.
    """
    paired(arm, control)
    if len(arm) < 3 or _constant(arm) or _constant(control):
        return math.nan
    try:
        return statistics.correlation(arm, control)
    except statistics.StatisticsError:  # so close together that the squares of their differences are 0
        return math.nan


def intraclass_correlation(groups: Sequence[Sequence[float]]) -> float:
    """Compute the intra-class correlation of values in groups, by one-way analysis of variance.

        ICC = (MSB - MSW) / (MSB + (m - 1) MSW)

    with the mean squares between and within the groups, and m values per group (for unequal groups
    m = (N - sum m_i^2 / N) / (k - 1)). NaN for fewer than 2 groups, without a group of 2, and where all values are
    equal.

    Args:
        groups: Values of each group.

    Source: Donner (1986).
    """
    filled = [group for group in groups if len(group)]
    k, n = len(filled), sum(map(len, filled))
    if k < 2 or n == k:
        return math.nan
    m = (n - math.fsum(len(group) ** 2 for group in filled) / n) / (k - 1)
    mean = math.fsum(math.fsum(group) for group in filled) / n
    means = [math.fsum(group) / len(group) for group in filled]
    between = math.fsum(len(group) * (own - mean) ** 2 for group, own in zip(filled, means, strict=True)) / (k - 1)
    squares = ((value - own) ** 2 for group, own in zip(filled, means, strict=True) for value in group)
    within = math.fsum(squares) / (n - k)
    total = between + (m - 1) * within
    return (between - within) / total if total > 0 else math.nan


def rounding(arm: Sequence[float], control: Sequence[float]) -> float:
    """Bound the rounding error between two sums of signed differences that are equal in exact arithmetic."""
    # Half a unit in the last place of every value, and as much in each step of either sum.
    return (len(arm) + 2) * sys.float_info.epsilon * (math.fsum(map(abs, arm)) + math.fsum(map(abs, control)))


def paired(arm: Sequence[float], control: Sequence[float]) -> list[float]:
    """Return the paired differences, arm minus control.

    Raises:
        ValueError: Different lengths, no pair, or a value that is not finite.
    """
    if len(arm) != len(control):
        raise ValueError(f"paired values need equal lengths, got {len(arm)} and {len(control)}")
    if not len(arm):
        raise ValueError("paired values need at least one pair")
    if not all(map(math.isfinite, (*arm, *control))):
        raise ValueError("paired values must be finite")
    return [float(a) - float(c) for a, c in zip(arm, control, strict=True)]


def _constant(values: Sequence[float]) -> bool:
    """Whether values differ by no more than rounding."""
    return max(values) - min(values) <= len(values) * sys.float_info.epsilon * max(map(abs, values))


def sign_flip(differences: Sequence[float], rounding: float) -> float:
    """Compute the two-sided p-value; sums within ``rounding`` of the observed one are tied with it."""
    import numpy as np

    n, extreme = len(differences), abs(math.fsum(differences)) - rounding
    if n <= EXACT_PAIRS:
        # A pattern joins a pattern of each half: with one half sorted, extreme sums are counted by bisection.
        first, second = _signed_sums(differences[: n // 2]), np.sort(_signed_sums(differences[n // 2 :]))
        above = second.size - np.searchsorted(second, extreme - first, side="left")
        below = np.searchsorted(second, -extreme - first, side="right")
        return min(1.0, float((above.sum() + below.sum()) / 2**n))
    sums = np.zeros(FLIPS)
    for block, patterns in enumerate(_drawn_patterns(n)):
        start = block * EXACT_PAIRS
        sums += _signed_sums(differences[start : start + EXACT_PAIRS])[patterns]
    return share_of_patterns(int(np.count_nonzero(np.abs(sums) >= extreme)), n)


def sign_patterns(n: int) -> "Iterator[Array]":
    """Yield sign patterns in blocks (n, patterns): one of each pair of opposite ones for n <= 16, else 100,000 random.

    They are the patterns of the sign-flip test, and the same for every list of n differences.
    """
    import numpy as np

    places = np.arange(min(n, EXACT_PAIRS))[:, None]
    if n <= EXACT_PAIRS:
        for start in range(0, 2 ** (n - 1), _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, 2 ** (n - 1)))
            yield np.where(numbers >> places & 1, 1.0, -1.0)
        return
    drawn = _drawn_patterns(n)
    for start in range(0, FLIPS, _BLOCK):
        signs = [np.where(numbers[start : start + _BLOCK] >> places & 1, 1.0, -1.0) for numbers in drawn]
        yield np.concatenate(signs)[:n]


def share_of_patterns(extreme: int, n: int) -> float:
    """Return the p-value of a test over the ``sign_patterns`` of n differences, from the number of extreme ones."""
    return extreme / 2 ** (n - 1) if n <= EXACT_PAIRS else (extreme + 1) / (FLIPS + 1)


@functools.lru_cache(maxsize=4)
def _drawn_patterns(n: int) -> "list[npt.NDArray[np.uint16]]":
    """Sample patterns of n signs: for each block of up to 16 pairs, their indices into ``_signed_sums``."""
    import numpy as np

    draws = np.random.default_rng(_FLIP_SEED)
    sizes = [min(EXACT_PAIRS, n - start) for start in range(0, n, EXACT_PAIRS)]
    return [draws.integers(2**size, size=FLIPS, dtype=np.uint16) for size in sizes]


def _signed_sums(values: Sequence[float]) -> "Array":
    """Compute the sums of values under all 2^n sign patterns."""
    import numpy as np

    sums = np.zeros(2 ** len(values))
    for position, value in enumerate(values):
        half = 2**position
        np.add(sums[:half], value, out=sums[half : 2 * half])
        sums[:half] -= value
    return sums
