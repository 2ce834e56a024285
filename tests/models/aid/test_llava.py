"""What a Llava is asked, and what becomes of its answers."""

import numpy as np
import pytest
import torch

from models.aid.llava import Llava, question, repaired, split_answer
from models.bases import FOLDER
from trainables.data.shapes import render, scene_of

SHIPPED = FOLDER / "shapes_llava"


def test_the_question_names_the_instruction_and_the_number() -> None:
    assert question("v1", " lift one end. ", 4) == "lift one end.\nList 4 states of the video in order, one per line."


@pytest.mark.parametrize(
    "answer",
    [
        "one end is lifted\nit drops",
        "1. one end is lifted\n2. it drops",
        " - one end is lifted ;\n\n * it drops \n",
        "State 1: one end is lifted\nState 2: it drops",
        "1) one end is lifted; 2) it drops",
    ],
)
def test_an_answer_is_split_however_it_is_listed(answer: str) -> None:
    assert split_answer(answer) == ["one end is lifted", "it drops"]


def test_numbers_inside_a_state_stay() -> None:
    assert split_answer("2 cups stand\n3 cups stand") == ["2 cups stand", "3 cups stand"]


@pytest.mark.parametrize(
    ("answer", "states", "was_repaired"),
    [
        ("a\nb", ["a", "b"], False),
        ("a", ["a", "a"], True),
        ("a\nb\nc\nd", ["b", "d"], True),
        ("", ["lift", "lift"], True),
        (" \n;", ["lift", "lift"], True),
    ],
)
def test_another_number_of_states_is_repaired(answer: str, states: list[str], was_repaired: bool) -> None:
    assert repaired(answer, "lift", 2) == (states, was_repaired)


def test_states_never_have_the_mark_that_separates_them() -> None:
    assert repaired("", "lift; then drop", 2) == (["lift", "then drop"], True)


@pytest.fixture(scope="module")
def shipped() -> Llava:
    return Llava.load(SHIPPED, device=torch.device("cpu"), dtype=torch.float32)


def test_an_answer_depends_on_its_own_clip_alone(shipped: Llava) -> None:
    scenes = [scene_of("test", number, frames=8) for number in range(5)]
    images, texts = np.stack([render(scene, 1)[0] for scene in scenes]), [scene.caption() for scene in scenes]
    together = shipped.answers(images, texts, 4, prompt="v1")
    assert together == shipped.answers(images, texts, 4, prompt="v1", batch=1)
    assert len(set(together)) == len(scenes)
