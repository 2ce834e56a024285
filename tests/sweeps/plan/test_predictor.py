"""Predicted states in a study: models and metrics that cannot be, told before anything runs."""

from collections.abc import Callable

import pytest

from tests.factories import AID_STUDY

Problems = Callable[[str | bytes], list[tuple[int, str, str]]]

STUDY = AID_STUDY
XT = STUDY.replace("base: shapes_video", "base: stable-video-diffusion-img2vid-xt\ntext_encoder: stable-diffusion-v1-5")


def test_a_base_names_its_own_llava_or_the_study_names_one(problems: Problems) -> None:
    assert problems(STUDY) == []
    assert problems(XT + "control: {llava: llava-hf/llava-1.5-7b-hf}\n") == []
    assert problems(XT + "control: {states: repeat}\n") == []


def test_a_base_without_one_is_told_once(problems: Problems) -> None:
    ((line, key, message),) = problems(XT)
    assert (line, key) == (3, "base")
    assert "names no Llava that predicts states -> control: {llava: llava-hf/llava-1.5-7b-hf}" in message


@pytest.mark.parametrize(
    ("llava", "words"),
    [("./nowhere", "./nowhere -> a folder, or a hub id such as llava-hf"), ("shapes", "shapes is no Llava")],
)
def test_what_is_no_llava_is_told(llava: str, words: str, problems: Problems) -> None:
    ((_, key, message),) = problems(STUDY + f"control: {{llava: {llava}}}\n")
    assert key == "base"
    assert f"states of arm control: {words}" in message


@pytest.mark.parametrize("metric", ["state_accuracy", "condition_phase"])
def test_metrics_of_a_model_need_a_system_and_clips_that_have_them(metric: str, problems: Problems) -> None:
    asked = STUDY.replace("motion_magnitude", metric)
    assert problems(asked) == []
    other = asked.replace("system: aid", "system: exvideo").replace("spatial_adapter", "position")
    (found,) = [message for _, key, message in problems(other) if key == "metrics"]
    assert f"{metric} reads the " in found
    assert "and control (exvideo) has none -> arms of aid, or other metrics" in found
    paper = asked.replace("data: shapes", "data: {layout: captions, path: nowhere}")
    assert any("whose true frames are described in known words -> data: shapes" in text for *_, text in problems(paper))
