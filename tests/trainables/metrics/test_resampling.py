"""Jackknife, floor and extrapolation of distances: closed forms, coverage, and where they are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from tests.tolerance import STANDARD_ERRORS, bound
from trainables.metrics.distances import frechet_distance
from trainables.metrics.kernels import cmmd, polynomial_mmd
from trainables.metrics.manifolds import recall
from trainables.metrics.resampling import DRAWS, block_jackknife, floor_of, frechet_at_infinity

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x, y = (np.random.default_rng(seed).normal(size=(24, 3)) for seed in (1, 2))

    def difference(a: Matrix, b: Matrix) -> float:
        return float(a[:, 0].mean() - b[:, 0].mean())

    estimate = block_jackknife(difference, x, y, blocks=24)
    assert estimate is not None
    paired = x[:, 0] - y[:, 0]
    error = paired.std(ddof=1) / np.sqrt(24)
    # Means of 23 values below 3, 24 times over.
    rounding = bound(torch.float64, 2 * 24 * (23 + 24), 3)
    assert estimate.error == pytest.approx(error, rel=0, abs=rounding)
    assert estimate.corrected == pytest.approx(estimate.value, rel=0, abs=rounding)  # a mean has no bias
    quantile = scipy.stats.t.ppf(0.975, 23)  # two algorithms, which agree to their own precision
    assert estimate.high - estimate.value == pytest.approx(quantile * error, rel=1e-9)


def test_the_jackknife_covers_the_true_distance_and_takes_its_bias_off() -> None:
    # Two Gaussians of 16 dimensions, means 0.2 apart in each: the true distance is 16 * 0.04 = 0.64.
    draws = np.random.default_rng(0)
    estimates = []
    for _ in range(100):
        x, y = draws.normal(size=(128, 16)), draws.normal(0.2, 1, size=(128, 16))
        estimates.append(block_jackknife(frechet_distance, x, y))
    assert np.mean([estimate.value for estimate in estimates]) > 1.5
    spread = np.std([estimate.corrected for estimate in estimates], ddof=1)
    standard_error = spread / np.sqrt(len(estimates))
    assert abs(np.mean([estimate.corrected for estimate in estimates]) - 0.64) < STANDARD_ERRORS * standard_error
    assert 0.88 <= np.mean([estimate.low <= 0.64 <= estimate.high for estimate in estimates]) <= 1
    of_spread = STANDARD_ERRORS / np.sqrt(2 * (len(estimates) - 1))  # relative standard error of a standard deviation
    assert np.mean([estimate.error for estimate in estimates]) == pytest.approx(spread, rel=of_spread)


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


def test_a_frechet_distance_of_few_clips_has_no_interval_however_many_frames_they_have() -> None:
    draws = np.random.default_rng(4)
    real = draws.normal(size=(400, 16))
    assert block_jackknife(frechet_distance, draws.normal(size=(63, 16)), real) is None
    assert block_jackknife(frechet_distance, draws.normal(size=(64, 16)), real) is not None
    # 63 clips of 8 frames have 504 rows, and are still 63 clips.
    frames = draws.normal(size=(63 * 8, 16))
    assert block_jackknife(frechet_distance, frames, real.repeat(8, axis=0), rows_per_clip=8) is None
    assert block_jackknife(frechet_distance, draws.normal(size=(400, 16)), real[:63]) is None
    few = block_jackknife(polynomial_mmd, draws.normal(size=(8, 16)), real)
    assert few is not None, "an unbiased distance needs no correction"
    assert few.blocks == 8
    assert block_jackknife(polynomial_mmd, draws.normal(size=(2, 4)), draws.normal(size=(9, 4))) is None


def test_a_kernel_distance_without_a_block_is_that_of_the_other_rows() -> None:
    draws = np.random.default_rng(5)
    x, y = draws.normal(size=(12, 4)), draws.normal(0.3, 1, size=(20, 4))
    of_x, of_y = np.arange(12) % 3, np.arange(20) % 3
    for distance in (polynomial_mmd, cmmd):
        value, left = distance.leaving_out(x, y, of_x, of_y, 3)
        # Kernels below (4^2 + 1)^3, summed over the pairs of 32 rows; CMMD's are at most 1, times 1000.
        rounding = bound(torch.float64, 2 * (32**2 + 12), 4 * 17**3)
        assert value == pytest.approx(distance(x, y), rel=0, abs=rounding)
        expected = [distance(x[of_x != block], y[of_y != block]) for block in range(3)]
        assert left == pytest.approx(expected, rel=0, abs=rounding)
        apart = distance.apart(y, of_y, 2)
        assert apart == pytest.approx(
            [distance(y[of_y != block], y[of_y == block]) for block in range(2)], rel=0, abs=rounding
        )


# --------------------------------------------------------------------------------------------------------------- floor


@pytest.mark.parametrize("distance", [frechet_distance, polynomial_mmd, recall])
def test_a_floor_is_the_mean_over_disjoint_sets_of_real_clips(distance: Any) -> None:
    real = np.random.default_rng(6).normal(size=(40 * 2, 3))
    found = floor_of(distance, real, 10, rows_per_clip=2)
    parts = [np.arange(80) // 20 == part for part in range(4)]
    values = [distance(real[~part], real[part]) for part in parts]
    assert found is not None
    assert found.draws == 4
    rounding = bound(torch.float64, 2 * 80**2, 4 * 30**3)
    assert (found.mean, found.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)), rel=0, abs=rounding)


def test_a_floor_needs_twice_as_many_real_clips_and_falls_with_the_number_of_clips() -> None:
    real = np.random.default_rng(7).normal(size=(2000, 8))
    floors = [floor_of(frechet_distance, real, clips) for clips in (8, 32, 128)]
    assert all(floor is not None and floor.draws == DRAWS for floor in floors)
    means = [floor.mean for floor in floors if floor is not None]
    assert means[0] > 2 * means[1] > 4 * means[2] > 0
    assert floor_of(frechet_distance, real, 1001) is None
    assert floor_of(frechet_distance, real, 1000) is not None


# ------------------------------------------------------------------------------------------------------- extrapolation


def test_the_extrapolated_distance_is_that_of_infinitely_many_clips() -> None:
    """Two Gaussians of 8 dimensions, means 0.3 apart in each: the true distance is 8 * 0.09 = 0.72."""
    draws = np.random.default_rng(8)
    pairs = [(draws.normal(size=(512, 8)), draws.normal(0.3, 1, size=(128, 8))) for _ in range(60)]
    found = np.array([frechet_at_infinity(*pair) for pair in pairs])
    plain = np.array([frechet_distance(*pair) for pair in pairs])
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - 0.72) < STANDARD_ERRORS * error
    assert plain.mean() - 0.72 > 10 * error, "without, most of the bias stays"
    assert frechet_at_infinity(*pairs[0]) == found[0], "drawn with a fixed seed"


def test_nothing_is_extrapolated_from_few_clips() -> None:
    draws = np.random.default_rng(9)
    with pytest.raises(ValueError, match="31 clips for 8 features: .* -> at least 32 clips"):
        frechet_at_infinity(draws.normal(size=(31, 8)), draws.normal(size=(500, 8)))
    with pytest.raises(ValueError, match="at least 32 clips"):
        frechet_at_infinity(draws.normal(size=(500, 8)), draws.normal(size=(31, 8)))


# --------------------------------------------------------------------------------------------------------- calibration


def share_called_different(references: int, studies: int, clips: int = 64, seeds: int = 16) -> float:
    """The share of studies that call two arms of equal distance different, at one in twenty by chance.

    Clips have 16 features, real ones of variance 1; the arms' means are as far from the real one, in other directions.
    """
    draws = np.random.default_rng(references)
    shift = np.zeros((2, 16))
    shift[0, 0] = shift[1, 1] = 1.0
    called = 0
    for _ in range(studies):
        real = draws.normal(size=(references, 16))
        arms = shift[:, None, None] + draws.normal(size=(2, seeds, clips, 16))
        values = [[frechet_distance(real, of_seed) for of_seed in arm] for arm in arms]
        called += scipy.stats.ttest_rel(*values).pvalue <= 0.05
    return called / studies


@pytest.mark.slow
def test_more_references_call_fewer_equal_arms_different() -> None:
    """All seeds share the reference clips, so that more seeds do not average out which these happen to be."""
    studies = 300
    few, many = (share_called_different(references, studies) for references in (256, 2048))
    by_chance = STANDARD_ERRORS * np.sqrt(0.05 * 0.95 / studies)
    assert few > 0.05 + by_chance, few
    assert many < 0.05 + by_chance, many
    assert few - many > STANDARD_ERRORS * np.sqrt((few * (1 - few) + many * (1 - many)) / studies)


@pytest.mark.slow
@pytest.mark.parametrize(("clips", "least"), [(64, 0.88), (128, 0.88)])
def test_intervals_cover_the_distance_where_they_are_given(clips: int, least: float) -> None:
    """Against 2,048 real clips of 16 features, with 4 and 8 clips for each feature."""
    draws = np.random.default_rng(clips)
    covered = []
    for _ in range(150):
        found = block_jackknife(frechet_distance, draws.normal(size=(2048, 16)), draws.normal(0.2, 1, size=(clips, 16)))
        assert found is not None
        covered.append(found.low <= 16 * 0.04 <= found.high)
    assert np.mean(covered) >= least
