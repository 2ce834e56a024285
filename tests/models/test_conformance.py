"""What every part of every system must do, written once and run on all of them."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch

from models import SYSTEMS
from models.backbones import Base, load_base
from models.bases import Protocol, find_base
from models.streams import Streams
from models.system import Sample, System

PROTOCOL = Protocol(clips=2, frames=3, steps=2, guidance=3.0, height=32, width=32)
PROMPTS = ["a red circle moves right", "a blue square"]
KINDS = [
    pytest.param(system, slot.name, kind, id=f"{name}-{slot.name}-{kind}")
    for name, system in SYSTEMS.items()
    for slot in system.slots().values()
    for kind in slot.kinds
]


def draw(tree: System, base: Base, protocol: Protocol = PROTOCOL) -> Sample:
    return tree.build(base).sample(PROMPTS[: protocol.clips], Streams(5), protocol)


@pytest.mark.parametrize(("system", "slot", "kind"), KINDS)
def test_every_kind_builds_samples_and_leaves_the_base_as_it_was(
    system: type[System], slot: str, kind: str, tiny_base: Base
) -> None:
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


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_a_warm_worker_samples_what_a_cold_one_does(system: type[System], tiny_base_folder: Path) -> None:
    ref = find_base(str(tiny_base_folder))
    warm = load_base(ref, device="cpu")
    arms = [system().edit({name: kind}) for name, slot in system.slots().items() for kind in slot.kinds]
    for arm in arms:
        draw(arm, warm)
    for arm in arms[:: len(arms) - 1]:
        assert torch.equal(draw(arm, warm).video, draw(arm, load_base(ref, device="cpu")).video)


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_a_clip_depends_on_neither_the_other_clips_nor_the_micro_batch(system: type[System], tiny_base: Base) -> None:
    tree = system()
    together = draw(tree, tiny_base).video
    alone = draw(tree, tiny_base, PROTOCOL.model_copy(update={"clips": 1})).video
    in_parts = draw(tree, tiny_base, PROTOCOL.model_copy(update={"micro_batch": 1})).video
    torch.testing.assert_close(alone, together[:1], rtol=0, atol=1e-5)
    torch.testing.assert_close(in_parts, together, rtol=0, atol=1e-5)


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_more_frames_leave_the_first_ones_alone(system: type[System], tiny_base: Base) -> None:
    tree = system()
    longer = draw(tree, tiny_base, PROTOCOL.model_copy(update={"frames": 5})).video
    torch.testing.assert_close(longer[:, :3], draw(tree, tiny_base).video, rtol=0, atol=1e-5)


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_a_size_that_latents_cannot_have_is_refused(system: type[System], tiny_base: Base) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        draw(system(), tiny_base, PROTOCOL.model_copy(update={"height": 36}))


def test_a_built_system_holds_the_base_itself(tiny_base: Base) -> None:
    # A copy would double the memory of a worker; frozen, so that nothing can be hung onto it.
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_base.unet = None
    for system in SYSTEMS.values():
        assert system().build(tiny_base).base is tiny_base
