"""Denoising from start noise to latents, with a given noise scheduler and guidance."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange, repeat

from models.backbones import Denoiser, check_finite
from models.guidance import Guide

Conditions = Mapping[str, Mapping[str, torch.Tensor]]
"""Guidance branch -> name -> tensor (b ...): conditions of the denoiser besides latents and time."""


@torch.inference_mode()
def denoise(
    denoiser: Denoiser,
    latents: torch.Tensor,
    conditions: Conditions,
    *,
    noise_scheduler: Any,
    guide: Guide,
    steps: int,
    micro_batch: int,
    given: torch.Tensor | None = None,
) -> torch.Tensor:
    """Denoise latents from start noise.

        x_T = sigma_T e,   x_{k-1} = step(guide(denoiser(scale(x_k), t_k, conditions)), t_k, x_k)

    The noise scheduler defines the step, the scaling and the prediction type: DDIM on predicted noise, Euler on a
    v-prediction over continuous sigmas. Its defaults apply, so that DDIM and Euler are deterministic. Frames of a clip
    may depend on one another in the denoiser, so they are always in one call. Latents and schedule are kept in float32
    whatever the precision of the networks.

    Args:
        denoiser: Predicts noise, or another quantity that the noise scheduler takes.
        latents: Start noise of the frames to sample, of unit variance, on the denoiser's device.
        conditions: Conditions of every branch of the guide.
        noise_scheduler: A diffusers scheduler; used as a copy.
        guide: Branches that are predicted, and how they are combined.
        steps: Denoising steps, at least 1.
        micro_batch: Frames per call of the denoiser, rounded down to whole clips, at least one.
        given: Clean latents of frames that precede the sampled ones, in every step.

    Shape:
        latents (b f c h w), given (b r c h w), conditions (b ...) -> (b f c h w), float32.

    Raises:
        NonFiniteError: A latent became NaN or infinite.
    """
    noise_scheduler = copy.deepcopy(noise_scheduler)
    noise_scheduler.set_timesteps(steps, device=latents.device)
    latents = latents.float() * noise_scheduler.init_noise_sigma
    before = latents[:, :0] if given is None else given.to(latents)
    clips_per_call = max(1, micro_batch // (before.shape[1] + latents.shape[1]))
    parts = [slice(k, k + clips_per_call) for k in range(0, len(latents), clips_per_call)]
    for step, timestep in enumerate(noise_scheduler.timesteps):
        clips = torch.cat([before, noise_scheduler.scale_model_input(latents, timestep)], dim=1)
        predictions = [_guided(denoiser, clips[part], _of(conditions, part), timestep, guide) for part in parts]
        predicted = torch.cat(predictions)[:, before.shape[1] :]
        latents = noise_scheduler.step(predicted, timestep, latents, return_dict=False)[0]
        check_finite(latents, f"at step {step + 1} of {steps}")
    return latents


def _of(conditions: Conditions, part: slice) -> Conditions:
    return {branch: {name: values[part] for name, values in named.items()} for branch, named in conditions.items()}


def _guided(
    denoiser: Denoiser, clips: torch.Tensor, conditions: Conditions, timestep: torch.Tensor, guide: Guide
) -> torch.Tensor:
    """Return the guided prediction for some clips; all guidance branches are in one call of the denoiser."""
    g = len(guide.branches)
    names = conditions[guide.branches[0]]
    stacked = {name: torch.cat([conditions[branch][name] for branch in guide.branches]) for name in names}
    prediction = denoiser(repeat(clips, "b f c h w -> (g b) f c h w", g=g), timestep, **stacked)
    return guide.combine(rearrange(prediction.float(), "(g b) f c h w -> g b f c h w", g=g))
