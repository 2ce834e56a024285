"""Seer: the frames that follow given ones under an instruction, by an inflated text-to-image model.

Source: Seer (arXiv 2303.14897, ICLR 2024) and its released code.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.system import Part, TrainedModel
from models.training import TrainedSystem

if TYPE_CHECKING:
    import torch
    from torch import nn

    from models.backbones import Base
    from models.seer.inflation import ImageNorm
    from models.seer.network import SeerNetwork
    from models.seer.windows import Mask, Side
    from models.streams import Streams

Heads = Annotated[int, Field(ge=1, description="it must divide every width that it attends in")]
Window = Annotated[int, Field(ge=1, description="side of a window, in cells of the feature map")]
Largest = Annotated[int, Field(ge=2, multiple_of=2, description="side of the largest window, even; half of it below")]


# -------------------------------------------------------------------------------------------------- temporal attention


class TemporalAttention(Part):
    """What lets the frames see each other, in a temporal transformer behind each spatial one."""

    @abstractmethod
    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the rule that gives the mixing module for a number of channels; None for no temporal transformers."""

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Of all temporal transformers behind the U-Net's spatial ones."""
        import torch
        from torch import nn

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
        return sum(parameter.numel() for part in parts for parameter in part.parameters())


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

    kind: Literal["concatenation"] = "concatenation"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """Make the projection."""
        from models.seer.temporal import FrameConcatenation

        return FrameConcatenation


class NoTemporalAttention(TemporalAttention):
    """Absence: no temporal transformers, so that frames meet in the group norms' pooled statistics alone."""

    kind: Literal["removed"] = "removed"

    def build(self) -> "Callable[[int], nn.Module] | None":
        """None."""
        return None

    def notes(self) -> tuple[str, ...]:
        """What is left of the frames' connection."""
        return ("frames meet in pooled group norms alone, so the reference frames have almost no effect",)


# ------------------------------------------------------------------------------------------------------ text decomposer


class TextDecomposer(Part):
    """How the instruction becomes one text per frame."""

    @abstractmethod
    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the module: instruction (b l c) and a number of frames -> (b f l c)."""

    def warm_up(self, text: "nn.Module", context: "torch.Tensor", streams: "Streams") -> dict[str, float]:
        """What is done with it before the first training step; nothing by default."""
        return {}

    def num_parameters(self, networks: "Mapping[str, Any]") -> int:
        """Of the module for the base's text."""
        import torch

        config = networks["text_encoder"].config
        with torch.device("meta"):
            module = self.build(config.hidden_size, config.max_position_embeddings)
        return sum(parameter.numel() for parameter in module.parameters())


class _Decomposed(TextDecomposer):
    """The frame-sequential decomposer, whatever is then done with its texts."""

    num_layers: Annotated[int, Field(ge=1)] = 8
    num_heads: Heads = 8
    identity_steps: Annotated[int, Field(ge=0, description="0 is a random start")] = 1000
    identity_lr: Annotated[float, Field(gt=0)] = 1e-3

    def warm_up(self, text: "nn.Module", context: "torch.Tensor", streams: "Streams") -> dict[str, float]:
        """Train it to reproduce the instruction on average: L_init = MSE(mean_f s_f, c)."""
        from models.seer.text import warm_up

        return {"identity_loss": warm_up(text, context, streams, steps=self.identity_steps, lr=self.identity_lr)}


class FrameSequential(_Decomposed):
    """Frame-sequential decomposer: each frame's text is read from the instruction and from those of earlier frames.

    Args:
        num_layers: Layers, each of attention among tokens, to the instruction, and along frames.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up, before all other training.
        identity_lr: Its learning rate.

    Source: Seer, FSText; departures: see ``FrameSequentialText``. Whether the warm-up is a stage of its own is not
    published: here it is.
    """

    kind: Literal["frame_sequential"] = "frame_sequential"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import FrameSequentialText

        return FrameSequentialText(dim, num_tokens, num_layers=self.num_layers, num_heads=self.num_heads)


class ConstantText(_Decomposed):
    """The decomposer's mean text for every frame.

    Args:
        num_layers: Layers.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up.
        identity_lr: Its learning rate.
    """

    kind: Literal["constant"] = "constant"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import GroupedText

        return GroupedText(dim, num_tokens, every=None, num_layers=self.num_layers, num_heads=self.num_heads)


class Grouped(_Decomposed):
    """One text for every few frames: the mean of theirs.

    Args:
        every: Frames that share a text; 1 is the frame-sequential decomposer itself.
        num_layers: Layers.
        num_heads: Attention heads.
        identity_steps: Steps of the identity warm-up.
        identity_lr: Its learning rate.
    """

    kind: Literal["grouped"] = "grouped"
    every: Annotated[int, Field(ge=1)] = 2

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the decomposer."""
        from models.seer.text import GroupedText

        return GroupedText(dim, num_tokens, every=self.every, num_layers=self.num_layers, num_heads=self.num_heads)

    def notes(self) -> tuple[str, ...]:
        """Where it is another kind in effect."""
        return ("one text per frame is frame_sequential",) if self.every == 1 else ()


class NoDecomposer(TextDecomposer):
    """Absence: the whole instruction for every frame."""

    kind: Literal["removed"] = "removed"

    def build(self, dim: int, num_tokens: int) -> "nn.Module":
        """Make the module that repeats."""
        from models.seer.text import GlobalText

        return GlobalText()


# ----------------------------------------------------------------------------------- group norm, training, prediction


class VideoGroupNorm(Part):
    """What the statistics of the U-Net's group norms span."""

    @abstractmethod
    def build(self) -> "ImageNorm":
        """Make the rule that puts a norm in the place of an image network's."""


class Pooled(VideoGroupNorm):
    """All frames of a clip, so that even without temporal attention frames are weakly coupled, also backwards in time.

    Source: Seer, its released code.
    """

    kind: Literal["pooled"] = "pooled"

    def build(self) -> "ImageNorm":
        """Make the norm."""
        from models.seer.inflation import PooledGroupNorm

        return PooledGroupNorm


class PerFrame(VideoGroupNorm):
    """Each frame alone, as in the image model."""

    kind: Literal["per_frame"] = "per_frame"

    def build(self) -> "ImageNorm":
        """Make the norm."""
        from models.seer.inflation import FrameGroupNorm

        return FrameGroupNorm


class Trainable(Part):
    """Which weights are trained."""

    @abstractmethod
    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """The parameters to train."""


class NewParts(Trainable):
    """The new parts alone: temporal transformers and text decomposer.

    Source: Seer.
    """

    kind: Literal["new_parts"] = "new_parts"

    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """The parameters to train."""
        return [*network.unet.temporal_parameters(), *network.text.parameters()]


class WithCrossAttention(Trainable):
    """The new parts and the U-Net's attention to the text."""

    kind: Literal["with_cross_attention"] = "with_cross_attention"

    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """The parameters to train."""
        named = network.unet.named_parameters()
        return [*NewParts().build(network), *(parameter for name, parameter in named if ".attn2." in name)]


class Everything(Trainable):
    """All weights of U-Net and text decomposer."""

    kind: Literal["all"] = "all"

    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """The parameters to train."""
        return network.parameters()


class Untrained(Trainable):
    """Absence: nothing is trained; the model draws as it was initialised."""

    kind: Literal["removed"] = "removed"

    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """None."""
        return ()


class Prediction(Part):
    """How the frames behind the given ones come about."""

    @abstractmethod
    def build(self, tree: "Seer", base: "Base", streams: "Streams") -> TrainedModel:
        """Make the model."""


class Denoising(Prediction):
    """Denoising by the trained model.

    Source: Seer.
    """

    kind: Literal["denoising"] = "denoising"

    def build(self, tree: "Seer", base: "Base", streams: "Streams") -> TrainedModel:
        """Make the model."""
        from models.seer.network import SeerModel

        return SeerModel(tree, base, streams)


class Repetition(Prediction):
    """Absence: the last given frame is repeated. No model at all, and what a model has to be better than."""

    kind: Literal["removed"] = "removed"

    def build(self, tree: "Seer", base: "Base", streams: "Streams") -> TrainedModel:
        """Make the repeater."""
        from models.seer.network import LastFrame

        return LastFrame(tree.references)


class Seer(TrainedSystem):
    """Language-instructed video prediction: a text-to-image model inflated along time, with new parts to train."""

    name: ClassVar[str] = "seer"
    continues_clips: ClassVar[bool] = True

    temporal_attention: Annotated[
        ScaledWindow
        | FrameCausalWindow
        | FullWindow
        | FixedWindow
        | TemporalOnly
        | CausalTemporalOnly
        | Concatenation
        | NoTemporalAttention,
        Field(discriminator="kind"),
    ] = ScaledWindow()
    text_decomposer: Annotated[FrameSequential | ConstantText | Grouped | NoDecomposer, Field(discriminator="kind")] = (
        FrameSequential()
    )
    group_norm: Annotated[Pooled | PerFrame, Field(discriminator="kind")] = Pooled()
    trainable: Annotated[NewParts | WithCrossAttention | Everything | Untrained, Field(discriminator="kind")] = (
        NewParts()
    )
    prediction: Annotated[Denoising | Repetition, Field(discriminator="kind")] = Denoising()
    references: Annotated[int, Field(ge=0, le=3, description="first frames that are given")] = 2

    @property
    def given_frames(self) -> int:
        """The reference frames."""
        return self.references

    def network_on_meta(self, networks: "Mapping[str, Any]") -> "nn.Module":
        """U-Net and text decomposer, without weights."""
        import copy

        import torch

        from models.seer.network import build_network

        config = networks["text_encoder"].config
        text = (config.hidden_size, config.max_position_embeddings)
        with torch.device("meta"):
            return build_network(self, copy.deepcopy(networks["unet"]), text, torch.empty(0))

    def build(self, base: "Base", seed: int = 0) -> TrainedModel:
        """Make the model on a loaded base, of which what is changed is copied."""
        from models.streams import Streams

        return self.prediction.build(self, base, Streams(seed))
