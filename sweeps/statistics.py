"""Paired differences between an arm and the control, with their uncertainty."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Difference(NamedTuple):
    """Mean paired difference, arm minus control, with its interval; bounds are NaN for fewer than 2 pairs."""

    difference: float
    low: float
    high: float
    n: int


def paired_difference(arm: Sequence[float], control: Sequence[float], confidence: float = 0.95) -> Difference:
    """Mean difference of paired values with a Student-t interval.

        d_s = arm_s - control_s,   mean(d) +- t_{(1 + confidence) / 2, n - 1} sd(d) / sqrt(n)

    Pairing by seed removes what both arms share: the prompts, the start noise, the luck of the draw.

    Args:
        arm: One value per seed.
        control: The control's values at the same seeds, in the same order.
        confidence: Coverage of the interval, in (0, 1).

    Raises:
        ValueError: Different lengths, no pair, a value that is not finite, or a confidence outside (0, 1).
    """
    if len(arm) != len(control):
        raise ValueError(f"paired values need equal lengths, got {len(arm)} and {len(control)}")
    if not arm:
        raise ValueError("paired values need at least one pair")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    differences = [float(a) - float(c) for a, c in zip(arm, control, strict=True)]
    if not all(map(math.isfinite, differences)):
        raise ValueError("paired values must be finite")
    n = len(differences)
    mean = math.fsum(differences) / n
    if n == 1:
        return Difference(mean, math.nan, math.nan, n)
    from scipy import stats

    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * standard_deviation(differences) / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


def standard_deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1 in the denominator); NaN for fewer than 2 values."""
    n = len(values)
    if n < 2:
        return math.nan
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))


def smallest_p(seeds: int) -> float:
    """Smallest two-sided p-value that an exact sign-flip test can reach with so many pairs: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - seeds))
