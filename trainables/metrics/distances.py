"""Frechet distance between two sets of features: a deterministic function of (n, d) matrices in float64.

Legend: ``n`` and ``m`` rows (clips or frames) of the two sets, ``d`` features per row.
"""

from __future__ import annotations

from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

Matrix: TypeAlias = npt.NDArray[np.float64]

_LARGEST = 1e48  # cubed products of larger features overflow float64; float32 features are smaller
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
        same_width(len(self.mean), len(other.mean))
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
    same_width(len(mean_x), len(mean_y))
    traces = np.sum(a**2) + np.sum(b**2)
    spread = traces - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()
    assert spread >= -_ROUNDING * traces, f"a Frechet distance is negative beyond rounding: {spread}, traces {traces}"
    return float(np.sum((mean_x - mean_y) ** 2) + max(spread, 0.0))


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


def same_width(d_x: int, d_y: int) -> None:
    """Check that two sets have features of the same width.

    Raises:
        ValueError: They differ.
    """
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
