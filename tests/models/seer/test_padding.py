"""Padding of prompts: masked as in Seer's released code, or attended to, against transformers' own text tower."""

import pytest
import torch

from models.bases import Protocol
from models.bases.stable_diffusion import StableDiffusion
from models.contracts import Clips
from models.guidance import CONDITIONAL, UNCONDITIONAL
from models.seer import Seer
from models.seer.network import SeerModel
from models.streams import Streams
from tests.tolerance import network_bound

PROMPTS = ["a red circle", ""]
APART: dict[str, object] = {"temporal_attention": "removed", "text_decomposer": "removed", "group_norm": "per_frame"}


def model(base: StableDiffusion, padding: str) -> SeerModel:
    built = Seer().edit({**APART, "text_padding": padding}).build(base, 0)
    assert isinstance(built, SeerModel)
    return built


@torch.no_grad()
@pytest.mark.parametrize("padding", ["masked", "attended"])
def test_texts_are_those_of_the_text_tower_with_or_without_a_mask(padding: str, float64_base: StableDiffusion) -> None:
    base, rounding = float64_base, network_bound(float64_base.text_encoder)
    tokens = base.tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt")
    mask = {"attention_mask": tokens.attention_mask} if padding == "masked" else {}
    expected = base.text_encoder(tokens.input_ids, **mask).last_hidden_state
    seer = model(base, padding)
    encoded = seer.encode(Clips(torch.zeros(2, 1, 3, 16, 16), PROMPTS))["text"]
    torch.testing.assert_close(encoded.double(), expected.float().double(), rtol=0, atol=rounding)
    branches = base.conditions(expected[:, None], seer._tree.text_padding)
    torch.testing.assert_close(branches[UNCONDITIONAL]["text"][0, 0], expected[1], rtol=0, atol=rounding)
    assert torch.equal(branches[CONDITIONAL]["text"], expected[:, None])


@torch.no_grad()
def test_only_the_states_of_the_padding_differ(float64_base: StableDiffusion) -> None:
    base, rounding = float64_base, network_bound(float64_base.text_encoder)
    masked, attended = (base.encode_text(PROMPTS, padding) for padding in ("masked", "attended"))
    for k, prompt in enumerate(PROMPTS):
        own = len(base.tokenizer(prompt).input_ids)
        torch.testing.assert_close(masked[k, :own], attended[k, :own], rtol=0, atol=rounding)
        assert (masked[k, own:] - attended[k, own:]).abs().max() > 1e-3
    assert torch.equal(base.encode_text(PROMPTS), attended), "other systems have what diffusers' pipeline has"


def test_samples_have_the_padding_of_the_tree(tiny_base: StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[bool] = []
    forward = tiny_base.text_encoder.forward

    def spy(ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> object:
        masks.append(attention_mask is not None)
        return forward(ids, attention_mask=attention_mask)

    monkeypatch.setattr(tiny_base.text_encoder, "forward", spy)
    protocol = Protocol(clips=1, frames=3, steps=1, guidance=2.0, height=16, width=16)
    for padding in ("masked", "attended"):
        seer = model(tiny_base, padding)
        seer.sample(PROMPTS[:1], Streams(0), protocol, torch.zeros(1, 2, 3, 16, 16))
        seer.prepare(PROMPTS[:1], 3)
    assert masks == [True] * 3 + [False] * 3, "the prompt, the empty one, and the texts of the warm-up"


def test_encoded_clips_are_kept_apart_by_padding() -> None:
    assert "text_padding" in Seer.encoded_by
