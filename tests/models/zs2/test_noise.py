import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div

from models.streams import Streams
from models.zs2 import MAX_THRESHOLD, ZS2
from models.zs2.noise import Candidates, NoiseSample, divergence
from tests.tolerance import STANDARD_ERRORS, bound

NOISE = ZS2.slots()["noise"].kinds
LATENT = (4, 16, 16)


def draw(
    kind: str, *, seed: int = 3, clips: int = 8, frames: int = 6, shape: Any = LATENT, **values: Any
) -> NoiseSample:
    return NOISE[kind](kind=kind, **values).build().sample(Streams(seed), clips, frames, shape)


def realised(sample: NoiseSample) -> np.ndarray[Any, Any]:
    """D of every frame from the previous frame (b, f - 1), by PyTorch's own pointwise KL as in the authors' listing."""
    latents = sample.latents.double()
    pointwise = kl_div(latents[:, 1:], latents[:, :-1], log_target=True, reduction="none")
    return pointwise.mean(dim=(-3, -2, -1)).numpy()


def divergence_bound(latents: torch.Tensor) -> float:
    """Rounding of D in float64: a mean of as many terms as a latent has values, each of a few operations."""
    values = latents.double().abs()
    return bound(torch.float64, latents[0, 0].numel() + 8, size=float((values.exp() * 4 * values.max()).mean()))


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


# ---------------------------------------------------------------------------------------- what all kinds have in common


@pytest.mark.parametrize("kind", NOISE)
def test_all_kinds_share_frame_0_and_the_draws(kind: str) -> None:
    streams, sample = Streams(3), draw(kind)
    for clip in range(8):
        first = streams.normal("noise", clip, 0, 0, shape=LATENT)
        np.testing.assert_array_equal(sample.latents[clip, 0].numpy(), first)
        # Frame 1 only depends on frame 0, the shared draw of mixed noise, and the candidates of frame 1.
        keys = [(0, 0), (0, 1), *((1, r) for r in range(10))]
        draws = np.stack([streams.normal("noise", clip, *key, shape=LATENT).ravel() for key in keys], axis=1)
        frame = sample.latents[clip, 1].numpy().ravel()
        # In mixed noise the shared draw is rounded to float32, and then the frame; the rest is float64.
        draws, frame = draws.astype(np.float64), frame.astype(np.float64)
        left = draws @ np.linalg.lstsq(draws, frame)[0] - frame
        assert np.linalg.norm(left) <= bound(torch.float32, 2, size=float(np.linalg.norm(frame)))


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("threshold", [0.0, 0.01, 1.0, MAX_THRESHOLD])
def test_noise_is_standard_normal_whatever_the_threshold(kind: str, threshold: float) -> None:
    values = {"threshold": threshold} if "threshold" in NOISE[kind].model_fields else {}
    latents = draw(kind, clips=4, shape=(4, 64, 64), **values).latents
    assert latents.dtype == torch.float32
    assert latents.isfinite().all()
    values = latents[0, 0].numel()
    assert (latents.std(dim=(-3, -2, -1)) - 1).abs().max() < STANDARD_ERRORS / math.sqrt(2 * values)
    assert latents.mean(dim=(-3, -2, -1)).abs().max() < STANDARD_ERRORS / math.sqrt(values)


@pytest.mark.parametrize("kind", NOISE)
def test_more_clips_or_frames_change_no_earlier_one(kind: str) -> None:
    short, long = draw(kind, clips=2, frames=3).latents, draw(kind, clips=4, frames=5).latents
    assert torch.equal(short, long[:2, :3])


@pytest.mark.parametrize("kind", NOISE)
def test_statistics_are_those_of_the_latents(kind: str) -> None:
    sample = draw(kind, clips=2, frames=3)
    divergences, rounding = sample.statistics["noise_divergence"], divergence_bound(sample.latents)
    np.testing.assert_allclose(divergences, realised(sample).mean(axis=1), rtol=0, atol=rounding)
    for clip, frames in enumerate(sample.latents):
        pairs = [correlation(frames[i].double(), frames[i + 1].double()) for i in range(2)]
        # In float32, summed along 16 columns and 64 rows: above the line, and in both norms below it.
        rounding = bound(torch.float32, 2 * (16 + 64 + 4))
        np.testing.assert_allclose(sample.statistics["noise_correlation"][clip], np.mean(pairs), rtol=0, atol=rounding)


# ------------------------------------------------------------------------------------------------------- the two stages


def test_divergence_is_the_pointwise_kl_of_the_authors_listing() -> None:
    sample = draw("removed")
    noise = sample.latents.numpy()
    np.testing.assert_allclose(
        divergence(noise[:, 1:], noise[:, :-1]), realised(sample), rtol=0, atol=divergence_bound(sample.latents)
    )
    assert not divergence(noise, noise).any()


@pytest.mark.parametrize("threshold", [0.001, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 16, 16)])
def test_two_stage_reaches_the_threshold_in_every_frame(threshold: float, shape: Any) -> None:
    sample = draw("two_stage", threshold=threshold, frames=8, shape=shape)
    assert not sample.statistics["noise_frames_without_root"].any()
    # D = A (1 - rho) - B sqrt(1 - rho^2), so half the last interval counts most at rho = 1; B^2 <= <e^2p> <z^2>.
    largest = float(sample.latents.double().mul(2).exp().mean(dim=(-3, -2, -1)).sqrt().max())
    bisection = 2 * largest * math.sqrt(2 * 0.5**31)
    assert np.abs(realised(sample) - threshold).max() < bisection + bound(torch.float32, 1, size=2 * largest)


@pytest.mark.parametrize("kind", ["two_stage", "random_search"])
def test_a_frame_without_a_root_keeps_the_highest_candidate_and_is_counted(kind: str) -> None:
    streams, threshold, shape = Streams(3), 1.6, (4, 4, 4)
    sample = draw(kind, threshold=threshold, candidates=2, shape=shape)
    without = np.zeros(8)
    for clip, frames in enumerate(sample.latents.numpy()):
        for frame in range(1, 6):
            draws = np.stack([streams.normal("noise", clip, frame, r, shape=shape) for r in range(2)])
            start = divergence(draws, frames[frame - 1][None])
            without[clip] += start.max() < threshold
            if start.max() < threshold:
                np.testing.assert_array_equal(frames[frame], draws[start.argmax()])
    assert 0 < without.sum() < 40
    np.testing.assert_array_equal(sample.statistics["noise_frames_without_root"], without)


def test_the_means_of_the_candidates_give_d_of_every_mixture() -> None:
    streams = Streams(1)
    past = np.stack([streams.normal("past", k, shape=LATENT) for k in range(2)])
    draws = np.stack([[streams.normal("draw", k, r, shape=LATENT) for r in range(3)] for k in range(2)])
    candidates = Candidates.of(past, draws)
    for rho in (0.0, 0.3, 0.99, 1.0):
        mixed: Any = rho * past[:, None].astype(np.float64) + math.sqrt(1 - rho**2) * draws.astype(np.float64)
        rounding = divergence_bound(torch.from_numpy(np.concatenate([past[:, None], draws], axis=1)))
        expected = divergence(mixed, past[:, None])
        np.testing.assert_allclose(candidates.divergence(rho), expected, rtol=0, atol=rounding)


def test_stage_1_keeps_the_nearest_candidate_at_or_above_the_threshold() -> None:
    streams, shape = Streams(3), (4, 8, 8)
    sample = draw("random_search", threshold=1.0, shape=shape)
    for clip, frames in enumerate(sample.latents.numpy()):
        draws = np.stack([streams.normal("noise", clip, 1, r, shape=shape) for r in range(10)])
        start = divergence(draws, frames[0][None])
        nearest = np.where(start >= 1.0, start, np.inf).argmin()
        np.testing.assert_array_equal(frames[1], draws[nearest])


@pytest.mark.parametrize("threshold", [0.001, 0.01, 0.25])
def test_the_random_stage_alone_stays_independent_in_effect(threshold: float) -> None:
    statistics = draw("random_search", threshold=threshold, shape=(4, 64, 64), clips=4).statistics
    assert statistics["noise_divergence"].min() > 1.5
    # The mean of 5 pairs of frames; the lowest of 10 candidates in D lies 1.5 standard errors high in correlation.
    error = 1 / math.sqrt(64 * 64 * 4)
    assert np.abs(statistics["noise_correlation"]).max() < 1.54 * error + STANDARD_ERRORS * error / math.sqrt(5)


# ------------------------------------------------------------------------------------------------------ the other kinds


@pytest.mark.parametrize("threshold", [0.01, 0.1, 1.0])
def test_the_analytic_kind_reaches_the_threshold_on_average(threshold: float) -> None:
    sample = draw("analytic", threshold=threshold, clips=40, frames=8)
    values = realised(sample).flatten()
    assert len(values) >= 256
    assert abs(values.mean() - threshold) < 3 * values.std(ddof=1) / math.sqrt(len(values))
    rho = 1 - threshold / math.sqrt(math.e)
    correlations = sample.statistics["noise_correlation"]
    assert abs(correlations.mean() - rho) < STANDARD_ERRORS * correlations.std(ddof=1) / math.sqrt(len(correlations))


def test_mean_divergence_is_sqrt_e_times_one_minus_rho() -> None:
    for a in (0.5, 2.0, 9.04):
        values = realised(draw("progressive", a=a, clips=40, frames=8)).flatten()
        expected = math.sqrt(math.e) * (1 - a / math.hypot(1, a))
        assert abs(values.mean() - expected) < 3 * values.std(ddof=1) / math.sqrt(len(values))


@pytest.mark.parametrize(
    ("kind", "values"), [("two_stage", {"threshold": 0.0}), ("analytic", {"threshold": 0.0}), ("shared", {})]
)
def test_threshold_0_is_the_same_noise_in_every_frame(kind: str, values: dict[str, float]) -> None:
    latents = draw(kind, **values).latents
    assert torch.equal(latents, latents[:, :1].expand_as(latents))


@pytest.mark.parametrize(("kind", "values"), [("removed", {}), ("progressive", {"a": 0.0}), ("mixed", {"a": 0.0})])
def test_absence_is_independent_noise_untouched(kind: str, values: dict[str, float]) -> None:
    latents = draw(kind, **values).latents.numpy()
    for clip in range(8):
        for frame in range(6):
            expected = Streams(3).normal("noise", clip, frame, 0, shape=LATENT)
            np.testing.assert_array_equal(latents[clip, frame], expected)


@pytest.mark.parametrize("threshold", [0.001, 0.01, 0.05, 0.1, 0.25, 1.0])
def test_the_published_climb_is_finite_and_misses_the_threshold(threshold: float) -> None:
    sample = draw("published_climb", threshold=threshold, clips=4, shape=(4, 64, 64))
    assert sample.latents.isfinite().all()
    assert np.abs(realised(sample) - threshold).max() < 0.15
    assert np.abs(realised(sample) - threshold).max() > 1e-4


def test_the_published_climb_ends_at_identical_frames_at_its_own_default() -> None:
    # The listing's alpha passes 1 there and its noise is NaN; kept in [0, 1], it ends at 1.
    latents = draw("published_climb", threshold=0.01, clips=4, shape=(4, 64, 64)).latents
    assert torch.equal(latents, latents[:, :1].expand_as(latents))


def test_mixed_noise_correlates_all_pairs_alike_and_progressive_noise_decays() -> None:
    mixed = draw("mixed", a=1.0, clips=2, shape=(4, 64, 64)).latents
    progressive = draw("progressive", a=1.0, clips=2, shape=(4, 64, 64)).latents
    for lag in (1, 2, 5):
        for one, other, rho in (
            (mixed[0, 0], mixed[0, lag], 0.5),
            (mixed[1, 5 - lag], mixed[1, 5], 0.5),
            (progressive[0, 0], progressive[0, lag], 0.5 ** (lag / 2)),
        ):
            error = (1 - rho**2) / math.sqrt(one.numel())
            assert abs(correlation(one, other) - rho) < STANDARD_ERRORS * error


def test_the_default_weights_give_neighbours_the_correlation_of_the_default_threshold() -> None:
    expected = draw("analytic", shape=(4, 64, 64)).statistics["noise_correlation"]
    for kind in ("mixed", "progressive"):
        actual = draw(kind, shape=(4, 64, 64)).statistics["noise_correlation"]
        error = math.hypot(actual.std(ddof=1), expected.std(ddof=1)) / math.sqrt(len(actual))
        digits = 5e-5  # what half a unit of the last digit of mixed noise's weight, 12.8, changes
        assert abs(actual.mean() - expected.mean()) < STANDARD_ERRORS * error + digits
