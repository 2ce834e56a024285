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

    if not np.size(differences):
        return [1.0] * len(differences)
    tested, observed, statistics = _studentised(differences)
    corrected = np.ones(len(differences))
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(statistics[order][::-1], axis=0)[::-1]
    corrected[tested[order]] = np.maximum.accumulate(_shares(largest, observed[order]))
    return [float(p) for p in corrected]


def bootstrap_p(differences: "Sequence[Sequence[float]] | Array") -> list[float]:
    """Test each arm by itself with the studentised bootstrap, without a correction.

    Args:
        differences: One row per arm, one column per unit; NaN where an arm has no pair.
    """
    import numpy as np

    if not np.size(differences):
        return [1.0] * len(differences)
    tested, observed, statistics = _studentised(differences)
    ps = np.ones(len(differences))
    ps[tested] = _shares(statistics, observed)
    return [float(p) for p in ps]


def _shares(statistics: "Array", observed: "Array") -> "Array":
    import numpy as np

    shares: Array = (np.count_nonzero(statistics >= observed[:, None], axis=1) + 1) / (SAMPLES + 1)
    return shares


def _studentised(differences: "Sequence[Sequence[float]] | Array") -> "tuple[npt.NDArray[np.intp], Array, Array]":
    """Return the arms with at least two pairs and any difference, their |t|, and |t*| of every sample."""
    import numpy as np

    d = np.asarray(differences, dtype=np.float64)
    has = ~np.isnan(d)
    d = np.nan_to_num(d)
    tested = np.flatnonzero((has.sum(axis=1) >= 2) & np.any(d != 0, axis=1))
    d, has = d[tested], has[tested]
    observed = np.abs(_t(d.sum(axis=1), (d**2).sum(axis=1), has.sum(axis=1), 0.0))
    counts = _counts(d.shape[1])
    means = (d.sum(axis=1) / has.sum(axis=1))[:, None]
    return tested, observed, np.abs(_t(d @ counts, (d**2) @ counts, has @ counts, means))


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
