"""The kinds of frame mixing, as plain data."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from models.system import Part

if TYPE_CHECKING:
    from torch import nn


class Mixing(Part):
    """What lets the frames see each other."""

    @abstractmethod
    def build(self, channels: int) -> "nn.Module":
        """Make the module: (b f c h w) -> the same."""


class FrameMixing(Mixing):
    """A convolution over three neighbouring frames."""

    calls: ClassVar[tuple[str, ...]] = ("toy.network.NeighbourConv.forward",)

    kind: Literal["convolution"] = "convolution"

    def build(self, channels: int) -> "nn.Module":
        """Make the convolution."""
        from models.toy.network import NeighbourConv

        return NeighbourConv(channels)

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Of the convolution over a base's latents."""
        channels = int(networks["vae"].config.latent_channels)
        return 3 * channels**2 + channels


class NoMixing(Mixing):
    """Absence: every frame alone."""

    kind: Literal["removed"] = "removed"

    def build(self, channels: int) -> "nn.Module":
        """Make the identity."""
        from torch import nn

        return nn.Identity()
