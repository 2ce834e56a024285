"""Start noise of ZS²: chains of frames whose noise depends on the previous frame.

Every kind uses the draw ("noise", k, 0, 0) for frame 0 of clip k and ("noise", k, i, r) for candidate r of frame i,
so all kinds share them and arms differ only by the rule. Source: ZS2 (arXiv 2407.21475), authors' pseudocode.

Axes: b clips, f frames, r candidates, c h w a latent.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange

from models.streams import Streams

Array = npt.NDArray[np.float64]
Latents = npt.NDArray[np.float32]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class NoiseSample:
    """Start noise of a set of clips, with statistics per clip.

    ``noise_divergence`` is the mean D of a frame from the previous frame, ``noise_correlation`` their mean correlation,
    ``noise_frames_without_root`` the number of frames for which no candidate reaches the threshold.

    Shape:
        latents (b f c h w), float32 on the CPU; each of statistics (b,).
    """

    latents: torch.Tensor
    statistics: dict[str, Array]


class NoiseModel(Protocol):
    """A rule that draws start noise."""

    def sample(self, streams: Streams, clips: int, frames: int, shape: Shape) -> NoiseSample:
        """Draw the start noise of ``clips`` clips of ``frames`` frames, each a latent of ``shape`` (c h w)."""
        ...


def divergence(noise: Latents, previous: Latents) -> Array:
    """The statistic D that ZS² calls a KL divergence: pointwise, with both tensors read as log-probabilities.

        D(x | p) = mean_k exp(p_k) (p_k - x_k)

    It is 0 for x = p, and sqrt(e) = 1.6487 on average for independent standard normal x and p; it can be negative.

    Shape:
        two of (... c h w) -> (...), float64.
    """
    x, p = noise.astype(np.float64), previous.astype(np.float64)
    return np.asarray((np.exp(p) * (p - x)).mean(axis=(-3, -2, -1)))


# ------------------------------------------------------------------------------------------------------------ searches


@dataclass(frozen=True)
class Candidates:
    """D of every mixture of the previous noise p with every candidate z, computed from two means.

        x = rho p + sqrt(1 - rho^2) z   =>   D(x | p) = A (1 - rho) - B sqrt(1 - rho^2),   A = <e^p p>,  B = <e^p z>

    D is linear in x, so a search over rho needs only these means and no tensor. For A > 0 (certain except for tiny
    latents) D falls from A - B at rho = 0 to at most 0, so a threshold above 0 has one root or none.

    Shape:
        own (b 1), cross (b r).
    """

    own: Array
    cross: Array

    @classmethod
    def of(cls, previous: Latents, draws: Latents) -> "Candidates":
        """Compute the means for previous noise (b c h w) and draws (b r c h w)."""
        p = rearrange(previous.astype(np.float64), "b c h w -> b (c h w)")
        z = rearrange(draws.astype(np.float64), "b r c h w -> b r (c h w)")
        weight = np.exp(p) / p.shape[1]
        return cls(np.einsum("bk,bk->b", weight, p)[:, None], np.einsum("bk,brk->br", weight, z))

    def divergence(self, rho: Array | float) -> Array:
        """Return D at correlation rho, (b r) or broadcast with it."""
        return np.asarray(self.own * (1 - rho) - self.cross * np.sqrt(1 - np.square(rho)))

    def keep(self, candidate: npt.NDArray[np.int64]) -> "Candidates":
        """Select one candidate per clip, (b,) -> r = 1."""
        return Candidates(self.own, np.take_along_axis(self.cross, candidate[:, None], axis=1))


@dataclass(frozen=True)
class SearchResult:
    """Result of a search for one frame of each clip: candidate, weight of the previous noise, and whether it failed.

    Shape:
        each (b,).
    """

    candidate: npt.NDArray[np.int64]
    rho: Array
    no_root: npt.NDArray[np.bool_]


Search = Callable[[Candidates], SearchResult]


def fixed(rho: float) -> Search:
    """Make a rule without search: the first candidate at a fixed correlation, in [0, 1]."""

    def search(candidates: Candidates) -> SearchResult:
        b = len(candidates.own)
        return SearchResult(np.zeros(b, np.int64), np.full(b, rho), np.zeros(b, np.bool_))

    return search


def random_search(threshold: float) -> Search:
    """Make stage 1: the nearest candidate at or above the threshold, else the highest (counted as without a root)."""

    def search(candidates: Candidates) -> SearchResult:
        start = candidates.divergence(0.0)
        above = np.where(start >= threshold, start, np.inf)
        no_root = np.isinf(above.min(axis=1))
        candidate = np.where(no_root, start.argmax(axis=1), above.argmin(axis=1))
        return SearchResult(candidate, np.zeros(len(start)), no_root)

    return search


def two_stage(threshold: float, iterations: int) -> Search:
    """Make stage 1 and a bisection for the correlation at which D equals the threshold (0 if there is no root)."""
    stage_1 = random_search(threshold)

    def search(candidates: Candidates) -> SearchResult:
        first = stage_1(candidates)
        kept = candidates.keep(first.candidate)
        low, high = np.zeros_like(kept.own), np.ones_like(kept.own)
        for _ in range(iterations):
            middle = (low + high) / 2
            enough = kept.divergence(middle) >= threshold
            low, high = np.where(enough, middle, low), np.where(enough, high, middle)
        # D(1) = 0 for every candidate: at threshold 0 the correct root is rho = 1 (the same noise in every frame), not
        # another rho at which D happens to be 0.
        root = np.ones_like(low) if threshold == 0 else (low + high) / 2
        return SearchResult(first.candidate, np.where(first.no_root, 0.0, root[:, 0]), first.no_root)

    return search


def published_climb(threshold: float, iterations: int) -> Search:
    """Make the published search: the least |D - lambda| of the candidates bounds a climb of alpha = rho^2 in steps.

    A step up is kept while the error is at most the bound; else alpha decreases by 0.8 of the step, which shrinks to a
    fifth. As in the listing, the result is alpha after the last step; unlike there, it is kept in [0, 1].
    """

    def search(candidates: Candidates) -> SearchResult:
        errors = np.abs(candidates.divergence(0.0) - threshold)
        candidate, bound = errors.argmin(axis=1), errors.min(axis=1, keepdims=True)
        kept = candidates.keep(candidate)
        alpha, step = np.full_like(bound, 0.1), np.full_like(bound, 0.1)
        for _ in range(iterations):
            error = np.abs(kept.divergence(np.sqrt(alpha)) - threshold)
            better = error <= bound
            bound = np.where(better, error, bound)
            alpha = np.clip(np.where(better, alpha + step, alpha - 0.8 * step), 0, 1)
            step = np.where(better, step, 0.2 * step)
        return SearchResult(candidate, np.sqrt(alpha)[:, 0], np.zeros(len(errors), np.bool_))

    return search


# ------------------------------------------------------------------------------------------------------- noise models


def _draw(streams: Streams, clips: int, frame: int, candidates: range, shape: Shape) -> Latents:
    """Draw the candidates of one frame, (b r c h w)."""
    return np.stack(
        [[streams.normal("noise", clip, frame, r, shape=shape) for r in candidates] for clip in range(clips)]
    )


def _compose(past: Latents, draw: Latents, rho: Array) -> Latents:
    """Mix to rho p + sqrt(1 - rho^2) z: keeps mean 0 and variance 1; exactly p at rho = 1 and z at rho = 0."""
    weight = rearrange(rho, "b -> b 1 1 1")
    mixed: Latents = (weight * past + np.sqrt(1 - np.square(weight)) * draw).astype(np.float32)
    return mixed


def _noise_sample(frames: list[Latents], no_root: Array) -> NoiseSample:
    noise = np.stack(frames, axis=1)
    assert np.isfinite(noise).all(), "a search gave NaN or infinite noise"
    later, earlier = noise[:, 1:], noise[:, :-1]
    centred = [part - part.mean(axis=(-3, -2, -1), keepdims=True) for part in (later, earlier)]
    norms = math.prod(np.square(part).sum(axis=(-3, -2, -1)) for part in centred)
    correlation = (centred[0] * centred[1]).sum(axis=(-3, -2, -1)) / np.sqrt(norms)
    statistics = {
        "noise_divergence": divergence(later, earlier).mean(axis=1),
        "noise_correlation": correlation.mean(axis=1, dtype=np.float64),
        "noise_frames_without_root": no_root,
    }
    return NoiseSample(torch.from_numpy(noise), statistics)


@dataclass(frozen=True)
class Chain:
    """Noise of each frame mixes the previous frame's noise with a new draw; a search chooses the draw and the weight.

        eps_i = rho_i eps_{i-1} + sqrt(1 - rho_i^2) z_i

    Args:
        search: Chooses among the candidates.
        num_candidates: R, draws per frame.
    """

    search: Search
    num_candidates: int = 1

    def sample(self, streams: Streams, clips: int, frames: int, shape: Shape) -> NoiseSample:
        """Draw the start noise of a set of clips."""
        noise = [_draw(streams, clips, 0, range(1), shape)[:, 0]]
        no_root = np.zeros(clips)
        for frame in range(1, frames):
            draws = _draw(streams, clips, frame, range(self.num_candidates), shape)
            selected = self.search(Candidates.of(noise[-1], draws))
            draw = draws[np.arange(clips), selected.candidate]
            noise.append(_compose(noise[-1], draw, selected.rho))
            no_root += selected.no_root
        return _noise_sample(noise, no_root)


@dataclass(frozen=True)
class Mixture:
    """Noise of each frame mixes a shared draw with its own draw: PYoCo's mixed noise.

        eps_i = s eps_shared + sqrt(1 - s^2) z_i,   s = a / sqrt(1 + a^2)

    The distribution is PYoCo's; the shared draw is conditioned on frame 0 (eps_shared = s eps_0 + sqrt(1 - s^2) w), so
    that frame 0 is the same draw as in every other kind.

    Args:
        a: Weight of the shared draw, at least 0.
    """

    a: float

    def sample(self, streams: Streams, clips: int, frames: int, shape: Shape) -> NoiseSample:
        """Draw the start noise of a set of clips."""
        weight = np.full(clips, self.a / math.hypot(1, self.a))
        first, rest = np.moveaxis(_draw(streams, clips, 0, range(2), shape), 1, 0)
        shared = _compose(first, rest, weight)
        others = [_draw(streams, clips, frame, range(1), shape)[:, 0] for frame in range(1, frames)]
        return _noise_sample([first, *(_compose(shared, draw, weight) for draw in others)], np.zeros(clips))
