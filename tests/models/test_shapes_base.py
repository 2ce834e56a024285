"""The embedded base: figures of its card, recomputed from the shipped weights."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import Attention
from safetensors import safe_open
from transformers import AutoTokenizer

from models.backbones import load_base
from models.bases import Protocol, base_hash, find_base, missing_files, read_card
from models.streams import Streams
from models.zs2 import ZS2
from tests.tolerance import STANDARD_ERRORS
from trainables.data import ShapesData
from trainables.pretraining import quality
from trainables.pretraining.corpus import Corpus, load_corpus
from trainables.pretraining.networks import Networks, caption_words, embed_images
from trainables.pretraining.saving import load_networks

BASE = find_base("shapes")
CARD: dict[str, Any] = json.loads((Path(str(BASE.path)) / "card.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder() -> Path:
    assert BASE.path is not None
    return BASE.path


@pytest.fixture(scope="module")
def nets(folder: Path) -> Networks:
    return load_networks(folder)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The first held-out clips of the card."""
    return load_corpus(tmp_path_factory.mktemp("clips"), 96, "test", CARD["training"]["seed"])


def _off(share: float, count: int) -> float:
    """Four standard errors of a share counted on a sample, and half a count."""
    return STANDARD_ERRORS * math.sqrt(max(share * (1 - share), 0.01) / count) + 0.5 / count


def test_the_folder_is_whole_and_small(folder: Path) -> None:
    assert missing_files(BASE) == []
    assert len(base_hash(BASE)) == 64
    weights = list(folder.glob("*/*.safetensors"))
    assert {file.parent.name for file in weights} == {"unet", "vae", "text_encoder", "clip", "classifier"}
    assert sum(file.stat().st_size for file in folder.rglob("*")) <= 20e6
    for file in weights:
        with safe_open(file, "pt") as tensors:
            assert {tensors.get_tensor(name).dtype for name in tensors.keys()} <= {torch.float16, torch.int64}  # noqa: SIM118
            assert all(tensors.get_tensor(name).isfinite().all() for name in tensors.keys())  # noqa: SIM118


def test_the_card_is_read() -> None:
    card = read_card(BASE)
    assert card.protocol == Protocol(clips=8, frames=8, steps=20, guidance=4.0, height=32, width=32)
    assert card.extractors == {"clip": "clip", "clips": "classifier"}
    assert (card.name, card.data, card.surrogate) == ("shapes", "shapes", True)


def test_the_card_holds_what_is_asked() -> None:
    assert {name: CARD["quality"][name] for name in CARD["asked"] if CARD["quality"][name] < CARD["asked"][name]} == {}
    assert CARD["training"]["fraction"] == 1.0
    assert CARD["training"]["wall_minutes"] <= 40


def test_the_readme_says_what_the_card_says(folder: Path) -> None:
    words = (folder / "README.md").read_text(encoding="utf-8")
    for name, value in CARD["quality"].items():
        assert f"| `{name}` | {value:.4g} |" in words
    assert (folder / "samples.png").is_file()


def test_diffusers_own_pipeline_loads_it_without_a_word(folder: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline("a red circle grows", num_inference_steps=2, height=32, width=32, output_type="np")
    assert made.images.shape == (1, 32, 32, 3)


def test_every_word_of_the_grammar_is_one_token(folder: Path) -> None:
    for name in ("tokenizer", "clip"):
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        assert [word for word in caption_words() if len(tokenizer.tokenize(word)) != 1] == []
        longest = "a large banded red circle on a dark moss checked background moves right, then moves left"
        assert len(tokenizer(longest).input_ids) <= tokenizer.model_max_length


def test_the_unet_attends_to_itself_at_both_resolutions_and_in_the_middle(nets: Networks) -> None:
    selfs = [n for n, m in nets.unet.named_modules() if isinstance(m, Attention) and not m.is_cross_attention]
    assert {".".join(name.split(".")[:2]) for name in selfs} == {
        "down_blocks.0", "down_blocks.1", "mid_block.attentions", "up_blocks.0", "up_blocks.1",
    }  # fmt: skip


def test_the_text_encoder_is_clips_text_tower(nets: Networks) -> None:
    base = load_base(BASE, device="cpu", precision="fp32")
    ours, theirs = nets.clip.text_model.state_dict(), base.text_encoder.state_dict()
    assert all(torch.equal(ours[name.removeprefix("text_model.")], value) for name, value in theirs.items())


def test_the_autoencoder_keeps_what_the_card_says(nets: Networks, few: Corpus) -> None:
    singly = [dataclasses.replace(few, clips=few.clips[k : k + 1]) for k in range(len(few))]
    errors = 10 ** (-0.1 * np.array([quality.vae_psnr(nets, one) for one in singly]))
    decibels = 10 / math.log(10) * scipy.stats.sem(errors) / errors.mean()
    actual = -10 * math.log10(errors.mean())
    assert abs(actual - CARD["quality"]["vae_psnr_db"]) < STANDARD_ERRORS * decibels


def test_latents_have_standard_deviation_one(nets: Networks, few: Corpus) -> None:
    with torch.inference_mode():
        images = few.frames(torch.arange(96), torch.zeros(96, dtype=torch.long))
        latents = nets.vae.encode(images).latent_dist.mean * nets.vae.config.scaling_factor
    # The scale comes from the training clips: another sample, with one frame per clip.
    squares = (latents - latents.mean()).square().mean(dim=(1, 2, 3)).numpy()
    assert abs(squares.mean() - 1) < STANDARD_ERRORS * scipy.stats.sem(squares)


def test_clip_picks_as_the_card_says(nets: Networks, few: Corpus) -> None:
    claimed = CARD["quality"]["clip_picks_of_16"]
    assert abs(quality.clip_picks(nets, few) - claimed) <= _off(claimed, len(few))


def test_the_classifier_is_right_as_the_card_says(nets: Networks, few: Corpus) -> None:
    for actual, head in zip(quality.classifier_accuracy(nets, few), ("shape", "colour", "motion"), strict=True):
        claimed = CARD["quality"][f"classifier_{head}"]
        assert abs(actual - claimed) <= _off(claimed, len(few)), head


@pytest.mark.slow
def test_all_figures_of_the_card_come_out_again(nets: Networks, tmp_path: Path) -> None:
    training = CARD["training"]
    held_out = load_corpus(tmp_path, training["held_out_clips"], "test", training["seed"])
    protocol = read_card(BASE).protocol
    actual = quality.measure(nets, held_out, steps=protocol.steps, guidance=protocol.guidance)
    assert actual.model_dump() == pytest.approx(CARD["quality"], abs=0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_first_frame_attention_raises_consistency_of_independent_frames(nets: Networks) -> None:
    base = load_base(BASE, device="cpu", precision="fp32")
    protocol = read_card(BASE).protocol
    alone = ZS2().edit({"noise": "removed", "attention": "removed"}).build(base)
    first = ZS2().edit({"noise": "removed", "attention": "cross_frame"}).build(base)
    gains = []
    for seed in range(5):
        prompts = ShapesData().prompts(Streams(seed), protocol.clips)
        pair = [_consistency(nets, model.sample(prompts, Streams(seed), protocol).video) for model in (alone, first)]
        gains.append(pair[1] - pair[0])
    low, _ = scipy.stats.t.interval(0.95, len(gains) - 1, np.mean(gains), scipy.stats.sem(gains))
    assert low > 0.02


@torch.inference_mode()
def _consistency(nets: Networks, video: torch.Tensor) -> float:
    embedded = embed_images(nets.clip, video.flatten(0, 1)).reshape(*video.shape[:2], -1)
    return (embedded[:, 1:] * embedded[:, :-1]).sum(-1).mean().item()
