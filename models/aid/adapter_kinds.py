"""Kinds of adapters, as plain data.

Source: AID (arXiv 2406.06465); sizes, which it does not give, from SimDA (arXiv 2308.09710) of the same first author.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.bases import Count
from models.system import Aliases, Part

if TYPE_CHECKING:
    from models.aid.adapters import Adapter

Ratio = Annotated[
    float,
    Field(gt=0, le=1, description="channels of the bottleneck, relative to those of the layer"),
    Aliases("bottleneck ratio", "adapter ratio"),
]
Start = Annotated[
    Literal["zero", "default", "gate"],
    Field(description="W_up at first: zero, torch's random one, or random behind a factor that starts at zero"),
    Aliases("zero initialization", "initialization of W_up"),
]
Kernel = Annotated[
    Literal["3x1x1", "3x3x3", "5x1x1"], Field(description="time x height x width"), Aliases("kernel size")
]


class AdapterPart(Part):
    """An adapter at one place of every spatio-temporal transformer."""

    @abstractmethod
    def build(self) -> "Callable[[int], Adapter] | None":
        """Make a factory of adapters for a number of channels; None for no adapter."""

    def attach(self, transformer: Any) -> None:
        """Attach the adapter to a transformer of the denoiser."""
        for place, adapter in self._placed(transformer):
            adapter.attach(place)

    def num_parameters(self, networks: Mapping[str, Any]) -> int:
        """Count the parameters of the adapters of all transformers."""
        import torch

        from models.backbones import num_parameters
        from models.image_to_video import transformers

        with torch.device("meta"):
            placed = [pair for part in transformers(networks["unet"]) for pair in self._placed(part)]
        return sum(num_parameters(adapter) for _, adapter in placed)

    def _placed(self, transformer: Any) -> "list[tuple[Any, Adapter]]":
        adapter = self.build()
        if adapter is None:
            return []
        return [(place, adapter(dim)) for place, dim in self._places(transformer)]

    def _places(self, transformer: Any) -> list[tuple[Any, int]]:
        """Return the modules that get an adapter, with their channels."""
        return []


class _Spatial(AdapterPart):
    def _places(self, transformer: Any) -> list[tuple[Any, int]]:
        from models.aid.adapters import SpatialAdapter

        return SpatialAdapter.places(transformer)


class SpatialBottleneck(_Spatial):
    """Bottleneck beside the spatial self-attention.

        x + Attn(LN x) + W_up GELU(W_down LN x)

    Args:
        ratio: Channels of the bottleneck, relative to those of the layer.
        start: Initial W_up.

    Source: AID.
    """

    aliases: ClassVar[tuple[str, ...]] = ("spatial adapter", "S-Adapter")
    calls: ClassVar[tuple[str, ...]] = ("aid.adapters.SpatialAdapter.forward",)

    kind: Literal["bottleneck"] = "bottleneck"
    ratio: Ratio = 0.25
    start: Start = "zero"

    def build(self) -> "Callable[[int], Adapter] | None":
        """Make the adapter."""
        from models.aid.adapters import SpatialAdapter

        return partial(SpatialAdapter, ratio=self.ratio, start=self.start)


class _ShortTerm(AdapterPart):
    def _places(self, transformer: Any) -> list[tuple[Any, int]]:
        from models.aid.adapters import ShortTermAdapter

        return ShortTermAdapter.places(transformer)

    def _factory(self, ratio: float, start: str, kernel: str, *, depthwise: bool) -> "Callable[[int], Adapter]":
        from models.aid.adapters import ShortTermAdapter

        sizes: Any = tuple(int(size) for size in kernel.split("x"))
        values: dict[str, Any] = {"ratio": ratio, "start": start, "kernel": sizes, "depthwise": depthwise}
        return partial(ShortTermAdapter, **values)


class DepthwiseShortTerm(_ShortTerm):
    """Depthwise convolution over neighbouring frames in a bottleneck, behind each residual block.

        x + W_up DWConv(W_down x)

    Args:
        ratio: Channels of the bottleneck, relative to those of the layer.
        start: Initial W_up.
        kernel: Sizes of the kernel.

    Source: AID; the kernel is SimDA's.
    """

    aliases: ClassVar[tuple[str, ...]] = ("short-term temporal adapter", "ST-Adapter", "depthwise 3D convolution")
    calls: ClassVar[tuple[str, ...]] = ("aid.adapters.ShortTermAdapter.forward",)

    kind: Literal["depthwise"] = "depthwise"
    ratio: Ratio = 0.5
    start: Start = "zero"
    kernel: Kernel = "3x1x1"

    def build(self) -> "Callable[[int], Adapter] | None":
        """Make the adapter."""
        return self._factory(self.ratio, self.start, self.kernel, depthwise=True)


class DenseShortTerm(_ShortTerm):
    """Dense convolution over neighbouring frames in a bottleneck, behind each residual block.

        x + W_up Conv(W_down x)

    Args:
        ratio: Channels of the bottleneck, relative to those of the layer.
        start: Initial W_up.
        kernel: Sizes of the kernel.
    """

    aliases: ClassVar[tuple[str, ...]] = ("full convolution", "dense 3D convolution")
    calls: ClassVar[tuple[str, ...]] = ("aid.adapters.ShortTermAdapter.forward",)

    kind: Literal["dense"] = "dense"
    ratio: Ratio = 0.5
    start: Start = "zero"
    kernel: Kernel = "3x1x1"

    def build(self) -> "Callable[[int], Adapter] | None":
        """Make the adapter."""
        return self._factory(self.ratio, self.start, self.kernel, depthwise=False)


class _LongTerm(AdapterPart):
    """Common settings of the attention over frames."""

    ratio: Ratio = 0.5
    start: Start = "zero"
    num_heads: Annotated[Count, Field(description="must divide the channels of every bottleneck")] = 2

    def _places(self, transformer: Any) -> list[tuple[Any, int]]:
        from models.aid.adapters import LongTermAdapter

        return LongTermAdapter.places(transformer)

    def _factory(self, mask: Any = None) -> "Callable[[int], Adapter]":
        from models.aid.adapters import LongTermAdapter

        return partial(LongTermAdapter, ratio=self.ratio, start=self.start, num_heads=self.num_heads, mask=mask)


class FullLongTerm(_LongTerm):
    """Attention over all frames in a bottleneck, beside the temporal self-attention.

        x + Attn(LN x) + W_up SelfAttn(W_down LN x)

    Args:
        ratio: Channels of the bottleneck, relative to those of the layer.
        start: Initial W_up.
        num_heads: Attention heads.

    Source: AID.
    """

    aliases: ClassVar[tuple[str, ...]] = ("long-term temporal adapter", "LT-Adapter", "temporal attention adapter")
    calls: ClassVar[tuple[str, ...]] = ("aid.adapters.LongTermAdapter.forward",)

    kind: Literal["full"] = "full"

    def build(self) -> "Callable[[int], Adapter] | None":
        """Make the adapter."""
        return self._factory()


class CausalLongTerm(_LongTerm):
    """Attention to earlier frames only, in a bottleneck beside the temporal self-attention.

    Args:
        ratio: Channels of the bottleneck, relative to those of the layer.
        start: Initial W_up.
        num_heads: Attention heads.
    """

    aliases: ClassVar[tuple[str, ...]] = ("causal attention", "causal long-term adapter")
    calls: ClassVar[tuple[str, ...]] = ("aid.adapters.LongTermAdapter.forward", "aid.adapters.causal")

    kind: Literal["causal"] = "causal"

    def build(self) -> "Callable[[int], Adapter] | None":
        """Make the adapter."""
        from models.aid.adapters import causal

        return self._factory(causal)


class WindowedLongTerm(_LongTerm):
    """Attention to nearby frames only, in a bottleneck beside the temporal self-attention.

    Args:
        ratio: Channels of the bottleneck, relative to those of the layer.
        start: Initial W_up.
        num_heads: Attention heads.
        reach: Frames to either side.
    """

    aliases: ClassVar[tuple[str, ...]] = ("windowed attention", "windowed long-term adapter", "local attention")
    calls: ClassVar[tuple[str, ...]] = ("aid.adapters.LongTermAdapter.forward", "aid.adapters.windowed")

    kind: Literal["windowed"] = "windowed"
    reach: Annotated[Count, Field(description="frames to either side"), Aliases("window size")] = 2

    def build(self) -> "Callable[[int], Adapter] | None":
        """Make the adapter."""
        from models.aid.adapters import windowed

        return self._factory(partial(windowed, reach=self.reach))


class FeedForwardBottleneck(AdapterPart):
    """Bottleneck beside the spatial feed-forward layer; its input is not normalised.

        x + FF(LN x) + W_up GELU(W_down x)

    Args:
        ratio: Channels of the bottleneck, relative to those of the layer.
        start: Initial W_up.

    Source: SimDA.
    """

    aliases: ClassVar[tuple[str, ...]] = ("feed-forward adapter", "FFN adapter")
    calls: ClassVar[tuple[str, ...]] = ("aid.adapters.FeedForwardAdapter.forward",)

    kind: Literal["bottleneck"] = "bottleneck"
    ratio: Ratio = 0.25
    start: Start = "zero"

    def build(self) -> "Callable[[int], Adapter] | None":
        """Make the adapter."""
        from models.aid.adapters import FeedForwardAdapter

        return partial(FeedForwardAdapter, ratio=self.ratio, start=self.start)

    def _places(self, transformer: Any) -> list[tuple[Any, int]]:
        from models.aid.adapters import FeedForwardAdapter

        return FeedForwardAdapter.places(transformer)


class NoAdapter(AdapterPart):
    """Removed: the base's layer alone."""

    kind: Literal["removed"] = "removed"

    def build(self) -> "Callable[[int], Adapter] | None":
        """Return None."""
        return None
