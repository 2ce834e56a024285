"""Kinds of injection, as plain data: which cross-attention reads MCondition.

Source: AID (arXiv 2406.06465), its figure of the U-Net block.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.system import Part

if TYPE_CHECKING:
    from torch import nn

    from models.aid.injection import Board


class Injection(Part):
    """How MCondition reaches the spatial transformer blocks."""

    @abstractmethod
    def attach(self, block: Any, context: int, board: "Board") -> "list[nn.Module]":
        """Change a spatial transformer block; return the modules that are trained.

        Args:
            block: The block.
            context: Channels of MCondition.
            board: MCondition of the running pass.
        """


class NewCrossAttention(Injection):
    """A new cross-attention beside the base's own in every block; it changes nothing at first.

    Args:
        start: Initial output projection: zero, or torch's random one.

    Source: AID; departure from its figure, so that the untrained system equals its base.
    """

    aliases: ClassVar[tuple[str, ...]] = ("new cross-attention", "decoupled cross-attention")
    calls: ClassVar[tuple[str, ...]] = ("aid.injection.TextCrossAttention.forward",)

    kind: Literal["new"] = "new"
    start: Annotated[Literal["zero", "default"], Field(description="initial output projection")] = "zero"

    def attach(self, block: Any, context: int, board: "Board") -> "list[nn.Module]":
        """Add the cross-attention."""
        from models.aid.injection import TextCrossAttention

        added = TextCrossAttention(block, context, board, zero=self.start == "zero")
        added.attach(block)
        return [added]

    def num_parameters(self, networks: Mapping[str, Any]) -> int:
        """Count the parameters of all new cross-attentions."""
        import torch

        from models.aid.injection import Board, TextCrossAttention
        from models.backbones import num_parameters
        from models.image_to_video import transformers

        unet = networks["unet"]
        blocks = [block for part in transformers(unet) for block in part.transformer_blocks]
        with torch.device("meta"):
            width = int(unet.config.cross_attention_dim)
            return sum(num_parameters(TextCrossAttention(block, width, Board())) for block in blocks)


class TunedCrossAttention(Injection):
    """The base's own cross-attention, tuned, reads MCondition in place of the image's embedding.

    Source: AID, its figure of the U-Net block.
    """

    aliases: ClassVar[tuple[str, ...]] = ("tuned cross-attention", "fine-tuned cross-attention")
    calls: ClassVar[tuple[str, ...]] = ("aid.injection.read_condition",)

    kind: Literal["tuned"] = "tuned"

    def attach(self, block: Any, context: int, board: "Board") -> "list[nn.Module]":
        """Redirect the cross-attention."""
        from models.aid.injection import redirect

        return redirect(block, board)
