"""Kinds of convolution between position and temporal attention, as plain data.

Source: ExVideo (arXiv 2406.14130), section 3.2 and its released code.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.system import Aliases, Part

if TYPE_CHECKING:
    from torch import nn

Padding = Annotated[
    Literal["reflect", "zeros"], Field(description="borders: mirrored, or zeros, which tell the position")
]


class IdentityConvolution(Part):
    """Convolution over a clip's feature maps, before each temporal attention block."""

    frozen: ClassVar[bool] = False
    """Whether it stays as it starts."""

    @abstractmethod
    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make a factory of convolutions for a number of channels; None for no convolution."""

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Count the parameters of the convolutions of all temporal blocks."""
        import torch

        from models.backbones import num_parameters
        from models.image_to_video import transformers

        convolution = self.build()
        if convolution is None:
            return 0
        with torch.device("meta"):
            return sum(num_parameters(convolution(part.in_channels)) for part in transformers(networks["unet"]))


class DenseConvolution(IdentityConvolution):
    """Dense 3 x 3 x 3 convolution over time, height and width that starts as the identity.

        y = K * x + b,   K = I at the centre tap and 0 elsewhere, b = 0 at first

    Args:
        start: Initial kernel: the identity, or torch's random one.
        padding: At the borders.

    Source: ExVideo.
    """

    aliases: ClassVar[tuple[str, ...]] = (
        "identity 3D convolution",
        "adaptive identity 3D convolution",
        "3D convolution",
    )
    calls: ClassVar[tuple[str, ...]] = ("exvideo.convolution.ClipConvolution.forward",)

    kind: Literal["dense"] = "dense"
    start: Annotated[Literal["identity", "random"], Field(description="initial kernel"), Aliases("initialization")] = (
        "identity"
    )
    padding: Padding = "reflect"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the convolution."""
        from models.exvideo.convolution import ClipConvolution

        return lambda channels: ClipConvolution(channels, start=self.start, padding=self.padding)


class TemporalConvolution(IdentityConvolution):
    """Dense 3 x 1 x 1 convolution over time alone that starts as the identity.

    Args:
        padding: At the borders.

    Source: the variant for AnimateDiff in ExVideo's released code.
    """

    aliases: ClassVar[tuple[str, ...]] = ("1D convolution", "temporal convolution", "3x1x1 convolution")
    calls: ClassVar[tuple[str, ...]] = ("exvideo.convolution.ClipConvolution.forward",)

    kind: Literal["temporal"] = "temporal"
    padding: Padding = "reflect"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the convolution."""
        from models.exvideo.convolution import ClipConvolution

        return lambda channels: ClipConvolution(channels, (3, 1, 1), padding=self.padding)


class DepthwiseConvolution(IdentityConvolution):
    """3 x 3 x 3 convolution of each channel by itself that starts as the identity.

    Args:
        padding: At the borders.
    """

    aliases: ClassVar[tuple[str, ...]] = ("depthwise convolution", "depthwise separable convolution")
    calls: ClassVar[tuple[str, ...]] = ("exvideo.convolution.ClipConvolution.forward",)

    kind: Literal["depthwise"] = "depthwise"
    padding: Padding = "reflect"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the convolution."""
        from models.exvideo.convolution import ClipConvolution

        return lambda channels: ClipConvolution(channels, depthwise=True, padding=self.padding)


class ResidualConvolution(IdentityConvolution):
    """Dense 3 x 3 x 3 convolution that is added to its input and starts at zero.

        y = x + K * x + b,   K = 0, b = 0 at first

    Args:
        padding: At the borders.
    """

    aliases: ClassVar[tuple[str, ...]] = ("residual convolution", "zero-initialized convolution", "zero convolution")
    calls: ClassVar[tuple[str, ...]] = ("exvideo.convolution.ClipConvolution.forward",)

    kind: Literal["residual"] = "residual"
    padding: Padding = "reflect"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the convolution."""
        from models.exvideo.convolution import ClipConvolution

        return lambda channels: ClipConvolution(channels, start="zero", padding=self.padding, residual=True)


class FrozenIdentity(IdentityConvolution):
    """The dense convolution, kept at the identity: a check that it changes nothing before it is trained."""

    aliases: ClassVar[tuple[str, ...]] = ("frozen identity convolution",)
    calls: ClassVar[tuple[str, ...]] = ("exvideo.convolution.ClipConvolution.forward",)
    frozen: ClassVar[bool] = True

    kind: Literal["frozen"] = "frozen"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the convolution."""
        from models.exvideo.convolution import ClipConvolution

        return ClipConvolution

    def notes(self) -> tuple[str, ...]:
        """Return the note that this kind equals the removed convolution."""
        return ("an identity that is not trained changes nothing, the same as removed",)


class NoConvolution(IdentityConvolution):
    """Removed: the temporal block as in the base."""

    kind: Literal["removed"] = "removed"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Return None."""
        return None
