"""The small Llava of procedural clips: figures of its training, recomputed from the shipped weights."""

import json
import math
from typing import Any

import pytest
import torch
from safetensors import safe_open

from models.aid.llava import Llava
from models.bases import FOLDER, embedded_bases, find_base, read_card
from models.predictor import Predictor
from tests.tolerance import STANDARD_ERRORS
from trainables.pretraining.llava import FORMS, NUMBERS, Examples, build_llava, measure

SHIPPED = FOLDER / "shapes_llava"
RECORD: dict[str, Any] = json.loads((SHIPPED / "training.json").read_text(encoding="utf-8"))
ATTRIBUTES = ("size", "colour", "shape", "motion")


@pytest.fixture(scope="module")
def llava() -> Llava:
    return Llava.load(SHIPPED, device=torch.device("cpu"), dtype=torch.float32)


def test_the_base_names_it() -> None:
    assert read_card(find_base("shapes_video")).llava == "../shapes_llava"
    predictor = Predictor("", "v1", 4)
    assert predictor.ref(find_base("shapes_video")).path == SHIPPED
    assert predictor.misfit(find_base("shapes_video")) == ""
    assert "shapes_llava" not in embedded_bases(), "it is no base"


def test_its_weights_are_small_and_finite() -> None:
    (file,) = SHIPPED.glob("*.safetensors")
    assert file.stat().st_size < 0.8e6
    with safe_open(file, "pt") as tensors:
        assert {tensors.get_tensor(name).dtype for name in tensors.keys()} == {torch.float16}  # noqa: SIM118
        assert all(tensors.get_tensor(name).isfinite().all() for name in tensors.keys())  # noqa: SIM118


def test_it_was_trained_in_time_and_well() -> None:
    assert RECORD["training"]["fraction"] == 1.0
    assert RECORD["training"]["cpu_minutes"] <= 15
    for attribute in ("colour", "shape", "motion"):
        assert RECORD["quality"][attribute] >= 0.95, attribute
    assert RECORD["quality"]["size"] >= 0.8
    assert RECORD["quality"]["right_number"] >= 0.95


def test_the_readme_says_what_the_record_says() -> None:
    words = (SHIPPED / "README.md").read_text(encoding="utf-8")
    for name, value in RECORD["quality"].items():
        assert f"| `{name}` | {value:.4g} |" in words


def test_every_word_of_prompts_and_states_is_one_token() -> None:
    tokenizer, examples = build_llava().processor.tokenizer, Examples.of("train", 0, 4 * len(FORMS))
    for number in NUMBERS:
        for text in (*examples.instructions, *(state for states in examples.states for state in states)):
            ids = tokenizer(f"{text}.\nList {number} states of the video in order, one per line.")["input_ids"]
            assert tokenizer.unk_token_id not in ids, text


def test_the_shares_come_out_again(llava: Llava) -> None:
    """Over the first clips: a share of them may differ from that of all by sampling without replacement."""
    few = Examples.of("test", RECORD["training"]["seed"], 60)
    actual = measure(llava, few).model_dump()
    for name in (*ATTRIBUTES, "right_number"):
        share = RECORD["quality"][name]
        error = math.sqrt(share * (1 - share) * (1 / len(few) - 1 / RECORD["quality"]["clips"]))
        assert abs(actual[name] - share) <= STANDARD_ERRORS * error + 0.5e-4, name
