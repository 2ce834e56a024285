"""The built system: loss, given frames, samples and saved files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.bases import Protocol
from models.bases.stable_diffusion import StableDiffusion
from models.seer import Seer
from models.seer.network import LastFrame, PretrainedSeer, SeerModel
from models.streams import Streams
from tests.tolerance import base_bound, network_bound

PROTOCOL = Protocol(clips=2, frames=4, steps=2, guidance=2.0, height=32, width=32)
PROMPTS = ["a red circle moves right", "a blue square"]
APART: dict[str, object] = {"temporal_attention": "removed", "text_decomposer": "removed", "group_norm": "per_frame"}


def model(base: StableDiffusion, **changes: object) -> SeerModel:
    built = Seer().edit(changes).build(base, 1)
    assert isinstance(built, SeerModel)
    return built


def given(references: int = 2) -> torch.Tensor:
    return torch.rand(2, references, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def tensors(base: StableDiffusion) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    latents, noise = (torch.randn(2, 4, 4, 4, 4, generator=rng) for _ in range(2))
    text = base.encode_text(PROMPTS)
    return {"latents": latents, "text": text, "noise": noise, "time": torch.tensor([100, 700])}


@torch.no_grad()
@pytest.mark.parametrize("references", [0, 1, 2, 3])
def test_the_loss_is_that_of_the_predicted_frames_with_clean_references(
    references: int, float64_base: StableDiffusion
) -> None:
    network = model(float64_base, references=references).network.eval()
    batch, rounding = tensors(float64_base), network_bound(network, size=3)
    alpha = float64_base.noise_scheduler.alphas_cumprod[batch["time"]].view(2, 1, 1, 1, 1)
    noisy = alpha.sqrt() * batch["latents"] + (1 - alpha).sqrt() * batch["noise"]
    clips = torch.cat([batch["latents"][:, :references], noisy[:, references:]], dim=1)
    predicted = network.unet(clips, batch["time"], network.text(batch["text"], 4))
    expected = (predicted - batch["noise"])[:, references:].square().mean()
    assert expected < 3
    torch.testing.assert_close(network(**batch), expected, rtol=0, atol=rounding)
    changed = batch["noise"].clone()
    changed[:, :references] += 5
    torch.testing.assert_close(network(**{**batch, "noise": changed}), expected, rtol=0, atol=rounding)


def test_with_nothing_between_frames_it_is_the_image_model(float64_base: StableDiffusion) -> None:
    base = float64_base
    image = {**APART, "text_padding": "attended"}
    drawn = model(base, **image).sample(PROMPTS, Streams(5), PROTOCOL, given()).video
    assert torch.equal(drawn[:, :2], given()), "given frames stand in the clip as they were given"
    changed = model(base, **image).sample(PROMPTS, Streams(5), PROTOCOL, given().flip(-1)).video
    assert torch.equal(drawn[:, 2:], changed[:, 2:]), "and reach no other frame"
    noise = np.array([[Streams(5).normal("noise", k, f, shape=(4, 4, 4)) for f in (2, 3)] for k in range(2)])
    ordinary = base.draw(torch.from_numpy(noise), base.encode_text(PROMPTS), PROTOCOL)
    torch.testing.assert_close(drawn[:, 2:], ordinary, rtol=0, atol=base_bound(base, steps=2, guidance=2.0))


@pytest.mark.parametrize("kind", ["scaled_window", "temporal", "concatenation"])
def test_a_trained_model_sees_its_references(kind: str, tiny_base: StableDiffusion) -> None:
    seer = model(tiny_base, temporal_attention=kind)
    trained = {n: p + 0.05 * torch.ones_like(p) for n, p in seer.network.named_parameters() if p.requires_grad}
    seer.load({name: weight.detach() for name, weight in trained.items()})
    one, other = (seer.sample(PROMPTS, Streams(5), PROTOCOL, frames).video for frames in (given(), given().flip(-1)))
    assert not torch.allclose(one[:, 2:], other[:, 2:], atol=1e-4)


def test_without_a_prediction_the_last_given_frame_is_repeated(tiny_base: StableDiffusion) -> None:
    repeater = Seer().edit({"prediction": "removed"}).build(tiny_base)
    video = repeater.sample(PROMPTS, Streams(5), PROTOCOL, given()).video
    assert torch.equal(video[:, :2], given())
    assert all(torch.equal(video[:, frame], given()[:, 1]) for frame in (2, 3))
    assert list(repeater.network.parameters()) == []
    with pytest.raises(ValueError, match="no model to export"):
        repeater.save(Path("nowhere"))


@pytest.mark.parametrize(
    ("frames", "message"),
    [(None, "none given -> 2 clips x 2 reference frames"), (given(1), "2 x 1 given"), (given(3), "2 x 3 given")],
)
def test_other_given_frames_than_it_takes_are_refused(
    frames: torch.Tensor | None, message: str, tiny_base: StableDiffusion
) -> None:
    with pytest.raises(ValueError, match=message):
        model(tiny_base).sample(PROMPTS, Streams(5), PROTOCOL, frames)
    with pytest.raises(ValueError, match="fewer than the 2 frames"):
        model(tiny_base).sample(PROMPTS, Streams(5), PROTOCOL.model_copy(update={"frames": 2}), given())


@pytest.mark.parametrize(
    ("kind", "trained"),
    [
        ("new_parts", (".temporal.", "text.")),
        ("with_cross_attention", (".temporal.", "text.", ".attn2.")),
        ("all", ("",)),
    ],
)
def test_what_is_trained(kind: str, trained: tuple[str, ...], tiny_base: StableDiffusion) -> None:
    named = dict(model(tiny_base, trainable=kind).network.named_parameters())
    for name, parameter in named.items():
        inside = any(part in name for part in trained if part != "text.") or (
            "text." in trained and name.startswith("text.")
        )
        assert parameter.requires_grad == inside, name


def test_what_it_saves_diffusers_loads(float64_base: StableDiffusion, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import AutoTokenizer, CLIPTextModel

    seer = model(float64_base)
    seer.load({n: torch.ones_like(p) * 0.01 for n, p in seer.network.named_parameters() if p.requires_grad})
    seer.save(tmp_path)
    loaded = PretrainedSeer.from_pretrained(tmp_path / "seer").network.eval()
    batch = tensors(float64_base)
    with torch.no_grad():
        again, rounding = loaded(**batch), network_bound(loaded, size=3)
        torch.testing.assert_close(again, seer.network.eval()(**batch), rtol=0, atol=rounding)
        assert again < 3
    for kind, part in ((AutoencoderKL, "vae"), (CLIPTextModel, "text_encoder"), (AutoTokenizer, "tokenizer")):
        kind.from_pretrained(tmp_path, subfolder=part)
    schedule = DDIMScheduler.from_pretrained(tmp_path, subfolder="scheduler")
    assert torch.equal(schedule.alphas_cumprod, float64_base.noise_scheduler.alphas_cumprod)


def test_parameters_on_the_meta_device_are_those_that_are_built(tiny_base: StableDiffusion) -> None:
    networks = {name: getattr(tiny_base, name) for name in ("unet", "vae", "text_encoder")}
    for changes in ({}, APART, {"trainable": "all"}):
        tree = Seer().edit(changes)
        meta = tree.network_on_meta({name: network.to("cpu") for name, network in networks.items()})
        built = tree.build(tiny_base).network
        count = [(n, p.shape, p.requires_grad) for n, p in built.named_parameters()]
        assert [(n, p.shape, p.requires_grad) for n, p in meta.named_parameters()] == count


def test_what_repeats_the_last_frame_is_grey_where_none_is_given() -> None:
    protocol = Protocol(clips=2, frames=4, steps=1, guidance=1.0, height=8, width=8)
    nothing = LastFrame(0).sample(["a", "b"], Streams(0), protocol).video
    assert nothing.shape == (2, 4, 3, 8, 8)
    assert not nothing.any()
    given = torch.rand(2, 2, 3, 8, 8)
    video = LastFrame(2).sample(["a", "b"], Streams(0), protocol, given).video
    assert torch.equal(video[:, :2], given)
    assert all(torch.equal(video[:, frame], given[:, 1]) for frame in (2, 3))
