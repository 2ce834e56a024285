"""Distances between two sets of features: deterministic functions of (n, d) matrices in float64.

Legend: ``n`` and ``m`` rows (clips or frames) of the two sets, ``d`` features per row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

Matrix: TypeAlias = npt.NDArray[np.float64]

KERNEL = {"degree": 3, "gamma": "1/d", "coef0": 1}
"""Polynomial kernel of ``polynomial_mmd``, recorded with every value."""

_LARGEST = 1e48  # cubed products of larger features overflow float64; float32 features are smaller
_BLOCK = 1024  # rows of one kernel block: 8 MB at 1,024 columns, whatever the size of the sets
_ROUNDING = 1e-6  # negative distances down to this fraction of the traces are rounding errors


class Moments:
    """Running number, mean and scatter of features in chunks; chunks and workers merge in any order.

        delta = mean_b - mean_a,   n = n_a + n_b
        mean  = mean_a + delta n_b / n
        M2    = M2_a + M2_b + delta delta^T n_a n_b / n

    Unlike sums of products, this keeps its precision for features far from zero. The order of merging changes only the
    last digits; for bitwise equal runs, merge in a fixed order.

    Attributes:
        n: Number of rows seen.
        mean: Their mean; empty before the first row.
        m2: Sum of outer products of the centred rows; empty before the first row.

    Shape:
        mean (d,), m2 (d d).

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """

    def __init__(self) -> None:
        self.n = 0
        self.mean: Matrix = np.zeros(0)
        self.m2: Matrix = np.zeros((0, 0))

    def update(self, x: npt.ArrayLike) -> Self:
        """Add one chunk of rows, and return this object.

        Shape:
            x (n d), n at least 1.

        Raises:
            ValueError: The chunk is not a finite matrix, or its width differs from that of earlier chunks.
        """
        rows = as_features(x, "x", at_least=1)
        chunk = Moments()
        chunk.n = len(rows)
        chunk.mean = rows.mean(axis=0)
        centred = rows - chunk.mean
        chunk.m2 = centred.T @ centred
        return self.merge(chunk)

    def merge(self, other: Moments) -> Self:
        """Add all rows of another object, and return this one; the other is unchanged.

        Raises:
            ValueError: The two have features of different width.
        """
        if other.n == 0:
            return self
        if self.n == 0:
            self.n, self.mean, self.m2 = other.n, other.mean.copy(), other.m2.copy()
            return self
        _same_width(len(self.mean), len(other.mean))
        n = self.n + other.n
        delta = other.mean - self.mean
        self.m2 = self.m2 + other.m2 + np.outer(delta, delta) * (self.n * other.n / n)
        self.mean = self.mean + delta * (other.n / n)
        self.n = n
        return self

    @property
    def covariance(self) -> Matrix:
        """The unbiased covariance M2 / (n - 1).

        Shape:
            (d d).

        Raises:
            ValueError: Fewer than 2 rows have been seen.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 rows, got {self.n}")
        return self.m2 / (self.n - 1)


def frechet_distance(x: npt.ArrayLike | Moments, y: npt.ArrayLike | Moments) -> float:
    """Squared Frechet distance between the Gaussians fitted to two sets of features, with unbiased covariances.

        A = (x - mean_x) / sqrt(n - 1),   B = (y - mean_y) / sqrt(m - 1)
        FD = |mean_x - mean_y|^2 + |A|_F^2 + |B|_F^2 - 2 sum of the singular values of A B^T

    which equals |mean_x - mean_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) without squaring a covariance or taking the
    root of a nonsymmetric matrix. The value is nonnegative and symmetric in its arguments. It is biased upwards, and
    mostly bias if n <= d, so compare only values with equal n and m. ``Moments`` instead of rows give the same value to
    about 1e-8 of the traces.

    Shape:
        x (n d), y (m d) -> float; n and m at least 2, may differ.

    Raises:
        ValueError: A set is not a matrix, has fewer than 2 rows or contains NaN or infinity, the widths differ, or a
            value is larger than 1e48.

    Source: Heusel et al. (arXiv 1706.08500) and Unterthiner et al. (arXiv 1812.01717); departures: trace by singular
    values instead of a matrix square root.
    """
    (mean_x, a), (mean_y, b) = _gaussian(x, "x"), _gaussian(y, "y")
    _same_width(len(mean_x), len(mean_y))
    traces = np.sum(a**2) + np.sum(b**2)
    spread = traces - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()
    assert spread >= -_ROUNDING * traces, f"a Frechet distance is negative beyond rounding: {spread}, traces {traces}"
    return float(np.sum((mean_x - mean_y) ** 2) + max(spread, 0.0))


def polynomial_mmd(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Unbiased squared maximum mean discrepancy under the cubic kernel, over all rows of both sets.

        k(a, b) = (a . b / d + 1)^3
        MMD^2 = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean over i, j of k(x_i, y_j)

    The estimator is unbiased, so it may be negative near 0; the sign is kept. No random subsets are drawn.

    Shape:
        x (n d), y (m d) -> float; n and m at least 2, may differ.

    Raises:
        ValueError: A set is not a matrix, has fewer than 2 rows or contains NaN or infinity, the widths differ, or a
            value is larger than 1e48.

    Source: Binkowski et al. (arXiv 1801.01401), the Kernel Inception Distance; departures: full sets instead of the
    mean over random subsets. Seer's released code centres the features of each set first, so that its KVD is blind to a
    difference of the means and its published values are not comparable.
    """
    first, second = as_features(x, "x"), as_features(y, "y")
    _same_width(first.shape[1], second.shape[1])
    n, m = len(first), len(second)
    within_x = _kernel_sum(first, first, skip_diagonal=True) / (n * (n - 1))
    within_y = _kernel_sum(second, second, skip_diagonal=True) / (m * (m - 1))
    return within_x + within_y - 2 * _kernel_sum(first, second) / (n * m)


class Jackknife(NamedTuple):
    """Distance with its block-jackknife estimates.

    Args:
        value: Distance over all rows.
        corrected: Distance without its bias of order 1/n; None if that estimate is unreliable.
        error: Standard error.
        low: Lower bound of the interval, around ``corrected`` if it exists, else around ``value``.
        high: Upper bound of the interval.
        blocks: Number of blocks left out in turn.
    """

    value: float
    corrected: float | None
    error: float
    low: float
    high: float
    blocks: int


def block_jackknife(
    distance: Callable[[Matrix, Matrix], float],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    rows_per_clip: int = 1,
    blocks: int = 16,
    confidence: float = 0.95,
) -> Jackknife | None:
    """Estimate a distance's standard error and interval by leaving out each block of clips, in both sets at a time.

        theta_b: the distance without block b,   b = 1 .. g
        error^2   = (g - 1) / g sum_b (theta_b - mean(theta))^2
        corrected = g theta - (g - 1) mean(theta)
        interval  = corrected +- t_{(1 + confidence) / 2, g - 1} error

    The bootstrap is unsuitable: repeated rows narrow the covariance, and percentile intervals then nearly always miss
    the value. The correction removes a bias of order 1/n; the bias of a Frechet distance with fewer rows than features
    is of another order, so no corrected value is given then. The kernel distance is unbiased.

    Args:
        distance: ``frechet_distance`` or ``polynomial_mmd``.
        x: Features of one set.
        y: Features of the other.
        rows_per_clip: Consecutive rows of one clip, such as its frames; they are left out together.
        blocks: Maximum number of blocks; at most the number of clips in the smaller set.
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        None if a set has fewer than 3 clips.

    Shape:
        x (n d), y (m d).

    Raises:
        ValueError: As for the distance.

    Source: Efron and Stein (1981) for the jackknife; measured coverage 95 % with 128 rows of 16 features.
    """
    rows = as_features(x, "x"), as_features(y, "y")
    clips = [len(side) // rows_per_clip for side in rows]
    number = min(blocks, *clips)
    if number < 3:
        return None
    value = distance(*rows)
    # Clip k of either set is in block k modulo g, so that trends along a set are spread over all blocks.
    block_of = [np.arange(len(side)) // rows_per_clip % number for side in rows]
    left = np.array(
        [distance(*(side[of != block] for side, of in zip(rows, block_of, strict=True))) for block in range(number)]
    )
    error = float(np.sqrt((number - 1) / number * np.sum((left - left.mean()) ** 2)))
    reliable = distance is not frechet_distance or min(map(len, rows)) > rows[0].shape[1]
    corrected = float(number * value - (number - 1) * left.mean()) if reliable else None
    from scipy.special import stdtrit

    half = float(stdtrit(number - 1, (1 + confidence) / 2)) * error
    centre = value if corrected is None else corrected
    return Jackknife(value, corrected, error, centre - half, centre + half, number)


def as_features(x: npt.ArrayLike, name: str, at_least: int = 2) -> Matrix:
    """Check that ``x`` is a finite matrix of features, and return it in float64.

    Args:
        x: Array-like of real numbers.
        name: Name in error messages.
        at_least: Fewest rows.

    Shape:
        x (n d) -> (n d).

    Raises:
        ValueError: Not a matrix of real numbers, too few rows, no columns, NaN, infinity, or a value above 1e48.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has the type {array.dtype} -> real numbers, such as float32 or float64")
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} has the shape {array.shape} -> a matrix (n, d) with one row per clip or frame")
    if len(array) < at_least:
        raise ValueError(f"{name} has {len(array)} row(s) -> at least {at_least}: more clips or frames")
    rows = array.astype(np.float64)
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise ValueError(f"{name} has NaN or infinity in {bad} of {len(rows)} rows -> remove broken clips")
    if np.abs(rows).max() > _LARGEST:
        raise ValueError(f"{name} has values above {_LARGEST:g}, too large for the cubic kernel -> rescale both sets")
    return rows


def _same_width(d_x: int, d_y: int) -> None:
    if d_x != d_y:
        raise ValueError(
            f"the two sets have {d_x} and {d_y} features per row -> features from the same feature extractor"
        )


def _gaussian(x: npt.ArrayLike | Moments, name: str) -> tuple[Matrix, Matrix]:
    """Compute the mean (d,) and a factor A (k d), k at most d or n, with A^T A the unbiased covariance."""
    if isinstance(x, Moments):
        values, vectors = np.linalg.eigh(x.covariance)
        return x.mean, np.sqrt(np.clip(values, 0.0, None))[:, None] * vectors.T
    rows = as_features(x, name)
    mean = rows.mean(axis=0)
    factor = (rows - mean) / np.sqrt(len(rows) - 1)
    # The triangular factor has the same covariance and at most d rows.
    if len(rows) > rows.shape[1]:
        factor = np.asarray(np.linalg.qr(factor, mode="r"))
    return mean, factor


def _kernel_sum(x: Matrix, y: Matrix, *, skip_diagonal: bool = False) -> float:
    """Sum (x_i . y_j / d + 1)^3 over all pairs, or over the pairs with i != j."""
    total = 0.0
    for start in range(0, len(x), _BLOCK):
        kernel = (x[start : start + _BLOCK] @ y.T / x.shape[1] + 1.0) ** 3
        if skip_diagonal:
            rows = np.arange(len(kernel))
            kernel[rows, start + rows] = 0.0
        total += float(kernel.sum())
    return total
