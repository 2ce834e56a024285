"""What a paired comparison amounts to: a kind, beside the numbers it follows from."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from sweeps.statistics.paired import ALPHA, Difference, paired, standard_deviation


class Verdict(StrEnum):
    """Where an arm is shown to be, seen from the control.

    BETTER and WORSE follow the direction of a metric; HIGHER and LOWER stand for a measure that only gives context.
    """

    EQUIVALENT = "equivalent"
    BETTER = "better"
    WORSE = "worse"
    HIGHER = "higher"
    LOWER = "lower"
    INCONCLUSIVE = "inconclusive"


def verdict(
    difference: Difference, p_corrected: float, direction: Literal["max", "min"] | None, *, is_equivalent: bool = False
) -> Verdict:
    """Decide a comparison.

    Equivalence comes first: whoever gives a margin has said that less does not matter, however certain it is.

    Args:
        difference: The paired difference.
        p_corrected: Its p-value after correction over the arms; significant at 0.05 or below.
        direction: Whether larger or smaller is better; None for a measure that only gives context.
        is_equivalent: Whether it was shown to lie within a margin.
    """
    if is_equivalent:
        return Verdict.EQUIVALENT
    if p_corrected > ALPHA:
        return Verdict.INCONCLUSIVE
    above = difference.difference > 0
    if direction is None:
        return Verdict.HIGHER if above else Verdict.LOWER
    return Verdict.BETTER if above == (direction == "max") else Verdict.WORSE


def equivalent(arm: Sequence[float], control: Sequence[float], margin: float, alpha: float = ALPHA) -> bool:
    """Whether an arm is shown to lie within a margin of the control: two one-sided paired t tests.

        P(T_{n-1} >= (mean(d) + margin) / se) <= alpha   and   P(T_{n-1} <= (mean(d) - margin) / se) <= alpha

    which is to say that the 1 - 2 alpha interval of the difference lies within (-margin, margin). A single pair shows
    nothing; differences that are all equal show it where they are smaller than the margin.

    Args:
        arm: One value per seed.
        control: The control's values at the same seeds, in the same order.
        margin: Largest difference that does not matter, in the units of the values, above 0.
        alpha: Chance of saying so of an arm at the margin or beyond it, in (0, 0.5).

    Raises:
        ValueError: As ``paired_difference``; a margin or an alpha outside its range.

    Source: Schuirmann (1987).
    """
    if not 0 < margin < math.inf:
        raise ValueError(f"margin must be above 0, got {margin}")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie in (0, 0.5), got {alpha}")
    differences = paired(arm, control)
    n = len(differences)
    if n == 1:
        return False
    mean = math.fsum(differences) / n
    error = standard_deviation(differences) / math.sqrt(n)
    if error == 0:
        return abs(mean) < margin
    from scipy.special import stdtr

    return float(stdtr(n - 1, (abs(mean) - margin) / error)) <= alpha
