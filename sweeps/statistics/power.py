"""Power of the paired test: seeds for a given difference, and the smallest difference for given seeds."""

import bisect
import math

from sweeps.statistics.paired import ALPHA, smallest_p

POWER = 0.8
MOST_SEEDS = 1000


def seeds_for(difference: float, sd: float, num_arms: int) -> int | None:
    """Compute the number of seeds at which a paired t test detects a difference with 80 % power.

        power(n) = P(T' > t_{1 - a / 2, n - 1}),   a = 0.05 / arms,   T' noncentral t, shift d sqrt(n) / sd

    and the sign-flip test of so many pairs can reach that level. Difference and spread are taken as exact, although
    they are estimates. None above 1,000 seeds, and for a difference of 0.

    Args:
        difference: Absolute value of the difference.
        sd: Standard deviation of the paired differences.
        num_arms: Number of arms that the test is corrected over.
    """
    if difference == 0 or not math.isfinite(sd):
        return None
    # Power increases with the number of seeds.
    seeds = range(2, MOST_SEEDS + 1)
    n = bisect.bisect_left(seeds, True, key=lambda n: _power(difference, sd, n, num_arms) >= POWER) + 2
    return n if n <= MOST_SEEDS else None


def smallest_difference(sd: float, seeds: int, num_arms: int) -> float | None:
    """Compute the smallest difference that so many seeds detect with 80 % power, at the corrected level of one arm.

    None where the sign-flip test of so many pairs cannot reach the level, whatever the difference.

    Args:
        sd: Standard deviation of the paired differences.
        seeds: At least 2.
        num_arms: Number of arms that the test is corrected over.
    """
    from scipy.optimize import brentq

    most = 1000 * sd
    if not math.isfinite(sd) or _power(most, sd, seeds, num_arms) < POWER:
        return None
    return float(brentq(lambda d: _power(d, sd, seeds, num_arms) - POWER, 0, most, xtol=1e-6 * sd)) if sd else 0.0


def _power(difference: float, sd: float, n: int, num_arms: int) -> float:
    """Compute the power of a paired t test at the corrected level of one arm."""
    from scipy import special  # the distributions of scipy.stats check arguments for ten times as long as they compute

    level = ALPHA / max(1, num_arms)
    if smallest_p(n) > level:
        return 0.0
    bound, shift = float(special.stdtrit(n - 1, 1 - level / 2)), difference * math.sqrt(n) / sd if sd else math.inf
    return 1.0 if shift > bound + 10 else 1 - float(special.nctdtr(n - 1, shift, bound))
