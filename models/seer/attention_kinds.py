"""The kinds of temporal attention, as plain data: what lets the frames see each other.

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

Heads = Annotated[int, Field(ge=1, description="it must divide every width that it attends in")]
Window = Annotated[
    int, Field(ge=1, description="side of a window, in cells of the feature map"), Aliases("window size")
]
Largest = Annotated[
    int,
    Field(ge=2, multiple_of=2, description="side of the largest window, even; half of it below"),
    Aliases("window size", "largest window"),
]


class TemporalAttention(Part):
    """What lets the frames see each other, in a temporal transformer behind each spatial one."""

    @abstractmethod
    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the rule that gives the mixing module for a number of channels; None for no temporal transformers."""

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Of all temporal transformers behind the U-Net's spatial ones."""
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
    """Scaled autoregressive window: tokens of a window that shrinks with the feature map, each seeing what came before.

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
    """The scaled window, each token seeing earlier frames and the whole of its own.

    Args:
        largest: Side of the largest window.
        num_heads: Attention heads.

    Source: the reading that Seer's figure suggests, where its code is token-causal.
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
    """The scaled window without a mask: tokens of a window see each other forwards and backwards in time.

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
    """A window of one size at every level, each token seeing what came before.

    Args:
        window: Side of the window; the whole map where that is no larger.
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
    """One place of the feature map across the frames, forwards and backwards in time.

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
    """One place of the feature map across the frames up to each one.

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
    """Each frame's features beside those of the frame before, projected: no attention between frames.

    Source: the replacement that ablation plan 000 names.
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
    """Absence: no temporal transformers, so that frames meet in the group norms' pooled statistics alone."""

    aliases: ClassVar[tuple[str, ...]] = ("no attention", "no temporal attention", "without temporal attention")

    kind: Literal["removed"] = "removed"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """None."""
        return None

    def notes(self) -> tuple[str, ...]:
        """What is left of the frames' connection."""
        return ("frames meet in pooled group norms alone, so the reference frames have almost no effect",)
