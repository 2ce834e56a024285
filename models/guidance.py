"""The kinds of guidance, as plain data: how predictions under several conditions become one.

A kind names the branches that the denoiser is asked for, so that one with another set of conditions is one more kind.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from models.system import Aliases, Part

if TYPE_CHECKING:
    import torch

CONDITIONAL = "conditional"
UNCONDITIONAL = "unconditional"


@dataclass(frozen=True)
class Guide:
    """Guidance at work.

    Args:
        branches: The conditions under which the denoiser predicts, by name, in the order of the stack.
        combine: Predictions of the branches, float32 (g b f c h w) -> the guided one (b f c h w).
    """

    branches: tuple[str, ...]
    combine: "Callable[[torch.Tensor], torch.Tensor]"


def _alone(predictions: "torch.Tensor") -> "torch.Tensor":
    return predictions[0]


UNGUIDED = Guide((CONDITIONAL,), _alone)


class _Guidance(Part):
    """How far the prediction is pushed away from what the model predicts without its condition."""

    @abstractmethod
    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide.

        Args:
            scale: The protocol's ``guidance``, at least 1.
            num_frames: Frames that the denoiser is given, those that are not drawn included.
        """


class ClassifierFree(_Guidance):
    """Classifier-free guidance with one scale for all frames.

        e = e_uncond + w (e_cond - e_uncond)

    The scale w is the protocol's; at 1 the unconditional branch is not computed.

    Source: Ho and Salimans (arXiv 2207.12598).
    """

    aliases: ClassVar[tuple[str, ...]] = ("classifier-free guidance", "CFG")

    kind: Literal["classifier_free"] = "classifier_free"

    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide."""
        if scale <= 1:
            return UNGUIDED

        def combine(predictions: "torch.Tensor") -> "torch.Tensor":
            without, under = predictions
            guided: torch.Tensor = without + scale * (under - without)
            return guided

        return Guide((UNCONDITIONAL, CONDITIONAL), combine)


class RisingGuidance(_Guidance):
    """Classifier-free guidance whose scale rises over the frames, from a first one to the protocol's.

        w_i = first + (w - first) i / (f - 1),   e_i = e_uncond,i + w_i (e_cond,i - e_uncond,i)

    Args:
        first: Scale of the first frame, at least 1.

    Source: Stable Video Diffusion (arXiv 2311.15127), appendix on guidance; diffusers' pipeline.
    """

    aliases: ClassVar[tuple[str, ...]] = ("linearly increasing guidance", "per-frame guidance")

    kind: Literal["rising"] = "rising"
    first: Annotated[float, Field(ge=1, description="the first frame's scale"), Aliases("minimum guidance")] = 1.0

    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide."""
        if max(scale, self.first) <= 1:
            return UNGUIDED
        import torch

        scales = torch.linspace(self.first, scale, num_frames).view(-1, 1, 1, 1)

        def combine(predictions: torch.Tensor) -> torch.Tensor:
            without, under = predictions
            guided: torch.Tensor = without + scales.to(predictions) * (under - without)
            return guided

        return Guide((UNCONDITIONAL, CONDITIONAL), combine)


class NoGuidance(_Guidance):
    """Absence: the prediction under the condition alone, whatever the protocol's scale."""

    aliases: ClassVar[tuple[str, ...]] = ("without guidance",)

    kind: Literal["removed"] = "removed"

    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide."""
        return UNGUIDED


Guidance = Annotated[
    ClassifierFree | RisingGuidance | NoGuidance, Field(discriminator="kind"), Aliases("guidance", "guidance scale")
]
"""The type of a slot for guidance."""
