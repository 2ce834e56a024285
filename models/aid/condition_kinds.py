"""Kinds of condition, as plain data: the tokens that the denoiser's cross-attention reads for every frame.

Source: AID (arXiv 2406.06465), DQFormer and MCondition.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.bases import Count
from models.system import Aliases, Part

if TYPE_CHECKING:
    from torch import nn

    from models.aid.condition import Sizes

Queries = Annotated[
    Count,
    Field(description="learnt queries, and so tokens, of each frame; 1, 4, 8 and 16 are usual"),
    Aliases("number of queries", "queries per frame", "frame-level queries"),
]
Layers = Annotated[Count, Field(description="layers of each branch")]
Heads = Annotated[Count, Field(description="must divide the channels that the base's cross-attention reads")]


class Condition(Part):
    """How instruction, states and given frame become the tokens of each frame."""

    @abstractmethod
    def build(self, sizes: "Sizes", *, states: bool) -> "nn.Module | None":
        """Make the module, or None for no tokens.

        It maps text (b l c_t), states (b s l c_t) or None, visual (b n c_v) and a number of frames to (b f m c).

        Args:
            sizes: Sizes on the base.
            states: Whether there are states.
        """

    def num_parameters(self, networks: Mapping[str, Any]) -> int:
        """Count the parameters of the module, with states."""
        import torch

        from models.aid.condition import Sizes
        from models.backbones import num_parameters

        with torch.device("meta"):
            module = self.build(Sizes.of(networks), states=True)
        return 0 if module is None else num_parameters(module)


class _Branches(Condition):
    """Common settings of the kinds that are made of branches."""

    num_layers: Layers = 1
    num_heads: Heads = 8

    def _upper(self, sizes: "Sizes") -> "nn.Module":
        from models.aid.condition import MultimodalBranch

        return MultimodalBranch(sizes, num_layers=self.num_layers, num_heads=self.num_heads)

    def _lower(self, sizes: "Sizes", queries: int, states: bool, branch: Any = None) -> "nn.Module":
        from models.aid.condition import DecomposedBranch

        heads = {"num_layers": self.num_layers, "num_heads": self.num_heads}
        module: nn.Module = (branch or DecomposedBranch)(sizes, num_queries=queries, states=states, **heads)
        return module


class BothBranches(_Branches):
    """Both branches of DQFormer, concatenated: the instruction seen at the given frame, and the frame's own queries.

    Args:
        num_layers: Layers of each branch.
        num_heads: Heads of every attention.
        queries: Learnt queries of each frame.

    Source: AID, MCondition; the paper does not give the number of queries, the layers or the order of the tokens.
    """

    aliases: ClassVar[tuple[str, ...]] = ("MCondition", "multi-condition", "both branches", "dual query transformer")
    calls: ClassVar[tuple[str, ...]] = (
        "aid.condition.MultimodalBranch.forward",
        "aid.condition.DecomposedBranch.forward",
    )

    kind: Literal["both"] = "both"
    queries: Queries = 8

    def build(self, sizes: "Sizes", *, states: bool) -> "nn.Module | None":
        """Make both branches."""
        from models.aid.condition import Concatenated

        lower = self._lower(sizes, self.queries, states)
        return Concatenated([("upper", self._upper(sizes)), ("lower", lower)])


class UpperBranch(_Branches):
    """Only the upper branch: the instruction seen at the given frame, the same for every frame.

    Args:
        num_layers: Layers.
        num_heads: Heads of every attention.
    """

    aliases: ClassVar[tuple[str, ...]] = ("multimodal embedding only", "upper branch only", "without lower branch")
    calls: ClassVar[tuple[str, ...]] = ("aid.condition.MultimodalBranch.forward",)
    bypasses: ClassVar[tuple[str, ...]] = ("states",)

    kind: Literal["upper"] = "upper"

    def build(self, sizes: "Sizes", *, states: bool) -> "nn.Module | None":
        """Make the branch."""
        from models.aid.condition import Concatenated

        return Concatenated([("upper", self._upper(sizes))])


class LowerBranch(_Branches):
    """Only the lower branch: queries of each frame on instruction and states.

    Args:
        num_layers: Layers.
        num_heads: Heads of every attention.
        queries: Learnt queries of each frame.
    """

    aliases: ClassVar[tuple[str, ...]] = ("decomposed embedding only", "lower branch only", "without upper branch")
    calls: ClassVar[tuple[str, ...]] = ("aid.condition.DecomposedBranch.forward",)

    kind: Literal["lower"] = "lower"
    queries: Queries = 8

    def build(self, sizes: "Sizes", *, states: bool) -> "nn.Module | None":
        """Make the branch."""
        from models.aid.condition import Concatenated

        return Concatenated([("lower", self._lower(sizes, self.queries, states))])


class MeanOverFrames(_Branches):
    """Both branches, with the lower one averaged over the frames: as many tokens, but the same for every frame.

    Args:
        num_layers: Layers of each branch.
        num_heads: Heads of every attention.
        queries: Learnt queries of each frame.
    """

    aliases: ClassVar[tuple[str, ...]] = ("mean over frames", "frame-averaged condition")
    calls: ClassVar[tuple[str, ...]] = (
        "aid.condition.MultimodalBranch.forward",
        "aid.condition.DecomposedBranch.forward",
        "aid.condition.AveragedBranch.forward",
    )

    kind: Literal["mean"] = "mean"
    queries: Queries = 8

    def build(self, sizes: "Sizes", *, states: bool) -> "nn.Module | None":
        """Make both branches."""
        from models.aid.condition import AveragedBranch, Concatenated

        lower = self._lower(sizes, self.queries, states, AveragedBranch)
        return Concatenated([("upper", self._upper(sizes)), ("lower", lower)])


class InstructionTokens(Condition):
    """The instruction's own text tokens, projected to the width of the cross-attention, for every frame."""

    aliases: ClassVar[tuple[str, ...]] = ("plain text tokens", "plain CLIP text", "instruction tokens")
    calls: ClassVar[tuple[str, ...]] = ("aid.condition.PlainText.forward",)
    bypasses: ClassVar[tuple[str, ...]] = ("states",)

    kind: Literal["text"] = "text"

    def build(self, sizes: "Sizes", *, states: bool) -> "nn.Module | None":
        """Make the projection."""
        from models.aid.condition import PlainText

        return PlainText(sizes)


class NoCondition(Condition):
    """Removed: no text reaches the denoiser, which sees the given frame alone."""

    aliases: ClassVar[tuple[str, ...]] = ("no MCondition", "initial frame only", "without text condition")
    bypasses: ClassVar[tuple[str, ...]] = ("states", "injection")

    kind: Literal["removed"] = "removed"

    def build(self, sizes: "Sizes", *, states: bool) -> "nn.Module | None":
        """Return None."""
        return None
