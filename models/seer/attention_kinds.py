"""Kinds of temporal attention, as plain data.

Source: Seer (arXiv 2303.14897), section 5.5 and its released code.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.system import Aliases, Part

if TYPE_CHECKING:
    from torch import nn

    from models.seer.windows import Mask, Side

Heads = Annotated[int, Field(ge=1, description="must divide the channels of every attention layer")]
Window = Annotated[
    int, Field(ge=1, description="side of the window, in cells of the feature map"), Aliases("window size")
]
Largest = Annotated[
    int,
    Field(ge=2, multiple_of=2, description="side of the largest window, even; smaller feature maps use half of it"),
    Aliases("window size", "largest window"),
]


class TemporalAttention(Part):
    """Attention between frames, in a temporal transformer after each spatial one."""

    @abstractmethod
    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make a factory of mixing modules for a number of channels; None for no temporal transformers."""

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Count the parameters of all temporal transformers."""
        import torch
        from torch import nn

        from models.backbones import num_parameters
        from models.seer.inflation import attended_channels
        from models.seer.temporal import TemporalTransformer

        mixer, unet = self.build(), networks["unet"]
        if mixer is None:
            return 0
        with torch.device("meta"):
            parts = [
                TemporalTransformer(dim, mixer(dim), nn.GroupNorm(unet.config.norm_num_groups, dim))
                for dim in attended_channels(unet)
            ]
        return sum(map(num_parameters, parts))


def _attention(heads: int, side: "Callable[[], Side]", mask: "Callable[[], Mask]") -> "Callable[[int], nn.Module]":
    from models.seer.temporal import WindowAttention

    return lambda dim: WindowAttention(dim, side(), mask(), num_heads=heads)


class ScaledWindow(TemporalAttention):
    """Scaled autoregressive window: token-causal attention within windows that shrink with the feature map.

        out_i = softmax(R(q_i) R(k_j)^T / sqrt(d)) v_j   over j <= i in i's window over all frames

    Args:
        largest: Side of the largest window.
        num_heads: Attention heads.

    Source: Seer, SAWT attention; the released code's token-causal mask.
    """

    aliases: ClassVar[tuple[str, ...]] = (
        "scaled autoregressive window",
        "SAWT attention",
        "autoregressive spatial-temporal attention",
    )
    calls: ClassVar[tuple[str, ...]] = (
        "seer.temporal.WindowAttention.forward",
        "seer.windows.scaled_side.<locals>.side",
        "seer.windows.token_causal",
    )

    kind: Literal["scaled_window"] = "scaled_window"
    largest: Largest = 8
    num_heads: Heads = 8

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the attention."""
        from models.seer.windows import scaled_side, token_causal

        return _attention(self.num_heads, lambda: scaled_side(self.largest), lambda: token_causal)


class FrameCausalWindow(TemporalAttention):
    """Scaled window with a frame-causal mask: each token attends to earlier frames and to all of its own frame.

    Args:
        largest: Side of the largest window.
        num_heads: Attention heads.

    Source: the mask in Seer's figure; its code is token-causal.
    """

    aliases: ClassVar[tuple[str, ...]] = ("frame-causal window", "block-causal")
    calls: ClassVar[tuple[str, ...]] = (
        "seer.temporal.WindowAttention.forward",
        "seer.windows.scaled_side.<locals>.side",
        "seer.windows.frame_causal",
    )

    kind: Literal["frame_causal_window"] = "frame_causal_window"
    largest: Largest = 8
    num_heads: Heads = 8

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the attention."""
        from models.seer.windows import frame_causal, scaled_side

        return _attention(self.num_heads, lambda: scaled_side(self.largest), lambda: frame_causal)


class FullWindow(TemporalAttention):
    """Scaled window without a mask: the tokens of a window attend to each other in both time directions.

    Args:
        largest: Side of the largest window.
        num_heads: Attention heads.
    """

    aliases: ClassVar[tuple[str, ...]] = (
        "full window",
        "bidirectional spatial-temporal attention",
        "full spatial-temporal attention",
    )
    calls: ClassVar[tuple[str, ...]] = (
        "seer.temporal.WindowAttention.forward",
        "seer.windows.scaled_side.<locals>.side",
        "seer.windows.everything",
    )

    kind: Literal["full_window"] = "full_window"
    largest: Largest = 8
    num_heads: Heads = 8

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the attention."""
        from models.seer.windows import everything, scaled_side

        return _attention(self.num_heads, lambda: scaled_side(self.largest), lambda: everything)


class FixedWindow(TemporalAttention):
    """Fixed window: token-causal attention within windows of the same size at every level.

    Args:
        window: Side of the window; the whole map if the map is not larger.
        num_heads: Attention heads.

    Source: Seer, its autoregressive window without scaling.
    """

    aliases: ClassVar[tuple[str, ...]] = ("fixed window", "autoregressive window without scaling")
    calls: ClassVar[tuple[str, ...]] = ("seer.temporal.WindowAttention.forward", "seer.windows.token_causal")

    kind: Literal["fixed_window"] = "fixed_window"
    window: Window = 4
    num_heads: Heads = 8

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the attention."""
        from models.seer.windows import fixed_side, token_causal

        return _attention(self.num_heads, lambda: fixed_side(self.window), lambda: token_causal)


class TemporalOnly(TemporalAttention):
    """Temporal attention only: each position attends to the same position in all frames, in both time directions.

    Args:
        num_heads: Attention heads.

    Source: Seer, its bi-directional temporal attention.
    """

    aliases: ClassVar[tuple[str, ...]] = (
        "temporal attention only",
        "temporal only",
        "bidirectional temporal attention",
        "simple temporal attention",
    )
    calls: ClassVar[tuple[str, ...]] = ("seer.temporal.WindowAttention.forward", "seer.windows.everything")

    kind: Literal["temporal"] = "temporal"
    num_heads: Heads = 8

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the attention."""
        from models.seer.windows import everything, fixed_side

        return _attention(self.num_heads, lambda: fixed_side(1), lambda: everything)


class CausalTemporalOnly(TemporalAttention):
    """Causal temporal attention only: each position attends to the same position in the frames up to its own.

    Args:
        num_heads: Attention heads.

    Source: Seer, its directed temporal attention.
    """

    aliases: ClassVar[tuple[str, ...]] = ("causal temporal attention", "directed temporal attention")
    calls: ClassVar[tuple[str, ...]] = ("seer.temporal.WindowAttention.forward", "seer.windows.token_causal")

    kind: Literal["causal_temporal"] = "causal_temporal"
    num_heads: Heads = 8

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the attention."""
        from models.seer.windows import fixed_side, token_causal

        return _attention(self.num_heads, lambda: fixed_side(1), lambda: token_causal)


class Concatenation(TemporalAttention):
    """Concatenation: projects each frame's features together with the previous frame's; no attention between frames.

    Source: the replacement in ablation plan 000.
    """

    aliases: ClassVar[tuple[str, ...]] = (
        "concatenation of spatial and temporal features",
        "simple concatenation",
        "feature concatenation",
    )
    calls: ClassVar[tuple[str, ...]] = ("seer.temporal.FrameConcatenation.forward",)

    kind: Literal["concatenation"] = "concatenation"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the projection."""
        from models.seer.temporal import FrameConcatenation

        return FrameConcatenation


class NoTemporalAttention(TemporalAttention):
    """Removed: no temporal transformers; frames are coupled only by the pooled group norms."""

    aliases: ClassVar[tuple[str, ...]] = ("no attention", "no temporal attention", "without temporal attention")

    kind: Literal["removed"] = "removed"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Return None: no temporal transformers."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Note that frames are almost independent."""
        return ("frames are coupled only by pooled group norms, so the reference frames have almost no effect",)
