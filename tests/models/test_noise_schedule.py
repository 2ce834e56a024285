"""Training targets and conversions of noise schedules, against diffusers' own schedulers."""

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler

from models.backbones import load_base
from models.bases import FOLDER, find_base
from models.bases.configurations import _SCHEDULERS, PREDICTION_TYPES
from models.bases.stable_diffusion import StableDiffusion
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.denoising import denoise
from models.guidance import ClassifierFree
from models.noise_schedule import NoiseSchedule, converted
from models.seer import Seer
from models.seer.network import PretrainedSeer, SeerModel
from tests.tolerance import bound, in_float64

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
MISSING_HERE = ("DPMSolverSDEScheduler",)  # its library is no dependency

# Two of diffusers' schedulers call NumPy as it was before 2.0.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
every_type = pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)


def schedule(prediction_type: str, **settings: Any) -> DDIMScheduler:
    return DDIMScheduler(**BETAS, clip_sample=False, prediction_type=prediction_type, **settings)


def drawn(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(shape, generator=rng), torch.randn(shape, generator=rng)


class ExactUNet(torch.nn.Module):
    """The exact prediction where the clean latents z are known: eps = (x - a z) / s, v = a eps - s z, or z.

    Derived from the noisy latents alone, so that it is right only for the noise that was added.
    """

    def __init__(self, noise_scheduler: DDIMScheduler, clean: torch.Tensor) -> None:
        super().__init__()
        self.noise_scheduler, self.clean = noise_scheduler, clean
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor | None = None) -> torch.Tensor:
        alpha = self.noise_scheduler.alphas_cumprod[time].view(-1, 1, 1, 1, 1)
        a, s = alpha.sqrt(), (1 - alpha).sqrt()
        noise = (latents - a * self.clean) / s
        kinds = {"epsilon": noise, "v_prediction": a * noise - s * self.clean, "sample": self.clean}
        return kinds[self.noise_scheduler.config.prediction_type].expand_as(latents)


# ------------------------------------------------------------------------------------------------------------- targets


@every_type
@pytest.mark.parametrize("zero_snr", [False, True])
def test_targets_and_noisy_latents_are_those_of_diffusers(prediction_type: str, zero_snr: bool) -> None:
    ddim = schedule(prediction_type, rescale_betas_zero_snr=zero_snr)
    (clean, noise), time = drawn(4, 2, 4, 3, 3), torch.tensor([0, 1, 500, 999])
    process = NoiseSchedule.of(ddim)
    assert torch.equal(process.add_noise(clean, noise, time), ddim.add_noise(clean, noise, time))
    expected = {"epsilon": noise, "v_prediction": ddim.get_velocity(clean, noise, time), "sample": clean}
    assert torch.equal(process.target(clean, noise, time), expected[prediction_type])


def test_a_prediction_type_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="flow_prediction is not known -> epsilon, v_prediction, sample"):
        NoiseSchedule(torch.ones(10), "flow_prediction")


@every_type
@pytest.mark.parametrize("references", [0, 2])
def test_an_exact_unet_has_no_loss(prediction_type: str, references: int, float64_base: StableDiffusion) -> None:
    ddim = schedule(prediction_type)
    object.__setattr__(float64_base, "noise_scheduler", ddim)
    model = Seer(references=references).build(float64_base, 1)
    assert isinstance(model, SeerModel)
    (latents, noise), time = drawn(2, 4, 4, 4, 4), torch.tensor([0, 700])
    model.network.unet = ExactUNet(ddim, latents)
    text = float64_base.encode_text(["a", "b"])
    loss = model.network(latents=latents, text=text, noise=noise, time=time)
    # 4 operations make the noisy latents, 7 the prediction; all are divided by s once at most.
    least = float((1 - ddim.alphas_cumprod[0]).sqrt())
    assert float(loss) <= bound(torch.float64, 11, float(latents.abs().max() + noise.abs().max()) / least) ** 2
    for other in set(PREDICTION_TYPES) - {prediction_type}:
        model.network.schedule = NoiseSchedule(ddim.alphas_cumprod, other)
        assert float(model.network(latents=latents, text=text, noise=noise, time=time)) > 0.1


@every_type
@pytest.mark.parametrize("ends_clean", [True, False])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@in_float64()
def test_sampling_from_an_exact_prediction_recovers_the_latents(
    prediction_type: str, ends_clean: bool, spacing: str
) -> None:
    steps, (clean, start) = 8, drawn(2, 3, 4, 4, 4)
    ddim = schedule(prediction_type, set_alpha_to_one=ends_clean, timestep_spacing=spacing)
    conditions = {branch: {} for branch in ClassifierFree().build(1.0, 3).branches}
    latents = denoise(
        ExactUNet(ddim, clean),
        start,
        conditions,
        noise_scheduler=ddim,
        guide=ClassifierFree().build(1.0, 3),
        steps=steps,
        micro_batch=100,
    )
    # Every state is a_t z + s_t e with the same e, which the start noise fixes.
    ddim.set_timesteps(steps)
    first, final = ddim.alphas_cumprod[ddim.timesteps[0]], ddim.final_alpha_cumprod
    noise = (start - first.sqrt() * clean) / (1 - first).sqrt()
    exact = final.sqrt() * clean + (1 - final).sqrt() * noise
    if ends_clean:
        assert torch.equal(exact, clean)
    # A step is 13 operations, 4 of them the exact prediction, on terms of at most (|x| + |z|) / s; an error of x_t
    # reaches x_{t-1} times s_{t-1} / s_t < 1, so errors add. The last step is at the least s of all.
    least = float((1 - ddim.alphas_cumprod[ddim.timesteps[-1]]).sqrt())
    size = float(clean.abs().max() + noise.abs().max()) * 2 / least
    torch.testing.assert_close(latents, exact, rtol=0, atol=bound(torch.float64, 13 * steps + 5, size))


@every_type
def test_a_base_trains_on_what_its_schedule_says(prediction_type: str, tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_base_folder, tmp_path / "base")
    file = folder / "scheduler/scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": prediction_type}))
    base = load_base(find_base(str(folder)), device="cpu")
    assert base.noise_scheduler.config.prediction_type == prediction_type
    model = Seer().build(base, 1)
    assert model.network.schedule.prediction_type == prediction_type
    model.save(tmp_path / "trained")
    again = PretrainedSeer.from_pretrained(tmp_path / "trained/seer").network
    assert again.schedule.prediction_type == prediction_type
    assert torch.equal(again.schedule.alphas, model.network.schedule.alphas)


# --------------------------------------------------------------------------------------------------------- conversions


@pytest.mark.parametrize("name", [name for name in _SCHEDULERS if name not in MISSING_HERE])
@pytest.mark.parametrize("written", [{}, BETAS], ids=["nothing", "betas"])
def test_the_forward_process_survives_a_conversion(name: str, written: dict[str, Any]) -> None:
    published = getattr(diffusers, name)(**written)
    for configuration in (published.config, {"_class_name": name, **written}):
        ddim = converted(configuration, DDIMScheduler, clip_sample=False)
        assert torch.equal(ddim.alphas_cumprod, getattr(diffusers, name)(**written).alphas_cumprod)
        final = getattr(published, "final_alpha_cumprod", torch.tensor(1.0))
        assert torch.equal(ddim.final_alpha_cumprod, final)
        assert ddim.config.prediction_type == published.config.prediction_type
        assert not ddim.config.clip_sample


def test_pndm_ends_at_its_first_alpha_also_where_the_file_leaves_it_out(tmp_path: Path) -> None:
    PNDMScheduler(**BETAS, steps_offset=1, skip_prk_steps=True).save_pretrained(tmp_path)
    complete = json.loads((tmp_path / "scheduler_config.json").read_text())
    assert complete.pop("set_alpha_to_one") is False
    dropped = DDIMScheduler.from_config(PNDMScheduler.from_config(complete).config)
    assert dropped.final_alpha_cumprod == 1, "diffusers no longer leaves it out"
    ddim = converted(complete, DDIMScheduler)
    assert ddim.final_alpha_cumprod == PNDMScheduler(**BETAS).final_alpha_cumprod < 1
    for explicit in (True, False):
        ddim = converted(complete | {"set_alpha_to_one": explicit}, DDIMScheduler)
        assert (ddim.final_alpha_cumprod == 1) == explicit


def test_the_tiny_base_has_the_published_schedule() -> None:
    file = FOLDER / "stable-diffusion-v1-5/scheduler/scheduler_config.json"
    published = PNDMScheduler.from_config(json.loads(file.read_text()))
    tiny = StableDiffusion.tiny().noise_scheduler
    assert torch.equal(tiny.alphas_cumprod, published.alphas_cumprod)
    assert tiny.final_alpha_cumprod == published.final_alpha_cumprod
    settings = {key: value for key, value in tiny.config.items() if key[0] != "_"}
    loaded = converted(published.config, DDIMScheduler, clip_sample=False).config
    assert settings.items() <= dict(loaded).items()


@pytest.mark.parametrize("name", ["shapes", "stable-diffusion-v1-5"])
def test_settings_that_are_written_convert_as_in_diffusers(name: str) -> None:
    configuration = json.loads((FOLDER / name / "scheduler/scheduler_config.json").read_text())
    ours = converted(configuration, DDIMScheduler, clip_sample=False)
    theirs = DDIMScheduler.from_config(configuration, clip_sample=False)
    for key in theirs.config.keys() - {"_use_default_values"}:
        assert ours.config[key] == theirs.config[key], key
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    assert torch.equal(ours.final_alpha_cumprod, theirs.final_alpha_cumprod)


def test_a_schedule_for_video_stays_what_it_is(tmp_path: Path) -> None:
    base = StableVideoDiffusion.tiny()
    base.save(tmp_path / "base")
    again = StableVideoDiffusion.settings(tmp_path / "base")["noise_scheduler"]
    kept = diffusers.EulerDiscreteScheduler.from_pretrained(tmp_path / "base", subfolder="scheduler")
    for each in (again, kept, base.noise_scheduler):
        each.set_timesteps(5)
    assert torch.equal(again.timesteps, kept.timesteps)
    assert torch.equal(again.sigmas, kept.sigmas)
    assert again.config.prediction_type == "v_prediction"
    assert torch.equal(NoiseSchedule.of(again).alphas, base.noise_scheduler.alphas_cumprod)


def test_known_schedulers_have_betas_and_the_others_none() -> None:
    for name in _SCHEDULERS:
        assert name in MISSING_HERE or "alphas_cumprod" in vars(getattr(diffusers, name)()), name
    for name in ("FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler", "FlowMatchHeunDiscreteScheduler"):
        assert not hasattr(getattr(diffusers, name)(), "alphas_cumprod")
