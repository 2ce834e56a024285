"""The networks of the image-to-video base before training: sizes, start, saving and loading, sampling."""

import json
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention

from models.backbones import load_base, num_parameters
from models.bases import FOLDER, Protocol, find_base, misfits, missing_files
from models.bases.families import STABLE_VIDEO_DIFFUSION
from models.streams import Streams
from tests.factories import clip_of_pipeline
from trainables.pretraining.networks import embed_images
from trainables.pretraining.saving import load_networks
from trainables.pretraining.video_networks import VideoNetworks, build_temporal_vae, build_video_networks
from trainables.pretraining.video_quality import generate, psnr
from trainables.pretraining.video_saving import load_video_networks, save_video_networks

SHAPES = FOLDER / "shapes"
PROTOCOL = Protocol(clips=2, frames=8, steps=2, guidance=2.0, height=32, width=32)


@pytest.fixture(scope="module")
def untrained() -> VideoNetworks:
    torch.manual_seed(0)
    return build_video_networks(SHAPES)


@pytest.fixture(scope="module")
def folder(untrained: VideoNetworks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bases") / "video"
    save_video_networks(untrained, out)
    return out


def test_the_networks_are_small(untrained: VideoNetworks, folder: Path) -> None:
    assert num_parameters(untrained.unet) == 3_292_627
    assert num_parameters(untrained.vae) == 1_256_184
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    others = (file for file in FOLDER.rglob("*") if not {"shapes_video", "__pycache__"} & {*file.parts})
    assert size + sum(file.stat().st_size for file in others) < 19.7e6  # a picture is added


def test_the_unet_attends_over_space_and_time_at_both_resolutions(untrained: VideoNetworks) -> None:
    selfs = [n for n, m in untrained.unet.named_modules() if isinstance(m, Attention) and n.endswith("attn1")]
    for blocks in ("transformer_blocks", "temporal_transformer_blocks"):
        assert {".".join(name.split(".")[:2]) for name in selfs if f".{blocks}." in name} == {
            "down_blocks.0", "down_blocks.1", "mid_block.attentions", "up_blocks.0", "up_blocks.1",
        }  # fmt: skip


def test_brightness_passes_the_untrained_encoder() -> None:
    torch.manual_seed(0)
    vae = build_temporal_vae().eval()
    images = torch.stack([torch.full((3, 32, 32), level) for level in (-0.9, -0.3, 0.3, 0.9)])
    with torch.inference_mode():
        latents = vae.encode(images).latent_dist.mean.mean(dim=(2, 3))
    spread, between = (latents[0] - latents[-1]).norm(), (latents[1:] - latents[:-1]).norm(dim=1).sum()
    assert spread > 0.01
    assert between < 1.3 * spread  # in order, nearly on a line


def test_the_untrained_unet_predicts_zero(untrained: VideoNetworks) -> None:
    predicted = untrained.unet(
        torch.randn(1, 8, 8, 8, 8), torch.tensor(0.3), torch.randn(1, 1, 64), torch.tensor([[6.0, 127.0, 0.02]])
    )
    assert (predicted.sample == 0).all()


def test_image_and_text_towers_are_those_of_shapes(untrained: VideoNetworks) -> None:
    shapes, image = load_networks(SHAPES), torch.rand(3, 3, 32, 32) * 2 - 1
    embedded = untrained.base().encode_images(image)[:, 0]
    torch.testing.assert_close(torch.nn.functional.normalize(embedded, dim=-1), embed_images(shapes.clip, image))
    ids = untrained.tokenizer("a red circle drops", return_tensors="pt").input_ids
    with torch.inference_mode():
        states = [tower(ids).last_hidden_state for tower in (untrained.text_encoder, shapes.clip.text_model)]
    assert torch.equal(*states)


def test_the_folder_is_a_base_of_its_family(untrained: VideoNetworks, folder: Path) -> None:
    ref = find_base(str(folder))
    assert ref.family == STABLE_VIDEO_DIFFUSION
    assert missing_files(ref) == []
    assert misfits(ref) == []
    base = load_base(ref, device="cpu", precision="fp32")
    assert base.pixels_per_latent == 4
    assert base.noise_scheduler.config.prediction_type == "v_prediction"
    given = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    assert base.sample(["", ""], Streams(0), PROTOCOL, given).video.shape == (2, 8, 3, 32, 32)
    assert json.loads((folder / "text_encoder" / "config.json").read_text())["hidden_size"] == 96


def test_saved_networks_come_back_in_half_precision(untrained: VideoNetworks, folder: Path) -> None:
    loaded = load_video_networks(folder, SHAPES)
    for name in ("unet", "vae", "image_encoder", "text_encoder", "classifier"):
        before, after = (getattr(nets, name).state_dict() for nets in (untrained, loaded))
        assert before.keys() == after.keys()
        assert all(torch.equal(after[key], value.half().to(value.dtype)) for key, value in before.items()), name
    first = (torch.rand(2, 32, 32, 3) * 255).to(torch.uint8)
    assert generate(loaded, first, PROTOCOL).shape == (2, 8, 32, 32, 3)


def test_diffusers_own_pipeline_loads_it(folder: Path) -> None:
    assert clip_of_pipeline(folder).shape == (1, 8, 32, 32, 3)


def test_signal_to_noise_ratio() -> None:
    black = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    grey = black.clone()
    grey[1] = 51  # a fifth of the range
    found = psnr(grey, black)
    assert found[0] > 80
    assert found[1].item() == pytest.approx(13.979, abs=1e-3)
