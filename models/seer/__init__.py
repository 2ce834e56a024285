"""Seer: prediction of the frames that follow given ones, under an instruction, by an inflated text-to-image model.

Source: Seer (arXiv 2303.14897, ICLR 2024) and its released code.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.bases import TextPadding
from models.contracts import MetaDenoiser, TrainedModel
from models.low_rank import LowRank, Trainable
from models.seer.attention_kinds import (
    CausalTemporalOnly,
    Concatenation,
    FixedWindow,
    FrameCausalWindow,
    FullWindow,
    NoTemporalAttention,
    ScaledWindow,
    TemporalOnly,
)
from models.seer.schedule_kinds import PublishedSchedule, TrainingSchedule
from models.seer.text_kinds import ConstantText, FrameSequential, Grouped, NoDecomposer
from models.system import Aliases, Part
from models.training import AdamW, TrainedSystem

if TYPE_CHECKING:
    from torch import nn

    from models.bases import Protocol
    from models.bases.stable_diffusion import StableDiffusion
    from models.seer.inflation import ImageNorm
    from models.seer.network import SeerNetwork
    from models.streams import Streams


class VideoGroupNorm(Part):
    """Frames over which the U-Net's group norms compute their statistics."""

    @abstractmethod
    def build(self) -> "ImageNorm":
        """Make the rule that replaces a norm of the image network."""


class Pooled(VideoGroupNorm):
    """All frames of a clip; this couples frames weakly in both time directions, even without temporal attention.

    Source: Seer, its released code.
    """

    calls: ClassVar[tuple[str, ...]] = ("seer.inflation.PooledGroupNorm.forward",)

    kind: Literal["pooled"] = "pooled"

    def build(self) -> "ImageNorm":
        """Make the norm."""
        from models.seer.inflation import PooledGroupNorm

        return PooledGroupNorm


class PerFrame(VideoGroupNorm):
    """Each frame separately, as in the image model."""

    calls: ClassVar[tuple[str, ...]] = ("seer.inflation.FrameGroupNorm.forward",)

    kind: Literal["per_frame"] = "per_frame"

    def build(self) -> "ImageNorm":
        """Make the norm."""
        from models.seer.inflation import FrameGroupNorm

        return FrameGroupNorm


class NewParts(Trainable):
    """Only the new parts: temporal transformers and text decomposer.

    Source: Seer.
    """

    kind: Literal["new_parts"] = "new_parts"

    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        return network.new_parameters()


class WithCrossAttention(Trainable):
    """The new parts and the U-Net's cross-attention to the text."""

    aliases: ClassVar[tuple[str, ...]] = ("fine-tune cross-attention", "tune cross-attention")

    kind: Literal["with_cross_attention"] = "with_cross_attention"

    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        named = network.unet.named_parameters()
        return [*NewParts().build(network), *(parameter for name, parameter in named if ".attn2." in name)]


class Everything(Trainable):
    """All weights of the U-Net and the text decomposer."""

    aliases: ClassVar[tuple[str, ...]] = ("full fine-tuning", "fine-tune all", "fine-tune 2D layers")

    kind: Literal["all"] = "all"

    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """Return the parameters to train."""
        return network.parameters()


class Untrained(Trainable):
    """Removed: nothing is trained; the model samples with its initial weights."""

    kind: Literal["removed"] = "removed"

    def build(self, network: "SeerNetwork") -> "Iterable[nn.Parameter]":
        """Return no parameters."""
        return ()


class Prediction(Part):
    """How the frames after the given ones are predicted."""

    @abstractmethod
    def build(self, tree: "Seer", base: "StableDiffusion", streams: "Streams") -> TrainedModel:
        """Make the model."""

    @abstractmethod
    def on_meta(self, tree: "Seer", networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """Build a denoising pass on the meta device; None if nothing is denoised."""


class Denoising(Prediction):
    """Denoising by the trained model.

    Source: Seer.
    """

    calls: ClassVar[tuple[str, ...]] = ("seer.network.SeerModel.sample",)

    kind: Literal["denoising"] = "denoising"

    def build(self, tree: "Seer", base: "StableDiffusion", streams: "Streams") -> TrainedModel:
        """Make the model."""
        from models.seer.network import SeerModel

        return SeerModel(tree, base, streams)

    def on_meta(self, tree: "Seer", networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """Build a pass of U-Net and text decomposer."""
        from models.bases.stable_diffusion import meta_inputs

        network: Any = tree.network_on_meta(networks)
        latents, time, text = meta_inputs(networks, protocol)
        modules = {"unet": network.unet, "text": network.text}
        return MetaDenoiser(modules, lambda: network.unet(latents, time, network.text(text, protocol.frames)))


class Repetition(Prediction):
    """Removed: repeats the last given frame, or grey if none is given; a baseline."""

    aliases: ClassVar[tuple[str, ...]] = ("repeated frame", "copy of the last frame")

    kind: Literal["removed"] = "removed"

    def build(self, tree: "Seer", base: "StableDiffusion", streams: "Streams") -> TrainedModel:
        """Make the repeater."""
        from models.seer.network import LastFrame

        return LastFrame(tree.references)

    def on_meta(self, tree: "Seer", networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """Return None: nothing is denoised."""
        return None


class Seer(TrainedSystem):
    """Language-instructed video prediction: a text-to-image model inflated over time, with new trained parts.

    Source: Seer (arXiv 2303.14897) and its released code, which gives the defaults where both differ; departures: the
    noise schedule of sampling (``TrainingSchedule``), windows of frames that are not square (``scaled_side``), and the
    choice of frames, which belongs to the data (``trainables.data.frames.Interpolated``).
    """

    name: ClassVar[str] = "seer"
    aliases: ClassVar[tuple[str, ...]] = ("Seer", "Language Instructed Video Prediction")
    components: ClassVar[tuple[str, ...]] = ("temporal_attention", "text_decomposer")
    continues_clips: ClassVar[bool] = True
    encoded_by: ClassVar[tuple[str, ...]] = ("text_padding",)

    training: AdamW = AdamW(clip_over="unet")  # as released: the text decomposer's gradients are not clipped

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
        Aliases("spatial-temporal attention", "spatiotemporal attention", "temporal attention", "SAWT"),
    ] = ScaledWindow()
    text_decomposer: Annotated[
        FrameSequential | ConstantText | Grouped | NoDecomposer,
        Field(discriminator="kind"),
        Aliases("text decomposer", "FSText", "FSTextFormer"),
    ] = FrameSequential()
    group_norm: Annotated[Pooled | PerFrame, Field(discriminator="kind"), Aliases("group normalization")] = Pooled()
    trainable: Annotated[
        NewParts | WithCrossAttention | LowRank | Everything | Untrained,
        Field(discriminator="kind"),
        Aliases("frozen 2D layers", "freezing", "fine-tuning strategy", "trainable layers"),
    ] = NewParts()
    prediction: Annotated[Denoising | Repetition, Field(discriminator="kind")] = Denoising()
    sampling_schedule: Annotated[
        TrainingSchedule | PublishedSchedule,
        Field(discriminator="kind"),
        Aliases("noise schedule", "sampler schedule", "DDIM schedule"),
    ] = TrainingSchedule()
    text_padding: Annotated[
        TextPadding,
        Field(description="whether CLIP masks a prompt's padding, as the released code, or attends to it"),
        Aliases("attention mask", "CLIP attention mask", "padding mask"),
    ] = "masked"
    references: Annotated[
        int,
        Field(ge=0, le=3, description="number of first frames that the model is given"),
        Aliases("reference frames", "conditioning frames"),
    ] = 2

    @property
    def given_frames(self) -> int:
        """Number of reference frames."""
        return self.references

    def network_on_meta(self, networks: "Mapping[str, Any]") -> "nn.Module":
        """Build U-Net and text decomposer, without weights."""
        import copy

        import torch

        from models.bases.text_tower import text_shape
        from models.noise_schedule import NoiseSchedule
        from models.seer.network import build_network

        with torch.device("meta"):
            unet, schedule = copy.deepcopy(networks["unet"]), NoiseSchedule(torch.empty(0))
            return build_network(self, unet, text_shape(networks), schedule)

    def denoiser_on_meta(self, networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """Build a pass of U-Net and text decomposer, if frames are denoised."""
        return self.prediction.on_meta(self, networks, protocol)

    def build(self, base: "StableDiffusion", seed: int = 0) -> TrainedModel:
        """Build the model on a loaded base; networks that are changed are copied."""
        from models.streams import Streams

        return self.prediction.build(self, base, Streams(seed))
