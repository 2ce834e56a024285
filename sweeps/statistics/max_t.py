"""Correction over arms that share their units: step-down max-T with joint sign flips."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.statistics.paired import share_of_patterns, sign_patterns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def max_t(differences: "Sequence[Sequence[float]] | Array", rounding: Sequence[float] = ()) -> list[float]:
    """Correct the tests of several arms by step-down max-T, with all arms of a unit flipped together.

        t_j = mean(d_j) / (sd(d_j) / sqrt(n_j)),   |t_(1)| >= ... >= |t_(m)|
        p_(k) = share of the sign patterns e with max_{j >= k} |t_(j)(e)| >= |t_(k)|,   p'_(k) = max_{i <= k} p_(i)

    A pattern flips all differences of a unit, so the test knows how arms that share a control depend on each other. The
    family-wise error is at most alpha where the differences of a unit are jointly symmetric about zero over the arms
    without an effect. The smallest value is 2^(1 - n) for any number of arms, and for one arm it is the sign-flip
    test. Exact for up to 16 units; above, 100,000 random patterns are counted.

    Args:
        differences: One row per arm, one column per unit; NaN where an arm has no pair.
        rounding: By how much two equal sums of an arm's signed differences may differ, per arm; by default what their
            own summation rounds.

    Returns:
        Corrected p-values in the order given; 1 for an arm with fewer than 2 pairs.

    Raises:
        ValueError: Rows of different lengths, or an infinite difference.

    Source: Westfall and Young, Resampling-Based Multiple Inference (1993), algorithm 2.8.
    """
    import numpy as np

    if not len(differences):
        return []
    d = np.asarray(differences, dtype=np.float64)
    if np.isinf(d).any():
        raise ValueError("differences must be finite, or NaN where an arm has no pair")
    corrected = np.ones(len(d))
    tested = np.flatnonzero((~np.isnan(d)).sum(axis=1) >= 2)
    if tested.size:
        of_sums = (d.shape[1] + 2) * sys.float_info.epsilon * np.nansum(np.abs(d), axis=1)
        tied = np.maximum(of_sums, np.asarray(rounding, dtype=np.float64)) if len(rounding) else of_sums
        corrected[tested] = _step_down(d[tested], tied[tested])
    return [float(p) for p in corrected]


def _step_down(d: "Array", rounding: "Array") -> "Array":
    """Correct arms that have at least two pairs each."""
    import numpy as np

    pairs = (~np.isnan(d)).sum(axis=1)[:, None]
    d = np.nan_to_num(d)  # what is missing is 0 under either sign
    lengths = np.sqrt(pairs[:, 0] * (d**2).sum(axis=1))
    # |sum| / length is 1 for equal differences; sums and lengths of an arm without any difference are 0.
    unit = np.where(lengths > 0, lengths, 1.0)[:, None]
    observed = np.abs(d.sum(axis=1, keepdims=True)) / unit
    # Two sums of an arm are tied where they differ by no more than the rounding of both.
    tied = 2 * rounding[:, None] / unit
    bounds = _studentised(np.clip(observed - tied, 0, None), pairs)
    order = np.argsort(-bounds[:, 0], kind="stable")
    scaled, pairs, bounds = (d / unit)[order][::-1], pairs[order][::-1], bounds[order][::-1]
    extreme = np.zeros(len(d), dtype=np.int64)
    for signs in sign_patterns(d.shape[1]):
        sums = scaled @ signs
        statistics = _studentised(np.abs(sums, out=sums), pairs)
        np.maximum.accumulate(statistics, axis=0, out=statistics)  # from the least extreme arm on
        extreme += np.count_nonzero(statistics >= bounds, axis=1)
    extreme = extreme[::-1]
    shares = [share_of_patterns(int(count), d.shape[1]) for count in extreme]
    corrected = np.empty(len(d))
    corrected[order] = np.maximum.accumulate(shares)
    return corrected


def _studentised(u: "Array", pairs: "npt.NDArray[np.int64]") -> "Array":
    """Map u = |sum d| / sqrt(n sum d^2) of each arm to a scale on which arms of different n are ordered as their |t|.

    t^2 = (n - 1) u^2 / (1 - u^2),   mapped to  t^2 / (t^2 + N - 1)  with the largest n as N: u^2 where n = N
    """
    if (pairs == pairs[0]).all():
        return u  # in the order of its square
    squares = u**2 * (pairs - 1)
    mapped: Array = squares / (squares + (1 - u**2).clip(min=0) * (pairs.max() - 1))
    return mapped
