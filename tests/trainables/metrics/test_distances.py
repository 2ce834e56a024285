"""Distances against closed forms, exact rational arithmetic, invariants and torchmetrics."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from tests.tolerance import bound
from trainables.metrics import kernels
from trainables.metrics.distances import Moments, frechet_distance
from trainables.metrics.kernels import polynomial_mmd

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Distance = Callable[[Any, Any], float]


def normal(n: int, d: int, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).standard_normal((n, d))


def gridded(n: int, d: int, seed: int) -> Matrix:
    """Normal rows on a grid so coarse that a shift of up to 2^27, and the sum of some hundred such rows, are exact."""
    return np.round(normal(n, d, seed) * 4096) / 4096


def frechet_rounding(x: Matrix, y: Matrix) -> float:
    """Two ways to one distance: QR and SVD move a matrix by its size in roundings at most, of all that is subtracted.

    Source: Higham (2002), theorem 19.4.
    """
    size = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + sum(np.sum(np.var(z, axis=0, ddof=1)) for z in (x, y))
    return bound(torch.float64, 2 * (x.size + y.size + 8), float(size))


def mmd_rounding(x: Matrix, y: Matrix) -> float:
    """Two ways to one estimate: the cube of a sum over features, summed over pairs; four means with their signs off."""
    rows = np.abs(np.concatenate([x, y]))
    kernel = (rows @ rows.T / rows.shape[1] + 1) ** 3
    return bound(torch.float64, 2 * (3 * (rows.shape[1] + 4) + kernel.size), 4 * float(kernel.max()))


ROUNDING: dict[Distance, Callable[[Matrix, Matrix], float]] = {
    frechet_distance: frechet_rounding,
    polynomial_mmd: mmd_rounding,
}


def moved(value: float, d: int, shift: float) -> float:
    """How far a distance changes when every value of both sets moves by a shift: its root is a metric."""
    return 4 * float(np.sqrt(value * d)) * shift


def whitened(n: int, d: int, seed: int) -> Matrix:
    """Rows whose sample mean is 0 and whose unbiased sample covariance is the identity, to rounding."""
    rows = normal(n, d, seed)
    basis, _ = np.linalg.qr(rows - rows.mean(axis=0))
    return basis * np.sqrt(n - 1)


def exact_frechet(x: Matrix, y: Matrix) -> float:
    """The distance of two sets of 2 or 3 rows in 50 digits: then A B^T has at most two singular values, s and t, with
    s^2 + t^2 = tr G and 2 s t = sqrt(2 (tr(G)^2 - tr(G G))), where G = A B^T B A^T is rational.
    """

    def centred(rows: Matrix) -> tuple[list[list[Fraction]], list[Fraction]]:
        exact = [[Fraction(value) for value in row] for row in rows.tolist()]
        mean = [sum(column, Fraction()) / len(exact) for column in zip(*exact, strict=True)]
        return [[value - middle for value, middle in zip(row, mean, strict=True)] for row in exact], mean

    def dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
        return sum((left * right for left, right in zip(a, b, strict=True)), Fraction())

    def root(value: Fraction) -> Decimal:
        return (Decimal(value.numerator) / Decimal(value.denominator)).sqrt()

    (a, mean_x), (b, mean_y) = centred(x), centred(y)
    n, m = len(a) - 1, len(b) - 1
    cross = [[dot(row, other) for other in b] for row in a]
    gram = [[dot(row, other) / (n * m) for other in cross] for row in cross]
    trace = sum((gram[i][i] for i in range(len(a))), Fraction())
    square = sum((value * value for row in gram for value in row), Fraction())
    shift = [left - right for left, right in zip(mean_x, mean_y, strict=True)]
    plain = (
        dot(shift, shift) + sum((dot(r, r) for r in a), Fraction()) / n + sum((dot(r, r) for r in b), Fraction()) / m
    )
    with localcontext() as context:
        context.prec = 50
        two_products = root(max(2 * (trace * trace - square), Fraction()))
        nuclear = (Decimal(trace.numerator) / Decimal(trace.denominator) + two_products).sqrt()
        return float(Decimal(plain.numerator) / Decimal(plain.denominator) - 2 * nuclear)


def exact_mmd(x: Matrix, y: Matrix) -> float:
    """The unbiased estimator pair by pair, in rational arithmetic."""
    rows_x = [[Fraction(value) for value in row] for row in x.tolist()]
    rows_y = [[Fraction(value) for value in row] for row in y.tolist()]

    def kernel(a: list[Fraction], b: list[Fraction]) -> Fraction:
        return (sum((p * q for p, q in zip(a, b, strict=True)), Fraction()) / len(a) + 1) ** 3

    def within(rows: list[list[Fraction]]) -> Fraction:
        pairs = list(itertools.permutations(rows, 2))
        return sum((kernel(a, b) for a, b in pairs), Fraction()) / len(pairs)

    between = sum((kernel(a, b) for a in rows_x for b in rows_y), Fraction()) / (len(x) * len(y))
    return float(within(rows_x) + within(rows_y) - 2 * between)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (2, 3, 7), (3, 3, 2), (3, 3, 40), (3, 2, 300)])
def test_frechet_equals_fifty_digits(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1), 0.3 + 1.7 * normal(m, d, 2)
    assert frechet_distance(x, y) == pytest.approx(exact_frechet(x, y), rel=0, abs=frechet_rounding(x, y))


def test_frechet_in_one_dimension() -> None:
    x, y = normal(50, 1, 1), 2 + 3 * normal(70, 1, 2)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=0, abs=frechet_rounding(x, y))


def test_frechet_of_gaussians_with_commuting_covariances() -> None:
    a, b, shift = np.array([1.0, 2.0, 3.0, 0.0]), np.array([2.0, 2.0, 0.5, 1.0]), np.array([1.0, 0.0, -2.0, 0.5])
    x, y = whitened(40, 4, 1) * a, whitened(30, 4, 2) * b + shift
    expected = np.sum((a - b) ** 2) + np.sum(shift**2)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=0, abs=frechet_rounding(x, y))


@pytest.mark.parametrize(("n", "d"), [(20, 48), (200, 8)])
def test_frechet_of_shifted_and_scaled_copies(n: int, d: int) -> None:
    x = normal(n, d)
    shift = np.linspace(-1, 1, d)
    assert frechet_distance(x, x) == pytest.approx(0, abs=frechet_rounding(x, x))
    shifted, distance = x + shift, np.sum(shift**2)
    assert frechet_distance(x, shifted) == pytest.approx(distance, rel=0, abs=frechet_rounding(x, shifted))
    centred = x - x.mean(axis=0)
    expected, rounding = 4 * np.sum(centred.var(axis=0, ddof=1)), frechet_rounding(centred, 3 * centred)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(expected, rel=0, abs=rounding)


@pytest.mark.parametrize(("n", "m", "d"), [(12, 20, 48), (300, 200, 16)])
def test_frechet_equals_the_square_root_of_the_product(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1) @ normal(d, d, 3), 0.2 + normal(m, d, 2) @ normal(d, d, 4)
    s_x, s_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(s_x @ s_y).astype(complex)).real.sum()
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s_x) + np.trace(s_y) - 2 * root
    # An eigenvalue of 0 comes out as large as rounding, and its root as the root of that.
    null = bound(torch.float64, d, float(np.linalg.norm(s_x, 2) * np.linalg.norm(s_y, 2)))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=0, abs=2 * d * np.sqrt(null))


def test_frechet_equals_torchmetrics() -> None:
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Identity(torch.nn.Module):
        num_features = 6

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows

    x, y = normal(80, 6, 1), 0.5 + 2 * normal(60, 6, 2)
    metric = FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64)
    metric.update(torch.from_numpy(x), real=True)
    metric.update(torch.from_numpy(y), real=False)
    assert frechet_distance(x, y) == pytest.approx(float(metric.compute()), rel=0, abs=frechet_rounding(x, y))


@pytest.mark.parametrize(("n", "m", "d"), [(2, 5, 3), (6, 4, 4), (5, 5, 20)])
def test_mmd_equals_rational_arithmetic(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1), 0.5 + normal(m, d, 2)
    assert polynomial_mmd(x, y) == pytest.approx(exact_mmd(x, y), rel=0, abs=mmd_rounding(x, y))


def test_mmd_by_hand() -> None:
    x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 0.0], [2.0, 2.0]])
    # k(x1, x2) = 1, k(y1, y2) = 1; k(x, y1) = 1 twice, k(x1, y2) = 2^3, k(x2, y2) = 3^3
    assert polynomial_mmd(x, y) == pytest.approx(1 + 1 - 2 * (1 + 1 + 8 + 27) / 4, rel=0, abs=mmd_rounding(x, y))


def test_mmd_has_no_bias_and_keeps_its_sign() -> None:
    pool = normal(6, 3)
    values = []
    for chosen in itertools.combinations(range(6), 3):
        rest = [row for row in range(6) if row not in chosen]
        values.append(polynomial_mmd(pool[list(chosen)], pool[rest]))
    assert min(values) < 0
    assert np.mean(values) == pytest.approx(0, abs=mmd_rounding(pool, pool))


def test_mmd_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(10, 4, 1), normal(7, 4, 2)
    whole = polynomial_mmd(x, y)
    monkeypatch.setattr(kernels, "_BLOCK", 3)
    assert polynomial_mmd(x, y) == pytest.approx(whole, rel=0, abs=mmd_rounding(x, y))


@pytest.mark.parametrize("distance", [frechet_distance, polynomial_mmd])
def test_distances_do_not_depend_on_order_or_basis(distance: Distance) -> None:
    x, y = normal(12, 5, 1), 0.3 + normal(9, 5, 2)
    value, rounding = distance(x, y), ROUNDING[distance](x, y)
    rotation, _ = np.linalg.qr(normal(5, 5, 3))
    assert isinstance(value, float)
    assert distance(y, x) == pytest.approx(value, rel=0, abs=rounding)
    assert distance(x[::-1], y) == pytest.approx(value, rel=0, abs=rounding)
    assert distance(x @ rotation, y @ rotation) == pytest.approx(value, rel=0, abs=rounding)


def test_features_far_from_zero_keep_their_distance() -> None:
    x, y, far = gridded(300, 5, 1), 0.25 + gridded(200, 5, 2), 2.0**27
    value = frechet_distance(x, y)
    # Shifted values and their sums are exact, so that the means alone are rounded, once.
    rounding = frechet_rounding(x, y) + moved(value, 5, bound(torch.float64, 1, 2 * far))
    assert frechet_distance(x + far, y + far) == pytest.approx(value, rel=0, abs=rounding)
    moments = Moments().update(x + far), Moments().update(y + far)
    assert frechet_distance(*moments) == pytest.approx(value, rel=0, abs=rounding)


def test_frechet_ignores_a_common_shift_and_scales_with_the_square() -> None:
    x, y = normal(12, 30, 1), 0.3 + normal(9, 30, 2)
    value, rounding = frechet_distance(x, y), frechet_rounding(x, y)
    shift = moved(value, 30, bound(torch.float64, 1 + 12, 10))
    assert frechet_distance(x + 5, y + 5) == pytest.approx(value, rel=0, abs=rounding + shift)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * value, rel=0, abs=9 * rounding)


@pytest.mark.parametrize("distance", [frechet_distance, polynomial_mmd])
def test_features_are_left_as_they_are(distance: Distance) -> None:
    x, y = normal(12, 5, 1), normal(9, 5, 2)
    before = x.copy(), y.copy()
    first = distance(x, y)
    assert distance(x, y) == first
    np.testing.assert_array_equal((x, y)[0], before[0])
    np.testing.assert_array_equal((x, y)[1], before[1])


@pytest.mark.parametrize("distance", [frechet_distance, polynomial_mmd])
def test_computed_in_double_precision_whatever_comes_in(distance: Distance) -> None:
    x, y = normal(12, 5, 1).astype(np.float32), normal(9, 5, 2).astype(np.float32)
    assert distance(x, y) == distance(x.astype(np.float64), y.astype(np.float64))
    whole = np.arange(20).reshape(10, 2) % 7
    assert distance(whole.tolist(), whole + 1) == distance(whole.astype(float), whole + 1.0)


@pytest.mark.parametrize("distance", [frechet_distance, polynomial_mmd])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((1, 4)), "at least 2"),
        (np.ones((0, 4)), "at least 2"),
        (np.ones((5, 0)), "matrix"),
        (np.ones(4), "matrix"),
        (np.ones((2, 3, 4)), "matrix"),
        (np.full((3, 4), np.nan), "NaN"),
        (np.array([[1, 2, 3, np.inf], [1, 2, 3, 4]]), "NaN or infinity in 1 of 2 rows"),
        (np.ones((5, 3)), "same feature extractor"),
        (np.ones((5, 4), dtype=complex), "real numbers"),
        (np.array([["a", "b", "c", "d"]] * 2), "real numbers"),
        (normal(5, 4) * 1e200, "too large"),
        (np.full((5, 4), 1e308), "too large"),
    ],
)
def test_distances_refuse(distance: Distance, x: Any, message: str) -> None:
    y = normal(6, 4)
    for pair in ((x, y), (y, x)):
        with pytest.raises(ValueError, match=message):
            distance(*pair)


@pytest.mark.parametrize("offset", [0.0, 2.0**20])
def test_moments_of_chunks_are_those_of_the_whole(offset: float) -> None:
    x = gridded(100, 5, 0) + offset
    moments = Moments()
    for chunk in np.split(x, [1, 30, 31, 90]):
        moments.update(chunk)
    assert moments.n == 100
    # A mean is rounded once in a chunk, where sums are exact, and three times as it is merged with one more.
    mean = bound(torch.float64, 5 * 4, offset + 4)
    np.testing.assert_allclose(moments.mean - offset, (x - offset).mean(axis=0), rtol=0, atol=mean)
    covariance = bound(torch.float64, 2 * 100, 5) + 2 * 4 * mean  # products of values up to 4 that the mean has moved
    np.testing.assert_allclose(moments.covariance, np.cov(x - offset, rowvar=False), rtol=0, atol=covariance)


def test_moments_merge_in_any_order() -> None:
    parts = [normal(size, 4, size) + size for size in (3, 20, 1, 7)]

    def merged(order: tuple[int, ...]) -> Moments:
        total = Moments()
        for index in order:
            total.merge(Moments().update(parts[index]))
        return total

    first = merged((0, 1, 2, 3))
    for order in itertools.permutations(range(4)):
        other = merged(order)
        # 31 rows of values up to 23 are summed, in 4 parts with 3 operations more for each.
        np.testing.assert_allclose(other.mean, first.mean, rtol=0, atol=bound(torch.float64, 2 * (31 + 12), 23))
        rounding = bound(torch.float64, 2 * (31 + 2 * 12), 31 * 23**2)
        np.testing.assert_allclose(other.m2, first.m2, rtol=0, atol=rounding)


def test_moments_merge_leaves_the_other_alone() -> None:
    one, two = Moments().update(normal(5, 3, 1)), Moments().update(normal(6, 3, 2))
    kept = two.mean.copy()
    Moments().merge(two).update(normal(4, 3, 3))
    one.merge(two).merge(Moments())
    assert (one.n, two.n) == (11, 6)
    np.testing.assert_array_equal(two.mean, kept)


@pytest.mark.parametrize(("n", "m", "d"), [(12, 20, 48), (300, 200, 16)])
def test_frechet_of_moments_is_that_of_the_rows(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1), 0.2 + 2 * normal(m, d, 2)
    value = frechet_distance(x, y)
    streamed = Moments().update(x[:7]).update(x[7:])
    # A covariance's eigenvalue of 0 comes out as large as rounding, its root in the factor as the root of that.
    s_x, s_y = (float(np.linalg.norm(np.cov(rows, rowvar=False), 2)) for rows in (x, y))
    rounding = frechet_rounding(x, y) + 2 * d * np.sqrt(bound(torch.float64, d, s_x * s_y))
    assert frechet_distance(streamed, Moments().update(y)) == pytest.approx(value, rel=0, abs=rounding)
    assert frechet_distance(streamed, y) == pytest.approx(value, rel=0, abs=rounding)
    assert frechet_distance(streamed, streamed) == pytest.approx(0, abs=frechet_rounding(x, x))


def test_moments_refuse() -> None:
    with pytest.raises(ValueError, match="same feature extractor"):
        Moments().update(normal(3, 2)).update(normal(3, 4))
    with pytest.raises(ValueError, match="at least 2 rows"):
        frechet_distance(Moments().update(normal(1, 2)), normal(3, 2))
    with pytest.raises(ValueError, match="NaN"):
        Moments().update(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="same feature extractor"):
        frechet_distance(Moments().update(normal(3, 2)), normal(3, 4))
