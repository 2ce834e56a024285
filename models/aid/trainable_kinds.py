"""Kinds of training, as plain data: which weights are trained.

Source: AID (arXiv 2406.06465): adapters, DQFormer and the cross-attention to MCondition; the base is frozen.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from models.low_rank import Trainable

if TYPE_CHECKING:
    from torch import nn

    from models.aid.network import AIDNetwork


class NewParts(Trainable):
    """Adapters, condition and its cross-attention; the base is frozen.

    Source: AID.
    """

    aliases: ClassVar[tuple[str, ...]] = ("frozen U-Net", "adapters only", "parameter-efficient tuning")

    kind: Literal["new_parts"] = "new_parts"

    def build(self, network: "AIDNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        return network.new_parameters()


class WithTemporalBlocks(Trainable):
    """The new parts and the base's temporal transformer blocks."""

    aliases: ClassVar[tuple[str, ...]] = ("fine-tune temporal layers", "fine-tune temporal blocks")

    kind: Literal["with_temporal_blocks"] = "with_temporal_blocks"

    def build(self, network: "AIDNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        named = network.unet.named_parameters()
        return [
            *network.new_parameters(),
            *(weight for name, weight in named if ".temporal_transformer_blocks." in name),
        ]


class Everything(Trainable):
    """All weights of the denoiser and of the condition."""

    aliases: ClassVar[tuple[str, ...]] = ("full fine-tuning", "fine-tune all")

    kind: Literal["all"] = "all"

    def build(self, network: "AIDNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        return network.parameters()


class Untrained(Trainable):
    """Removed: nothing is trained; the model samples with its initial weights."""

    kind: Literal["removed"] = "removed"

    def build(self, network: "AIDNetwork") -> "Iterable[nn.Parameter]":
        """Return no parameters."""
        return ()
