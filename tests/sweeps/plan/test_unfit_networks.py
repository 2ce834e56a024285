"""Bases and CLIP models of other kinds are refused by ``check``, at their line, with file and key."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.factories import fresh
from tests.sweeps.conftest import SOUND

Problems = Callable[[str | bytes], list[tuple[int, str, str]]]
CLIP = "base: shapes\nextractors: {{clip: {}}}"


@pytest.fixture
def copied(tiny_base_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_base_folder, tmp_path / "base")


def change(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def on(base: object) -> str:
    return SOUND.replace("base: shapes", f"base: {base}\ndata: shapes").replace("clip_score", "motion_magnitude")


def test_a_base_that_fits_is_no_problem(copied: Path, problems: Problems) -> None:
    assert problems(on(copied)) == []


@pytest.mark.parametrize(
    ("file", "values", "expected"),
    [
        ("scheduler/scheduler_config.json", {"prediction_type": "flow_prediction"}, "prediction_type"),
        ("unet/config.json", {"in_channels": 9}, "in_channels: 9: an inpainting U-Net"),
        ("unet/config.json", {"addition_embed_type": "text_time"}, "addition_embed_type"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type"),
        ("model_index.json", {"text_encoder_2": ["transformers", "CLIPTextModel"]}, "text_encoder_2"),
    ],
)
def test_a_base_of_another_kind_is_refused_at_its_line(
    file: str, values: dict[str, Any], expected: str, copied: Path, problems: Problems
) -> None:
    change(copied / file, values)
    ((line, path, message),) = problems(on(copied))
    assert (line, path) == (3, "base")
    assert message.startswith(f"{copied}: {file}: {expected}")
    assert " -> " in message


def test_all_reasons_are_listed(copied: Path, problems: Problems) -> None:
    change(copied / "unet/config.json", {"in_channels": 9, "num_class_embeds": 3})
    change(copied / "scheduler/scheduler_config.json", {"prediction_type": "x"})
    assert [place[:2] for place in problems(on(copied))] == [(3, "base")] * 3


def test_a_tokenizer_without_vocabulary_is_refused(copied: Path, problems: Problems) -> None:
    (copied / "tokenizer/tokenizer.json").unlink()
    ((line, path, message),) = problems(on(copied))
    assert (line, path) == (3, "base")
    assert "lacks tokenizer/tokenizer.json" in message


@pytest.mark.usefixtures("hub_cache")
def test_a_hub_base_in_the_cache_is_checked(hub_cache: Path, problems: Problems) -> None:
    assert problems(on("org/tiny")) == []
    (unet,) = hub_cache.rglob("unet/config.json")
    change(unet, {"in_channels": 9})
    ((line, path, message),) = problems(on("org/tiny"))
    assert (line, path) == (3, "base")
    assert "an inpainting U-Net" in message


def test_a_check_of_an_unfit_base_imports_no_torch(copied: Path, tmp_path: Path) -> None:
    change(copied / "unet/config.json", {"in_channels": 9})
    study = tmp_path / "study.yaml"
    study.write_text(on(copied), encoding="utf-8")
    code = (
        "import sys\nfrom pathlib import Path\nfrom sweeps.plan import load\n"
        "try:\n    load(Path(sys.argv[1]))\nexcept ValueError as error:\n    print(error)"
    )
    checked = fresh(code, study)
    assert "an inpainting U-Net" in checked.stdout
    assert not checked.packages & {"torch", "diffusers", "transformers"}


@pytest.mark.parametrize(
    ("model_type", "name"), [("siglip", "SigLIP"), ("siglip2", "SigLIP 2"), ("blip", "another model than CLIP")]
)
def test_another_model_than_clip_is_refused(model_type: str, name: str, tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({"model_type": model_type}))
    ((line, path, message),) = problems(SOUND.replace("base: shapes", CLIP.format(tmp_path / "model")))
    assert (line, path) == (4, "extractors.clip")
    assert f"config.json: model_type: {model_type}: {name}" in message
    assert "-> get a CLIP model" in message


def test_a_clip_folder_without_vocabulary_is_refused(tmp_path: Path, problems: Problems) -> None:
    from models.bases import FOLDER

    folder = shutil.copytree(FOLDER / "shapes/clip", tmp_path / "clip")
    text = SOUND.replace("base: shapes", CLIP.format(folder))
    assert problems(text) == []
    (folder / "tokenizer.json").unlink()
    ((line, path, message),) = problems(text)
    assert (line, path) == (4, "extractors.clip")
    assert "lacks tokenizer.json" in message
