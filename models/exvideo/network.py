"""The built ExVideo system: the extended network with its loss, and the models that sample with it."""

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNetSpatioTemporalConditionModel
from diffusers.configuration_utils import register_to_config
from einops import repeat
from torch import nn

from models.backbones import Denoiser
from models.bases import Protocol
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.contracts import Clips, Sample, Tensors
from models.exvideo.convolution import PositionalConvolution
from models.exvideo.positions import PositionTable
from models.image_to_video import (
    TrainedNetwork,
    denoising_loss,
    drawn_noise,
    last_given,
    predict_v,
    sample_clips,
    transformers,
)
from models.initialisation import initialise
from models.low_rank import adapters_of
from models.streams import Draws, Streams
from models.untrained import UntrainedModel

if TYPE_CHECKING:
    from models.exvideo import ExVideo


class ExtendedNetwork(nn.Module):
    """A video denoiser with extended temporal blocks; ``forward`` returns ``denoising_loss``.

    Args:
        unet: The base's denoiser, with its parts replaced.
        contrast: Factor of the clean latents in the target.

    Shape:
        latents and noise (b f c h w), float32; sigma (b,); image (b 1 d); beside (b f c h w); micro (b 3) -> ().

    Source: ExVideo (arXiv 2406.14130), its released code; EDM (arXiv 2206.00364). Departures: none.
    """

    def __init__(self, unet: UNetSpatioTemporalConditionModel, contrast: float) -> None:
        super().__init__()
        self.unet, self.contrast = unet, contrast

    def predict(self, latents: torch.Tensor, time: torch.Tensor, **conditions: torch.Tensor) -> torch.Tensor:
        """Predict v of all frames from scaled noisy latents; see ``predict_v``."""
        return predict_v(self.unet, latents, time, **conditions)

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor, **conditions: torch.Tensor
    ) -> torch.Tensor:
        """Compute the loss of a batch."""
        return denoising_loss(self.predict, latents, noise, sigma, conditions, contrast=self.contrast)

    def temporal_blocks(self) -> list[nn.Module]:
        """Return the temporal blocks with their projection of the position, for each transformer."""
        parts = transformers(self.unet)
        return [module for part in parts for module in (part.temporal_transformer_blocks, part.time_pos_embed)]

    def temporal_convolutions(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the base's temporal residual blocks."""
        named = self.unet.named_parameters()
        return [parameter for name, parameter in named if ".temporal_res_block." in name]

    def new_modules(self) -> dict[str, nn.Module]:
        """Return tables and convolutions by name."""
        new = (PositionTable, PositionalConvolution)
        return {name: module for name, module in self.named_modules() if isinstance(module, new)}

    def new_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of tables and convolutions."""
        return [parameter for module in self.new_modules().values() for parameter in module.parameters()]

    def adaptable(self) -> Iterable[nn.Module]:
        """Return the temporal transformer blocks."""
        return [part.temporal_transformer_blocks for part in transformers(self.unet)]


def build_network(tree: "ExVideo", unet: UNetSpatioTemporalConditionModel) -> ExtendedNetwork:
    """Build the trained network; new parts have torch's initialisation, the rest is frozen.

    Args:
        tree: The parts.
        unet: The base's denoiser; it becomes part of the network and is changed.
    """
    convolution, base_frames = tree.identity_conv.build(), int(unet.config.num_frames)
    for part in transformers(unet):
        tree.position.attach(part, base_frames)
        if convolution is not None:
            part.position_conv = PositionalConvolution(convolution(part.in_channels), part)
    network = ExtendedNetwork(unet, tree.contrast)
    network.requires_grad_(False)
    for parameter in tree.trainable.build(network):
        parameter.requires_grad_(True)
    if tree.identity_conv.frozen:
        for part in transformers(unet):
            part.position_conv.requires_grad_(False)
    return network


class ExVideoModel(TrainedNetwork[ExtendedNetwork]):
    """Continues an image over more frames than its base was trained on.

    Args:
        tree: The parts.
        base: Loaded base; not changed, its denoiser is copied.
        streams: Streams of the cell's seed; new weights are drawn from them.
    """

    def __init__(self, tree: "ExVideo", base: StableVideoDiffusion, streams: Streams) -> None:
        self.base, self._tree = base, tree
        network = build_network(tree, copy.deepcopy(base.unet))
        for name, module in network.named_modules():
            if isinstance(module, PositionTable) and module.drawn:
                module.draw(streams, name)
        drawn = {name: module for name, module in network.named_modules() if getattr(module, "drawn", False)}
        initialise({**drawn, **adapters_of(network)}, streams)
        self.network = network.to(base.device, base.dtype)

    def encode(self, clips: Clips) -> Tensors:
        """Encode frames to the means of their latents, and the first frame to the conditions of the base."""
        latents, _ = self.base.encode_frames(clips.video)
        conditions = self.base.training_conditions(clips.video, self._tree.fps)
        return {"latents": latents.cpu(), **{name: values.float().cpu() for name, values in conditions.items()}}

    def batch(self, encoded: Tensors, draws: Draws) -> Tensors:
        """Make the inputs of ``ExtendedNetwork``: latents, noise, noise levels and conditions."""
        latents = encoded["latents"] * self._tree.latent_scale
        beside = encoded["beside"][:, None].expand(-1, latents.shape[1], -1, -1, -1)
        batch = {
            "latents": latents,
            **drawn_noise(latents, draws, self.base.noise_scheduler),
            "image": encoded["image"],
            "beside": beside,
            "micro": encoded["micro"],
        }
        return {name: values.to(self.base.device) for name, values in batch.items()}

    def save(self, folder: Path) -> None:
        """Save the base in diffusers' layout, and the extended network as ``exvideo``."""
        self.base.save(folder)
        config = {key: value for key, value in self.base.unet.config.items() if not key.startswith("_")}
        pretrained = PretrainedExVideo(tree=self._tree.model_dump(mode="json"), unet=config)
        pretrained.network.load_state_dict(self.network.state_dict())
        pretrained.save_pretrained(folder / "exvideo")

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Sample clips that continue the given frame."""
        self.network.eval()
        return sample(self._tree, self.base, self.network.predict, streams, protocol, given)


class TrainingFree(UntrainedModel):
    """The base itself, or a way to sample with it that needs no training.

    Args:
        tree: The parts.
        base: Loaded base.
        denoiser: Denoiser of clips of any length.
    """

    def __init__(self, tree: "ExVideo", base: StableVideoDiffusion, denoiser: Denoiser) -> None:
        super().__init__()
        self.base = base
        self._tree, self._denoiser = tree, denoiser

    def save(self, folder: Path) -> None:
        """Refuse: the model is the base."""
        raise ValueError(f"nothing was trained -> the base itself, {self.base.ref}")

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Sample clips that continue the given frame."""
        return sample(self._tree, self.base, self._denoiser, streams, protocol, given)


class StillModel(TrainingFree):
    """The given frame, repeated."""

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Repeat the last given frame."""
        return Sample(repeat(last_given(given), "b c h w -> b f c h w", f=protocol.frames).contiguous())


class PretrainedExVideo(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers ships no types
    """A trained extended network in diffusers' format: ``PretrainedExVideo.from_pretrained(folder)``.

    Args:
        tree: The parts, as plain data.
        unet: Configuration of the base's denoiser.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, tree: dict[str, Any], unet: dict[str, Any]) -> None:
        super().__init__()
        from models.exvideo import ExVideo

        denoiser = UNetSpatioTemporalConditionModel.from_config(unet)
        self.network = build_network(ExVideo.model_validate_json(json.dumps(tree)), denoiser)


def sample(
    tree: "ExVideo",
    base: StableVideoDiffusion,
    denoiser: Denoiser,
    streams: Streams,
    protocol: Protocol,
    given: torch.Tensor | None,
) -> Sample:
    """Sample clips that continue the last given frame, with the tree's guidance; see ``sample_clips``.

    Raises:
        ValueError: No frame is given.
    """
    frames, image = protocol.frames, last_given(given).to(base.device)
    conditions = base.conditions(image, streams, frames, tree.micro())
    guide = tree.guidance.build(protocol.guidance, frames)
    together = tree.decoded_together
    return sample_clips(base, denoiser, conditions, guide, streams, protocol, decoded_together=together)


def sliding_windows(denoiser: Denoiser, window: int, stride: int) -> Denoiser:
    """Extend a denoiser of short clips: windows are predicted separately and blended.

        v_i = sum_k w(i - a_k) v_k,i / sum_k w(i - a_k),   w(j) = min(j + 1, window - j),   a_k starts of the windows

    Args:
        denoiser: Denoiser of up to ``window`` frames.
        window: Frames of a window.
        stride: Frames between the starts of windows, at most ``window``; the last window ends with the clip.

    Source: ExVideo's released code, tiled inference with windows of 25 at a stride of 5.
    """

    def predict(latents: torch.Tensor, time: torch.Tensor, **conditions: torch.Tensor) -> torch.Tensor:
        frames = latents.shape[1]
        if frames <= window:
            return denoiser(latents, time, **conditions)
        ramp = torch.tensor([min(j + 1, window - j) for j in range(window)], device=latents.device).view(1, -1, 1, 1, 1)
        total = torch.zeros_like(latents, dtype=torch.float32)
        weight = torch.zeros(1, frames, 1, 1, 1, device=latents.device)
        for start in sorted({*range(0, frames - window, stride), frames - window}):
            part = slice(start, start + window)
            beside = {**conditions, "beside": conditions["beside"][:, part]}
            total[:, part] += ramp * denoiser(latents[:, part], time, **beside).float()
            weight[:, part] += ramp
        return total / weight

    return predict
