from collections.abc import Iterator

import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image
from transformers import CLIPImageProcessorPil

from models.bases import Protocol
from models.bases.stable_video_diffusion import MicroConditions, StableVideoDiffusion
from models.denoising import denoise
from models.guidance import CONDITIONAL, UNCONDITIONAL, RisingGuidance
from models.streams import Streams
from tests.tolerance import base_bound, bound, in_float64, network_bound, widened

FRAMES, STEPS, HEIGHT, WIDTH = 4, 3, 32, 48


@pytest.fixture(scope="module")
def tiny() -> StableVideoDiffusion:
    return StableVideoDiffusion.tiny()


@pytest.fixture
def base(tiny: StableVideoDiffusion) -> Iterator[StableVideoDiffusion]:
    """The tiny base in float64."""
    with in_float64():
        wide = widened(tiny)
        assert isinstance(wide, StableVideoDiffusion)
        yield wide


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """An image of black and full colours, which are exact in float32: the pipeline rounds other colours."""
    return Image.fromarray(255 * np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_it_samples_what_diffusers_pipeline_does(
    guidance: float, base: StableVideoDiffusion, image: Image.Image
) -> None:
    pipeline = StableVideoDiffusionPipeline(
        base.vae,
        base.image_encoder,
        base.unet,
        base.noise_scheduler,
        CLIPImageProcessorPil(image_mean=base.pixels.mean, image_std=base.pixels.std),
    )
    pipeline.set_progress_bar_config(disable=True)
    to_torch = pipeline.video_processor.numpy_to_pt
    pipeline.video_processor.numpy_to_pt = lambda images: to_torch(images).double()  # NumPy hands it float32
    noise = torch.randn(1, FRAMES, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(1))
    expected = pipeline(
        image,
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        max_guidance_scale=guidance,
        fps=9,
        motion_bucket_id=40,
        noise_aug_strength=0.0,
        latents=noise.double(),
        output_type="pt",
    ).frames
    latents = denoise(
        base.denoiser(),
        noise,
        base.conditions(pixels(image), Streams(0), FRAMES, MicroConditions(fps=9, motion=40, augmentation=0.0)),
        noise_scheduler=base.noise_scheduler,
        guide=RisingGuidance().build(guidance, FRAMES),
        steps=STEPS,
        micro_batch=FRAMES,
    )
    actual = (base.decode_latents(latents) + 1) / 2
    rounding = base_bound(base, steps=STEPS, guidance=guidance)
    torch.testing.assert_close(actual, expected.to(actual), rtol=0, atol=rounding)


def test_conditions_are_the_image_in_two_forms_and_its_numbers(base: StableVideoDiffusion, image: Image.Image) -> None:
    actual = base.conditions(pixels(image), Streams(0), FRAMES, MicroConditions(fps=7, motion=127, augmentation=0.02))
    conditional, unconditional = actual[CONDITIONAL], actual[UNCONDITIONAL]
    assert conditional["image"].shape == (1, 1, 32)
    assert conditional["beside"].shape == (1, FRAMES, 4, HEIGHT // 8, WIDTH // 8)
    assert conditional["micro"].tolist() == [[6.0, 127.0, pytest.approx(0.02)]]
    assert all(torch.equal(conditional["beside"][:, 0], conditional["beside"][:, frame]) for frame in range(FRAMES))
    assert not unconditional["image"].any()
    assert not unconditional["beside"].any()
    assert torch.equal(unconditional["micro"], conditional["micro"])
    clean = base.conditions(pixels(image), Streams(0), FRAMES, MicroConditions(augmentation=0.0))[CONDITIONAL]
    other = base.conditions(pixels(image), Streams(1), FRAMES)[CONDITIONAL]
    assert torch.equal(clean["image"], conditional["image"]), "noise is only added to the input of the VAE"
    assert not torch.equal(other["beside"], conditional["beside"])
    mean, _ = base.encode_frames(pixels(image)[:, None])
    unscaled = mean[:, 0] / base.vae.config.scaling_factor
    torch.testing.assert_close(clean["beside"][:, 0], unscaled, rtol=0, atol=network_bound(base.vae))


def test_without_a_frame_there_is_nothing_to_continue(base: StableVideoDiffusion) -> None:
    with pytest.raises(ValueError, match="continues an image, but no frame is given"):
        base.sample(["a"], Streams(0), Protocol(clips=1, frames=4, steps=1, height=32, width=32))


def test_the_published_noise_levels_are_followed(tiny: StableVideoDiffusion) -> None:
    scheduler = type(tiny.noise_scheduler).from_config(tiny.noise_scheduler.config)
    scheduler.set_timesteps(25)
    sigmas = scheduler.sigmas
    assert float(sigmas[0]) == pytest.approx(700.0)
    assert float(sigmas[-2]) == pytest.approx(0.002)
    assert float(sigmas[-1]) == 0.0
    # Karras' spacing with rho = 7, and times c = log(sigma) / 4.
    ramp = torch.linspace(0, 1, 25, dtype=torch.float64)
    expected = (700.0 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 700.0 ** (1 / 7))) ** 7
    rounding = bound(torch.float32, 7 * 8)  # the seventh power of a sum of a few roots, in float32
    torch.testing.assert_close(sigmas[:-1].double(), expected, rtol=rounding, atol=0)
    torch.testing.assert_close(scheduler.timesteps.double(), expected.log() / 4, rtol=rounding, atol=rounding)


def test_frames_decoded_in_parts_are_those_of_shorter_clips(tiny: StableVideoDiffusion) -> None:
    latents = torch.randn(2, 5, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    whole, parts = tiny.decode_latents(latents), tiny.decode_latents(latents, together=2)
    assert torch.equal(tiny.decode_latents(latents, together=5), whole)
    for start in (0, 2, 4):
        part = slice(start, start + 2)
        assert torch.equal(parts[:, part], tiny.decode_latents(latents[:, part]))
    assert not torch.equal(parts, whole), "frames that are decoded together depend on one another"
