"""What a number of seeds can find: seeds for a difference, and the smallest difference for seeds."""

import bisect
import math

from sweeps.statistics.paired import ALPHA, smallest_p

POWER = 0.8
MOST_SEEDS = 1000


def seeds_for(difference: float, sd: float, num_arms: int) -> int | None:
    """Seeds at which a paired t test finds a difference with a chance of 80 %, at the level that is left for one arm.

        power(n) = P(T' > t_{1 - a / 2, n - 1}),   a = 0.05 / arms,   T' noncentral t, shift d sqrt(n) / sd

    and the sign-flip test of so many pairs can reach that level. It is what one would need if the difference and its
    spread were exactly what they seem, which they are not.

    Args:
        difference: Its absolute value.
        sd: Of the paired differences.
        num_arms: Arms that the test is corrected for.
    """
    if difference == 0 or not math.isfinite(sd):
        return None
    # More seeds have more power.
    seeds = range(2, MOST_SEEDS + 1)
    n = bisect.bisect_left(seeds, True, key=lambda n: _power(difference, sd, n, num_arms) >= POWER) + 2
    return n if n <= MOST_SEEDS else None


def smallest_difference(sd: float, seeds: int, num_arms: int) -> float | None:
    """The difference that so many seeds find with a chance of 80 %, at the level that is left for one arm.

    None where no difference is found, since the sign-flip test of so many pairs cannot reach the level.

    Args:
        sd: Of the paired differences.
        seeds: At least 2.
        num_arms: Arms that the test is corrected for.
    """
    from scipy.optimize import brentq

    most = 1000 * sd
    if not math.isfinite(sd) or _power(most, sd, seeds, num_arms) < POWER:
        return None
    return float(brentq(lambda d: _power(d, sd, seeds, num_arms) - POWER, 0, most, xtol=1e-6 * sd)) if sd else 0.0


def _power(difference: float, sd: float, n: int, num_arms: int) -> float:
    """Chance that a paired t test finds a difference, at the level that is left for one arm."""
    from scipy import stats

    level = ALPHA / max(1, num_arms)
    if smallest_p(n) > level:
        return 0.0
    bound, shift = float(stats.t.ppf(1 - level / 2, n - 1)), difference * math.sqrt(n) / sd if sd else math.inf
    return 1.0 if shift > bound + 10 else float(stats.nct.sf(bound, n - 1, shift))
