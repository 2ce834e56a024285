"""Verdict of a paired comparison, and the test of equivalence."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from sweeps.statistics.paired import ALPHA, paired, standard_deviation


class Verdict(StrEnum):
    """Verdict on an arm, relative to the control.

    BETTER and WORSE follow the direction of a metric; HIGHER and LOWER are for a metric that only gives context.
    """

    EQUIVALENT = "equivalent"
    BETTER = "better"
    WORSE = "worse"
    HIGHER = "higher"
    LOWER = "lower"
    INCONCLUSIVE = "inconclusive"


def verdict(
    difference: float, p_corrected: float, direction: Literal["max", "min"] | None, *, is_equivalent: bool = False
) -> Verdict:
    """Return the verdict of a comparison.

    Equivalence takes precedence: a difference within the margin is irrelevant, even if it is significant.

    Args:
        difference: Mean of the paired differences, or any number of its sign.
        p_corrected: Its p-value after correction over the family; significant at 0.05 or below.
        direction: Whether larger or smaller is better; None for a metric that only gives context.
        is_equivalent: Whether the difference is shown to be within a margin.
    """
    if is_equivalent:
        return Verdict.EQUIVALENT
    if p_corrected > ALPHA:
        return Verdict.INCONCLUSIVE
    above = difference > 0
    if direction is None:
        return Verdict.HIGHER if above else Verdict.LOWER
    return Verdict.BETTER if above == (direction == "max") else Verdict.WORSE


def is_above(found: Verdict, direction: Literal["max", "min"]) -> bool:
    """Whether a significant verdict puts the arm above the control.

    Args:
        found: Better, worse, higher or lower.
        direction: Whether larger or smaller is better.
    """
    return found is Verdict.HIGHER or found is (Verdict.BETTER if direction == "max" else Verdict.WORSE)


def equivalent(arm: Sequence[float], control: Sequence[float], margin: float, alpha: float = ALPHA) -> bool:
    """Whether an arm is equivalent to the control within a margin, by two one-sided paired t tests (TOST).

        P(T_{n-1} >= (mean(d) + margin) / se) <= alpha   and   P(T_{n-1} <= (mean(d) - margin) / se) <= alpha

    that is, the 1 - 2 alpha interval of the difference lies within (-margin, margin). False for a single pair;
    differences that are all equal are equivalent where they are smaller than the margin.

    Args:
        arm: One value per seed.
        control: The control's values at the same seeds, in the same order.
        margin: Largest irrelevant difference, in the units of the values, above 0.
        alpha: Largest error rate for an arm at the margin or beyond it, in (0, 0.5).

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
