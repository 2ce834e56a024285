"""Kinds of guidance, as plain data: how predictions under several conditions are combined.

A kind names the branches that the denoiser predicts, so that another set of conditions is another kind.
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
    """Guidance for one call of the denoiser.

    Args:
        branches: Names of the conditions under which the denoiser predicts, in the order of the stack.
        combine: Predictions of the branches, float32 (g b f c h w) -> the guided one (b f c h w).
    """

    branches: tuple[str, ...]
    combine: "Callable[[torch.Tensor], torch.Tensor]"


def _first(predictions: "torch.Tensor") -> "torch.Tensor":
    return predictions[0]


UNGUIDED = Guide((CONDITIONAL,), _first)


class GuidanceRule(Part):
    """How far the prediction is moved away from the unconditional prediction."""

    @abstractmethod
    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide.

        Args:
            scale: The protocol's ``guidance``, at least 1.
            num_frames: Frames in the denoiser's input, including given ones.
        """


class ClassifierFree(GuidanceRule):
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
            unconditional, conditional = predictions
            guided: torch.Tensor = unconditional + scale * (conditional - unconditional)
            return guided

        return Guide((UNCONDITIONAL, CONDITIONAL), combine)


class RisingGuidance(GuidanceRule):
    """Classifier-free guidance with a scale that rises linearly over the frames, up to the protocol's scale.

        w_i = first + (w - first) i / (f - 1),   e_i = e_uncond,i + w_i (e_cond,i - e_uncond,i)

    Args:
        first: Scale of the first frame, at least 1.

    Source: Stable Video Diffusion (arXiv 2311.15127), appendix on guidance; diffusers' pipeline.
    """

    aliases: ClassVar[tuple[str, ...]] = ("linearly increasing guidance", "per-frame guidance")

    kind: Literal["rising"] = "rising"
    first: Annotated[float, Field(ge=1, description="scale of the first frame"), Aliases("minimum guidance")] = 1.0

    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide."""
        if max(scale, self.first) <= 1:
            return UNGUIDED
        import torch

        scales = torch.linspace(self.first, scale, num_frames).view(-1, 1, 1, 1)

        def combine(predictions: torch.Tensor) -> torch.Tensor:
            unconditional, conditional = predictions
            guided: torch.Tensor = unconditional + scales.to(predictions) * (conditional - unconditional)
            return guided

        return Guide((UNCONDITIONAL, CONDITIONAL), combine)


class NoGuidance(GuidanceRule):
    """Removed: the conditional prediction only, whatever the protocol's guidance scale."""

    aliases: ClassVar[tuple[str, ...]] = ("without guidance",)

    kind: Literal["removed"] = "removed"

    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide."""
        return UNGUIDED


Guidance = Annotated[
    ClassifierFree | RisingGuidance | NoGuidance, Field(discriminator="kind"), Aliases("guidance", "guidance scale")
]
"""Type of a guidance slot."""
