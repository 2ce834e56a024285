"""Denoising: from start noise to latents by DDIM with classifier-free guidance, all clips at once."""

import psutil
import torch
from diffusers import DDIMScheduler
from einops import rearrange, repeat

from models.backbones import Base, as_input, check_finite, encode_text


@torch.inference_mode()
def denoise(
    base: Base, latents: torch.Tensor, text: torch.Tensor, *, steps: int, guidance: float, micro_batch: int
) -> torch.Tensor:
    """Draw latents from start noise with deterministic DDIM (eta = 0).

        e = e_uncond + guidance (e_text - e_uncond)

    Frames of a clip may depend on one another in the U-Net, so that they always go through it together, side by side.
    The schedule is kept in float32 whatever the precision of the networks.

    Args:
        base: Whose U-Net predicts the noise.
        latents: Start noise.
        text: Text states, one per clip; they condition all its frames.
        steps: DDIM steps, at least 1.
        guidance: Scale, at least 1; 1 is no guidance, and the unconditional branch is not computed.
        micro_batch: Frames per U-Net call, rounded down to whole clips, at least one.

    Shape:
        latents (b f c h w), text (b l c) -> (b f c h w), float32 on the base's device.

    Raises:
        NonFiniteError: A latent became NaN or infinite.
    """
    noise_scheduler = DDIMScheduler.from_config(base.noise_scheduler.config)
    noise_scheduler.set_timesteps(steps, device=base.device)
    num_frames = latents.shape[1]
    latents = latents.to(base.device, torch.float32) * noise_scheduler.init_noise_sigma
    branches = [encode_text(base, [""]).expand_as(text), text] if guidance > 1 else [text]
    states = repeat(torch.stack(branches), "g b l c -> g b f l c", f=num_frames)
    clips_per_call = max(1, micro_batch // num_frames)
    for step, timestep in enumerate(noise_scheduler.timesteps):
        predictions = [
            _predict(base, latents[k : k + clips_per_call], states[:, k : k + clips_per_call], timestep, guidance)
            for k in range(0, len(latents), clips_per_call)
        ]
        latents = noise_scheduler.step(torch.cat(predictions), timestep, latents, eta=0.0, return_dict=False)[0]
        check_finite(latents, f"at step {step + 1} of {steps}")
    return latents


def _predict(
    base: Base, latents: torch.Tensor, states: torch.Tensor, timestep: torch.Tensor, guidance: float
) -> torch.Tensor:
    """The guided noise prediction for some clips, all guidance branches in one U-Net call."""
    b, g = len(latents), len(states)
    frames = repeat(latents, "b f c h w -> (g b f) c h w", g=g)
    prediction: torch.Tensor = base.unet(
        as_input(frames, base),
        timestep,
        encoder_hidden_states=rearrange(states, "g b f l c -> (g b f) l c"),
        return_dict=False,
    )[0]
    branches: torch.Tensor = rearrange(prediction.float(), "(g b f) c h w -> g b f c h w", g=g, b=b)
    return branches[0] if g == 1 else branches[0] + guidance * (branches[1] - branches[0])


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
