"""Groups of metrics in a study, and metrics that its system, protocol or machine cannot measure."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.plan import load
from sweeps.plan.requirements import requirements

SEER = """\
name: s
system: seer
base: shapes
seeds: 2
training: {steps: 2}
ablations: [{part: text_decomposer, action: REMOVE}]
"""
ZS2 = "name: s\nsystem: zs2\nbase: shapes\nseeds: 2\nablations: [{part: noise, action: REMOVE}]\n"
Write = Callable[[str | bytes], Path]
Problems = Callable[[str | bytes], list[tuple[int, str, str]]]


def test_video_quality_is_its_members_and_the_first_is_the_objective(write: Write) -> None:
    plan = load(write(f"{ZS2}metrics: [video_quality, temporal_flickering, motion_smoothness]\n"))
    assert [metric.key for metric in plan.metrics] == [
        "subject_consistency/shapes_clip",
        "motion_magnitude/farneback",
        "warp_error/farneback",
        "temporal_flickering/vbench_formula",
        "interp_residual_score/farneback",
    ]
    assert plan.cells[0].spec.metrics[0] == "subject_consistency"
    (note,) = [note for note in plan.notes if note.startswith("video_quality")]
    assert note == (
        "video_quality is measured as subject_consistency, warp_error; not measured: imaging_quality (without "
        "extractors.musiq), aesthetic_quality (without extractors.aesthetic), background_consistency (the stand-in "
        "network gives the same number), psnr (no true continuation), ssim (no true continuation)"
    )


def test_a_system_that_continues_clips_is_compared_with_the_truth(write: Write) -> None:
    plan = load(write(f"{SEER}metrics: [video_quality]\n"))
    assert {"psnr/vs_truth", "ssim/vs_truth"} <= {metric.key for metric in plan.metrics}


def test_a_member_that_is_named_itself_keeps_its_place(write: Write) -> None:
    plan = load(write(f"{ZS2}metrics: [video_quality, clip_score, subject_consistency]\n"))
    assert [metric.family for metric in plan.metrics] == [
        "warp_error",
        "motion_magnitude",
        "clip_score",
        "subject_consistency",
    ]


def test_members_of_a_group_may_have_margins_hypotheses_and_be_objectives(write: Write, problems: Problems) -> None:
    study = f"{ZS2}metrics: [clip_score, video_quality]\nmargins: {{warp_error: 0.1}}\n"
    assert problems(study) == []
    (wrong,) = problems(study.replace("warp_error", "psnr"))
    assert wrong[1] == "margins.psnr"
    assert "one of the study's metrics: clip_score, subject_consistency, motion_magnitude, warp_error" in wrong[2]
    search = "search: {space: {attention.mu: {uniform: [0, 1]}}, trials_per_arm: 2}\n"
    plan = load(write(f"{ZS2}metrics: [video_quality]\n{search}"))
    assert plan.search is not None
    assert [objective.key for objective in plan.search.objectives] == ["subject_consistency/shapes_clip"]


def test_problems_of_a_member_are_at_the_group(problems: Problems) -> None:
    study = f"{SEER}metrics:\n  - clip_score\n  - video_quality\nprotocol: {{height: 8, width: 8}}\n"
    (wrong,) = [problem for problem in problems(study) if "ssim" in problem[2]]
    assert wrong == (9, "metrics[1]", "ssim needs frames of at least 11 x 11 pixels, not 8 x 8")


def test_a_group_twice_and_an_unknown_name_are_refused(problems: Problems) -> None:
    found = problems(f"{ZS2}metrics: [video_quality, video_qualty, video_quality]\n")
    assert [(path, message.partition(" -> ")[0]) for _, path, message in found] == [
        ("metrics[1]", "video_qualty"),
        ("metrics[2]", "video_quality is listed twice"),
    ]
    assert "did you mean video_quality?" in found[0][2]


@pytest.mark.parametrize("family", ["psnr", "ssim"])
def test_a_system_without_a_continuation_is_refused(family: str, problems: Problems) -> None:
    (wrong,) = problems(f"{ZS2}metrics: [{family}]\n")
    assert wrong[1] == "metrics[0]"
    assert wrong[2].startswith(f"{family} compares with the true continuation, and zs2 continues no clips -> ")
    assert "seer" in wrong[2]


def test_two_frames_are_too_few_for_smoothness_and_one_for_any_clip(problems: Problems) -> None:
    study = f"{ZS2}metrics: [motion_smoothness]\nprotocol: {{frames: 2}}\n"
    assert [problem[1:] for problem in problems(study)] == [
        ("metrics[0]", "motion_smoothness needs clips of at least 3 frames, not 2")
    ]
    (wrong,) = problems(study.replace("frames: 2", "frames: 1"))
    assert wrong[1] == "protocol.frames"
    assert problems(study.replace("frames: 2", "frames: 3")) == []


def test_missing_weights_are_warnings_and_keep_a_run_from_starting(write: Write, tmp_path: Path) -> None:
    head = tmp_path / "head.pth"
    weights = {"musiq": "./musiq.pth", "aesthetic": str(head), "dino": "./dino", "amt": "./amt.pt"}
    given = ", ".join(f"{role}: {source}" for role, source in weights.items())
    plan = load(write(f"{ZS2}metrics: [video_quality, motion_smoothness]\nextractors: {{{given}}}\n"))
    assert {metric.key for metric in plan.metrics} >= {
        "imaging_quality/musiq_spaq",
        "aesthetic_quality/laion_l14",
        "subject_consistency/dino",
        "motion_smoothness/vbench_amt_s",
    }
    found = {problem.path: problem.message for problem in requirements(plan)}
    assert set(found) == {f"extractors.{role}" for role in weights}
    for role, source in weights.items():
        assert found[f"extractors.{role}"].startswith(f"{source} does not exist -> get ")
        assert any(source in warning for warning in plan.warnings)
    assert "https://github.com/chaofengc/IQA-PyTorch" in found["extractors.musiq"]
