"""Error, bias and floor of a distance between sets, by leaving out clips; and its extrapolation to infinitely many.

The clip is the unit everywhere: rows of one clip, such as its frames, are left out together.

Legend: ``n`` and ``m`` rows (clips or frames) of the two sets, ``d`` features per row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trainables.metrics.distances import Matrix, as_features, frechet_distance
from trainables.metrics.families import CLIPS_PER_FEATURE
from trainables.metrics.kernels import Labels, Mmd

Distance: TypeAlias = Callable[[Matrix, Matrix], float] | Mmd

DRAWS = 8
"""Most sets of real clips of which a floor is the mean."""

SIZES = 5
"""Numbers of clips to which an extrapolation is fitted, from half of the clips to all."""

SUBSETS = 8
"""Random subsets of each of these numbers, over which the distance is averaged."""


class Jackknife(NamedTuple):
    """Distance with its block-jackknife estimates.

    Args:
        value: Distance over all rows.
        corrected: Distance without its bias of order 1/n.
        error: Standard error.
        low: Lower bound of the interval around ``corrected``.
        high: Upper bound of the interval.
        blocks: Number of blocks left out in turn.
    """

    value: float
    corrected: float
    error: float
    low: float
    high: float
    blocks: int


def block_jackknife(
    distance: Distance,
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
    the value. The correction removes a bias of order 1/n. A Frechet distance of few clips for its features has a bias
    of another order, however many frames the clips have; see ``CLIPS_PER_FEATURE``.

    Args:
        distance: ``frechet_distance`` or a kernel distance.
        x: Features of one set.
        y: Features of the other.
        rows_per_clip: Consecutive rows of one clip, such as its frames; they are left out together.
        blocks: Maximum number of blocks; at most the number of clips in the smaller set.
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        None if a set has fewer than 3 clips, or for a Frechet distance fewer than 4 d.

    Shape:
        x (n d), y (m d).

    Raises:
        ValueError: As for the distance.

    Source: Efron and Stein (1981) for the jackknife; measured coverage 95 % with 128 clips of 16 features.
    """
    first, second = as_features(x, "x"), as_features(y, "y")
    clips = min(len(first), len(second)) // rows_per_clip
    if clips < 3 or (distance is frechet_distance and clips < CLIPS_PER_FEATURE * first.shape[1]):
        return None
    number = min(blocks, clips)
    # Clip k of either set is in block k modulo g, so that trends along a set are spread over all blocks.
    of_x, of_y = (np.arange(len(side)) // rows_per_clip % number for side in (first, second))
    value, without = _leaving_out(distance, first, second, of_x, of_y, number)
    left = np.array(without)
    error = float(np.sqrt((number - 1) / number * np.sum((left - left.mean()) ** 2)))
    corrected = float(number * value - (number - 1) * left.mean())
    from scipy.special import stdtrit

    half = float(stdtrit(number - 1, (1 + confidence) / 2)) * error
    return Jackknife(value, corrected, error, corrected - half, corrected + half, number)


def _leaving_out(
    distance: Distance, x: Matrix, y: Matrix, of_x: Labels, of_y: Labels, number: int
) -> tuple[float, list[float]]:
    """Compute the distance over all rows, and without each block of them."""
    if isinstance(distance, Mmd):
        return distance.leaving_out(x, y, of_x, of_y, number)
    return distance(x, y), [distance(x[of_x != block], y[of_y != block]) for block in range(number)]


class Floor(NamedTuple):
    """A measure of real clips against the other real clips.

    Args:
        mean: Mean over disjoint sets of real clips.
        sd: Standard deviation over these sets.
        draws: Number of the sets, at least 2.
    """

    mean: float
    sd: float
    draws: int


def floor_of(distance: Distance, real: npt.ArrayLike, clips: int, *, rows_per_clip: int = 1) -> Floor | None:
    """Measure real clips like those of a cell: what a perfect model would reach with so many clips.

        floor = mean over b of D(real clips without set b, set b),   b = 1 .. DRAWS disjoint sets of ``clips`` clips

    Args:
        distance: Function of the features of real clips and of those that are measured.
        real: Features of the real clips, in random order.
        clips: Number of clips of a cell.
        rows_per_clip: Consecutive rows of one clip.

    Returns:
        None if there are fewer than twice as many real clips.

    Shape:
        real (m d).
    """
    rows = as_features(real, "real")
    available, size = len(rows) // rows_per_clip, clips * rows_per_clip
    if available < 2 * clips:
        return None
    draws = min(DRAWS, available // clips)
    of = np.minimum(np.arange(len(rows)) // size, draws)
    if isinstance(distance, Mmd):
        values = distance.apart(rows, of, draws)
    else:
        values = [distance(rows[of != draw], rows[of == draw]) for draw in range(draws)]
    return Floor(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


def frechet_at_infinity(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Extrapolate the Frechet distance to infinitely many clips, linearly in the inverse of their number.

        FD(t) = FD_inf + c / t + error,   t = share of the clips of both sets, 1/t evenly spaced from 1 to 2

    FD(t) is the mean over ``SUBSETS`` subsets that are drawn with a fixed seed. Both sets shrink alike: with one of
    fixed size, its bias would stay. It may be negative near 0; the sign is kept.

    Shape:
        x (n d), y (m d) -> float; n and m at least 4 d.

    Raises:
        ValueError: As for ``frechet_distance``, or a set has fewer than 4 d rows: the bias is then not linear in 1/t.

    Source: Chong and Forsyth (arXiv 1911.07023); departures: both sets shrink, and the smallest subset has at least
    twice as many rows as features.
    """
    first, second = as_features(x, "x"), as_features(y, "y")
    if too_few := few_for_infinity(min(len(first), len(second)), first.shape[1]):
        raise ValueError(too_few)
    draws = np.random.default_rng(0)
    inverse = np.linspace(1.0, 2.0, SIZES)
    values = [frechet_distance(first, second)]
    for t in 1.0 / inverse[1:]:
        subsets = ([_some(draws, rows, t) for rows in (first, second)] for _ in range(SUBSETS))
        values.append(float(np.mean([frechet_distance(*pair) for pair in subsets])))
    return float(np.polynomial.Polynomial.fit(inverse, values, 1)(0.0))


def few_for_infinity(clips: int, num_features: int) -> str:
    """Word that there are too few clips to extrapolate a Frechet distance; empty if there are enough."""
    if clips >= CLIPS_PER_FEATURE * num_features:
        return ""
    return (
        f"{clips} clips for {num_features} features: the bias is not linear in 1/N, so it cannot be extrapolated -> "
        f"at least {CLIPS_PER_FEATURE * num_features} clips"
    )


def _some(draws: np.random.Generator, rows: Matrix, share: float) -> Matrix:
    """Draw a share of the rows without replacement."""
    return rows[draws.choice(len(rows), round(share * len(rows)), replace=False)]
