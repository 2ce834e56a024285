import dataclasses
import types
from typing import Any

import psutil
import pytest
import torch

from models.bases import Protocol
from models.bases.stable_diffusion import StableDiffusion
from models.denoising import denoise
from models.guidance import ClassifierFree
from tests.tolerance import bound

PROTOCOL = Protocol(clips=1, frames=2, steps=2, guidance=2.0, height=32, width=32, micro_batch=2)


def of_size(side: int) -> Protocol:
    return Protocol(height=side, width=side)


class PointUnet:
    """The exact noise prediction where all latents of the data are one point x: e = (x_t - a_t x) / s_t.

    With deterministic DDIM every start then ends in the point (but for the last alpha being below 1).
    """

    def __init__(self, base: StableDiffusion, points: tuple[float, float]) -> None:
        self.alphas, self.points = base.noise_scheduler.alphas_cumprod, points
        self.config = base.unet.config

    def __call__(self, latents: torch.Tensor, timestep: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor]:
        alpha = self.alphas[timestep]
        where = torch.full_like(latents, self.points[1])
        if len(latents) == 12:  # with guidance, the unconditional half comes first
            where[:6] = self.points[0]
        return ((latents - alpha.sqrt() * where) / (1 - alpha).sqrt(),)


@pytest.mark.parametrize(("guidance", "expected"), [(1.0, 0.8), (3.0, 0.2 + 3 * 0.6)])
@pytest.mark.parametrize("steps", [5, 50])
def test_ddim_ends_in_the_point_that_guidance_asks_for(
    guidance: float, expected: float, steps: int, float64_base: StableDiffusion
) -> None:
    base = dataclasses.replace(float64_base, unet=PointUnet(float64_base, (0.2, 0.8)))
    start = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    text = base.encode_text(["a", "b"])[:, None].expand(-1, 3, -1, -1)
    latents = denoise(
        base.denoiser(),
        start,
        base.conditions(text),
        noise_scheduler=base.noise_scheduler,
        guide=ClassifierFree().build(guidance, 3),
        steps=steps,
        micro_batch=100,
    )
    assert latents.shape == start.shape
    # The trajectory keeps the direction of the start noise: a_t x + s_t e with e constant along it.
    final = base.noise_scheduler.final_alpha_cumprod
    first = base.noise_scheduler.alphas_cumprod[1 + 1000 // steps * (steps - 1)]
    noise = (start - first.sqrt() * expected) / (1 - first).sqrt()
    exact = final.sqrt() * expected + (1 - final).sqrt() * noise
    # A step is 8 operations on one latent, and 5 more guide; every one of them is divided by s_t at least once.
    atol = bound(torch.float64, 13 * steps, float(latents.abs().max() / (1 - final).sqrt()))
    torch.testing.assert_close(latents, exact, rtol=0, atol=atol)


def test_the_bases_schedule_is_left_alone(tiny_base: StableDiffusion) -> None:
    before = dict(tiny_base.noise_scheduler.__dict__)
    tiny_base.draw(torch.zeros(1, 2, 4, 4, 4), tiny_base.encode_text(["a"]), PROTOCOL)
    assert tiny_base.noise_scheduler.num_inference_steps is None
    assert before.keys() == tiny_base.noise_scheduler.__dict__.keys()


def test_the_micro_batch_follows_total_memory_and_never_free_memory(
    tiny_base: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def machine(total: int, available: int) -> int:
        memory = types.SimpleNamespace(total=total, available=available, free=available)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
        return tiny_base.micro_batch(of_size(512))

    assert machine(16 * 2**30, 15 * 2**30) == machine(16 * 2**30, 2**20)
    assert machine(32 * 2**30, 2**20) == 2 * machine(16 * 2**30, 2**20)
    assert machine(2**20, 2**20) == 1
    assert tiny_base.micro_batch(of_size(256)) >= tiny_base.micro_batch(of_size(512))
    assert tiny_base.micro_batch(of_size(512).model_copy(update={"micro_batch": 3})) == 3
