"""The built ExVideo system: the extended network with its loss, and the models that sample with it."""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNetSpatioTemporalConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import nn

from models.backbones import Denoiser, start_noise
from models.bases import Protocol
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.contracts import Clips, Sample, Tensors
from models.denoising import denoise
from models.exvideo.convolution import PositionalConvolution
from models.exvideo.positions import PositionTable
from models.initialisation import initialise
from models.low_rank import adapters_of
from models.streams import Draws, Streams
from models.system import is_out_of_memory
from models.untrained import UntrainedModel

if TYPE_CHECKING:
    from models.exvideo import ExVideo

NUM_LEVELS = 1000
"""Noise levels that training draws from."""


def transformers(unet: nn.Module) -> list[Any]:
    """Return the spatio-temporal transformers of a video U-Net, in its order."""
    return [module for module in unet.modules() if isinstance(module, TransformerSpatioTemporalModel)]


class ExtendedNetwork(nn.Module):
    """A video denoiser with extended temporal blocks; ``forward`` returns the loss.

        x_s = x + s n,   D(x_s) = x_s / (s^2 + 1) - s / sqrt(s^2 + 1) F(x_s / sqrt(s^2 + 1), ln(s) / 4, conditions)
        L = sqrt(1 + s^2) / s  || D(x_s) - contrast x ||^2

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

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the forward pass."""
        dtype: torch.dtype = next(self.unet.parameters()).dtype
        return dtype

    def predict(
        self, latents: torch.Tensor, time: torch.Tensor, image: torch.Tensor, beside: torch.Tensor, micro: torch.Tensor
    ) -> torch.Tensor:
        """Predict v of all frames from scaled noisy latents.

        Shape:
            latents (b f c h w), time (b,) or () -> (b f c h w).
        """
        both = torch.cat([latents.to(self.dtype), beside.to(self.dtype)], dim=2)
        predicted: torch.Tensor = self.unet(
            both, time, image.to(self.dtype), added_time_ids=micro.to(self.dtype), return_dict=False
        )[0]
        return predicted

    def forward(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        sigma: torch.Tensor,
        image: torch.Tensor,
        beside: torch.Tensor,
        micro: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the loss of a batch, in float32 but for the denoiser."""
        s = sigma.view(-1, 1, 1, 1, 1)
        noisy, scale = latents + s * noise, (s**2 + 1).sqrt()
        predicted = self.predict(noisy / scale, sigma.log() / 4, image, beside, micro).float()
        denoised = noisy / scale**2 - s / scale * predicted
        squares = (denoised - self.contrast * latents).square().mean(dim=(1, 2, 3, 4))
        return (squares * scale.view(-1) / sigma).mean()

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


class ExVideoModel:
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
        noise = draws.normal("training_noise", latents.shape[1], tuple(latents.shape[2:]))
        levels = noise_levels(self.base.noise_scheduler)
        drawn = [levels[level] for level in draws.integers("noise_level", high=len(levels))]
        beside = encoded["beside"][:, None].expand(-1, latents.shape[1], -1, -1, -1)
        batch = {
            "latents": latents,
            "noise": torch.from_numpy(noise),
            "sigma": torch.stack(drawn),
            "image": encoded["image"],
            "beside": beside,
            "micro": encoded["micro"],
        }
        return {name: values.to(self.base.device) for name, values in batch.items()}

    def prepare(self, texts: Sequence[str], num_frames: int) -> dict[str, float]:
        """Do nothing: there is no preparation."""
        return {}

    @property
    def learnt(self) -> frozenset[str]:
        """Names of the trained parameters."""
        return frozenset(name for name, weight in self.network.named_parameters() if weight.requires_grad)

    def load(self, trained: Mapping[str, torch.Tensor]) -> None:
        """Load trained weights."""
        if wrong := self.learnt ^ trained.keys():
            raise ValueError(f"weights of another model: {len(wrong)} names differ, such as {min(wrong)}")
        self.network.load_state_dict(trained, strict=False)

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
        return sample_clips(self._tree, self.base, self.network.predict, streams, protocol, given)


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
        return sample_clips(self._tree, self.base, self._denoiser, streams, protocol, given)


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


@torch.inference_mode()
def sample_clips(
    tree: "ExVideo",
    base: StableVideoDiffusion,
    denoiser: Denoiser,
    streams: Streams,
    protocol: Protocol,
    given: torch.Tensor | None,
) -> Sample:
    """Sample clips that continue the last given frame, with the tree's guidance.

    Raises:
        ValueError: No frame is given.
        NonFiniteError: A latent or pixel became NaN or infinite.
    """
    if given is None or not given.shape[1]:
        raise ValueError("no frame is given -> one first frame")
    frames = protocol.frames
    noise = start_noise(streams, len(given), range(frames), base.latent_shape(protocol))
    latents = denoise(
        denoiser,
        noise.to(base.device),
        base.conditions(given[:, -1].to(base.device), streams, frames, tree.micro()),
        noise_scheduler=base.noise_scheduler,
        guide=tree.guidance.build(protocol.guidance, frames),
        steps=protocol.steps,
        micro_batch=base.micro_batch(protocol),
    )
    try:
        return Sample(base.decode_latents(latents, together=tree.decoded_together))
    except Exception as error:
        if is_out_of_memory(error):
            together, of_base = tree.decoded_together or frames, int(base.unet.config.num_frames)
            fewer = of_base if together > of_base else max(1, together // 2)
            message = f"decoding {together} frames together does not fit into memory"
            raise MemoryError(f"{message} -> control: {{decoded_together: {fewer}}}, or smaller frames") from error
        raise


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


def noise_levels(noise_scheduler: Any) -> torch.Tensor:
    """Return the levels that training draws from: 1,000 of Karras' grid over the base's range, uniformly.

        s_k = (s_max^(1/7) + k / 999 (s_min^(1/7) - s_max^(1/7)))^7

    Source: ExVideo's released code; EDM (arXiv 2206.00364), eq. 5.
    """
    config = noise_scheduler.config
    high, low = (float(config[name]) ** (1 / 7) for name in ("sigma_max", "sigma_min"))
    roots = high + torch.linspace(0, 1, NUM_LEVELS, dtype=torch.float64) * (low - high)
    levels: torch.Tensor = roots.pow(7).float()
    return levels
