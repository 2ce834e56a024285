"""Power of the study's test: the smallest difference that so many units could have shown."""

import functools
import math
from typing import TYPE_CHECKING

from sweeps.statistics.families import Correction
from sweeps.statistics.paired import ALPHA, smallest_p

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

POWER = 0.8
MOST_UNITS = 32
"""Above, the smallest difference is that of 32 units times sqrt(32 / n)."""
STUDIES = 400
_PATTERNS = 1024
_SHARED = 0.5
_LARGEST = 8.0


def smallest_difference(sd: float, units: int, arms: int, correction: Correction, level: float = ALPHA) -> float | None:
    """Compute the smallest difference that so many units show with 80 % power, by simulation of the sign-flip test.

    400 studies with normal differences, of which one arm has an effect; arms share a control, so that their differences
    correlate with 0.5. The test is the sign-flip test corrected over the arms, with up to 1,024 patterns. None where it
    cannot reach the level, whatever the difference.

    Args:
        sd: Standard deviation of the paired differences.
        units: Number of pairs, at least 2.
        arms: Number of arms that the test is corrected over.
        correction: Correction over the arms.
        level: Level of the test; a share of 0.05 at an interim analysis.
    """
    if not math.isfinite(sd):
        return None
    standardised = _standardised(min(units, MOST_UNITS), max(1, arms), correction, level)
    if standardised is None:
        return None
    return sd * standardised * math.sqrt(min(units, MOST_UNITS) / units)


@functools.lru_cache(maxsize=64)
def _standardised(units: int, arms: int, correction: Correction, level: float) -> float | None:
    """Return the smallest effect in units of the standard deviation; bisection on the same random studies."""
    import numpy as np

    if smallest_p(units) > (level / arms if correction == "holm" else level):
        return None
    rng = np.random.default_rng(0)
    studies = min(STUDIES, max(100, 4_000 // arms))
    noise = rng.normal(size=(studies, arms, units)) * math.sqrt(1 - _SHARED)
    noise += rng.normal(size=(studies, 1, units)) * math.sqrt(_SHARED)
    flips = _flips(units)
    largest = _largest_of_others(noise[:, 1:], flips) if correction == "max_t" else None
    low, high = 0.0, _LARGEST
    for _ in range(12):
        effect = (low + high) / 2
        p = _p_values(noise[:, 0] + effect, flips, largest) * (arms if correction == "holm" else 1)
        low, high = (low, effect) if np.mean(p <= level) >= POWER else (effect, high)
    return high if high < _LARGEST else None


def _flips(units: int) -> "Array":
    """Return sign patterns (units, patterns), the observed one first: all where there are few, else random ones."""
    import numpy as np

    if 2 ** (units - 1) <= _PATTERNS:
        numbers = np.arange(2 ** (units - 1))
        return np.where(numbers >> np.arange(units)[:, None] & 1, -1.0, 1.0)
    flips = np.random.default_rng(1).choice([-1.0, 1.0], size=(units, _PATTERNS))
    flips[:, 0] = 1
    return flips


def _largest_of_others(differences: "Array", flips: "Array") -> "Array":
    """Return the largest statistic of the arms without an effect, by study and pattern."""
    import numpy as np

    largest = np.zeros((len(differences), flips.shape[1]))
    for arm in range(differences.shape[1]):
        np.maximum(largest, _statistics(differences[:, arm], flips), out=largest)
    return largest


def _p_values(differences: "Array", flips: "Array", largest: "Array | None") -> "Array":
    """Return the p-value of one arm in each study."""
    import numpy as np

    own = _statistics(differences, flips)
    bound = own[:, :1] * (1 - 1e-9)
    everything = own if largest is None else np.maximum(own, largest)
    share: Array = (everything >= bound).mean(axis=1)
    return share


def _statistics(differences: "Array", flips: "Array") -> "Array":
    """Return |sum| / length for each study and pattern, which orders patterns as |t| does."""
    import numpy as np

    lengths = np.sqrt((differences**2).sum(axis=1, keepdims=True))
    statistics: Array = np.abs(differences @ flips) / lengths
    return statistics
