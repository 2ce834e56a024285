"""Kinds of training, as plain data: which weights of the extended denoiser are trained.

Source: ExVideo (arXiv 2406.14130), section 3.2 and its released code.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from models.low_rank import Trainable

if TYPE_CHECKING:
    from torch import nn

    from models.exvideo.network import ExtendedNetwork


class TemporalBlocks(Trainable):
    """Temporal attention blocks: attention, feed-forward layers, position and convolution.

    Not trained: temporal residual convolutions, the mixing of spatial and temporal features, all spatial layers.

    Source: ExVideo.
    """

    aliases: ClassVar[tuple[str, ...]] = ("temporal attention", "temporal blocks")

    kind: Literal["temporal_blocks"] = "temporal_blocks"

    def build(self, network: "ExtendedNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        blocks = [parameter for block in network.temporal_blocks() for parameter in block.parameters()]
        return [*blocks, *network.new_parameters()]


class ExtensionOnly(Trainable):
    """Position and convolution only; attention and feed-forward layers stay those of the base."""

    aliases: ClassVar[tuple[str, ...]] = ("position and convolution only", "freeze temporal attention")

    kind: Literal["extension_only"] = "extension_only"

    def build(self, network: "ExtendedNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        return network.new_parameters()


class WithTemporalConvolutions(Trainable):
    """Temporal attention blocks and the base's temporal residual convolutions."""

    aliases: ClassVar[tuple[str, ...]] = ("with temporal convolutions", "temporal residual blocks")

    kind: Literal["with_temporal_convolutions"] = "with_temporal_convolutions"

    def build(self, network: "ExtendedNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        return [*TemporalBlocks().build(network), *network.temporal_convolutions()]


class Everything(Trainable):
    """All weights of the denoiser."""

    aliases: ClassVar[tuple[str, ...]] = ("full fine-tuning", "fine-tune all")

    kind: Literal["all"] = "all"

    def build(self, network: "ExtendedNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        return network.parameters()


class Untrained(Trainable):
    """Removed: nothing is trained; the extended denoiser samples with its initial weights."""

    kind: Literal["removed"] = "removed"

    def build(self, network: "ExtendedNetwork") -> "Iterable[nn.Parameter]":
        """Return no parameters."""
        return ()
