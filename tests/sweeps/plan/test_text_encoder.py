"""The key ``text_encoder``: refused at its line where it cannot be used, part of a cell only where it is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models import SYSTEMS
from sweeps.parts import describe
from sweeps.plan import load
from sweeps.plan.requirements import requirements
from tests.factories import AID_STUDY
from trainables.trial_spec import TrialSpec

Problems = Callable[[str | bytes], list[tuple[int, str, str]]]
Write = Callable[[str | bytes], Path]

STUDY = AID_STUDY
XT = STUDY.replace("base: shapes_video", "base: stable-video-diffusion-img2vid-xt") + "control: {states: repeat}\n"


def named(text: str, encoder: object) -> str:
    return text.replace("data:", f"text_encoder: {encoder}\ndata:")


def test_a_base_with_its_own_needs_no_key(problems: Problems) -> None:
    assert problems(STUDY) == []
    assert problems(named(STUDY, "shapes")) == []
    assert problems(named(XT, "stable-diffusion-v1-5")) == []
    assert problems(named(XT, "openai/clip-vit-large-patch14")) == []


def test_a_base_without_one_is_refused_at_its_line(problems: Problems) -> None:
    ((line, key, message),) = problems(XT)
    assert (line, key) == (3, "base")
    assert "has no text encoder, and aid reads texts -> text_encoder: a folder with text_encoder/" in message


@pytest.mark.parametrize(("system", "base"), [("exvideo", "shapes_video"), ("seer", "shapes"), ("zs2", "shapes")])
def test_a_system_that_reads_no_texts_refuses_the_key(system: str, base: str, problems: Problems) -> None:
    part = next(name for name, slot in SYSTEMS[system].slots().items() if "removed" in slot.kinds)
    text = named(STUDY, "shapes").replace("system: aid", f"system: {system}").replace("shapes_video", base)
    text = text.replace("spatial_adapter", part)
    found = problems(text if SYSTEMS[system].is_trained else text.replace("training: {steps: 2}\n", ""))
    assert (4, "text_encoder", f"{system} reads no text encoder beside its base -> remove this key") in found


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("./nowhere", "./nowhere: no such folder"),
        ("shape", "shape -> an embedded base"),
        ("{}", "has neither text_encoder/config.json nor the config.json of a CLIP model"),
    ],
)
def test_a_text_encoder_that_is_not_there(written: str, message: str, problems: Problems, tmp_path: Path) -> None:
    ((line, key, found),) = problems(named(XT, written.format(tmp_path)))
    assert (line, key) == (4, "text_encoder")
    assert message in found


def test_it_is_part_of_a_cell_only_where_it_is_written(write: Write) -> None:
    plain, other = (load(write(text)).cells[0].spec for text in (STUDY, named(STUDY, "shapes")))
    assert "text_encoder" not in plain.model_dump(mode="json")
    assert plain.cell_id != other.cell_id
    assert TrialSpec.model_validate(other.model_dump(mode="json")).text_encoder == "shapes"


def test_offline_it_must_be_on_this_machine(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lacking = [problem.message for problem in requirements(load(write(named(STUDY, "org/texts@v1"))))]
    assert lacking == ["org/texts@v1 is not on this machine -> hf download org/texts --revision v1"]
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert requirements(load(write(named(STUDY, "org/texts@v1")))) == []


def test_weights_that_do_not_ship_are_named(write: Write) -> None:
    (problem,) = requirements(load(write(named(STUDY, "stable-diffusion-v1-5"))))
    assert problem.message.startswith("stable-diffusion-v1-5 has no weights, only configurations for planning")


def test_further_texts_that_the_data_lack(write: Write) -> None:
    text = STUDY.replace("{part: spatial_adapter, action: REMOVE}", "{part: states, action: REPLACE, with: [file]}")
    (problem,) = requirements(load(write(text)))
    assert problem.message == (
        "arm states=file reads the further text state_1, state_2, state_3, state_4 of the clips, and they have oracle "
        "-> a column of the annotations"
    )
    assert requirements(load(write(text.replace("[file]", "[oracle]")))) == []


def test_parts_are_counted_where_the_text_encoder_is_known() -> None:
    without = describe("aid", "stable-video-diffusion-img2vid-xt")
    assert (without["fits"], without["lacks"]) == (False, "has no text encoder, and aid reads texts")
    assert without["parameters"]["condition"] is None
    own = describe("aid")
    assert (own["fits"], own["lacks"]) == (True, "")
    assert own["parameters"]["condition"] > 0
