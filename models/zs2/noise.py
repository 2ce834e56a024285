"""Start noise of ZS²: chains of frames whose noise depends on the frame before.

Every kind takes frame 0 of clip k from the draw ("noise", k, 0, 0) and candidate r of frame i from ("noise", k, i, r),
so that all kinds share them and arms differ by the rule alone. Source: ZS2 (arXiv 2407.21475), authors' pseudocode.

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
    """Start noise of a set of clips, and figures per clip about it.

    ``noise_divergence`` is the mean D of a frame from the one before, ``noise_correlation`` the mean correlation of the
    two, ``noise_frames_without_root`` the number of frames whose search found no candidate that reaches the threshold.

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
    """D of every mixture of the previous noise p with every candidate z, from two means.

        x = rho p + sqrt(1 - rho^2) z   =>   D(x | p) = A (1 - rho) - B sqrt(1 - rho^2),   A = <e^p p>,  B = <e^p z>

    D is linear in x, so that a search over rho needs these means alone and no tensor. For A > 0 (certain but on latents
    of a few values) D falls from A - B at rho = 0 to at most 0, so a threshold above 0 has one root or none.

    Shape:
        own (b 1), cross (b r).
    """

    own: Array
    cross: Array

    @classmethod
    def of(cls, previous: Latents, draws: Latents) -> "Candidates":
        """The means for previous noise (b c h w) and draws (b r c h w)."""
        p = rearrange(previous.astype(np.float64), "b c h w -> b (c h w)")
        z = rearrange(draws.astype(np.float64), "b r c h w -> b r (c h w)")
        weight = np.exp(p) / p.shape[1]
        return cls(np.einsum("bk,bk->b", weight, p)[:, None], np.einsum("bk,brk->br", weight, z))

    def divergence(self, rho: Array | float) -> Array:
        """D at correlation rho, (b r) or broadcast with it."""
        return np.asarray(self.own * (1 - rho) - self.cross * np.sqrt(1 - np.square(rho)))

    def keep(self, candidate: npt.NDArray[np.int64]) -> "Candidates":
        """One candidate per clip, (b,) -> r = 1."""
        return Candidates(self.own, np.take_along_axis(self.cross, candidate[:, None], axis=1))


@dataclass(frozen=True)
class Choice:
    """What a search settles on for one frame of each clip: a candidate, the weight of the past, and whether it failed.

    Shape:
        each (b,).
    """

    candidate: npt.NDArray[np.int64]
    rho: Array
    no_root: npt.NDArray[np.bool_]


Search = Callable[[Candidates], Choice]


def fixed(rho: float) -> Search:
    """No search: the first candidate at one correlation, in [0, 1]."""

    def search(candidates: Candidates) -> Choice:
        b = len(candidates.own)
        return Choice(np.zeros(b, np.int64), np.full(b, rho), np.zeros(b, np.bool_))

    return search


def random_search(threshold: float) -> Search:
    """Stage 1: the nearest candidate at or above the threshold, else the highest one (counted as without a root)."""

    def search(candidates: Candidates) -> Choice:
        start = candidates.divergence(0.0)
        above = np.where(start >= threshold, start, np.inf)
        no_root = np.isinf(above.min(axis=1))
        candidate = np.where(no_root, start.argmax(axis=1), above.argmin(axis=1))
        return Choice(candidate, np.zeros(len(start)), no_root)

    return search


def two_stage(threshold: float, iterations: int) -> Search:
    """Stage 1, then bisection for the correlation at which D equals the threshold (0 where there is no root)."""
    stage_1 = random_search(threshold)

    def search(candidates: Candidates) -> Choice:
        choice = stage_1(candidates)
        kept = candidates.keep(choice.candidate)
        low, high = np.zeros_like(kept.own), np.ones_like(kept.own)
        for _ in range(iterations):
            middle = (low + high) / 2
            enough = kept.divergence(middle) >= threshold
            low, high = np.where(enough, middle, low), np.where(enough, high, middle)
        # D(1) = 0 whatever the candidate: at threshold 0 the root wanted is that one (the same noise in every frame),
        # not the one at which a rather different noise happens to have D = 0.
        root = np.ones_like(low) if threshold == 0 else (low + high) / 2
        return Choice(choice.candidate, np.where(choice.no_root, 0.0, root[:, 0]), choice.no_root)

    return search


def published_climb(threshold: float, iterations: int) -> Search:
    """The published search: the candidate of the least |D - lambda| bounds a climb of alpha = rho^2 with steps.

    A step up is kept while the error is at most the bound; else alpha goes back by 0.8 of the step, which shrinks to a
    fifth. As in the listing, the alpha returned is the one after the last step; unlike there, it stays in [0, 1].
    """

    def search(candidates: Candidates) -> Choice:
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
        return Choice(candidate, np.sqrt(alpha)[:, 0], np.zeros(len(errors), np.bool_))

    return search


# ------------------------------------------------------------------------------------------------------- noise models


def _draw(streams: Streams, clips: int, frame: int, candidates: range, shape: Shape) -> Latents:
    """Draws of one frame, (b r c h w)."""
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
    assert np.isfinite(noise).all(), "a search left the finite numbers"
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
    """Each frame mixes the noise before it with a fresh draw; a search chooses the draw and the weight.

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
            choice = self.search(Candidates.of(noise[-1], draws))
            draw = draws[np.arange(clips), choice.candidate]
            noise.append(_compose(noise[-1], draw, choice.rho))
            no_root += choice.no_root
        return _noise_sample(noise, no_root)


@dataclass(frozen=True)
class Mixture:
    """Every frame mixes one shared draw with its own: PYoCo's mixed noise.

        eps_i = s eps_shared + sqrt(1 - s^2) z_i,   s = a / sqrt(1 + a^2)

    The law is PYoCo's; the shared draw is taken given frame 0 (eps_shared = s eps_0 + sqrt(1 - s^2) w), so that frame 0
    is the same draw as in every other kind.

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
