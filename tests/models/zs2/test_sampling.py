import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import (
    CrossFrameAttnProcessor,
    CrossFrameAttnProcessor2_0,
)
from torch.nn.modules.module import register_module_forward_hook

from models.attention import FrameMixProcessor, first_frame, self_attention_layers
from models.backbones import Base, attached, load_base
from models.bases import Protocol
from models.contracts import Sample
from models.streams import Streams
from models.system import NonFiniteError
from models.zs2 import ZS2
from tests.tolerance import base_bound, in_float64, network_bound, widened

PROTOCOL = Protocol(clips=2, frames=4, steps=4, guidance=5.0, height=32, width=32)
PROMPTS = ["a red circle moves right", "a blue square"]


def draw(base: Base, changes: dict[str, Any], **protocol: Any) -> Sample:
    used = PROTOCOL.model_copy(update=protocol)
    return ZS2().edit(changes).build(base).sample(PROMPTS, Streams(5), used)


def pipeline_video(base: Base, changes: dict[str, Any], guidance: float = 5.0) -> torch.Tensor:
    """Output of diffusers' own image pipeline for each frame's start noise, (b f c h w) in [-1, 1]."""
    pipeline = StableDiffusionPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=base.unet,
        scheduler=DDIMScheduler.from_config(base.noise_scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = ZS2().edit(changes).noise.build().sample(Streams(5), 2, 4, (4, 4, 4)).latents
    clips = [
        pipeline(
            [prompt] * 4,
            height=32,
            width=32,
            num_inference_steps=4,
            guidance_scale=guidance,
            eta=0.0,
            latents=latents.to(base.dtype),
            output_type="pt",
        ).images
        for prompt, latents in zip(PROMPTS, noise, strict=True)
    ]
    return torch.stack(clips) * 2 - 1


def same(video: torch.Tensor, expected: torch.Tensor, base: Base) -> None:
    """Check that two computations of a video differ only by rounding."""
    atol = base_bound(base, steps=PROTOCOL.steps, guidance=PROTOCOL.guidance)
    torch.testing.assert_close(video, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("attention", [{"kind": "momentum", "mu": 0.0}, {"kind": "previous_frame", "mu": 0}, "removed"])
@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_without_momentum_it_is_diffusers_own_pipeline_frame_by_frame(
    attention: object, guidance: float, float64_base: Base
) -> None:
    changes = {"attention": attention, "noise.threshold": 0.5}
    video = draw(float64_base, changes, guidance=guidance).video
    same(video, pipeline_video(float64_base, changes, guidance), float64_base)


def test_cross_frame_is_diffusers_own_processor_in_the_whole_pipeline(float64_base: Base) -> None:
    changes = {"attention": "cross_frame", "noise.threshold": 0.5}
    layers = self_attention_layers(float64_base.unet)
    with attached(float64_base.unet, dict.fromkeys(layers, CrossFrameAttnProcessor2_0(batch_size=2))):
        expected = pipeline_video(float64_base, changes)
    same(draw(float64_base, changes).video, expected, float64_base)
    assert (draw(float64_base, {**changes, "attention": "removed"}).video - expected).abs().max() > 1e-3


def test_cross_frame_is_diffusers_own_processor_in_the_whole_unet(float64_base: Base) -> None:
    unet = float64_base.unet
    generator, layers = torch.Generator().manual_seed(0), self_attention_layers(unet)
    latents, text = (torch.randn(*shape, generator=generator) for shape in ((8, 4, 4, 4), (8, 77, 16)))
    actual = []
    for processor in (CrossFrameAttnProcessor(batch_size=2), FrameMixProcessor(first_frame(4))):
        with torch.inference_mode(), attached(unet, dict.fromkeys(layers, processor)):
            actual.append(unet(latents, 500, text).sample)
    torch.testing.assert_close(actual[1], actual[0], rtol=0, atol=network_bound(unet))


def test_mu_1_is_cross_frame(tiny_base: Base) -> None:
    assert torch.equal(draw(tiny_base, {"attention.mu": 1}).video, draw(tiny_base, {"attention": "cross_frame"}).video)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention.mu": 0.3},
        {"attention": "cross_frame"},
        {"noise.threshold": 1.0},
        {"noise": "removed"},
        {"noise": "mixed"},
    ],
)
def test_frame_0_depends_on_no_part(changes: dict[str, Any], float64_base: Base) -> None:
    control, arm = draw(float64_base, {}).video, draw(float64_base, changes).video
    same(arm[:, 0], control[:, 0], float64_base)
    assert (arm[:, 1:] - control[:, 1:]).abs().max() > 1e-4


@pytest.mark.parametrize("mu", [0.0, 1.0, 0.6, 0.98])
def test_threshold_0_is_a_still_video_for_any_momentum(mu: float, float64_base: Base) -> None:
    video = draw(float64_base, {"noise.threshold": 0, "attention.mu": mu}).video
    same(video, video[:, :1].expand_as(video), float64_base)


def test_absence_leaves_no_trace_of_a_part(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    untouched, seen = tiny_base.unet.attn_processors, []
    forward = tiny_base.unet.forward

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append((tiny_base.unet.attn_processors, args[0]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(tiny_base.unet, "forward", spy)
    draw(tiny_base, {"attention": "removed", "noise": "removed"}, guidance=1.0, steps=1)
    [(processors, latents)] = seen
    assert all(processors[name] is untouched[name] for name in untouched)
    expected = [Streams(5).normal("noise", clip, frame, 0, shape=(4, 4, 4)) for clip in range(2) for frame in range(4)]
    assert torch.equal(latents, torch.stack([torch.from_numpy(noise) for noise in expected]))
    draw(tiny_base, {}, guidance=1.0, steps=1)
    changed = {name for name, processor in seen[-1][0].items() if processor is not untouched[name]}
    assert changed == self_attention_layers(tiny_base.unet).keys()


def test_a_clip_is_conditioned_by_its_own_prompt(float64_base: Base) -> None:
    model = ZS2().build(float64_base)
    both = model.sample(PROMPTS, Streams(5), PROTOCOL).video
    other = model.sample([PROMPTS[0], "no"], Streams(5), PROTOCOL).video
    same(other[0], both[0], float64_base)
    assert (other[1] - both[1]).abs().max() > 1e-4


@pytest.mark.parametrize("micro_batch", [1, 4, 7, 8, 100])
def test_micro_batches_are_whole_clips(micro_batch: int, tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, forward = [], tiny_base.unet.forward

    def spy(*args: Any, **kwargs: Any) -> Any:
        sizes.append(len(args[0]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(tiny_base.unet, "forward", spy)
    draw(tiny_base, {}, micro_batch=micro_batch, steps=1)
    assert sizes == ([16] if micro_batch >= 8 else [8, 8])


def test_a_value_that_is_not_finite_names_step_and_clip(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, calls = tiny_base.unet.forward, []

    def broken(*args: Any, **kwargs: Any) -> Any:
        (prediction,) = forward(*args, **kwargs)
        calls.append(1)
        if len(calls) == 3:
            prediction[4:8] = float("nan")
        return (prediction,)

    monkeypatch.setattr(tiny_base.unet, "forward", broken)
    with pytest.raises(NonFiniteError, match=r"at step 3 of 4 \(clip 1\)"):
        draw(tiny_base, {}, guidance=1.0)
    assert len(calls) == 3


def test_pixels_that_are_not_finite_are_noticed(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = tiny_base.vae.decode
    monkeypatch.setattr(tiny_base.vae, "decode", lambda *a, **k: (decode(*a, **k)[0] * float("inf"),))
    with pytest.raises(NonFiniteError, match=r"while decoding \(clip 0, 1\)"):
        draw(tiny_base, {})


def test_attention_needs_self_attention_to_change(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.zs2.sampling.self_attention_layers", lambda unet: {})
    with pytest.raises(ValueError, match="no self-attention"):
        draw(tiny_base, {})
    assert draw(tiny_base, {"attention": "removed"}).video.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_full_precision(dtype: torch.dtype, tiny_base: Base) -> None:
    halves = {name: copy.deepcopy(getattr(tiny_base, name)).to(dtype) for name in ("unet", "vae", "text_encoder")}
    half = dataclasses.replace(tiny_base, dtype=dtype, **halves)
    actual = draw(half, {}).video
    assert actual.dtype == torch.float32

    def rounded(module: torch.nn.Module, args: object, output: object) -> torch.Tensor | None:
        return output.to(dtype).double() if isinstance(output, torch.Tensor) else None

    with in_float64():
        wide = widened(tiny_base)
        full = draw(wide, {}).video
        ideal = dataclasses.replace(wide, **{name: copy.deepcopy(half).double() for name, half in halves.items()})
        with register_module_forward_hook(rounded):
            once = draw(ideal, {}).video
    # At best the weights and the output of each layer are rounded once, at worst every term of each sum in a layer:
    # such errors grow with the root of their number (Higham and Mary, 2019).
    longest = max(weight[0].numel() for network in halves.values() for weight in network.parameters())
    assert spread(actual - full) < math.sqrt(longest) * spread(once - full)


def spread(difference: torch.Tensor) -> float:
    return float(difference.square().mean().sqrt())


@pytest.mark.gpu
def test_a_gpu_samples_what_the_cpu_does(tiny_base: Base) -> None:
    torch.backends.cudnn.allow_tf32 = False  # as workers set it
    gpu = load_base(tiny_base.ref, device="cuda", precision="fp32")
    assert gpu.device.type == "cuda"
    torch.testing.assert_close(draw(gpu, {}).video, draw(tiny_base, {}).video, rtol=0, atol=1e-3)
    assert load_base(tiny_base.ref).dtype == torch.bfloat16
