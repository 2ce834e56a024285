"""Errors of a mean that come from several sources, such as seeds and searches, each with its own degrees of freedom."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sweeps.statistics.paired import ALPHA, CONFIDENCE, Difference, Interval, standard_deviation

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

_SMALL = 1e-12


class Error(NamedTuple):
    """Standard error of a mean from one source, with its degrees of freedom."""

    size: float
    freedom: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Error":
        """Return the standard error of the mean of independent values; at least 2."""
        return cls(standard_deviation(values) / math.sqrt(len(values)), len(values) - 1)


@dataclass(frozen=True)
class CombinedMean:
    """A mean with independent errors from several sources.

        half(p)^2 = sum_i (t_{1 - p / 2, n_i} s_i)^2

    The squares of the half-widths are added (MOVER: Zou and Donner, 2008). Two errors of n - 1 degrees of freedom give
    an interval of n - 1 degrees, whatever the ratio of their sizes.

    Args:
        mean: The mean.
        errors: Its errors; at least one.
    """

    mean: float
    errors: tuple[Error, ...]

    def half(self, p: float) -> float:
        """Return half the width of the 1 - p interval."""
        from scipy.special import stdtrit

        return math.hypot(*(float(stdtrit(freedom, 1 - p / 2)) * size for size, freedom in self.errors))

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return the interval of the mean."""
        half = self.half(1 - confidence)
        return Interval(self.mean, self.mean - half, self.mean + half)

    @functools.cached_property
    def p_value(self) -> float:
        """The level at which the interval ends at 0; 1 for a mean of 0."""
        from scipy.optimize import brentq

        size = abs(self.mean)
        if not 0 < size < self.half(_SMALL):
            return float(size == 0)
        return float(brentq(lambda p: self.half(p) - size, _SMALL, 1.0))

    def is_within(self, margin: float, alpha: float = ALPHA) -> bool:
        """Whether the 1 - 2 alpha interval lies within (-margin, margin), as in two one-sided tests."""
        return abs(self.mean) + self.half(2 * alpha) < margin


def over_draws(over_seeds: Difference, draws: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Widen the interval of a mean over seeds by the sampling error of random draws, such as orders of parts.

        errors: half_seeds / t_{(1 + confidence) / 2, n - 1},   sd(x_1 ... x_m) / sqrt(m)

    The interaction of draw and seed enters both, so the interval is conservative. p is the larger of the sign-flip
    test's, which is conditional on the draws, and the level at which this interval ends at 0.

    Args:
        over_seeds: The mean with its interval over the seeds.
        draws: Mean over the seeds for each draw; at least 2.
        confidence: Coverage of the intervals, in (0, 1).
    """
    assert len(draws) > 1, "one draw has no spread"
    if math.isnan(over_seeds.high):
        return over_seeds
    from scipy.special import stdtrit

    freedom = over_seeds.n - 1
    of_seeds = (over_seeds.high - over_seeds.difference) / float(stdtrit(freedom, (1 + confidence) / 2))
    combined = CombinedMean(over_seeds.difference, (Error(of_seeds, freedom), Error.of(draws)))
    # At an interim analysis the interval has only a share of the level.
    of_interval = min(1.0, combined.p_value * ALPHA / (1 - confidence))
    _, low, high = combined.interval(confidence)
    return over_seeds._replace(low=low, high=high, p_value=max(over_seeds.p_value, of_interval))


def within_arm(rows: "Sequence[Sequence[float]] | Array") -> CombinedMean:
    """Return an arm's mean over its searches and units, with the errors of both.

    Args:
        rows: One row per search, one column per unit, at least 2; a single row has no luck of a search.
    """
    import numpy as np

    values = np.asarray(rows, dtype=np.float64)
    of_units = Error.of(values.mean(axis=0).tolist())
    of_searches = (Error.of(values.mean(axis=1).tolist()),) if len(values) > 1 else ()
    return CombinedMean(float(values.mean()), (*of_searches, of_units))


def smallest_difference_of_searches(repeats: int) -> float:
    """Return the significant difference of two tuned arms, in standard deviations between the searches of an arm.

        t_{0.975, R - 1} sqrt(2 / R)

    without the error over the units: 12.7 for 2 repeats, 3.5 for 3, 1.8 for 5, 1.0 for 10.
    """
    from scipy.special import stdtrit

    return float(stdtrit(repeats - 1, (1 + CONFIDENCE) / 2)) * math.sqrt(2 / repeats)


def over_repeats(
    arm: "Sequence[Sequence[float]] | Array", control: "Sequence[Sequence[float]] | Array"
) -> CombinedMean:
    """Compare two arms that were tuned by independent searches, with the luck of the searches in the error.

        D = mean_r mean_u a_{r, u} - mean_r mean_u c_{r, u}
        errors: sd_r(mean_u a) / sqrt(R_a),   sd_r(mean_u c) / sqrt(R_c),   sd_u(mean_r a - mean_r c) / sqrt(n)

    The winners of all searches run at the same units u. So the first two errors are the luck of the searches, and the
    last is what pairing leaves between units. The error of single runs enters all three: the interval is conservative.
    An arm with one row has fixed settings, and no luck of a search.

    Args:
        arm: One row per search, one column per unit.
        control: The control's rows at the same units.

    Raises:
        ValueError: Fewer than 2 units, different units, or a value that is not finite.
    """
    import numpy as np

    a, c = np.asarray(arm, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if a.ndim != 2 or c.ndim != 2 or a.shape[1] != c.shape[1] or a.shape[1] < 2:
        raise ValueError(f"rows of the same 2 or more units needed, got shapes {a.shape} and {c.shape}")
    if not (np.isfinite(a).all() and np.isfinite(c).all()):
        raise ValueError("values must be finite")
    of_units = Error.of((a.mean(axis=0) - c.mean(axis=0)).tolist())
    of_searches = (Error.of(rows.mean(axis=1).tolist()) for rows in (a, c) if len(rows) > 1)
    return CombinedMean(float(a.mean() - c.mean()), (*of_searches, of_units))
