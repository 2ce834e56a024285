"""ExVideo: an image-to-video model of short clips, extended to long ones by training its temporal blocks.

Source: ExVideo (arXiv 2406.14130) and its released code.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.bases import Count
from models.bases.families import STABLE_VIDEO_DIFFUSION, Family
from models.contracts import MetaDenoiser, TrainedModel
from models.exvideo.convolution_kinds import (
    DenseConvolution,
    DepthwiseConvolution,
    FrozenIdentity,
    NoConvolution,
    ResidualConvolution,
    TemporalConvolution,
)
from models.exvideo.position_kinds import LearnablePosition, NoPosition, RotaryPosition, StaticPosition
from models.exvideo.trainable_kinds import (
    Everything,
    ExtensionOnly,
    TemporalBlocks,
    Untrained,
    WithTemporalConvolutions,
)
from models.guidance import ClassifierFree, Guidance
from models.low_rank import LowRank
from models.system import Aliases, Part
from models.training import Ema, EveryEpoch, TrainedSystem

if TYPE_CHECKING:
    from torch import nn

    from models.bases import Protocol
    from models.bases.stable_video_diffusion import MicroConditions, StableVideoDiffusion
    from models.streams import Streams


class Extension(Part):
    """How clips longer than the base's are made."""

    @abstractmethod
    def build(self, tree: "ExVideo", base: "StableVideoDiffusion", streams: "Streams") -> TrainedModel:
        """Make the model."""

    def network_on_meta(self, tree: "ExVideo", networks: "Mapping[str, Any]") -> "nn.Module":
        """Build the base's denoiser, of which nothing is trained, without weights."""
        import copy

        frozen: nn.Module = copy.deepcopy(networks["unet"]).requires_grad_(False)
        return frozen

    def on_meta(self, tree: "ExVideo", networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """Build a denoising pass of the base on the meta device; None if nothing is denoised."""
        return _pass(networks["unet"], networks, protocol)


class OnePass(Extension):
    """All frames in one pass of the trained, extended denoiser.

    Source: ExVideo.
    """

    calls: ClassVar[tuple[str, ...]] = ("exvideo.network.ExVideoModel.sample",)

    kind: Literal["one_pass"] = "one_pass"

    def build(self, tree: "ExVideo", base: "StableVideoDiffusion", streams: "Streams") -> TrainedModel:
        """Make the model."""
        from models.exvideo.network import ExVideoModel

        return ExVideoModel(tree, base, streams)

    def network_on_meta(self, tree: "ExVideo", networks: "Mapping[str, Any]") -> "nn.Module":
        """Build the extended denoiser, without weights."""
        import copy

        import torch

        from models.exvideo.network import build_network

        with torch.device("meta"):
            return build_network(tree, copy.deepcopy(networks["unet"]))

    def on_meta(self, tree: "ExVideo", networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser:
        """Build a pass of the extended denoiser on the meta device."""
        network: Any = self.network_on_meta(tree, networks)
        return _pass(network.unet, networks, protocol)


class SlidingWindows(Extension):
    """The base in overlapping windows of its own length, blended at every step; needs no training.

        v_i = sum_k w(i - a_k) v_k,i / sum_k w(i - a_k),   w(j) = min(j + 1, window - j)

    Args:
        stride: Frames between the starts of windows; at most the base's frames.

    Source: ExVideo's released code, windows of 25 at a stride of 5.
    """

    aliases: ClassVar[tuple[str, ...]] = ("sliding window", "tiled inference", "temporal tiling")
    calls: ClassVar[tuple[str, ...]] = ("exvideo.network.sliding_windows.<locals>.predict",)
    bypasses: ClassVar[tuple[str, ...]] = ("identity_conv", "position")

    kind: Literal["sliding_windows"] = "sliding_windows"
    stride: Annotated[Count, Field(description="frames between the starts of windows")] = 5

    def build(self, tree: "ExVideo", base: "StableVideoDiffusion", streams: "Streams") -> TrainedModel:
        """Make the model."""
        from models.exvideo.network import TrainingFree, sliding_windows

        window = int(base.unet.config.num_frames)
        return TrainingFree(tree, base, sliding_windows(base.denoiser(), window, min(self.stride, window)))


class Untouched(Extension):
    """Removed: the base itself, asked for more frames than it has seen."""

    aliases: ClassVar[tuple[str, ...]] = ("base model", "base untouched at that length", "without post-tuning")
    bypasses: ClassVar[tuple[str, ...]] = ("identity_conv", "position")

    kind: Literal["removed"] = "removed"

    def build(self, tree: "ExVideo", base: "StableVideoDiffusion", streams: "Streams") -> TrainedModel:
        """Make the model."""
        from models.exvideo.network import TrainingFree

        return TrainingFree(tree, base, base.denoiser())


class RepeatedFrame(Extension):
    """The given frame, repeated: no network runs. It tells what a metric gives for a frozen clip."""

    aliases: ClassVar[tuple[str, ...]] = ("repeat the first frame", "first frame repeated", "copy the first frame")
    calls: ClassVar[tuple[str, ...]] = ("exvideo.network.StillModel.sample",)
    bypasses: ClassVar[tuple[str, ...]] = ("identity_conv", "position", "guidance")

    kind: Literal["still"] = "still"

    def build(self, tree: "ExVideo", base: "StableVideoDiffusion", streams: "Streams") -> TrainedModel:
        """Make the model."""
        from models.exvideo.network import StillModel

        return StillModel(tree, base, base.denoiser())

    def on_meta(self, tree: "ExVideo", networks: "Mapping[str, Any]", protocol: "Protocol") -> None:
        """Return None: nothing is denoised."""


def _pass(unet: Any, networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser:
    from models.bases.stable_video_diffusion import meta_inputs

    inputs = meta_inputs(networks, protocol)
    return MetaDenoiser({"unet": unet}, lambda: unet(**inputs))


class ExVideo(TrainedSystem):
    """Extension of a short-clip image-to-video model to long clips, by training its temporal blocks."""

    name: ClassVar[str] = "exvideo"
    family: ClassVar[Family] = STABLE_VIDEO_DIFFUSION
    aliases: ClassVar[tuple[str, ...]] = ("ExVideo", "ExSVD", "Parameter-Efficient Post-Tuning")
    components: ClassVar[tuple[str, ...]] = ("identity_conv", "position")
    continues_clips: ClassVar[bool] = True
    lengthens: ClassVar[int] = 3
    encoded_by: ClassVar[tuple[str, ...]] = ("fps",)
    in_training: ClassVar[tuple[str, ...]] = (*TrainedSystem.in_training, "contrast", "latent_scale")

    identity_conv: Annotated[
        DenseConvolution
        | TemporalConvolution
        | DepthwiseConvolution
        | ResidualConvolution
        | FrozenIdentity
        | NoConvolution,
        Field(discriminator="kind"),
        Aliases("identity 3D convolution", "adaptive identity 3D convolution layer", "3D convolution"),
    ] = DenseConvolution()
    position: Annotated[
        LearnablePosition | StaticPosition | RotaryPosition | NoPosition,
        Field(discriminator="kind"),
        Aliases("positional embedding", "position embedding", "extended positional embedding"),
    ] = LearnablePosition()
    trainable: Annotated[
        TemporalBlocks | LowRank | ExtensionOnly | WithTemporalConvolutions | Everything | Untrained,
        Field(discriminator="kind"),
        Aliases("post-tuning", "trainable layers", "fine-tuning strategy"),
    ] = TemporalBlocks()
    extension: Annotated[OnePass | SlidingWindows | RepeatedFrame | Untouched, Field(discriminator="kind")] = OnePass()
    guidance: Guidance = ClassifierFree()
    ema: Ema = EveryEpoch()
    contrast: Annotated[
        float, Field(gt=0, description="factor of the clean latents in the training target"), Aliases("contrast factor")
    ] = 1.01
    latent_scale: Annotated[
        float,
        Field(gt=0, description="factor of the training latents; the released code has 0.715, the base 1"),
        Aliases("VAE scale"),
    ] = 1.0
    decoded_together: Annotated[
        int, Field(ge=0, description="frames that the autoencoder decodes together; 0: all, if memory suffices")
    ] = 0
    fps: Annotated[Count, Field(description="frame rate that the denoiser is told")] = 30
    motion: Annotated[int, Field(ge=0, le=255, description="motion that the denoiser is told while sampling")] = 127

    @property
    def given_frames(self) -> int:
        """One image."""
        return 1

    @property
    def most_frames(self) -> int | None:
        """Rows of the position table, where there is one."""
        return self.position.most_frames if isinstance(self.extension, OnePass) else None

    def micro(self) -> "MicroConditions":
        """Return the numeric conditions of sampling."""
        from models.bases.stable_video_diffusion import MicroConditions

        return MicroConditions(fps=self.fps, motion=self.motion)

    def network_on_meta(self, networks: "Mapping[str, Any]") -> "nn.Module":
        """Build the denoiser that samples, without weights."""
        return self.extension.network_on_meta(self, networks)

    def denoiser_on_meta(self, networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """Build a pass of the denoiser."""
        return self.extension.on_meta(self, networks, protocol)

    def build(self, base: "StableVideoDiffusion", seed: int = 0) -> TrainedModel:
        """Build the model on a loaded base, whose denoiser is copied."""
        from models.streams import Streams

        return self.extension.build(self, base, Streams(seed))
