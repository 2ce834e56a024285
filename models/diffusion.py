"""Denoising: from start noise to latents by DDIM with classifier-free guidance, all clips at once."""

from collections.abc import Callable

import psutil
import torch
from diffusers import DDIMScheduler
from einops import rearrange, repeat

from models.backbones import Base, as_input, check_finite, encode_text
from models.bases import Protocol

VideoUNet = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""A denoiser of clips: latents (b f c h w), time () or (b,), text (b f l c) -> noise (b f c h w)."""


def image_unet(base: Base) -> VideoUNet:
    """The base's own U-Net on clips: every frame is an image, unless something attached to it mixes them."""

    def predict(latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        prediction: torch.Tensor = base.unet(
            as_input(rearrange(latents, "b f c h w -> (b f) c h w"), base),
            time,
            encoder_hidden_states=rearrange(text, "b f l c -> (b f) l c"),
            return_dict=False,
        )[0]
        return rearrange(prediction, "(b f) c h w -> b f c h w", b=len(latents))

    return predict


@torch.inference_mode()
def denoise(
    base: Base,
    unet: VideoUNet,
    latents: torch.Tensor,
    text: torch.Tensor,
    *,
    steps: int,
    guidance: float,
    micro_batch: int,
    given: torch.Tensor | None = None,
) -> torch.Tensor:
    """Draw latents from start noise with deterministic DDIM (eta = 0).

        e = e_uncond + guidance (e_text - e_uncond)

    Frames of a clip may depend on one another in the U-Net, so that they always go through it together, side by side.
    The schedule is kept in float32 whatever the precision of the networks.

    Args:
        base: Whose schedule is followed and whose text tower reads the empty prompt.
        unet: Predicts the noise.
        latents: Start noise of the frames to draw.
        text: Text states of all frames, the given ones included.
        steps: DDIM steps, at least 1.
        guidance: Scale, at least 1; 1 is no guidance, and the unconditional branch is not computed.
        micro_batch: Frames per U-Net call, rounded down to whole clips, at least one.
        given: Clean latents of frames that stand before those to draw, in every step.

    Shape:
        latents (b f c h w), text (b r+f l c), given (b r c h w) -> (b f c h w), float32 on the base's device.

    Raises:
        NonFiniteError: A latent became NaN or infinite.
    """
    noise_scheduler = DDIMScheduler.from_config(base.noise_scheduler.config)
    noise_scheduler.set_timesteps(steps, device=base.device)
    latents = latents.to(base.device, torch.float32) * noise_scheduler.init_noise_sigma
    before = latents[:, :0] if given is None else given.to(latents)
    branches = torch.stack([encode_text(base, [""])[:, None].expand_as(text), text] if guidance > 1 else [text])
    clips_per_call = max(1, micro_batch // text.shape[1])
    parts = [slice(k, k + clips_per_call) for k in range(0, len(latents), clips_per_call)]
    for step, timestep in enumerate(noise_scheduler.timesteps):
        clips = torch.cat([before, latents], dim=1)
        predictions = [_guided(unet, clips[part], branches[:, part], timestep, guidance) for part in parts]
        predicted = torch.cat(predictions)[:, before.shape[1] :]
        latents = noise_scheduler.step(predicted, timestep, latents, eta=0.0, return_dict=False)[0]
        check_finite(latents, f"at step {step + 1} of {steps}")
    return latents


def _guided(
    unet: VideoUNet, clips: torch.Tensor, branches: torch.Tensor, timestep: torch.Tensor, guidance: float
) -> torch.Tensor:
    """The guided noise prediction for some clips, all guidance branches in one U-Net call."""
    g = len(branches)
    prediction = unet(repeat(clips, "b f c h w -> (g b) f c h w", g=g), timestep, branches.flatten(0, 1))
    guided: torch.Tensor = rearrange(prediction.float(), "(g b) f c h w -> g b f c h w", g=g)
    return guided[0] if g == 1 else guided[0] + guidance * (guided[1] - guided[0])


def micro_batch_rule(base: Base, height: int, width: int) -> int:
    """Frames per U-Net call where a study does not say: what an eighth of the device's memory takes in.

    The rule counts 64 activations as wide as the U-Net's first level per frame and guidance branch, in its precision.
    It looks at the total memory, never at what is free: two runs on one machine must do the same.

    Args:
        base: Its device, precision and width count.
        height: Of a frame, in pixels.
        width: Of a frame, in pixels.
    """
    on_gpu = base.device.type == "cuda"
    total = torch.cuda.get_device_properties(base.device).total_memory if on_gpu else psutil.virtual_memory().total
    cells = height * width // base.pixels_per_latent**2
    per_frame = 2 * 64 * base.unet.config.block_out_channels[0] * cells * base.dtype.itemsize
    return max(1, int(total // 8 // per_frame))


def latent_shape(base: Base, protocol: Protocol) -> tuple[int, int, int]:
    """Shape of a frame's latent (c h w).

    Raises:
        ValueError: The size is no whole number of latent cells.
    """
    cell = base.pixels_per_latent
    if protocol.height % cell or protocol.width % cell:
        raise ValueError(
            f"{protocol.height} x {protocol.width} pixels -> both must be multiples of {cell} on {base.ref}"
        )
    return base.unet.config.in_channels, protocol.height // cell, protocol.width // cell
