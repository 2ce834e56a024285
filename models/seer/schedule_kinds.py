"""Kinds of noise schedule in sampling, as plain data. Training always has the base's own schedule.

Source: Seer (arXiv 2303.14897), its released code.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from models.system import Part

if TYPE_CHECKING:
    from diffusers import DDIMScheduler


class SamplingSchedule(Part):
    """Noise levels and timesteps at which clips are sampled."""

    @abstractmethod
    def build(self, noise_scheduler: "DDIMScheduler") -> "Any":
        """Make the noise scheduler of the denoising loop.

        Args:
            noise_scheduler: DDIM with the base's own schedule.
        """


class TrainingSchedule(SamplingSchedule):
    """The base's own schedule, on which the model is trained.

    Source: Seer, training; departure: the released sampler has another schedule, see ``PublishedSchedule``. This is the
    default, because a denoiser is only right at the noise levels that it was trained on.
    """

    aliases: ClassVar[tuple[str, ...]] = ("training schedule",)

    kind: Literal["training"] = "training"

    def build(self, noise_scheduler: "DDIMScheduler") -> "Any":
        """Return the base's own."""
        return noise_scheduler


class PublishedSchedule(SamplingSchedule):
    """The released sampler's schedule: betas from 1e-4 to 2e-2, and one step more where steps do not divide 1,000.

    The model is trained with betas from 8.5e-4 to 1.2e-2, so the released sampler gives it wrong noise levels. This
    may be a reason why others could not reproduce the published numbers. See ``models.seer.sampling.ReleasedDDIM``.

    Source: Seer, released code.
    """

    aliases: ClassVar[tuple[str, ...]] = ("released schedule",)
    calls: ClassVar[tuple[str, ...]] = ("seer.sampling.ReleasedDDIM.set_timesteps",)

    kind: Literal["published"] = "published"

    def build(self, noise_scheduler: "DDIMScheduler") -> "Any":
        """Make the released one, for the same prediction type."""
        from models.seer.sampling import ReleasedDDIM

        return ReleasedDDIM.like(noise_scheduler)
