"""What measures between sets and the accuracy of motions ask of a study's clips, references and base."""

from collections.abc import Callable

import pytest

from sweeps.plan import Plan, load
from tests.sweeps.conftest import Write

STUDY = """\
name: distances
system: {system}
base: shapes
data: {data}
metrics: [{metric}]
seeds: 2
protocol: {{clips: {clips}}}
ablations:
  - {{part: {part}, action: REMOVE}}
"""
Problems = Callable[[str], list[tuple[int, str, str]]]


def study(metric: str, clips: int = 8, data: str = "shapes") -> str:
    return STUDY.format(system="zs2", part="noise", metric=metric, clips=clips, data=data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (study("fvd_infinity"), "needs at least 256 clips, not 8: with fewer than 4 for each of 64 features"),
        (
            study("fvd_infinity", 256, "{layout: shapes, references: 255}"),
            "needs at least 256 reference clips, not 255: with fewer than 4 for each of 64 features",
        ),
        (study("improved_recall", 3), "improved_recall needs at least 4 clips, not 3"),
        (
            study("improved_precision", 8, "{layout: shapes, references: 3}"),
            "improved_precision needs at least 4 reference clips, not 3",
        ),
        (
            study("motion_accuracy", 8, "{layout: prompts, prompts: [a dog]}"),
            "needs prompts in known words -> data: shapes",
        ),
        (study("jedi"), "get V-JEPA ViT-H/16"),
        (study("dynamic_degree"), "get RAFT"),
    ],
)
def test_what_is_missing_is_told_at_the_metric(text: str, message: str, problems: Problems) -> None:
    ((line, path, found),) = problems(text)
    assert (line, path) == (5, "metrics[0]")
    assert message in found


def test_raft_needs_larger_frames(problems: Problems, write: Write) -> None:
    (write("x").parent / "raft.pt").touch()
    text = study("dynamic_degree") + f"extractors: {{raft: {write('x').parent / 'raft.pt'}}}\n"
    assert [message for _, _, message in problems(text)] == [
        "dynamic_degree needs frames of at least 128 x 128 pixels, not 32 x 32"
    ]


def test_enough_clips_are_extrapolated(write: Write) -> None:
    plan: Plan = load(
        write(study("fvd_infinity, improved_precision, improved_recall, diversity, cmmd, motion_accuracy", 256))
    )
    assert [metric.key for metric in plan.metrics] == [
        "fd_infinity/shapes_r3d",
        "improved_precision/shapes_r3d",
        "improved_recall/shapes_r3d",
        "diversity/shapes_r3d",
        "mmd_gaussian/shapes_clip",
        "motion_accuracy/shapes_r3d",
    ]


def test_a_base_without_a_classifier_names_those_with_one(problems: Problems) -> None:
    text = study("motion_accuracy").replace("base: shapes\n", "base: stable-diffusion-v1-5\n")
    assert any(
        "-> base: shapes, shapes_video, or remove motion_accuracy" in message for _, _, message in problems(text)
    )
