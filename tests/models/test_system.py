from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from models import SYSTEMS
from models.system import EditError, Part, Slot, System
from models.zs2 import ZS2, CrossFrameAttention, IndependentNoise, Mixed, MomentumAttention, TwoStage
from tests.factories import fresh

KINDS = [
    pytest.param(system, slot, kind, id=f"{name}-{slot.name}-{kind}")
    for name, system in SYSTEMS.items()
    for slot in system.slots().values()
    for kind in slot.kinds
]


def problems(changes: dict[str, object], tree: System | None = None) -> list[str]:
    with pytest.raises(EditError) as caught:
        (tree or ZS2()).edit(changes)
    return [str(problem) for problem in caught.value.problems]


# -------------------------------------------------------------------------------------------------------------- slots


def test_slots_are_read_from_the_types() -> None:
    slots = ZS2.slots()
    assert list(slots) == ["noise", "attention"]
    assert slots["noise"].default == TwoStage()
    assert slots["noise"].kinds["removed"] is IndependentNoise
    assert list(slots["attention"].kinds) == ["momentum", "previous_frame", "cross_frame", "removed"]


@pytest.mark.parametrize(("system", "slot", "kind"), KINDS)
def test_every_kind_says_what_it_means_and_stands_for_itself(system: type[System], slot: Slot, kind: str) -> None:
    part = slot.kinds[kind]
    assert part.meaning().endswith(".")
    assert len(part.meaning()) < 140
    tree = system().edit({slot.name: kind})
    assert getattr(tree, slot.name) == part()
    assert type(tree).model_validate(tree.model_dump()) == tree
    assert type(tree).model_validate_json(tree.model_dump_json()) == tree


ALWAYS_THERE = ("training", "group_norm", "sampling_schedule", "injection", "frame_condition")
"""These cannot be removed: without a condition nothing is injected, and an image-to-video base has a given frame."""


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_absence_has_a_part_in_every_slot(system: type[System]) -> None:
    for slot in system.slots().values():
        if slot.name not in ALWAYS_THERE:
            assert slot.kinds["removed"].meaning().startswith("Removed: ")


def test_importing_models_needs_no_torch_and_no_time() -> None:
    seconds, packages = fresh("import time, models, models.bases, models.streams; print(time.process_time())")
    assert "torch" not in packages
    assert float(seconds) < 2


# ---------------------------------------------------------------------------------------------------------- good edits


def test_a_word_puts_a_kind_in() -> None:
    assert ZS2().edit({"noise": "removed"}) == ZS2(noise=IndependentNoise())


def test_a_map_with_kind_replaces_and_one_without_changes_values() -> None:
    tree = ZS2(noise=TwoStage(threshold=0.1, candidates=3))
    assert tree.edit({"noise": {"kind": "mixed", "a": 2.0}}).noise == Mixed(a=2.0)
    assert tree.edit({"noise": {"candidates": 5}}).noise == TwoStage(threshold=0.1, candidates=5)
    assert tree.edit({"noise": {"kind": "two_stage", "candidates": 5}}).noise == TwoStage(candidates=5)


def test_a_value_may_be_set_in_a_part_that_the_same_edit_puts_in() -> None:
    changes: dict[str, object] = {"attention.mu": 0.5, "attention": "previous_frame"}
    tree = ZS2().edit(changes)
    assert tree == ZS2().edit(dict(reversed(changes.items())))
    assert tree.attention.model_dump() == {"kind": "previous_frame", "mu": 0.5}


def test_edits_compose_and_leave_the_tree_alone() -> None:
    tree = ZS2()
    arm = tree.edit({"attention": "cross_frame"}).edit({"noise.threshold": 1})
    assert arm == ZS2(noise=TwoStage(threshold=1.0), attention=CrossFrameAttention())
    assert tree == ZS2()
    with pytest.raises(ValidationError):
        tree.noise = IndependentNoise()


def test_an_edit_that_changes_nothing_is_the_control() -> None:
    assert ZS2().edit({"attention.mu": 0.98, "noise": {"threshold": 0.01}}) == ZS2()
    assert ZS2().edit({}) == ZS2()


# ----------------------------------------------------------------------------------------------------------- bad edits


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"atention": "removed"}, ['atention: "atention" -> a slot or value of zs2', "(did you mean attention?)"]),
        ({"noise": "remvoed"}, ['"remvoed" -> a kind of noise: two_stage', "(did you mean removed?)"]),
        ({"noise": {"kind": ["removed"]}}, ['["removed"] -> a kind of noise']),
        ({"noise": 3}, ["noise: 3 -> a kind (two_stage", "or a map of values"]),
        ({"noise": None}, ["noise: null -> a kind"]),
        ({"noise.treshold": 1}, ['"treshold" -> a value of noise=two_stage: threshold', "(did you mean threshold?)"]),
        ({"noise": {"mu": 1}}, ['noise.mu: "mu" -> a value of noise=two_stage: threshold, candidates']),
        ({"noise": "removed", "noise.threshold": 1}, ["noise.threshold: noise=removed has no values"]),
        ({"noise.kind": "removed"}, ["a kind is set at its slot -> noise: removed"]),
        ({"attention.mu.x": 1}, ["attention.mu is a plain value, it has no keys"]),
        ({"attention.": 1}, ['"" -> a value of attention=momentum: mu']),
        ({"": 1}, ['"" -> a slot or value of zs2']),
        ({"noise.candidates": 0}, ["0 -> a whole number, at least 1"]),
        ({"noise.candidates": 2.5}, ["2.5 -> a whole number"]),
        ({"attention.mu": "0.5"}, ['"0.5" -> a number from 0 to 1']),
        ({"attention.mu": True}, ["true -> a number from 0 to 1"]),
        ({"attention.mu": float("nan")}, ["nan -> a number from 0 to 1"]),
        ({"attention.mu": [0.5]}, ["[0.5] -> a number from 0 to 1"]),
        ({"noise": {"kind": "mixed", "a": float("inf")}}, ["noise.a: inf -> a number"]),
        ({"attention.mu": 1.2}, ["attention.mu: 1.2 -> a number from 0 to 1: ", "weight of the previous frames"]),
        ({"attention.mu": -0.1}, ["attention.mu: -0.1 -> a number from 0 to 1"]),
        ({"noise.threshold": 1.7}, ["1.7 -> a number from 0 to 1.64872", "independent noise", "sqrt(e)"]),
        ({"noise": {"threshold": 0.1}, "noise.threshold": 0.2}, ["set twice in one edit: 0.1 and 0.2"]),
    ],
)
def test_a_wrong_change_says_what_was_written_and_what_is_allowed(
    changes: dict[str, object], message: list[str]
) -> None:
    [problem] = problems(changes)
    assert [words for words in message if words not in problem] == []


def test_all_problems_are_reported_together_in_the_order_written() -> None:
    actual = problems({"noise.threshold": 2.0, "atention": "removed", "attention.mu": 3, "noise.candidates": 1})
    assert [problem.split(":")[0] for problem in actual] == ["noise.threshold", "atention", "attention.mu"]


class Toy(ZS2):
    name = "toy"

    width: Annotated[int, Field(gt=0, lt=64)] = 8
    order: Literal["near", "far"] = "near"
    limit: int | None = None
    ready: bool = True


def test_plain_values_of_a_system_are_edited_like_those_of_a_part() -> None:
    assert Toy().edit({"width": 9, "order": "far", "limit": 3, "ready": False}).width == 9
    assert list(Toy.slots()) == ["noise", "attention"]
    wrong = {"width": 64, "order": "fra", "limit": "x", "ready": 1, "order.x": 1, "wdth": 1}
    assert problems(wrong, Toy()) == [
        "width: 64 -> a whole number, above 0, below 64",
        'order: "fra" -> one of near, far',
        'limit: "x" -> a whole number or null',
        "ready: 1 -> true or false",
        "order.x: order is a plain value, it has no keys",
        'wdth: "wdth" -> a slot or value of toy: noise, attention, width, order, limit, ready (did you mean width?)',
    ]


def test_a_part_is_as_strict_when_it_is_made_directly() -> None:
    with pytest.raises(ValidationError):
        MomentumAttention(mu=1.5)
    with pytest.raises(ValidationError):
        TwoStage(threshold=1.7)
    with pytest.raises(ValidationError):
        ZS2.model_validate({"noise": {"kind": "removed", "threshold": 0.1}})


# --------------------------------------------------------------------------------------------------------------- notes


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"noise": "random_search"}, "noise=random_search: "),
        ({"attention.mu": 0}, "attention=momentum: mu = 0 is self-attention"),
        ({"attention.mu": 1}, "attention=momentum: mu = 1 is first-frame attention"),
    ],
)
def test_an_arm_that_equals_another_in_effect_has_a_note(changes: dict[str, object], note: str) -> None:
    [actual] = ZS2().edit(changes).notes()
    assert actual.startswith(note)
    assert ZS2().notes() == ()


def test_a_slot_without_a_default_part_is_a_programming_error() -> None:
    class Broken(ZS2):
        other: MomentumAttention

    with pytest.raises(AssertionError, match="needs a default part"):
        Broken.slots()
    assert Part.meaning()
