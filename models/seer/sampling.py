"""The noise schedule of Seer's released sampler."""

from typing import Any, Self

import torch
from diffusers import DDIMScheduler

BETAS = (1e-4, 2e-2)


class ReleasedDDIM(DDIMScheduler):  # type: ignore[misc]  # diffusers ships no types
    """DDIM with the schedule of Seer's released sampler, for T = 1,000 and n steps.

        beta_t = (sqrt(1e-4) + (sqrt(2e-2) - sqrt(1e-4)) t / (T - 1))^2,   t = 0 ... T - 1  ("scaled_linear")
        timesteps 1 + k c,   c = floor(T / n),   for all k >= 0 with k c < T: 30 steps are 31, from 1 to 991
        after the last step, at t = 1, the level is that of t = 0

    Source: Seer, released code (the defaults of latent diffusion's sampler); departure: for n above T / 2 its last
    timestep is T, beyond the schedule, which is an error; that timestep is left out here.
    """

    @classmethod
    def like(cls, noise_scheduler: DDIMScheduler) -> Self:
        """Make it for a denoiser with the prediction type of another scheduler."""
        scheduler: Self = cls(
            num_train_timesteps=1000,
            beta_start=BETAS[0],
            beta_end=BETAS[1],
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            prediction_type=noise_scheduler.config.prediction_type,
        )
        return scheduler

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Set the timesteps, from noise to clean."""
        total = int(self.config.num_train_timesteps)
        self.num_inference_steps = num_inference_steps  # each step leads back by T // n
        times = range(1, total, total // num_inference_steps)
        self.timesteps = torch.tensor([*times], device=device).flip(0)
