"""Requirements on every part of every system."""

import copy
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from models import SYSTEMS
from models.backbones import Base, load_base
from models.bases import Protocol, find_base
from models.bases.families import FAMILIES
from models.contracts import Clips, FurtherReader, Sample, Tensors, TrainedModel
from models.streams import Draws, Streams
from models.system import System
from models.training import TrainedSystem
from tests.tolerance import base_bound, in_float64, widened

PROTOCOL = Protocol(clips=2, frames=3, steps=2, guidance=3.0, height=32, width=32)
PROMPTS = ["a red circle moves right", "a blue square"]
KINDS = [
    pytest.param(system, slot.name, kind, id=f"{name}-{slot.name}-{kind}")
    for name, system in SYSTEMS.items()
    for slot in system.slots().values()
    for kind in slot.kinds
]


@functools.cache
def tiny(system: type[System]) -> Base:
    """The tiny base of the system's family; no test may change it."""
    return _tiny(system.family.name)


@functools.cache
def _tiny(family: str) -> Base:
    return FAMILIES[family].implementation().tiny()


@pytest.fixture
def float64_tiny(system: type[System]) -> Iterator[Base]:
    """The same in float64; while a test has it, all that it runs computes in float64."""
    with in_float64():
        yield widened(tiny(system))


def draw(tree: System, base: Base, protocol: Protocol = PROTOCOL) -> Sample:
    model, prompts, first = tree.build(base, 5), PROMPTS[: protocol.clips], given(tree, protocol)
    if not tree.further_texts:
        return model.sample(prompts, Streams(5), protocol, first)
    texts = {name: values[: protocol.clips] for name, values in further(tree).items()}
    return cast(FurtherReader, model).sample(prompts, Streams(5), protocol, first, texts)


def further(tree: System) -> Mapping[str, Sequence[str]]:
    """Further texts that the system reads, of two clips."""
    return tree.arranged({name: [f"{prompt}; at last {name}" for prompt in PROMPTS] for name in tree.further_texts})


def given(tree: System, protocol: Protocol) -> torch.Tensor | None:
    """First frames, for a system that continues clips; the same for a clip in every batch."""
    if not tree.continues_clips:
        return None
    shape = (PROTOCOL.clips, tree.given_frames, 3, protocol.height, protocol.width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(2))[: protocol.clips] * 2 - 1


def clips(num: int = 2, texts: Mapping[str, Sequence[str]] | None = None) -> Clips:
    rng = torch.Generator().manual_seed(3)
    return Clips(torch.rand(2, 3, 3, 32, 32, generator=rng)[:num] * 2 - 1, PROMPTS[:num], texts or {})


def batch(
    model: TrainedModel, positions: Sequence[int] = (0, 1), texts: Mapping[str, Sequence[str]] | None = None
) -> Tensors:
    return model.batch(model.encode(clips(len(positions), texts)), Draws(Streams(5), positions))


@pytest.mark.parametrize(("system", "slot", "kind"), KINDS)
def test_every_kind_builds_samples_and_leaves_the_base_as_it_was(system: type[System], slot: str, kind: str) -> None:
    tiny_base = tiny(system)
    before = copy.deepcopy(tiny_base.unet.state_dict())
    processors = tiny_base.unet.attn_processors
    tree = system().edit({slot: kind})
    sample = draw(tree, tiny_base)

    assert sample.video.shape == (PROTOCOL.clips, PROTOCOL.frames, 3, PROTOCOL.height, PROTOCOL.width)
    assert sample.video.dtype == torch.float32
    assert sample.video.isfinite().all()
    assert sample.video.abs().max() <= 1
    assert all(values.shape == (PROTOCOL.clips,) for values in sample.statistics.values())
    assert torch.equal(sample.video, draw(tree, tiny_base).video)

    after = tiny_base.unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(processors[name] is after for name, after in tiny_base.unet.attn_processors.items())


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS.values())
def test_a_warm_worker_samples_what_a_cold_one_does(system: type[System], tmp_path: Path) -> None:
    tiny(system).save(tmp_path / "base")
    ref = find_base(str(tmp_path / "base"))
    warm = load_base(ref, device="cpu")
    arms = [system().edit({name: kind}) for name, slot in system.slots().items() for kind in slot.kinds]
    for arm in arms:
        draw(arm, warm)
    for arm in arms[:: len(arms) - 1]:
        assert torch.equal(draw(arm, warm).video, draw(arm, load_base(ref, device="cpu")).video)


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_a_clip_depends_on_neither_the_other_clips_nor_the_micro_batch(
    system: type[System], float64_tiny: Base
) -> None:
    tree = system()
    together = draw(tree, float64_tiny).video
    alone = draw(tree, float64_tiny, PROTOCOL.model_copy(update={"clips": 1})).video
    in_parts = draw(tree, float64_tiny, PROTOCOL.model_copy(update={"micro_batch": 1})).video
    rounding = base_bound(float64_tiny, steps=PROTOCOL.steps, guidance=PROTOCOL.guidance)
    torch.testing.assert_close(alone, together[:1], rtol=0, atol=rounding)
    torch.testing.assert_close(in_parts, together, rtol=0, atol=rounding)


@pytest.mark.parametrize(("system", "slot", "kind"), [p for p in KINDS if p.values[0].is_trained])
def test_of_every_trained_kind_gradients_reach_what_is_trained_and_nothing_else(
    system: type[System], slot: str, kind: str
) -> None:
    tree = system().edit({slot: kind})
    model = cast(TrainedModel, tree.build(tiny(system), 5))
    named = dict(model.network.named_parameters())
    trained = {name for name, parameter in named.items() if parameter.requires_grad}
    if not trained:
        return
    loss = model.network(**batch(model, texts=further(tree)))
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    assert {name for name, parameter in named.items() if parameter.grad is not None} == trained
    assert any(named[name].grad.any() for name in trained)  # type: ignore[union-attr]


@pytest.mark.parametrize("system", [system for system in SYSTEMS.values() if system.is_trained])
def test_a_trained_system_owns_its_tensors(system: type[System]) -> None:
    model = cast(TrainedModel, system().build(tiny(system), 5))
    texts = further(system())
    encoded, whole = model.encode(clips(texts=texts)), batch(model, (4, 7), texts)
    assert encoded
    for name, values in encoded.items():
        assert (len(values), values.device.type) == (2, "cpu"), name
    for name, values in whole.items():
        assert len(values) == 2, name
        # Draws are keyed by position: they do not depend on other clips or on the order.
        alone = model.batch({key: value[1:] for key, value in encoded.items()}, Draws(Streams(5), (7,)))
        assert torch.equal(alone[name], values[1:]), name
    other = model.batch(encoded, Draws(Streams(6), (4, 7)))
    assert any(not torch.equal(other[name], whole[name]) for name in whole), "the seed draws something"
    # Arms share encodings: they may only depend on the parts in encoded_by.
    for name, slot in system.slots().items():
        for kind in (kind for kind in slot.kinds if name not in cast(type[TrainedSystem], system).encoded_by):
            arm = cast(TrainedModel, system().edit({name: kind}).build(tiny(system), 5)).encode(clips(texts=texts))
            assert all(torch.equal(arm[key], encoded[key]) for key in arm)


@pytest.mark.slow
@pytest.mark.parametrize("system", [system for system in SYSTEMS.values() if system.is_trained])
def test_new_weights_depend_on_the_seed_and_on_no_other_part(system: type[System]) -> None:
    def weights(tree: System, seed: int) -> dict[str, torch.Tensor]:
        return cast(TrainedModel, tree.build(tiny(system), seed)).network.state_dict()

    def drawn(tree: System) -> dict[str, torch.Tensor]:
        one, other = weights(tree, 1), weights(tree, 2)
        return {name: one[name] for name in one if not torch.equal(one[name], other[name])}

    whole, again = weights(system(), 1), weights(system(), 1)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    by_default, by_kind = drawn(system()), []
    for name, slot in system.slots().items():
        for kind in slot.kinds:
            edited = drawn(system().edit({name: kind}))
            shared = [key for key in edited if key in by_default and edited[key].shape == by_default[key].shape]
            assert all(torch.equal(edited[key], by_default[key]) for key in shared)
            by_kind.append(edited)
    assert any(by_kind), "some kind draws its weights"


@pytest.mark.parametrize("system", [system for system in SYSTEMS.values() if system.is_trained])
def test_trained_weights_load_strictly(system: type[System]) -> None:
    model = cast(TrainedModel, system().build(tiny(system), 1))
    named = model.network.named_parameters()
    trained = {name: torch.ones_like(parameter) for name, parameter in named if parameter.requires_grad}
    model.load(trained)
    state = model.network.state_dict()
    assert all(torch.equal(state[name], trained[name]) for name in trained)
    with pytest.raises(ValueError, match="weights of another model"):
        model.load(dict(list(trained.items())[1:]))


@pytest.mark.parametrize("system", [system for system in SYSTEMS.values() if not system.is_trained])
def test_more_frames_leave_the_first_ones_alone(system: type[System], float64_tiny: Base) -> None:
    tree = system()
    longer = draw(tree, float64_tiny, PROTOCOL.model_copy(update={"frames": 5})).video
    rounding = base_bound(float64_tiny, steps=PROTOCOL.steps, guidance=PROTOCOL.guidance)
    torch.testing.assert_close(longer[:, :3], draw(tree, float64_tiny).video, rtol=0, atol=rounding)


@pytest.mark.parametrize("system", SYSTEMS.values())
@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32)])
def test_clips_may_have_any_shape(system: type[System], height: int, width: int) -> None:
    protocol = PROTOCOL.model_copy(update={"height": height, "width": width, "steps": 1})
    for arm in ({}, {slot: "removed" for slot in system.components}):
        video = draw(system().edit(arm), tiny(system), protocol).video
        assert video.shape == (PROTOCOL.clips, PROTOCOL.frames, 3, height, width)
        assert video.isfinite().all()


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_a_size_that_latents_cannot_have_is_refused(system: type[System]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        draw(system(), tiny(system), PROTOCOL.model_copy(update={"height": 36}))


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_a_built_system_holds_the_base_itself(system: type[System]) -> None:
    # A copy would double the memory of a worker; frozen, so that no attribute can be added.
    base: Any = tiny(system)
    with pytest.raises(dataclasses.FrozenInstanceError):
        base.unet = None
    assert system().build(base).base is base  # type: ignore[attr-defined]
