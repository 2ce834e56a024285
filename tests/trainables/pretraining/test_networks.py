"""The networks of the base before training: tokenizer, start of the autoencoder, saving and loading."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch

from tests.tolerance import in_float64, network_bound
from trainables.pretraining.corpus import as_float, as_pixels
from trainables.pretraining.networks import (
    NUM_TOKENS,
    Networks,
    build_networks,
    build_tokenizer,
    build_vae,
    caption_words,
    embed_images,
    embed_texts,
)
from trainables.pretraining.quality import balanced_captions, generate
from trainables.pretraining.saving import load_networks, save_networks


@pytest.fixture(scope="module")
def untrained() -> Networks:
    torch.manual_seed(0)
    return build_networks()


def test_every_word_is_one_token_and_other_words_fall_apart() -> None:
    tokenizer = build_tokenizer()
    assert [word for word in caption_words() if len(tokenizer.tokenize(word)) != 1] == []
    red, *zebra = tokenizer.tokenize("Red zebra")
    assert red == "red</w>"
    assert len(zebra) > 2
    assert "".join(zebra) == "zebra</w>"
    ids = tokenizer("a red circle drops", padding="max_length").input_ids
    assert len(ids) == NUM_TOKENS
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a red circle drops"


def test_the_tokenizer_is_the_same_each_time() -> None:
    assert build_tokenizer().get_vocab() == build_tokenizer().get_vocab()


def test_brightness_passes_the_untrained_autoencoder() -> None:
    torch.manual_seed(0)
    vae = build_vae().eval()
    images = torch.stack([torch.full((3, 32, 32), level) for level in (-0.9, -0.3, 0.3, 0.9)])
    with torch.inference_mode():
        latents = vae.encode(images).latent_dist.mean.mean(dim=(2, 3))
    spread = (latents[0] - latents[-1]).norm()
    between = (latents[1:] - latents[:-1]).norm(dim=1).sum()
    assert between < 1.3 * spread  # in order, nearly on a line; about 2 from the default start


def test_pixels_survive_the_way_into_the_networks_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(-1, -1, -1, 3).contiguous()
    assert as_float(pixels).shape == (1, 3, 16, 16)
    assert torch.equal(as_pixels(as_float(pixels)), pixels)


def test_a_saved_base_loads_as_it_was(untrained: Networks, tmp_path: Path) -> None:
    save_networks(untrained, tmp_path)
    loaded = load_networks(tmp_path)
    names = ("vae", "clip", "unet", "classifier")
    rounded = {name: copy.deepcopy(getattr(untrained, name)).half().float().eval() for name in names}
    for name in names:
        ours, theirs = rounded[name].state_dict(), getattr(loaded, name).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    with torch.inference_mode(), in_float64():
        here = dataclasses.replace(untrained, **{name: network.double() for name, network in rounded.items()})
        there = dataclasses.replace(loaded, **{name: copy.deepcopy(getattr(loaded, name)).double() for name in names})
        images, captions = torch.rand(2, 3, 32, 32) * 2 - 1, ["a red circle grows", "a blue cross drops"]
        for ours, theirs, network in (
            (embed_images(here.clip, images), embed_images(there.clip, images), here.clip),
            (embed_texts(here, captions), embed_texts(there, captions), here.clip),
            (here.vae(images).sample, there.vae(images).sample, here.vae),
        ):
            rounding = network_bound(network, size=float(ours.abs().max()))
            torch.testing.assert_close(ours, theirs, rtol=0, atol=rounding)
    assert {p.dtype for p in loaded.clip.parameters()} == {torch.float32}
    assert {p.dtype for p in untrained.unet.parameters()} == {torch.float32}


def test_a_frame_depends_on_its_own_noise_and_caption_only(untrained: Networks) -> None:
    captions = balanced_captions(3)
    together = generate(untrained, captions, steps=2, guidance=4.0)
    alone = generate(untrained, captions[:1], steps=2, guidance=4.0)
    assert together.shape == (3, 32, 32, 3)
    assert (together[:1].int() - alone.int()).abs().max() <= 1
