"""Predicted states: once per clip and predictor, whoever asks and however often."""

import json
import multiprocessing
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from models.aid.llava import Llava
from models.bases import BaseRef, find_base
from models.predictor import Predictor
from trainables.data import ShapesData
from trainables.data.layout import ClipSet, ClipSize
from trainables.predictions import Prediction, predict

BASE = find_base("shapes_video")
SIZE = ClipSize(8, 32, 32)
PREDICTOR = Predictor("", "v1", 2)


def clips(most: int = 4) -> ClipSet:
    return ShapesData().training_clips(SIZE, most, Path("unused"))


def predicted(folder: Path | None, some: ClipSet, predictor: Predictor = PREDICTOR) -> list[Prediction]:
    return predict(predictor, BASE, some, SIZE, folder)


def lines(folder: Path) -> list[dict[str, object]]:
    (file,) = folder.glob("*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines() if line]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of clips of each question to the model."""
    numbers: list[int] = []
    own = Llava.answers

    def counted(self: Llava, images: Sequence[object], *args: object, **options: object) -> list[str]:
        numbers.append(len(images))
        return own(self, images, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Llava, "answers", counted)
    return numbers


def test_each_clip_is_predicted_once(tmp_path: Path, asked: list[int]) -> None:
    first = predicted(tmp_path, clips(3))
    assert predicted(tmp_path, clips(3)) == first
    assert predicted(tmp_path, clips(4).take([3, 0, 0])) == [predicted(tmp_path, clips(4))[3], first[0], first[0]]
    assert asked == [3, 1], "only the fourth clip is new"
    head, *made = lines(tmp_path)
    assert head["number"] == 2
    assert len(made) == len({line["clip"] for line in made}) == 4
    assert [len(prediction.states) for prediction in first] == [2, 2, 2]


def test_without_a_file_predictions_are_the_same(tmp_path: Path, asked: list[int]) -> None:
    repeated = clips(3).take([0, 1, 2, 0])
    assert predicted(None, repeated) == predicted(tmp_path, repeated)
    assert asked == [3, 3], "equal clips are asked about once"


def test_another_number_of_states_is_another_file(tmp_path: Path, asked: list[int]) -> None:
    two, four = predicted(tmp_path, clips(2)), predicted(tmp_path, clips(2), Predictor("", "v1", 4))
    assert [len(prediction.states) for prediction in (*two, *four)] == [2, 2, 4, 4]
    assert len([*tmp_path.glob("*.jsonl")]) == 2


def test_another_size_of_frames_is_asked_anew(tmp_path: Path, asked: list[int]) -> None:
    predicted(tmp_path, clips(2))
    large = ClipSize(8, 48, 48)
    predict(PREDICTOR, BASE, ShapesData().training_clips(large, 2, tmp_path), large, tmp_path)
    assert asked == [2, 2]


def test_a_line_that_was_cut_off_is_predicted_again(tmp_path: Path, asked: list[int]) -> None:
    whole = predicted(tmp_path, clips(3))
    (file,) = tmp_path.glob("*.jsonl")
    content = file.read_bytes()
    file.write_bytes(content[: content.rindex(b'"repaired"')])  # killed while it wrote
    assert predicted(tmp_path, clips(3)) == whole
    assert predicted(tmp_path, clips(3)) == whole
    assert asked == [3, 1]


def test_answers_with_another_number_are_repaired_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["up\ndown", "", "a\nb\nc\nd"]
    monkeypatch.setattr(Llava, "answers", lambda *args, **options: answers)
    found = predicted(tmp_path, clips(3))
    assert [prediction.repaired for prediction in found] == [False, True, True]
    instruction = clips(3).texts[1]
    assert [prediction.states for prediction in found] == [("up", "down"), (instruction, instruction), ("b", "d")]
    assert [prediction.answer for prediction in found] == answers


def ask(folder: Path, most: int) -> list[Prediction]:
    return predicted(folder, clips(most))


@pytest.mark.slow
def test_workers_that_ask_at_once_wait_for_one_another(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        found = [*pool.map(ask, [tmp_path] * 3, [2, 3, 4])]
    assert found[0] == found[2][:2]
    assert found[1] == found[2][:3]
    assert len(lines(tmp_path)) == 1 + 4, "the head, and a line for each clip"


def test_a_base_without_a_llava_is_told(tmp_path: Path) -> None:
    bare = BaseRef("org/none", tmp_path, None, "folder")
    with pytest.raises(
        ValueError, match=r"base org/none names no Llava that predicts states -> control: {llava: llava-hf"
    ):
        PREDICTOR.ref(bare)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/nowhere", "/nowhere -> a folder, or a hub id such as llava-hf"),
        ("shapes", r"shapes is no Llava \(model_type None\) -> a folder of transformers' Llava"),
    ],
)
def test_a_model_that_is_no_llava_is_told(model: str, words: str) -> None:
    assert re.match(words, Predictor(model, "v1", 2).misfit(BASE))


def test_a_llava_that_lacks_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    words = Predictor(str(tmp_path), "v1", 2).misfit(BASE)
    assert f"{tmp_path} lacks tokenizer_config.json, *.safetensors -> " in words
    assert Predictor("", "v1", 2).misfit(BASE) == ""
