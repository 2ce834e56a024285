"""Stages of the image-to-video base: motion buckets, scale of latents, loss of an exact denoiser."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.bases import FOLDER
from models.bases.stable_video_diffusion import motion_buckets
from trainables.pretraining import video_stages
from trainables.pretraining.corpus import Corpus, load_corpus
from trainables.pretraining.fitting import Clock
from trainables.pretraining.video_networks import VideoNetworks, build_video_networks
from trainables.pretraining.video_stages import (
    clear_motion,
    encode_clips,
    motion,
    train_temporal_vae,
    train_video_unet,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return load_corpus(tmp_path_factory.mktemp("clips"), 24, "train", 0, 8, 8)


@pytest.fixture
def nets() -> VideoNetworks:
    torch.manual_seed(0)
    return build_video_networks(FOLDER / "shapes")


@pytest.fixture
def clock() -> Clock:
    clock = Clock({"stage": 1.0})
    clock.start("stage")
    return clock


def test_a_paced_corpus_has_one_motion_per_clip(corpus: Corpus) -> None:
    assert corpus.clips.shape == (24, 8, 32, 32, 3)
    assert (corpus.motion[:, 0] == corpus.motion[:, 1]).all()
    assert all(scene.frames_per_motion == 8 for scene in corpus.scenes)


def test_motion_buckets_rise_with_motion_from_zero_for_frozen_clips(corpus: Corpus) -> None:
    found = motion(corpus.clips)
    stays = torch.tensor([scene.motions == ("stays",) for scene in corpus.scenes])
    assert stays.any()
    assert (found[stays] == 0).all()
    assert (found[~stays] > 0.002).all()
    clear = clear_motion(corpus)
    assert 0.55 < (found < clear).float().mean() < 0.85
    buckets = motion_buckets(found, clear)
    assert buckets.min() == 0
    assert buckets.max() <= 255
    assert motion_buckets(torch.tensor([clear]), clear).item() == 127
    assert buckets[found.argsort()].diff().ge(0).all()


def test_a_short_training_of_the_autoencoder_sets_the_scale(nets: VideoNetworks, corpus: Corpus, clock: Clock) -> None:
    train_temporal_vae(nets, corpus, steps=2, batch=2, rng=torch.Generator().manual_seed(0), clock=clock)
    latents = encode_clips(nets, corpus.clips) * nets.vae.config.scaling_factor
    assert latents.shape == (24, 8, 4, 8, 8)
    assert latents.std().item() == pytest.approx(1.0, abs=1e-4)


def test_an_exact_denoiser_has_no_loss(
    nets: VideoNetworks, corpus: Corpus, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one clip the clean latents are known, and so is v: eps from the input, z from the encoder."""
    one = dataclasses.replace(corpus, clips=corpus.clips[:1], scenes=corpus.scenes[:1])
    clean = encode_clips(nets, one.clips)
    seen: list[torch.Tensor] = []

    def exact(inputs: torch.Tensor, time: torch.Tensor, image: torch.Tensor, added_time_ids: torch.Tensor) -> Any:
        s = (4 * time).exp()[:, None, None, None, None]
        total = (s.square() + 1).sqrt()
        noise = (inputs[:, :, :4] * total - clean.half().float()) / s
        seen.append(added_time_ids)
        dropped = (inputs[:, :, 4:] == 0).flatten(1).all(1)
        assert torch.equal(dropped, (image == 0).flatten(1).all(1))
        return dataclasses.make_dataclass("Output", ["sample"])((noise - s * clean.half().float()) / total)

    def fit(_: object, loss: Callable[[int], torch.Tensor], **_options: object) -> None:
        assert max(loss(step).item() for step in range(10)) < 1e-3

    nets.vae.register_to_config(scaling_factor=1.0)
    monkeypatch.setattr(video_stages, "fit", fit)
    monkeypatch.setattr(nets, "unet", exact)
    train_video_unet(nets, one, steps=1, batch=16, rng=torch.Generator().manual_seed(0), clock=clock)
    micro = torch.cat(seen)
    assert micro[:, 0].min() >= 3
    assert micro[:, 0].max() <= 29
    assert 0.1 < (micro[:, 2] == 0).float().mean() < 0.4
    assert micro[:, 2].median() < 0.1
