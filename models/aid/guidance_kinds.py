"""Kinds of guidance under two conditions, as plain data: the given frame c_V and the text c_T.

Source: AID (arXiv 2406.06465); InstructPix2Pix (arXiv 2211.09800).
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from models.guidance import CONDITIONAL, UNCONDITIONAL, ClassifierFree, GuidanceRule, Guide, NoGuidance
from models.system import Aliases

if TYPE_CHECKING:
    import torch

FRAME = "frame"
"""Branch with the given frame and without the text."""

FrameScale = Annotated[
    float, Field(ge=0, description="s_V, scale of the given frame; 1 is no guidance"), Aliases("s_V", "image guidance")
]
TextScale = Annotated[
    float, Field(ge=0, description="s_T, scale of the text; 1 is no guidance"), Aliases("s_T", "text guidance")
]


def dual(frame: float, text: float) -> Guide:
    """Make the guide under two conditions; branches that do not count are not computed.

        e = e(0, 0) + s_V (e(c_V, 0) - e(0, 0)) + s_T (e(c_V, c_T) - e(c_V, 0))
          = (1 - s_V) e(0, 0) + (s_V - s_T) e(c_V, 0) + s_T e(c_V, c_T)

    Args:
        frame: s_V, at least 0.
        text: s_T, at least 0.
    """
    factors = {UNCONDITIONAL: 1 - frame, FRAME: frame - text, CONDITIONAL: text}
    used = {branch: factor for branch, factor in factors.items() if factor}

    def combine(predictions: "torch.Tensor") -> "torch.Tensor":
        parts = [factor * prediction for factor, prediction in zip(used.values(), predictions, strict=True)]
        total: torch.Tensor = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    return Guide(tuple(used), combine)


class DualGuidance(GuidanceRule):
    """Separate guidance by the given frame and by the text; the protocol's scale is not used.

        e = e(0, 0) + s_V (e(c_V, 0) - e(0, 0)) + s_T (e(c_V, c_T) - e(c_V, 0))

    Args:
        frame: s_V.
        text: s_T; 0 is the prediction from the given frame alone.

    Source: AID; the paper does not give the scales.
    """

    aliases: ClassVar[tuple[str, ...]] = ("dual classifier-free guidance", "dual CFG", "separate guidance")
    calls: ClassVar[tuple[str, ...]] = ("aid.guidance_kinds.dual",)

    kind: Literal["dual"] = "dual"
    frame: FrameScale = 2.0
    text: TextScale = 7.5

    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide."""
        return dual(self.frame, self.text)


class FrameGuidance(GuidanceRule):
    """Guidance by the given frame alone, s_T = 1; the protocol's scale is not used.

    Args:
        frame: s_V.
    """

    aliases: ClassVar[tuple[str, ...]] = ("frame guidance only", "without text guidance")
    calls: ClassVar[tuple[str, ...]] = ("aid.guidance_kinds.dual",)

    kind: Literal["frame"] = "frame"
    frame: FrameScale = 2.0

    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide."""
        return dual(self.frame, 1.0)


class TextGuidance(GuidanceRule):
    """Guidance by the text alone, s_V = 1; the protocol's scale is not used.

    Args:
        text: s_T.
    """

    aliases: ClassVar[tuple[str, ...]] = ("text guidance only", "without frame guidance")
    calls: ClassVar[tuple[str, ...]] = ("aid.guidance_kinds.dual",)

    kind: Literal["text"] = "text"
    text: TextScale = 7.5

    def build(self, scale: float, num_frames: int) -> Guide:
        """Make the guide."""
        return dual(1.0, self.text)


Guidance = Annotated[
    DualGuidance | FrameGuidance | TextGuidance | ClassifierFree | NoGuidance,
    Field(discriminator="kind"),
    Aliases("guidance", "dual guidance"),
]
"""Type of the slot; ``classifier_free`` is joint guidance, by frame and text together, with the protocol's scale."""
