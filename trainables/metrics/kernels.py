"""Maximum mean discrepancies of two sets of features under the kernels of KID, JEDi and CMMD, in float64.

Legend: ``n`` and ``m`` rows (clips or frames) of the two sets, ``d`` features per row, ``g`` blocks of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trainables.metrics.distances import Matrix, as_features, same_width

Labels: TypeAlias = npt.NDArray[np.int64]
Used: TypeAlias = npt.NDArray[np.bool_]

SIGMA = 10.0
"""Bandwidth of CMMD's kernel."""

_BLOCK = 1024  # rows of one kernel block: 8 MB at 1,024 columns, whatever the size of the sets


@dataclass(frozen=True, eq=False)
class Mmd:
    """Unbiased squared maximum mean discrepancy of two sets under a kernel k, over all rows.

        MMD^2 = s (mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean over i, j of k(x_i, y_j))

    The estimator is unbiased, so it may be negative near 0; the sign is kept. No random subsets are drawn.

    Args:
        kernel: Kernel matrix (n m) of rows (n d) and (m d).
        settings: Kernel and estimator, recorded with every value.
        scale: Factor s of the published value.

    Source: Gretton et al., "A kernel two-sample test" (2012), equation 3.
    """

    kernel: Callable[[Matrix, Matrix], Matrix]
    settings: dict[str, Any]
    scale: float = 1.0

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Compute the discrepancy.

        Shape:
            x (n d), y (m d) -> float; n and m at least 2, may differ.

        Raises:
            ValueError: A set is not a matrix, has fewer than 2 rows or contains NaN or infinity, the widths differ, or
                a value is larger than 1e48.
        """
        first, second = as_features(x, "x"), as_features(y, "y")
        of_x, of_y = (np.zeros(len(rows), np.int64) for rows in (first, second))
        return self.leaving_out(first, second, of_x, of_y, 1)[0]

    def leaving_out(self, x: Matrix, y: Matrix, of_x: Labels, of_y: Labels, blocks: int) -> tuple[float, list[float]]:
        """Compute the discrepancy over all rows, and without each block of them; each pair of rows is used once.

        Args:
            x: Features of one set.
            y: Features of the other.
            of_x: Block of each row of ``x``, from 0.
            of_y: Block of each row of ``y``.
            blocks: Number of blocks g; with one, nothing is left out.

        Shape:
            x (n d), y (m d), of_x (n,), of_y (m,) -> value, and g values without a block.
        """
        same_width(x.shape[1], y.shape[1])
        sums = self._within(x, of_x, blocks), self._within(y, of_y, blocks), self._between(x, y, of_x, of_y, blocks)
        rows_x, rows_y = (np.bincount(of, minlength=blocks) for of in (of_x, of_y))

        def over(used: Used) -> float:
            within_x, within_y, between = (float(total[np.ix_(used, used)].sum()) for total in sums)
            return self._value(within_x, within_y, between, int(rows_x[used].sum()), int(rows_y[used].sum()))

        every = np.ones(blocks, np.bool_)
        return over(every), [over(np.arange(blocks) != block) for block in range(blocks if blocks > 1 else 0)]

    def apart(self, rows: Matrix, of: Labels, blocks: int) -> list[float]:
        """Compute the discrepancy of each block of a set of rows to all others of them.

        Args:
            rows: Features.
            of: Block of each row, from 0; rows with the number ``blocks`` are in none.
            blocks: Number of blocks g.

        Shape:
            rows (n d), of (n,) -> g values.
        """
        sums, numbers = self._within(rows, of, blocks + 1), np.bincount(of, minlength=blocks + 1)
        values = []
        for block in range(blocks):
            rest = np.arange(blocks + 1) != block
            own, others, between = sums[block, block], sums[np.ix_(rest, rest)].sum(), sums[rest, block].sum()
            values.append(self._value(own, others, between, int(numbers[block]), int(numbers[rest].sum())))
        return values

    def _value(self, within_x: float, within_y: float, between: float, n: int, m: int) -> float:
        """Compute the discrepancy from sums of the kernel."""
        return float(self.scale * (within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)))

    def _within(self, x: Matrix, of: Labels, blocks: int) -> Matrix:
        """Sum the kernel over the rows i != j of each pair of blocks (g g)."""
        member, total = np.eye(blocks)[of], np.zeros((blocks, blocks))
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            kernel = np.triu(self.kernel(x[part], x[start:]), 1)  # each pair once, since a kernel is symmetric
            total += member[part].T @ (kernel @ member[start:])
        return total + total.T

    def _between(self, x: Matrix, y: Matrix, of_x: Labels, of_y: Labels, blocks: int) -> Matrix:
        """Sum the kernel over the rows of each pair of a block of x and a block of y (g g)."""
        in_x, in_y, total = np.eye(blocks)[of_x], np.eye(blocks)[of_y], np.zeros((blocks, blocks))
        for start in range(0, len(x), _BLOCK):
            part = slice(start, start + _BLOCK)
            total += in_x[part].T @ (self.kernel(x[part], y) @ in_y)
        return total


def _cubic(x: Matrix, y: Matrix) -> Matrix:
    return np.asarray((x @ y.T / x.shape[1] + 1.0) ** 3)


def _quadratic(x: Matrix, y: Matrix) -> Matrix:
    return np.asarray((x @ y.T / x.shape[1]) ** 2)


def _gaussian_of_units(x: Matrix, y: Matrix) -> Matrix:
    cosines = _units(x) @ _units(y).T
    return np.asarray(np.exp((cosines - 1.0) / SIGMA**2))


def _units(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("an embedding of zeros has no direction -> check the feature extractor")
    return np.asarray(rows / lengths)


_ESTIMATOR = {"estimator": "unbiased, all pairs"}

polynomial_mmd = Mmd(_cubic, {"kernel": {"degree": 3, "gamma": "1/d", "coef0": 1}, **_ESTIMATOR})
"""MMD^2 under k(a, b) = (a . b / d + 1)^3.

Source: Binkowski et al. (arXiv 1801.01401), the Kernel Inception Distance; departures: full sets instead of the mean
over random subsets. Seer's released code centres the features of each set first, so that its KVD is blind to a
difference of the means and its published values are not comparable.
"""

jedi_mmd = Mmd(_quadratic, {"kernel": {"degree": 2, "gamma": "1/d", "coef0": 0}, "scale": 100, **_ESTIMATOR}, 100.0)
"""100 MMD^2 under k(a, b) = (a . b / d)^2.

Source: Luo et al. (arXiv 2410.05203), JEDi, and its released code; departures: unbiased, without the pairs i = j.
"""

cmmd = Mmd(
    _gaussian_of_units, {"kernel": {"gaussian": SIGMA, "rows": "unit length"}, "scale": 1000, **_ESTIMATOR}, 1000.0
)
"""1000 MMD^2 under k(a, b) = exp(-|a - b|^2 / (2 10^2)) of embeddings with length 1.

Source: Jayasumana et al. (arXiv 2401.09603), CMMD; departures: unbiased as in the paper, where the released code has
the pairs i = j as well.
"""
