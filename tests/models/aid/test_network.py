"""The adapted denoiser: the base at first, what is trained, what each frame and each condition reaches."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from models.aid import AID
from models.aid.adapters import Adapter
from models.aid.injection import TextCrossAttention
from models.aid.network import AIDModel, PretrainedAID
from models.bases import Protocol
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.contracts import Clips, Tensors
from models.guidance import CONDITIONAL, ClassifierFree
from models.image_to_video import sample_clips, transformers
from models.streams import Draws, Streams

PROTOCOL = Protocol(clips=2, frames=6, steps=2, guidance=2.0, height=32, width=32)
TEXTS = ["a red circle moves right", "a blue square drops"]
FURTHER = {
    "oracle": ["it moves; it stays", "it drops; it turns"],
    "predicted": ["it waits; it goes", "it leaves; it comes"],
}
LIKE_THE_BASE = {"frame_condition": "repeated", "guidance": "classifier_free"}
EVERYTHING_NEW = {"feed_forward_adapter": "bottleneck"}


@pytest.fixture(scope="module")
def base() -> StableVideoDiffusion:
    """Random and tiny, made for 8 frames."""
    return StableVideoDiffusion.tiny()


def clips(frames: int = 6, texts: Sequence[str] = TEXTS) -> Clips:
    rng = torch.Generator().manual_seed(3)
    return Clips(torch.rand(2, frames, 3, 32, 32, generator=rng) * 2 - 1, texts, FURTHER)


def given() -> torch.Tensor:
    return clips().video[:, :1]


def built(base: StableVideoDiffusion, changes: Mapping[str, object] | None = None, seed: int = 5) -> AIDModel:
    model = AID().edit(changes or {}).build(base, seed)
    assert isinstance(model, AIDModel)
    return model


def batch(model: AIDModel, frames: int = 6, positions: Sequence[int] = (0, 1)) -> Tensors:
    return model.batch(model.encode(clips(frames)), Draws(Streams(5), positions))


def sampled(
    model: AIDModel, prompts: Sequence[str] = TEXTS, further: Mapping[str, Sequence[str]] = FURTHER
) -> torch.Tensor:
    return model.sample(prompts, Streams(1), PROTOCOL, given(), further).video


@torch.no_grad()
def moved(model: AIDModel) -> AIDModel:
    """As if it were trained: what is zero becomes small random values."""
    for name, weight in model.network.named_parameters():
        if not weight.any():
            weight.copy_(torch.from_numpy(Streams(0).normal(f"moved/{name}", shape=tuple(weight.shape))) * 0.1)
    return model


# ------------------------------------------------------------------------------------------------- before it is trained


@pytest.mark.parametrize(
    "changes",
    [
        {},
        EVERYTHING_NEW,
        {"states": "oracle"},
        {"states": "removed"},
        {"condition": "upper"},
        {"condition": "removed"},
        {"injection.start": "default", "condition": "removed"},
        {"spatial_adapter": "removed"},
        {"short_term_adapter": "dense"},
        {"long_term_adapter": "causal"},
        {"spatial_adapter.start": "gate", "short_term_adapter.start": "gate", "long_term_adapter.start": "gate"},
        {"trainable": "low_rank"},
        {slot: "removed" for slot in AID.components},
    ],
    ids=str,
)
def test_with_zero_outputs_it_is_the_base_bit_for_bit(
    changes: Mapping[str, object], base: StableVideoDiffusion
) -> None:
    model = built(base, {**changes, **LIKE_THE_BASE})
    conditions = base.conditions(given()[:, 0], Streams(1), PROTOCOL.frames, AID().micro())
    guide = ClassifierFree().build(PROTOCOL.guidance, PROTOCOL.frames)
    untouched = sample_clips(base, base.denoiser(), conditions, guide, Streams(1), PROTOCOL)
    assert torch.equal(sampled(model), untouched.video)


@pytest.mark.parametrize(
    "changes",
    [
        {"frame_condition": "grey"},
        {"injection": "tuned"},
        {"injection.start": "default"},
        {"spatial_adapter.start": "default"},
        {"short_term_adapter.start": "default"},
        {"long_term_adapter.start": "default"},
        {"feed_forward_adapter": {"kind": "bottleneck", "start": "default"}},
    ],
    ids=str,
)
def test_other_starts_are_not_the_base(changes: Mapping[str, object], base: StableVideoDiffusion) -> None:
    assert not torch.equal(sampled(built(base, {**LIKE_THE_BASE, **changes})), sampled(built(base, LIKE_THE_BASE)))


def test_every_transformer_gets_each_adapter_once(base: StableVideoDiffusion) -> None:
    network = built(base, EVERYTHING_NEW).network
    new = [type(part).__name__ for part in network.modules() if isinstance(part, Adapter | TextCrossAttention)]
    number = len(transformers(network.unet))
    assert {name: new.count(name) for name in new} == dict.fromkeys(
        ("SpatialAdapter", "ShortTermAdapter", "LongTermAdapter", "FeedForwardAdapter", "TextCrossAttention"), number
    )


def test_beside_a_layer_an_adapter_is_added_once(base: StableVideoDiffusion) -> None:
    """The block's own residual is the X of the adapter's formula: a zero layer gives x itself, not 2 x."""
    network = moved(built(base)).network
    block = transformers(network.unet)[0].transformer_blocks[0]
    x = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight in block.attn1.parameters():
            weight.zero_()
    assert torch.equal(block.attn1(x), block.spatial_adapter(x))


# -------------------------------------------------------------------------------------------------------------- trained


def trained(base: StableVideoDiffusion, changes: Mapping[str, object]) -> set[str]:
    named = built(base, changes).network.named_parameters()
    return {name for name, weight in named if weight.requires_grad}


def test_the_method_trains_its_new_parts_only(base: StableVideoDiffusion) -> None:
    names = trained(base, EVERYTHING_NEW)
    of_base = {f"unet.{name}" for name, _ in base.unet.named_parameters()}
    everything = {name for name, _ in built(base, EVERYTHING_NEW).network.named_parameters()}
    assert names == everything - of_base
    assert names & of_base == set()
    for part in ("spatial", "short_term", "long_term", "feed_forward"):
        assert any(f".{part}_adapter." in name for name in names)
    assert any(".text_attention." in name for name in names)
    assert any(name.startswith("condition.") for name in names)


def test_gradients_are_where_it_is_trained_and_nowhere_else(base: StableVideoDiffusion) -> None:
    model = moved(built(base, EVERYTHING_NEW))
    model.network(**batch(model)).backward()
    found = {name: weight.grad for name, weight in model.network.named_parameters()}
    assert {name for name, gradient in found.items() if gradient is not None} == set(model.learnt)
    assert all(gradient.any() for gradient in found.values() if gradient is not None)


def test_the_other_choices(base: StableVideoDiffusion) -> None:
    method = trained(base, {})
    tuned = trained(base, {"injection": "tuned"})
    assert {name for name in method if ".text_attention." not in name} < tuned
    added = tuned - method
    assert added
    assert all(".transformer_blocks.0.attn2." in name or ".transformer_blocks.0.norm2." in name for name in added)
    assert not any(".temporal_transformer_blocks." in name for name in added)
    temporal = trained(base, {"trainable": "with_temporal_blocks"}) - method
    assert temporal
    assert all(".temporal_transformer_blocks." in name for name in temporal)
    low_rank = trained(base, {"trainable": "low_rank"})
    assert low_rank > method
    assert all(".lora_" in name and ".attn1." in name for name in low_rank - method)
    assert trained(base, {"trainable": "removed"}) == set()
    assert trained(base, {"trainable": "all"}) == {name for name, _ in built(base).network.named_parameters()}
    assert trained(base, {slot: "removed" for slot in AID.components}) == set()


def test_the_base_is_not_changed(base: StableVideoDiffusion) -> None:
    names = [name for name, _ in base.unet.named_modules()]
    before = {name: weight.clone() for name, weight in base.unet.state_dict().items()}
    model = built(base, {"injection": "tuned"})
    model.network(**batch(model)).backward()
    assert [name for name, _ in base.unet.named_modules()] == names
    assert all(torch.equal(before[name], weight) for name, weight in base.unet.state_dict().items())


def test_recomputed_activations_give_the_same_gradients(base: StableVideoDiffusion) -> None:
    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        model = moved(built(base, EVERYTHING_NEW))
        model.network.train()
        if checkpointing:
            model.network.unet.enable_gradient_checkpointing()
        model.network(**batch(model)).backward()
        named = model.network.named_parameters()
        return {name: weight.grad for name, weight in named if weight.grad is not None}

    stored, recomputed = gradients(False), gradients(True)
    assert stored.keys() == recomputed.keys()
    assert all(torch.equal(stored[name], recomputed[name]) for name in stored)


def test_new_weights_belong_to_the_seed_and_not_to_the_arm(base: StableVideoDiffusion) -> None:
    def weights(changes: Mapping[str, object], seed: int = 5) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in built(base, changes, seed).network.named_parameters()}

    one, other = weights({}), weights({"long_term_adapter": "removed", "injection": "tuned"})
    of_base = {f"unet.{name}" for name, _ in base.unet.named_parameters()}
    shared = (one.keys() & other.keys()) - of_base
    assert any(name.endswith(".queries") for name in shared)
    assert all(torch.equal(one[name], other[name]) for name in shared)
    third = weights({}, 6)
    assert {name for name in shared if name.endswith((".queries", ".down.weight"))} <= {
        name for name in shared if not torch.equal(one[name], third[name])
    }


# ----------------------------------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize("injection", ["new", "tuned"])
def test_the_cross_attention_of_a_frame_reads_that_frame_s_tokens(injection: str, base: StableVideoDiffusion) -> None:
    model = moved(built(base, {"injection": injection}))
    network, frames = model.network, 4
    block = transformers(network.unet)[0].transformer_blocks[0]
    outputs: list[torch.Tensor] = []
    read = block.text_attention if injection == "new" else block.attn2
    read.register_forward_hook(lambda layer, args, out: outputs.append(out))
    rng = torch.Generator().manual_seed(0)
    context = torch.randn(2, frames, 3, 32, generator=rng).requires_grad_(True)
    latents = torch.randn(2, frames, 4, 4, 4, generator=rng)
    plain = {"image": torch.zeros(2, 1, 32), "beside": torch.zeros_like(latents), "micro": torch.zeros(2, 3)}
    network.predict(latents, torch.zeros(2), context=context, **plain)
    for clip in range(2):
        for frame in range(frames):
            (gradient,) = torch.autograd.grad(
                outputs[0][clip * frames + frame].square().sum(), context, retain_graph=True
            )
            places = [(b, f) for b in range(2) for f in range(frames) if gradient[b, f].any()]
            assert places == [(clip, frame)]


def test_without_text_guidance_the_prompt_does_not_count(base: StableVideoDiffusion) -> None:
    def video(guidance: object, prompts: Sequence[str]) -> torch.Tensor:
        return sampled(moved(built(base, {"guidance": guidance, "states": "repeat"})), prompts)

    alone = {"kind": "dual", "frame": 1.0, "text": 0.0}
    others = ["it grows", "nothing"]
    assert torch.equal(video(alone, TEXTS), video(alone, others))
    assert torch.equal(video(alone, TEXTS), video("removed", ["", ""])), "the frame-only prediction"
    guided = {"kind": "dual", "frame": 1.0, "text": 2.0}
    assert not torch.equal(video(guided, TEXTS), video(guided, others))


def test_without_a_condition_no_text_counts(base: StableVideoDiffusion) -> None:
    model = moved(built(base, {"condition": "removed"}))
    assert torch.equal(sampled(model), sampled(model, ["it grows", "nothing"]))


def test_the_states_count(base: StableVideoDiffusion) -> None:
    model = moved(built(base, {"states": "oracle"}))
    others = {"oracle": ["it grows", "it turns"]}
    assert not torch.equal(sampled(model), sampled(model, further=others))
    with pytest.raises(ValueError, match="no further text oracle"):
        sampled(model, further={})


def test_grey_frames_stand_behind_the_given_one(base: StableVideoDiffusion) -> None:
    grey = base.encode_beside(torch.zeros(1, 3, 32, 32))
    first = base.encode_beside(clips().video[:, 0])
    found = batch(built(base, {"drop_frame": 0.0}))["beside"]
    assert torch.equal(found[:, 0], first)
    assert torch.equal(found[:, 1:], grey[:, None].expand(2, 5, -1, -1, -1))
    again = batch(built(base, {"drop_frame": 0.0, "frame_condition": "repeated"}))["beside"]
    assert torch.equal(again, first[:, None].expand(-1, 6, -1, -1, -1))


def test_sampling_has_the_same_frame_condition(base: StableVideoDiffusion) -> None:
    model = built(base)
    found = model.conditions(given()[:, 0], TEXTS, FURTHER, Streams(1), 6)[CONDITIONAL]["beside"]
    own = base.conditions(given()[:, 0], Streams(1), 6, AID().micro())[CONDITIONAL]["beside"]
    assert torch.equal(found[:, 0], own[:, 0]), "with the augmentation noise of the base"
    assert torch.equal(found[:, 1:], base.encode_beside(torch.zeros(1, 3, 32, 32))[:, None].expand(2, 5, -1, -1, -1))


# -------------------------------------------------------------------------------------------------------------- dropout


def test_dropped_conditions_are_those_of_guidance(base: StableVideoDiffusion) -> None:
    model = built(base, {"drop_text": 1.0, "drop_frame": 0.5, "states": "oracle"})
    encoded = model.encode(clips())
    empty = base.text_tower.encode([""])
    u = [Streams(5).uniform("dropped", position) for position in range(2)]
    found = model.batch(encoded, Draws(Streams(5), range(2)))
    for clip in range(2):
        assert torch.equal(found["text"][clip], empty[0])
        assert all(torch.equal(state, empty[0]) for state in found["states"][clip])
        for name in ("image", "visual", "beside"):
            assert bool(found[name][clip].any()) is not (u[clip] >= 0.5)
    assert torch.equal(found["latents"], encoded["latents"]), "what is predicted stays"
    assert torch.equal(found["micro"], encoded["micro"])


def test_the_rates_of_dropout(base: StableVideoDiffusion) -> None:
    model, positions = built(base, {"drop_text": 0.3, "drop_frame": 0.2}), range(200)
    u = [Streams(5).uniform("dropped", position) for position in positions]
    no_text, no_frame = model._dropped(Draws(Streams(5), positions))
    assert no_text.tolist() == [value < 0.3 for value in u]
    assert no_frame.tolist() == [0.15 <= value < 0.15 + 0.2 for value in u]
    both = {(text, frame) for text, frame in zip(no_text.tolist(), no_frame.tolist(), strict=True)}
    assert both == {(False, False), (False, True), (True, False), (True, True)}


def test_nothing_is_dropped_by_a_rate_of_zero(base: StableVideoDiffusion) -> None:
    model = built(base, {"drop_text": 0.0, "drop_frame": 0.0})
    assert not any(dropped.any() for dropped in model._dropped(Draws(Streams(5), range(200))))


# ----------------------------------------------------------------------------------------------------- saved and loaded


def test_a_saved_model_is_the_same(base: StableVideoDiffusion, tmp_path: Path) -> None:
    model = moved(built(base))
    model.save(tmp_path)
    again = PretrainedAID.from_pretrained(tmp_path / "aid")
    state = model.network.state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in again.network.state_dict().items())
    loaded: Any = StableVideoDiffusion.load(AID.find_base(str(tmp_path)), device="cpu")
    assert torch.equal(loaded.text_tower.encode(TEXTS), base.text_tower.encode(TEXTS))
    assert json.loads((tmp_path / "aid" / "config.json").read_text())["sizes"] == [16, 32, 32, 8]


def test_no_frame_is_refused(base: StableVideoDiffusion) -> None:
    with pytest.raises(ValueError, match="no frame is given"):
        built(base).sample(TEXTS, Streams(0), PROTOCOL)


def test_encodings_depend_on_what_is_declared(base: StableVideoDiffusion) -> None:
    """Arms that differ in anything else share them."""
    one = built(base).encode(clips())
    for changes, differing in (
        ({"fps": 30}, {"micro"}),
        ({"states": "oracle"}, {"states"}),
        ({"frame_condition": "repeated", "drop_text": 0.5, "motion": 20, "condition": "lower"}, set()),
    ):
        other = built(base, changes).encode(clips())
        assert one.keys() == other.keys()
        assert {name for name in one if not torch.equal(one[name], other[name])} == differing
    assert set(AID.encoded_by) == {"states", "fps"}


def test_the_condition_of_each_frame_can_be_inspected(base: StableVideoDiffusion) -> None:
    def inspected(changes: Mapping[str, object], prompts: Sequence[str] = TEXTS) -> torch.Tensor:
        return built(base, changes).condition_of(prompts, PROTOCOL, given(), FURTHER)

    whole = inspected({})
    assert whole.shape[:2] == (2, PROTOCOL.frames)
    assert not torch.equal(whole, inspected({}, ["it grows", "nothing"]))
    assert not torch.equal(whole[:, 0], whole[:, 1]), "frames have queries of their own"
    upper, none = inspected({"condition": "upper"}), inspected({"condition": "removed"})
    assert torch.equal(upper, upper[:, :1].expand_as(upper)), "the same for all frames"
    assert none.shape == (2, PROTOCOL.frames, 1)
    assert not none.any()
