"""Distances against closed forms, exact rational arithmetic, invariants and torchmetrics."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.stats

from trainables.metrics import distances
from trainables.metrics.distances import Moments, block_jackknife, frechet_distance, polynomial_mmd

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Distance = Callable[[Any, Any], float]


def normal(n: int, d: int, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).standard_normal((n, d))


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
    assert frechet_distance(x, y) == pytest.approx(exact_frechet(x, y), rel=1e-13)


def test_frechet_in_one_dimension() -> None:
    x, y = normal(50, 1, 1), 2 + 3 * normal(70, 1, 2)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_frechet_of_gaussians_with_commuting_covariances() -> None:
    a, b, shift = np.array([1.0, 2.0, 3.0, 0.0]), np.array([2.0, 2.0, 0.5, 1.0]), np.array([1.0, 0.0, -2.0, 0.5])
    x, y = whitened(40, 4, 1) * a, whitened(30, 4, 2) * b + shift
    assert frechet_distance(x, y) == pytest.approx(np.sum((a - b) ** 2) + np.sum(shift**2), rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(20, 48), (200, 8)])
def test_frechet_of_shifted_and_scaled_copies(n: int, d: int) -> None:
    x = normal(n, d)
    shift = np.linspace(-1, 1, d)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(x, x + shift) == pytest.approx(np.sum(shift**2), rel=1e-12)
    centred = x - x.mean(axis=0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * np.sum(centred.var(axis=0, ddof=1)), rel=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(12, 20, 48), (300, 200, 16)])
def test_frechet_equals_the_square_root_of_the_product(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1) @ normal(d, d, 3), 0.2 + normal(m, d, 2) @ normal(d, d, 4)
    s_x, s_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(s_x @ s_y).astype(complex)).real.sum()
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s_x) + np.trace(s_y) - 2 * root
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


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
    assert frechet_distance(x, y) == pytest.approx(float(metric.compute()), rel=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 5, 3), (6, 4, 4), (5, 5, 20)])
def test_mmd_equals_rational_arithmetic(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1), 0.5 + normal(m, d, 2)
    assert polynomial_mmd(x, y) == pytest.approx(exact_mmd(x, y), rel=1e-12)


def test_mmd_by_hand() -> None:
    x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 0.0], [2.0, 2.0]])
    # k(x1, x2) = 1, k(y1, y2) = 1; k(x, y1) = 1 twice, k(x1, y2) = 2^3, k(x2, y2) = 3^3
    assert polynomial_mmd(x, y) == pytest.approx(1 + 1 - 2 * (1 + 1 + 8 + 27) / 4, rel=1e-15)


def test_mmd_has_no_bias_and_keeps_its_sign() -> None:
    pool = normal(6, 3)
    values = []
    for chosen in itertools.combinations(range(6), 3):
        rest = [row for row in range(6) if row not in chosen]
        values.append(polynomial_mmd(pool[list(chosen)], pool[rest]))
    assert min(values) < 0
    assert np.mean(values) == pytest.approx(0, abs=1e-12)


def test_mmd_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(10, 4, 1), normal(7, 4, 2)
    whole = polynomial_mmd(x, y)
    monkeypatch.setattr(distances, "_BLOCK", 3)
    assert polynomial_mmd(x, y) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("distance", [frechet_distance, polynomial_mmd])
def test_distances_do_not_depend_on_order_or_basis(distance: Distance) -> None:
    x, y = normal(12, 5, 1), 0.3 + normal(9, 5, 2)
    value = distance(x, y)
    rotation, _ = np.linalg.qr(normal(5, 5, 3))
    assert isinstance(value, float)
    assert distance(y, x) == pytest.approx(value, rel=1e-12)
    assert distance(x[::-1], y) == pytest.approx(value, rel=1e-12)
    assert distance(x @ rotation, y @ rotation) == pytest.approx(value, rel=1e-10)


def test_features_far_from_zero_keep_their_distance() -> None:
    x, y = normal(300, 5, 1), 0.3 + normal(200, 5, 2)
    value = frechet_distance(x, y)
    assert frechet_distance(x + 1e8, y + 1e8) == pytest.approx(value, rel=1e-5)
    assert frechet_distance(Moments().update(x + 1e8), Moments().update(y + 1e8)) == pytest.approx(value, rel=1e-5)


def test_frechet_ignores_a_common_shift_and_scales_with_the_square() -> None:
    x, y = normal(12, 30, 1), 0.3 + normal(9, 30, 2)
    value = frechet_distance(x, y)
    assert frechet_distance(x + 5, y + 5) == pytest.approx(value, rel=1e-11)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * value, rel=1e-12)


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


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_of_chunks_are_those_of_the_whole(offset: float) -> None:
    x = normal(100, 5) + offset
    moments = Moments()
    for chunk in np.split(x, [1, 30, 31, 90]):
        moments.update(chunk)
    assert moments.n == 100
    np.testing.assert_allclose(moments.mean - offset, (x - offset).mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(moments.covariance, np.cov(x - offset, rowvar=False), atol=1e-9)


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
        np.testing.assert_allclose(other.mean, first.mean, rtol=1e-12)
        np.testing.assert_allclose(other.m2, first.m2, rtol=1e-11, atol=1e-11)


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
    assert frechet_distance(streamed, Moments().update(y)) == pytest.approx(value, rel=1e-6)
    assert frechet_distance(streamed, y) == pytest.approx(value, rel=1e-6)
    assert frechet_distance(streamed, streamed) == pytest.approx(0, abs=1e-5)


def test_moments_refuse() -> None:
    with pytest.raises(ValueError, match="same feature extractor"):
        Moments().update(normal(3, 2)).update(normal(3, 4))
    with pytest.raises(ValueError, match="at least 2 rows"):
        frechet_distance(Moments().update(normal(1, 2)), normal(3, 2))
    with pytest.raises(ValueError, match="NaN"):
        Moments().update(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="same feature extractor"):
        frechet_distance(Moments().update(normal(3, 2)), normal(3, 4))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x, y = (np.random.default_rng(seed).normal(size=(24, 3)) for seed in (1, 2))

    def difference(a: Matrix, b: Matrix) -> float:
        return float(a[:, 0].mean() - b[:, 0].mean())

    found = block_jackknife(difference, x, y, blocks=24)
    assert found is not None
    paired = x[:, 0] - y[:, 0]
    error = paired.std(ddof=1) / np.sqrt(24)
    assert found.error == pytest.approx(error)
    assert found.corrected == pytest.approx(found.value)  # a mean has no bias
    assert found.high - found.value == pytest.approx(scipy.stats.t.ppf(0.975, 23) * error)


def test_the_jackknife_covers_the_true_distance_and_takes_its_bias_off() -> None:
    # Two Gaussians of 16 dimensions, means 0.2 apart in each: the true distance is 16 * 0.04 = 0.64.
    draws = np.random.default_rng(0)
    found = []
    for _ in range(100):
        x, y = draws.normal(size=(128, 16)), draws.normal(0.2, 1, size=(128, 16))
        found.append(block_jackknife(frechet_distance, x, y))
    assert np.mean([one.value for one in found]) > 1.5
    assert np.mean([one.corrected for one in found]) == pytest.approx(0.64, abs=0.06)
    assert 0.88 <= np.mean([one.low <= 0.64 <= one.high for one in found]) <= 1
    spread = np.std([one.corrected for one in found], ddof=1)
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.3)


def test_frames_of_a_clip_are_left_out_together() -> None:
    draws = np.random.default_rng(3)
    x, y = draws.normal(size=(20, 4)), draws.normal(size=(20, 4))
    alone = block_jackknife(polynomial_mmd, x, y, blocks=10)
    # Frames that are all alike hold no more than one does: blocks of clips see that, blocks of frames would not.
    doubled = block_jackknife(frechet_distance, x.repeat(5, axis=0), y.repeat(5, axis=0), rows_per_clip=5, blocks=10)
    single = block_jackknife(frechet_distance, x, y, blocks=10)
    assert alone is not None
    assert doubled is not None
    assert single is not None
    assert (alone.blocks, doubled.blocks) == (10, 10)
    assert doubled.error == pytest.approx(single.error, rel=0.1)


def test_where_the_jackknife_says_less_or_nothing() -> None:
    draws = np.random.default_rng(4)
    few = block_jackknife(frechet_distance, draws.normal(size=(8, 16)), draws.normal(size=(40, 16)))
    assert few is not None
    assert (few.corrected, few.blocks) == (None, 8)
    assert few.low < few.value < few.high
    mmd = block_jackknife(polynomial_mmd, draws.normal(size=(8, 16)), draws.normal(size=(40, 16)))
    assert mmd is not None
    assert mmd.corrected is not None
    assert block_jackknife(polynomial_mmd, draws.normal(size=(2, 4)), draws.normal(size=(9, 4))) is None
