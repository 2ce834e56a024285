import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from models.backbones import load_base, networks_on_meta, num_parameters, weights_variant
from models.bases import BaseRef, find_base
from models.bases.families import STABLE_DIFFUSION
from models.bases.stable_diffusion import StableDiffusion
from models.system import NonFiniteError
from tests.tolerance import network_bound

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


@pytest.fixture
def copied(tiny_base_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_base_folder, tmp_path / "copied")


def change_weights(file: Path, **added: torch.Tensor) -> str:
    """Add weights, or remove the first one if none is given; return the name that is now wrong."""
    weights = load_file(file)
    wrong = next(iter(added)) if added else sorted(weights)[0]
    weights = weights | added if added else {name: value for name, value in weights.items() if name != wrong}
    save_file(weights, file, {"format": "pt"})
    return wrong


# ------------------------------------------------------------------------------------------------------------- loading


def test_a_base_is_what_diffusers_saved(tiny_base: StableDiffusion, tiny_base_folder: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base_folder, safety_checker=None)
    for name in STABLE_DIFFUSION.networks:
        expected, actual = getattr(pipeline, name).state_dict(), getattr(tiny_base, name).state_dict()
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
        assert not getattr(tiny_base, name).training
        assert not any(weight.requires_grad for weight in getattr(tiny_base, name).parameters())
    assert tiny_base.dtype == torch.float32
    assert tiny_base.device == torch.device("cpu")
    assert tiny_base.pixels_per_latent == 8
    assert tiny_base.noise_scheduler.config.beta_schedule == "scaled_linear"
    assert tiny_base.noise_scheduler.config.steps_offset == 1
    assert not tiny_base.noise_scheduler.config.clip_sample


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_precision_is_as_asked(precision: str, dtype: torch.dtype, tiny_base_folder: Path) -> None:
    base = load_base(find_base(str(tiny_base_folder)), device="cpu", precision=precision)
    assert base.dtype == dtype
    for name in STABLE_DIFFUSION.networks:
        assert {weight.dtype for weight in getattr(base, name).parameters()} == {dtype}


@pytest.mark.parametrize(
    ("files", "variant"),
    [
        (["model.safetensors"], None),
        (["model.safetensors", "model.fp16.safetensors"], None),
        (["model.fp16.safetensors", "pytorch_model.bin"], None),
        (["model.fp16.safetensors", "pytorch_model.fp16.bin"], "fp16"),
        (["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"], "fp16"),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], None),
        (["model-00001-of-00002.fp16.safetensors", "model-00002-of-00002.fp16.safetensors"], "fp16"),
        (["model.non_ema.safetensors", "model.fp16.safetensors"], "fp16"),
        (["model.non_ema.safetensors"], "non_ema"),
        ([], None),
    ],
)
def test_the_variant_follows_the_names(files: list[str], variant: str | None, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert weights_variant(tmp_path) == variant


@pytest.mark.parametrize("file", [UNET, TEXT])
def test_weights_of_another_shape_are_an_error(file: str, copied: Path) -> None:
    name = sorted(load_file(copied / file))[0]
    change_weights(copied / file, **{name: torch.zeros(3, 3)})
    with pytest.raises(ValueError, match=rf"base .*: .*{file.split('/')[0]}/") as caught:
        load_base(find_base(str(copied)), device="cpu")
    assert name in str(caught.value)


@pytest.mark.usefixtures("hub_cache")
def test_a_hub_base_loads_from_the_cache_without_the_hub(tiny_base: StableDiffusion) -> None:
    actual = load_base(find_base("org/tiny"), device="cpu").unet.state_dict()
    assert all(torch.equal(actual[name], expected) for name, expected in tiny_base.unet.state_dict().items())


@pytest.mark.usefixtures("hub_cache")
def test_an_absent_hub_base_says_how_to_get_it() -> None:
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set and it is not in the local cache") as caught:
        load_base(find_base("org/other@v2"), device="cpu")
    assert "`hf download org/other --revision v2`" in str(caught.value)
    assert "or set base to a folder in Stable Diffusion layout" in str(caught.value)


def test_the_hub_is_asked_for_what_is_used_alone(tiny_base_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def download(name: str, **options: object) -> str:
        asked.append((name, options))
        if name == "org/private":
            raise OSError("401 Unauthorized")
        return str(tiny_base_folder)

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(DiffusionPipeline, "download", download)
    load_base(find_base("org/tiny@v2"), device="cpu")
    assert asked[0][0] == "org/tiny"
    assert asked[0][1]["revision"] == "v2"
    assert asked[0][1]["local_files_only"] is False
    assert "safety_checker" in asked[0][1]
    with pytest.raises(ValueError, match="error from the hub: 401 Unauthorized -> run `hf download org/private`"):
        load_base(find_base("org/private"), device="cpu")


def counts(ref: BaseRef) -> dict[str, int]:
    return {name: num_parameters(network) for name, network in networks_on_meta(ref).items()}


def test_the_published_configuration_has_the_published_counts() -> None:
    ref = find_base("stable-diffusion-v1-5")
    assert counts(ref) == {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}
    with pytest.raises(ValueError, match=r"incomplete.*unet/\*\.safetensors"):
        load_base(ref)


def test_parameters_are_counted_without_weights(copied: Path, tiny_base: StableDiffusion) -> None:
    for file in copied.glob("*/*.safetensors"):
        file.unlink()
    actual = counts(find_base(str(copied)))
    assert actual == {name: num_parameters(getattr(tiny_base, name)) for name in STABLE_DIFFUSION.networks}


# ----------------------------------------------------------------------------------------------------- text and pixels


def test_each_distinct_prompt_is_encoded_once(float64_base: StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    base = float64_base
    sizes, forward = [], base.text_encoder.forward

    def spy(ids: torch.Tensor, **kwargs: object) -> object:
        sizes.append(len(ids))
        return forward(ids, **kwargs)

    monkeypatch.setattr(base.text_encoder, "forward", spy)
    states = base.encode_text(["a", "b", "a"])
    assert sizes == [2]
    assert states.shape == (3, 77, 16)
    assert torch.equal(states[0], states[2])
    assert not torch.equal(states[0], states[1])
    pipeline = {"prompt": ["a", "b"], "device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    whole = StableDiffusionPipeline(
        base.vae,
        base.text_encoder,
        base.tokenizer,
        base.unet,
        base.noise_scheduler,
        None,
        None,
        requires_safety_checker=False,
    )
    rounding = network_bound(base.text_encoder)
    torch.testing.assert_close(states[:2], whole.encode_prompt(**pipeline)[0], rtol=0, atol=rounding)


def test_a_prompt_that_is_too_long_is_cut_and_said(
    float64_base: StableDiffusion, caplog: pytest.LogCaptureFixture
) -> None:
    long = "abcdefghij " * 8
    states = float64_base.encode_text([long, long + "and more"])
    torch.testing.assert_close(*states, rtol=0, atol=network_bound(float64_base.text_encoder))
    assert [record.getMessage() for record in caplog.records] == [
        f"prompt truncated to 77 tokens: {prompt}" for prompt in (long, long + "and more")
    ]


def test_latents_are_decoded_frame_by_frame(float64_base: StableDiffusion) -> None:
    base, rounding = float64_base, network_bound(float64_base.vae)
    latents = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.2
    video = base.decode_latents(latents)
    assert video.shape == (2, 3, 3, 32, 32)
    assert video.abs().max() <= 1
    with torch.inference_mode():
        frame = base.vae.decode(latents[1, 2][None] / base.vae.config.scaling_factor).sample[0].clamp(-1, 1)
    torch.testing.assert_close(video[1, 2], frame, rtol=0, atol=rounding)
    torch.testing.assert_close(base.decode_latents(latents, micro_batch=1), video, rtol=0, atol=rounding)
    latents[1, 0, 0, 0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match=r"while decoding \(clip 1\)"):
        base.decode_latents(latents)
