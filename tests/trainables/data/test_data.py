"""The data layouts of a study file: prompts, references, errors."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from models.streams import Streams
from tests.factories import fresh
from trainables.data import CONTINUABLE, Data, ShapesData
from trainables.data.layout import ClipLayout, ClipSize, continued
from trainables.data.prompts import PromptsData
from trainables.data.scenes import COLOURS, SHAPES


def _data(content: dict[str, Any]) -> ShapesData | PromptsData:
    return TypeAdapter[ShapesData | PromptsData](Data).validate_python(content)


def _pair(prompt: str) -> tuple[str, str]:
    _, colour, shape, *_ = prompt.split()
    return shape, colour


def test_a_clip_has_its_prompt_whatever_the_number_of_clips() -> None:
    few, many = (ShapesData().prompts(Streams(7), clips) for clips in (3, 30))
    assert few == many[:3]
    assert many != ShapesData().prompts(Streams(8), 30)


@pytest.mark.parametrize("seed", range(5))
def test_prompts_are_balanced(seed: int) -> None:
    pairs = [_pair(prompt) for prompt in ShapesData().prompts(Streams(seed), 24)]
    assert Counter(pairs) == Counter((shape, colour) for shape in SHAPES for colour in COLOURS)
    assert set(Counter(shape for shape, _ in pairs[:8]).values()) == {2}
    assert {colour for _, colour in pairs[:6]} == set(COLOURS)


def test_continuable_clips_are_rendered_once_and_decoded(tmp_path: Path) -> None:
    data = ShapesData(references=4)
    clips = data.continuable_clips(ClipSize(3, 32, 32), tmp_path).all()
    assert clips.shape == (4, 3, 32, 32, 3)
    assert clips.dtype == np.uint8
    (folder,) = tmp_path.iterdir()
    written = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert np.array_equal(data.continuable_clips(ClipSize(3, 32, 32), tmp_path).all(), clips)
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == written
    assert data.continuable_clips(ClipSize(2, 64, 64), tmp_path).all().shape == (4, 2, 64, 64, 3)


def test_texts_of_continuable_clips_render_nothing(tmp_path: Path) -> None:
    continuable = ShapesData(references=4).continuable_clips(ClipSize(3, 32, 32), tmp_path)
    assert len(continued(continuable, Streams(0), 6).texts) == 6
    assert list(tmp_path.iterdir()) == []
    assert continuable.read([3, 1]).shape == (2, 3, 32, 32, 3)


def test_references_beyond_the_continuable_clips_decide_no_sample(tmp_path: Path) -> None:
    size = ClipSize(3, 32, 32)
    few, usual = ShapesData(references=CONTINUABLE), ShapesData()
    assert usual.references == 2048
    assert few.identity() == usual.identity()
    assert few.reference_identity() != usual.reference_identity()
    assert few.continuable_clips(size, tmp_path).identity == usual.continuable_clips(size, tmp_path).identity
    assert len(usual.continuable_clips(size, tmp_path)) == CONTINUABLE
    assert ShapesData(references=5).identity()["references"] == 5
    references = usual.reference_clips(size, tmp_path)
    assert references.identity[:CONTINUABLE] == usual.continuable_clips(size, tmp_path).identity
    assert references.read([2047]).shape == (1, *size, 3)
    assert list(tmp_path.iterdir()) == [], "references are rendered without files"
    # A file has other colours by up to two levels: RGB and YUV are rounded.
    first = few.continuable_clips(size, tmp_path).read([0, 7]).astype(int)
    assert np.abs(first - references.read([0, 7])).max() <= 2


@pytest.mark.parametrize("size", [ClipSize(2, 32, 48), ClipSize(2, 48, 32)])
def test_scenes_are_rendered_in_any_shape(size: ClipSize, tmp_path: Path) -> None:
    data = ShapesData(references=2)
    for clips in (data.reference_clips(size, tmp_path), data.training_clips(size, 2, tmp_path)):
        pixels = clips.all()
        assert pixels.shape == (2, *size, 3)
        assert all(len(np.unique(clip.reshape(-1, 3), axis=0)) > 2 for clip in pixels), "a shape before a background"


def test_the_default_pace_leaves_no_trace() -> None:
    data = ShapesData(references=4)
    assert data.model_dump() == {"layout": "shapes", "split": "test", "references": 4}
    assert len(data.reference_identity()) == 4
    paced = _data({"layout": "shapes", "references": 4, "frames_per_motion": 8})
    assert paced.model_dump(mode="json")["frames_per_motion"] == 8
    assert paced.model_validate(paced.model_dump(mode="json")) == paced
    assert paced.reference_identity() != data.reference_identity()
    assert paced.prompts(Streams(0), 4) == data.prompts(Streams(0), 4)


def test_clips_of_constant_pace_begin_alike_for_any_number_of_frames(tmp_path: Path) -> None:
    data = ShapesData(references=4, frames_per_motion=8)
    for take in (
        lambda size: data.reference_clips(size, tmp_path),
        lambda size: data.training_clips(size, 4, tmp_path),
    ):
        short, long = take(ClipSize(8, 32, 32)), take(ClipSize(24, 32, 32))
        assert np.array_equal(short.all(), long.all()[:, :8])
        assert all(more.startswith(f"{text}, then ") for text, more in zip(short.texts, long.texts, strict=True))
        assert {text.count("then") for text in short.texts} == {0}
        assert {text.count("then") for text in long.texts} == {2}
    plain = ShapesData(references=2).reference_clips(ClipSize(8, 32, 32), tmp_path).identity[0]
    assert data.reference_clips(ClipSize(8, 32, 32), tmp_path).identity[0] == [*plain, 8]


def test_prompts_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\n\n a dog \n", encoding="utf-8")
    for given in (["a cat", "a dog"], str(file)):
        data = _data({"layout": "prompts", "prompts": given})
        assert data.prompts(Streams(0), 3) == ["a cat", "a dog", "a cat"]
        assert not isinstance(data, ClipLayout)
        assert _data(data.model_dump()) == data
        assert _data(data.model_dump(mode="json")) == data


@pytest.mark.parametrize(
    "content",
    [
        {"layout": "shape"},
        {"layout": "shapes", "references": 1},
        {"layout": "shapes", "split": "val"},
        {"layout": "shapes", "reference": 8},
        {"layout": "prompts"},
        {"layout": "prompts", "prompts": []},
        {"layout": "prompts", "prompts": [" "]},
        {"layout": "prompts", "prompts": 3},
    ],
)
def test_mistakes_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _data(content)


def test_the_layouts_import_nothing_heavy() -> None:
    heavy = {"torch", "ray", "decord", "av", "diffusers", "transformers"}
    assert not heavy & fresh("import trainables.data").packages
