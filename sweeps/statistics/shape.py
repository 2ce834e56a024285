"""Shape of the paired differences: what a test that assumes symmetry should be told."""

import math
from collections.abc import Sequence
from statistics import median

from sweeps.statistics.paired import standard_deviation

SKEWED = 1.0
"""Smallest skewness that is called one; that of an exponential distribution is 2."""
OUTLYING = 7.0
"""Distance from the median beyond which a difference is outlying, in units of the spread of the others.

Normal samples of 8 have one in 1.5 %, of 24 in 0.05 %.
"""
LEAST = 6
"""Fewest differences of which one can be called outlying."""
_ONE_PERCENT = 2.58
_CONSISTENT = 1.4826


def skewness(values: Sequence[float]) -> float:
    """Compute the adjusted skewness of a sample; NaN for fewer than 3 values, or values that are all equal.

        G1 = n / ((n - 1)(n - 2)) sum_i ((x_i - mean) / sd)^3

    Source: Joanes and Gill (1998).
    """
    n, sd = len(values), standard_deviation(values)
    if n < 3 or not sd > 0:
        return math.nan
    mean = math.fsum(values) / n
    return n / ((n - 1) * (n - 2)) * math.fsum(((value - mean) / sd) ** 3 for value in values)


def is_skewed(skew: float, n: int) -> bool:
    """Whether a sample's skewness is large, and larger than that of 99 % of normal samples of this size.

    |G1| > max(1, 2.58 sqrt(6 n (n - 1) / ((n - 2)(n + 1)(n + 3))))
    """
    if n < 3:
        return False
    error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    return abs(skew) > max(SKEWED, _ONE_PERCENT * error)


def outlying(values: Sequence[float]) -> int | None:
    """Return the place of the value that lies farthest from the median, where it is outlying; else None.

        |x - median| > 7 * 1.4826 * median |x_i - median|

    None for fewer than 6 values, and where at least half of them are equal.
    """
    if len(values) < LEAST:
        return None
    middle = median(values)
    spread = _CONSISTENT * median([abs(value - middle) for value in values])
    farthest = max(range(len(values)), key=lambda place: abs(values[place] - middle))
    is_far = spread > 0 and abs(values[farthest] - middle) > OUTLYING * spread
    return farthest if is_far else None
