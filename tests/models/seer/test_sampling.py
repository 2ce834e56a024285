"""The released sampler's schedule, in closed form, and what it draws."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from models.bases import Protocol
from models.bases.stable_diffusion import StableDiffusion
from models.seer import Seer
from models.seer.sampling import ReleasedDDIM
from models.seer.schedule_kinds import PublishedSchedule, TrainingSchedule
from models.streams import Streams
from tests.tolerance import bound

PROMPTS = ["a red circle moves right"]


def released(steps: int, prediction_type: str = "epsilon") -> DDIMScheduler:
    scheduler = PublishedSchedule().build(DDIMScheduler(prediction_type=prediction_type))
    scheduler.set_timesteps(steps)
    return scheduler


def cumulative(low: float, high: float) -> np.ndarray:
    """Cumulative products of 1 - beta, where the roots of beta are evenly spaced, in float64."""
    return np.cumprod(1 - np.linspace(low**0.5, high**0.5, 1000) ** 2)


def test_30_steps_are_31_from_991_to_1() -> None:
    times = released(30).timesteps.tolist()
    assert times == [number + 1 for number in range(0, 1000, 1000 // 30)][::-1]
    assert (len(times), times[0], times[1], times[-2], times[-1]) == (31, 991, 958, 34, 1)


@pytest.mark.parametrize(
    ("steps", "count", "last"), [(1, 1, 1), (10, 10, 901), (50, 50, 981), (7, 8, 995), (600, 999, 999)]
)
def test_other_numbers_of_steps_stay_within_the_schedule(steps: int, count: int, last: int) -> None:
    times = released(steps).timesteps
    assert (len(times), int(times[0]), int(times[-1])) == (count, last, 1)


def test_noise_levels_are_those_of_the_released_sampler_and_not_those_of_training(tiny_base: StableDiffusion) -> None:
    rounding = bound(torch.float32, 1000)
    for scheduler, betas in ((released(30), (1e-4, 2e-2)), (tiny_base.noise_scheduler, (8.5e-4, 1.2e-2))):
        expected = torch.from_numpy(cumulative(*betas))
        torch.testing.assert_close(scheduler.alphas_cumprod.double(), expected, rtol=0, atol=rounding)
    assert TrainingSchedule().build(tiny_base.noise_scheduler) is tiny_base.noise_scheduler


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_step_leads_from_each_level_to_the_next(prediction_type: str) -> None:
    scheduler, alphas = released(30, prediction_type), torch.from_numpy(cumulative(1e-4, 2e-2))
    clean, noise = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = [*scheduler.timesteps.tolist()[1:], 0]
    for time, earlier in zip(scheduler.timesteps, before, strict=True):  # the last one leads to the level of 0
        a, s = alphas[time].sqrt(), (1 - alphas[time]).sqrt()
        predicted = noise if prediction_type == "epsilon" else a * noise - s * clean
        found = scheduler.step(predicted, time, a * clean + s * noise, return_dict=False)[0]
        expected = alphas[earlier].sqrt() * clean + (1 - alphas[earlier]).sqrt() * noise
        torch.testing.assert_close(found, expected, rtol=0, atol=bound(torch.float32, 1000, size=3))


def test_the_published_schedule_calls_the_denoiser_once_more_and_leaves_the_training_alone(
    tiny_base: StableDiffusion,
) -> None:
    protocol = Protocol(clips=1, frames=3, steps=30, guidance=1.0, height=16, width=16)
    given = torch.zeros(1, 2, 3, 16, 16)
    removed = {"temporal_attention": "removed", "text_decomposer": "removed"}
    videos = {}
    for kind, calls in (("training", 30), ("published", 31)):
        model = Seer().edit({**removed, "sampling_schedule": kind}).build(tiny_base, 0)
        times: list[int] = []
        model.network.unet.register_forward_pre_hook(lambda _, inputs, times=times: times.append(int(inputs[1])))
        videos[kind] = model.sample(PROMPTS, Streams(0), protocol, given).video
        assert len(times) == calls
        assert torch.equal(model.network.schedule.alphas, tiny_base.noise_scheduler.alphas_cumprod)
    assert not torch.equal(videos["training"], videos["published"])
    assert isinstance(PublishedSchedule().build(tiny_base.noise_scheduler), ReleasedDDIM)
