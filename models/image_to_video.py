"""Training and sampling on image-to-video bases, shared by the systems that are built on them.

The base's denoiser predicts v of all frames at continuous noise levels (EDM). A system adds parts to it, trains some of
its weights with this loss, and samples with its own conditions and guidance.

Axes: b clips, f frames, c channels, h height, w width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import nn

from models.backbones import Denoiser, start_noise
from models.bases import Protocol
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.contracts import Sample, Tensors
from models.denoising import Conditions, denoise
from models.guidance import Guide
from models.streams import Draws, Streams
from models.system import is_out_of_memory

NUM_LEVELS = 1000
"""Noise levels that training draws from."""


def transformers(unet: nn.Module) -> list[Any]:
    """Return the spatio-temporal transformers of a video U-Net, in its order."""
    return [module for module in unet.modules() if isinstance(module, TransformerSpatioTemporalModel)]


def precision_of(unet: nn.Module) -> torch.dtype:
    """Return the precision of a network's forward pass."""
    dtype: torch.dtype = next(unet.parameters()).dtype
    return dtype


def predict_v(
    unet: nn.Module,
    latents: torch.Tensor,
    time: torch.Tensor,
    image: torch.Tensor,
    beside: torch.Tensor,
    micro: torch.Tensor,
) -> torch.Tensor:
    """Predict v of all frames from scaled noisy latents, with the base's own conditions.

    Shape:
        latents and beside (b f c h w), time (b,) or (), image (b 1 d), micro (b 3) -> (b f c h w).
    """
    dtype = precision_of(unet)
    both = torch.cat([latents.to(dtype), beside.to(dtype)], dim=2)
    predicted: torch.Tensor = unet(both, time, image.to(dtype), added_time_ids=micro.to(dtype), return_dict=False)[0]
    return predicted


def denoising_loss(
    predict: Denoiser,
    latents: torch.Tensor,
    noise: torch.Tensor,
    sigma: torch.Tensor,
    conditions: Tensors,
    *,
    contrast: float = 1.0,
) -> torch.Tensor:
    """Compute the training loss of a batch, in float32 but for the denoiser F.

        x_s = x + s n,   D(x_s) = x_s / (s^2 + 1) - s / sqrt(s^2 + 1) F(x_s / sqrt(s^2 + 1), ln(s) / 4, conditions)
        L = sqrt(1 + s^2) / s  || D(x_s) - contrast x ||^2

    Args:
        predict: The denoiser.
        latents: Clean latents x.
        noise: n.
        sigma: Noise level s of each clip.
        conditions: Further inputs of the denoiser by name.
        contrast: Factor of the clean latents in the target.

    Shape:
        latents and noise (b f c h w), float32; sigma (b,) -> ().

    Source: EDM (arXiv 2206.00364); the weight and the contrast are those of ExVideo's released code.
    """
    s = sigma.view(-1, 1, 1, 1, 1)
    noisy, scale = latents + s * noise, (s**2 + 1).sqrt()
    predicted = predict(noisy / scale, sigma.log() / 4, **conditions).float()
    denoised = noisy / scale**2 - s / scale * predicted
    squares = (denoised - contrast * latents).square().mean(dim=(1, 2, 3, 4))
    return (squares * scale.view(-1) / sigma).mean()


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


def drawn_noise(latents: torch.Tensor, draws: Draws, noise_scheduler: Any) -> dict[str, torch.Tensor]:
    """Draw the noise and the noise levels of a training batch.

    Shape:
        latents (b f c h w) -> noise (b f c h w), sigma (b,).
    """
    noise = draws.normal("training_noise", latents.shape[1], tuple(latents.shape[2:]))
    levels = noise_levels(noise_scheduler)
    drawn = [levels[level] for level in draws.integers("noise_level", high=len(levels))]
    return {"noise": torch.from_numpy(noise), "sigma": torch.stack(drawn)}


Network = TypeVar("Network", bound=nn.Module)


class TrainedNetwork(Generic[Network]):
    """A trained model whose network decides what it has learnt; it needs no preparation."""

    network: Network

    def prepare(self, texts: Sequence[str], num_frames: int) -> dict[str, float]:
        """Do nothing: there is no preparation."""
        return {}

    @property
    def learnt(self) -> frozenset[str]:
        """Names of the trained parameters."""
        return frozenset(name for name, weight in self.network.named_parameters() if weight.requires_grad)

    def load(self, trained: Mapping[str, torch.Tensor]) -> None:
        """Load trained weights.

        Raises:
            ValueError: The names are not exactly those of the trained parameters.
        """
        if wrong := self.learnt ^ trained.keys():
            raise ValueError(f"weights of another model: {len(wrong)} names differ, such as {min(wrong)}")
        self.network.load_state_dict(trained, strict=False)


def last_given(given: torch.Tensor | None) -> torch.Tensor:
    """Return the last given frames, which are continued: (b r 3 h w) -> (b 3 h w).

    Raises:
        ValueError: No frame is given.
    """
    if given is None or not given.shape[1]:
        raise ValueError("no frame is given -> one first frame")
    return given[:, -1]


@torch.inference_mode()
def sample_clips(
    base: StableVideoDiffusion,
    denoiser: Denoiser,
    conditions: Conditions,
    guide: Guide,
    streams: Streams,
    protocol: Protocol,
    *,
    decoded_together: int = 0,
) -> Sample:
    """Sample clips with a denoiser under its conditions.

    Args:
        base: Loaded base.
        denoiser: The base's denoiser, or a changed one.
        conditions: Conditions of every branch of the guide.
        guide: Guidance.
        streams: Streams of the cell's seed.
        protocol: Frames, steps and size.
        decoded_together: Frames that the autoencoder decodes together; 0: all.

    Raises:
        MemoryError: Decoding does not fit into memory; the message has a number of frames that may.
        NonFiniteError: A latent or pixel became NaN or infinite.
    """
    frames, clips = protocol.frames, len(conditions[guide.branches[0]]["image"])
    noise = start_noise(streams, clips, range(frames), base.latent_shape(protocol))
    latents = denoise(
        denoiser,
        noise.to(base.device),
        conditions,
        noise_scheduler=base.noise_scheduler,
        guide=guide,
        steps=protocol.steps,
        micro_batch=base.micro_batch(protocol),
    )
    try:
        return Sample(base.decode_latents(latents, together=decoded_together))
    except Exception as error:
        if is_out_of_memory(error):
            together, of_base = decoded_together or frames, int(base.unet.config.num_frames)
            fewer = of_base if together > of_base else max(1, together // 2)
            message = f"decoding {together} frames together does not fit into memory"
            raise MemoryError(f"{message} -> control: {{decoded_together: {fewer}}}, or smaller frames") from error
        raise
