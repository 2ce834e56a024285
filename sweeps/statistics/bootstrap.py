"""Studentised bootstrap of paired differences, which does not assume that they are symmetric without an effect."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

SAMPLES = 1_999
_SEED = 0


def bootstrap_t(differences: "Sequence[Sequence[float]] | Array") -> list[float]:
    """Correct the tests of several arms by a step-down studentised bootstrap; for one arm it is the bootstrap-t test.

        t_j = mean(d_j) / se(d_j),   t*_j = (mean(d*_j) - mean(d_j)) / se(d*_j),   |t_(1)| >= ... >= |t_(m)|
        p_(k) = (#{samples: max_{j >= k} |t*_(j)| >= |t_(k)|} + 1) / (B + 1),   p'_(k) = max_{i <= k} p_(i)

    A sample draws units with replacement, the same for all arms; B = 1,999 with a fixed seed. The distribution of t is
    taken from the sample itself, with its skewness, where the sign-flip test takes a symmetric one. A sample in which
    all units of an arm are the same counts as extreme.

    Args:
        differences: One row per arm, one column per unit; NaN where an arm has no pair.

    Returns:
        Corrected p-values in the order given; 1 for an arm with fewer than 2 pairs.

    Source: Efron and Tibshirani (1993), section 16.4; step-down: Romano and Wolf (2005).
    """
    import numpy as np

    if not len(differences):
        return []
    d = np.asarray(differences, dtype=np.float64)
    has, corrected = ~np.isnan(d), np.ones(len(d))
    tested = np.flatnonzero((has.sum(axis=1) >= 2) & np.any(np.nan_to_num(d) != 0, axis=1))
    if not tested.size:
        return [1.0] * len(d)
    d, has = np.nan_to_num(d[tested]), has[tested]
    n = d.shape[1]
    observed = np.abs(_t(d.sum(axis=1), (d**2).sum(axis=1), has.sum(axis=1), 0.0))
    order = np.argsort(-observed, kind="stable")
    d, has, observed = d[order], has[order], observed[order]
    counts = _counts(n)
    means = (d.sum(axis=1) / has.sum(axis=1))[:, None]
    statistics = np.abs(_t(d @ counts, (d**2) @ counts, has @ counts, means))
    largest = np.maximum.accumulate(statistics[::-1], axis=0)[::-1]
    shares = (np.count_nonzero(largest >= observed[:, None], axis=1) + 1) / (SAMPLES + 1)
    corrected[tested[order]] = np.maximum.accumulate(shares)
    return [float(p) for p in corrected]


@functools.lru_cache(maxsize=4)
def _counts(n: int) -> "Array":
    """Return how often each of n units is drawn in each sample, (n, samples)."""
    import numpy as np

    counts = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=SAMPLES)
    return np.ascontiguousarray(counts.T, dtype=np.float64)


def _t(sums: "Array", squares: "Array", n: "Array", mean: "Array | float") -> "Array":
    """Compute t from sums, sums of squares and numbers; infinite where nothing varies, or nothing was drawn."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        own = sums / n
        variance = (squares / n - own**2) * n / (n - 1)
        negligible = variance <= 1e-12 * squares / n
        t: Array = np.where(negligible | (n < 2), np.inf, (own - mean) / np.sqrt(np.where(negligible, 1, variance) / n))
    return t
