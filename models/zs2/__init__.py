"""ZS²: video from a frozen text-to-image model, by correlated start noise and momentum attention.

Source: Zero-Shot Video Sampling (arXiv 2407.21475). Symbols: lambda ``threshold``, mu ``mu``, R ``candidates``,
L ``iterations``, D the divergence of a frame's noise from the previous frame's (``models.zs2.noise.divergence``).
"""

import functools
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.contracts import MetaDenoiser, VideoModel
from models.system import Aliases, Part, System

if TYPE_CHECKING:
    from models.attention import FrameMix
    from models.bases import Protocol
    from models.bases.stable_diffusion import StableDiffusion
    from models.zs2.noise import NoiseModel

MAX_THRESHOLD = math.sqrt(math.e)
"""E[D] of independent noise: sqrt(e) = 1.6487."""

Threshold = Annotated[
    float,
    Field(
        ge=0,
        le=MAX_THRESHOLD,
        description="divergence of each frame's noise from the previous frame's; sqrt(e) = 1.6487 is independent noise",
    ),
    Aliases("lambda", "KL divergence threshold", "KL threshold", "divergence threshold"),
]
Candidates = Annotated[int, Field(ge=1), Aliases("number of candidates", "random candidates")]
Iterations = Annotated[int, Field(ge=1), Aliases("number of iterations", "search steps")]
Momentum01 = Annotated[
    float,
    Field(
        ge=0, le=1, description="weight of the previous frames: 0 is self-attention, 1 attends to previous frames only"
    ),
    Aliases("mu", "momentum coefficient", "momentum parameter", "momentum weight", "momentum factor"),
]
MixWeight = Annotated[float, Field(ge=0), Aliases("mixing weight")]

_NO_SEARCH = (
    "random candidates do not reach a threshold this low, so the noise is practically independent, like removed"
)


class Noise(Part):
    """How the start noise of the frames is drawn."""

    @abstractmethod
    def build(self) -> "NoiseModel":
        """Make the noise model."""


class TwoStage(Noise):
    """Dependency noise: a two-stage search sets the divergence between consecutive frames' noise to the threshold.

        eps_i = rho_i eps_{i-1} + sqrt(1 - rho_i^2) z_i,   with z_i and rho_i such that D(eps_i | eps_{i-1}) = lambda

    Stage 1 draws R candidates for z_i and keeps the nearest at or above lambda; stage 2 finds rho_i by bisection.

    Args:
        threshold: lambda, without unit, in [0, sqrt(e)]; 0 is the same noise in every frame.
        candidates: R, at least 1.
        iterations: Steps of the bisection, at least 1; the error after 30 is below 1e-8.

    Source: ZS2 (arXiv 2407.21475), authors' pseudocode; departure: its second stage does not converge and can leave
    [0, 1] (see ``PublishedClimb``), so stage 2 is a bisection here.
    """

    aliases: ClassVar[tuple[str, ...]] = ("two-stage", "dependency noise")
    calls: ClassVar[tuple[str, ...]] = ("zs2.noise.two_stage.<locals>.search",)

    kind: Literal["two_stage"] = "two_stage"
    threshold: Threshold = 0.01
    candidates: Candidates = 10
    iterations: Iterations = 30

    def build(self) -> "NoiseModel":
        """Make the noise model."""
        from models.zs2 import noise

        return noise.Chain(noise.two_stage(self.threshold, self.iterations), self.candidates)


class RandomSearch(Noise):
    """Random stage only: each frame's noise is the candidate nearest to the threshold, without bisection.

    Args:
        threshold: lambda, in [0, sqrt(e)].
        candidates: R, at least 1.

    Source: ZS2, stage 1. Its divergence stays near sqrt(e) whatever lambda.
    """

    aliases: ClassVar[tuple[str, ...]] = ("single-stage", "random search", "pure random sampling")
    calls: ClassVar[tuple[str, ...]] = ("zs2.noise.random_search.<locals>.search",)

    kind: Literal["random_search"] = "random_search"
    threshold: Threshold = 0.01
    candidates: Candidates = 10

    def build(self) -> "NoiseModel":
        """Make the noise model."""
        from models.zs2 import noise

        return noise.Chain(noise.random_search(self.threshold), self.candidates)

    def notes(self) -> tuple[str, ...]:
        """Note that this is practically independent noise."""
        return (_NO_SEARCH,)


class Analytic(Noise):
    """Dependency noise without a search: the correlation that reaches the threshold on average, in closed form.

        rho = 1 - lambda / sqrt(e)

    Args:
        threshold: lambda, in [0, sqrt(e)].

    Source: derived, since E[D] = sqrt(e) (1 - rho) for standard normal noise.
    """

    aliases: ClassVar[tuple[str, ...]] = ("analytical", "analytic", "closed form")

    kind: Literal["analytic"] = "analytic"
    threshold: Threshold = 0.01

    def build(self) -> "NoiseModel":
        """Make the noise model."""
        from models.zs2 import noise

        return noise.Chain(noise.fixed(1 - self.threshold / MAX_THRESHOLD))


class PublishedClimb(Noise):
    """Dependency noise by the published search: the best random candidate, then a climb with shrinking steps.

    Args:
        threshold: lambda, in [0, sqrt(e)].
        candidates: R, at least 1.
        iterations: L, steps of the climb, at least 1.

    Source: ZS2, authors' pseudocode; departures: alpha is kept in [0, 1] (the listing leaves it, and is NaN at its own
    default threshold), and each clip has its own alpha. The climb still undershoots or overshoots lambda.
    """

    calls: ClassVar[tuple[str, ...]] = ("zs2.noise.published_climb.<locals>.search",)

    kind: Literal["published_climb"] = "published_climb"
    threshold: Threshold = 0.01
    candidates: Candidates = 10
    iterations: Iterations = 15

    def build(self) -> "NoiseModel":
        """Make the noise model."""
        from models.zs2 import noise

        return noise.Chain(noise.published_climb(self.threshold, self.iterations), self.candidates)


class Mixed(Noise):
    """Mixed noise: shared noise plus each frame's own noise, so that all pairs of frames are equally correlated.

        eps_i = a / sqrt(1 + a^2) eps_shared + 1 / sqrt(1 + a^2) z_i

    Args:
        a: Weight of the shared noise, at least 0; the default gives adjacent frames the correlation of threshold 0.01.

    Source: PYoCo (arXiv 2305.10474); departure: eps_shared is drawn given frame 0, which is the same in all kinds.
    """

    aliases: ClassVar[tuple[str, ...]] = ("mixed noise",)
    calls: ClassVar[tuple[str, ...]] = ("zs2.noise.Mixture.sample",)

    kind: Literal["mixed"] = "mixed"
    a: MixWeight = 12.8

    def build(self) -> "NoiseModel":
        """Make the noise model."""
        from models.zs2 import noise

        return noise.Mixture(self.a)


class Progressive(Noise):
    """Progressive noise: the previous frame's noise plus each frame's own noise, with a fixed weight.

        eps_i = a / sqrt(1 + a^2) eps_{i-1} + 1 / sqrt(1 + a^2) z_i

    Args:
        a: Weight of the previous noise, at least 0; the default gives adjacent frames the correlation of lambda 0.01.

    Source: PYoCo (arXiv 2305.10474); departures: none.
    """

    aliases: ClassVar[tuple[str, ...]] = ("progressive noise",)

    kind: Literal["progressive"] = "progressive"
    a: MixWeight = 9.04

    def build(self) -> "NoiseModel":
        """Make the noise model."""
        from models.zs2 import noise

        return noise.Chain(noise.fixed(self.a / math.hypot(1, self.a)))


class SharedNoise(Noise):
    """The same noise in every frame."""

    aliases: ClassVar[tuple[str, ...]] = ("shared noise", "same noise", "identical noise")

    kind: Literal["shared"] = "shared"

    def build(self) -> "NoiseModel":
        """Make the noise model."""
        from models.zs2 import noise

        return noise.Chain(noise.fixed(1.0))


class IndependentNoise(Noise):
    """Removed: independent noise in every frame."""

    aliases: ClassVar[tuple[str, ...]] = ("independent noise", "iid noise", "i.i.d. noise")

    kind: Literal["removed"] = "removed"

    def build(self) -> "NoiseModel":
        """Make the noise model."""
        from models.zs2 import noise

        return noise.Chain(noise.fixed(0.0))


class Attention(Part):
    """Source of the keys and values in the U-Net's self-attention."""

    @abstractmethod
    def build(self) -> "FrameMix | None":
        """Make the rule that mixes frames, or None if they are not mixed."""


class MomentumAttention(Attention):
    """Momentum: each frame attends to a moving average of keys and values over the frames up to it.

        K'_0 = K_0,   K'_i = mu K'_{i-1} + (1 - mu) K_i   (V' likewise)

    Args:
        mu: Weight of the previous frames, without unit, in [0, 1]; 0 is self-attention, 1 first-frame attention.

    Source: ZS2 (arXiv 2407.21475), authors' pseudocode, matrix form.
    """

    aliases: ClassVar[tuple[str, ...]] = ("momentum attention", "TMA")
    calls: ClassVar[tuple[str, ...]] = ("attention.moving_average",)

    kind: Literal["momentum"] = "momentum"
    mu: Momentum01 = 0.98

    def build(self) -> "FrameMix | None":
        """Make the mixing rule."""
        from models.attention import moving_average

        return functools.partial(moving_average, mu=self.mu)

    def notes(self) -> tuple[str, ...]:
        """Note the values of mu that equal another kind."""
        same = {
            0.0: "mu = 0 is self-attention, the same as removed",
            1.0: "mu = 1 is first-frame attention, the same as cross_frame",
        }
        return (same[self.mu],) if self.mu in same else ()


class PreviousFrameAttention(Attention):
    """Previous-frame momentum: each frame attends to a mix of its own keys and values and the previous frame's.

        K'_0 = K_0,   K'_i = mu K_{i-1} + (1 - mu) K_i   (V' likewise)

    Args:
        mu: Weight of the previous frame, without unit, in [0, 1].

    Source: ZS2, authors' pseudocode, loop form (which differs from its matrix form).
    """

    calls: ClassVar[tuple[str, ...]] = ("attention.previous_frame",)

    kind: Literal["previous_frame"] = "previous_frame"
    mu: Momentum01 = 0.98

    def build(self) -> "FrameMix | None":
        """Make the mixing rule."""
        from models.attention import previous_frame

        return functools.partial(previous_frame, mu=self.mu)


class CrossFrameAttention(Attention):
    """Cross-frame attention: every frame attends to the first frame.

        K'_i = K_0   (V' likewise)

    Source: Text2Video-Zero (arXiv 2303.13439).
    """

    aliases: ClassVar[tuple[str, ...]] = ("cross-frame", "first-frame attention")
    calls: ClassVar[tuple[str, ...]] = ("attention.first_frame",)

    kind: Literal["cross_frame"] = "cross_frame"

    def build(self) -> "FrameMix | None":
        """Make the mixing rule."""
        from models.attention import first_frame

        return first_frame


class SelfAttention(Attention):
    """Removed: every frame attends to itself, as in the base model."""

    aliases: ClassVar[tuple[str, ...]] = ("self-attention",)

    kind: Literal["removed"] = "removed"

    def build(self) -> "FrameMix | None":
        """None: frames are not mixed."""
        return None


class ZS2(System):
    """Zero-shot video sampling: dependency noise and momentum attention on a frozen text-to-image model."""

    name: ClassVar[str] = "zs2"
    aliases: ClassVar[tuple[str, ...]] = ("ZS^2", "Zero-Shot Video Sampling")
    components: ClassVar[tuple[str, ...]] = ("noise", "attention")

    noise: Annotated[
        TwoStage | RandomSearch | Analytic | PublishedClimb | Mixed | Progressive | SharedNoise | IndependentNoise,
        Field(discriminator="kind"),
        Aliases("dependency noise", "DNM", "noise model", "noise search", "two-stage search"),
    ] = TwoStage()
    attention: Annotated[
        MomentumAttention | PreviousFrameAttention | CrossFrameAttention | SelfAttention,
        Field(discriminator="kind"),
        Aliases("momentum attention", "TMA", "temporal momentum"),
    ] = MomentumAttention()

    def build(self, base: "StableDiffusion", seed: int = 0) -> VideoModel:
        """Build the sampler on a loaded base, without changing the base."""
        from models.zs2.sampling import ZS2Sampler

        return ZS2Sampler(base, self.noise.build(), self.attention.build())

    def denoiser_on_meta(self, networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """Build a pass of the base's U-Net with changed self-attention; start noise needs no pass."""
        from models.zs2.sampling import meta_denoiser

        return meta_denoiser(networks, self.attention.build(), protocol)
