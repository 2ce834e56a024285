"""The embedded image-to-video base: figures of its card, recomputed from the shipped weights."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, CLIPTextModel

from models.backbones import start_noise
from models.bases import FOLDER, Protocol, base_hash, find_base, missing_files, read_card
from models.bases.families import STABLE_VIDEO_DIFFUSION
from models.bases.stable_video_diffusion import MicroConditions
from models.denoising import denoise
from models.guidance import UNGUIDED
from models.streams import Streams
from tests.factories import clip_of_pipeline
from tests.tolerance import STANDARD_ERRORS
from trainables.pretraining import video_quality
from trainables.pretraining.corpus import Corpus, as_float, as_pixels, load_corpus
from trainables.pretraining.video_networks import VideoNetworks
from trainables.pretraining.video_saving import load_video_networks
from trainables.pretraining.video_stages import encode_clips, motion

BASE = find_base("shapes_video")
CARD: dict[str, Any] = json.loads((Path(str(BASE.path)) / "card.json").read_text(encoding="utf-8"))
SHAPES = FOLDER / "shapes"


@pytest.fixture(scope="module")
def folder() -> Path:
    assert BASE.path is not None
    return BASE.path


@pytest.fixture(scope="module")
def nets(folder: Path) -> VideoNetworks:
    return load_video_networks(folder, SHAPES)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The first held-out clips of the card."""
    folder, training = tmp_path_factory.mktemp("clips"), CARD["training"]
    return load_corpus(folder, 32, "test", training["seed"], 8, training["frames_per_motion"])


def test_the_folder_is_whole_and_small(folder: Path) -> None:
    assert BASE.family == STABLE_VIDEO_DIFFUSION
    assert missing_files(BASE) == []
    assert len(base_hash(BASE)) == 64
    weights = list(folder.glob("*/*.safetensors"))
    assert {file.parent.name for file in weights} == {"unet", "vae", "image_encoder", "text_encoder"}
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if "__pycache__" not in file.parts) <= 20e6
    for file in weights:
        with safe_open(file, "pt") as tensors:
            assert {tensors.get_tensor(name).dtype for name in tensors.keys()} <= {torch.float16, torch.int64}  # noqa: SIM118
            assert all(tensors.get_tensor(name).isfinite().all() for name in tensors.keys())  # noqa: SIM118


def test_the_card_is_read(folder: Path) -> None:
    card = read_card(BASE)
    assert card.protocol == Protocol(**CARD["protocol"])
    assert (card.protocol.frames, card.protocol.height, card.protocol.width) == (8, 32, 32)
    assert card.extractors == {"clip": "../shapes/clip", "clips": "../shapes/classifier"}
    assert all((folder / extractor / "config.json").is_file() for extractor in card.extractors.values())
    assert (card.name, card.surrogate) == ("shapes_video", True)
    assert card.data == {"layout": "shapes", "frames_per_motion": CARD["training"]["frames_per_motion"]}


def test_the_card_reaches_its_targets() -> None:
    assert {name: CARD["quality"][name] for name in CARD["asked"] if CARD["quality"][name] < CARD["asked"][name]} == {}
    assert CARD["asked"]["generated_motion"] >= 0.8
    assert CARD["asked"]["first_frame_psnr_db"] >= 20
    assert CARD["training"]["fraction"] == 1.0
    assert CARD["training"]["wall_minutes"] <= 45


def test_the_readme_says_what_the_card_says(folder: Path) -> None:
    words = (folder / "README.md").read_text(encoding="utf-8")
    for name, value in CARD["quality"].items():
        assert f"| `{name}` | {value:.4g} |" in words
    assert (folder / "samples.png").is_file()


def test_diffusers_own_pipeline_loads_it(folder: Path) -> None:
    assert clip_of_pipeline(folder).shape == (1, 8, 32, 32, 3)


def test_the_text_tower_beside_it_is_that_of_shapes(folder: Path) -> None:
    ids = AutoTokenizer.from_pretrained(folder / "tokenizer")("a red circle drops", return_tensors="pt").input_ids
    towers = [CLIPTextModel.from_pretrained(base / "text_encoder") for base in (folder, SHAPES)]
    with torch.inference_mode():
        states = [tower.eval()(ids).last_hidden_state for tower in towers]
    assert torch.equal(*states)


def test_latents_have_standard_deviation_one(nets: VideoNetworks, few: Corpus) -> None:
    latents = encode_clips(nets, few.clips)[:, 0] * nets.vae.config.scaling_factor
    # The scale comes from the training clips: another sample, with one frame per clip.
    squares = (latents - latents.mean()).square().mean(dim=(1, 2, 3)).numpy()
    assert abs(squares.mean() - 1) < STANDARD_ERRORS * scipy.stats.sem(squares)


def test_the_autoencoder_keeps_what_the_card_says(nets: VideoNetworks, few: Corpus) -> None:
    singly = [dataclasses.replace(few, clips=few.clips[k : k + 1]) for k in range(len(few))]
    errors = 10 ** (-0.1 * np.array([video_quality.vae_psnr(nets, one) for one in singly]))
    decibels = 10 / math.log(10) * scipy.stats.sem(errors) / errors.mean()
    actual = -10 * math.log10(errors.mean())
    assert abs(actual - CARD["quality"]["vae_psnr_db"]) < STANDARD_ERRORS * decibels


@pytest.mark.slow
def test_the_shares_of_the_card_come_out_again(nets: VideoNetworks, few: Corpus) -> None:
    """Over the first of its clips: a share of them may differ from that of all by sampling without replacement."""
    actual = video_quality.measure(nets, few, read_card(BASE).protocol).model_dump()
    assert actual["generated_clips"] == len(few)
    assert actual["first_frame_psnr_db"] >= CARD["asked"]["first_frame_psnr_db"]
    shares = [name for name in actual if name.startswith(("generated_", "rendered_", "frozen_", "first_frame_kept"))]
    for name in set(shares) - {"generated_clips"}:
        share = CARD["quality"][name]
        error = math.sqrt(share * (1 - share) * (1 / len(few) - 1 / CARD["quality"]["generated_clips"]))
        rounding = 0.5e-4  # of the card
        assert abs(actual[name] - share) <= STANDARD_ERRORS * error + rounding, name


@pytest.mark.slow
def test_a_larger_motion_bucket_gives_more_motion(nets: VideoNetworks, few: Corpus) -> None:
    base, first, protocol = nets.base(), as_float(few.clips[:, 0]), read_card(BASE).protocol
    found = []
    for bucket in (0, 127):
        noise = start_noise(Streams(0), len(first), range(8), base.latent_shape(protocol))
        latents = denoise(
            base.denoiser(),
            noise,
            base.conditions(first, Streams(0), 8, MicroConditions(motion=bucket)),
            noise_scheduler=base.noise_scheduler,
            guide=UNGUIDED,
            steps=10,
            micro_batch=64,
        )
        found.append(motion(as_pixels(base.decode_latents(latents))))
    assert (found[1] > found[0]).double().mean() > 0.9
