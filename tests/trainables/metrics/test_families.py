"""What holds for every family of metrics, with every kind of network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bases import Card, find_base, read_card
from tests.factories import ROOT
from trainables.metrics import GROUPS, HOW_TO_GET, METRICS, Extractors, MetricKey, resolve
from trainables.metrics.inside import Inside
from trainables.metrics.score import Scorer
from trainables.metrics.truth import Continuation
from trainables.trial_spec import Score

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
HUNDREDS = ("fvd_infinity",)
"""Families that need hundreds of clips."""
BARE = Card(name="stable-diffusion-v1-5/stable-diffusion-v1-5")
GIVEN = 2
PUBLISHED = {
    "clip_score": "clip_score/tiny-clip",
    "temporal_consistency": "temporal_consistency/tiny-clip",
    "video_coherence": "video_coherence/tiny-clip",
    "temporal_flickering": "temporal_flickering/vbench_formula",
    "motion_smoothness": "motion_smoothness/vbench_amt_s",
    "subject_consistency": "subject_consistency/tiny-dino",
    "background_consistency": "background_consistency/tiny-clip",
    "imaging_quality": "imaging_quality/musiq_spaq",
    "aesthetic_quality": "aesthetic_quality/laion_l14",
    "psnr": "psnr/vs_truth",
    "ssim": "ssim/vs_truth",
    "warp_error": "warp_error/farneback",
    "motion_magnitude": "motion_magnitude/farneback",
    "dynamic_degree": "dynamic_degree/vbench_raft_things",
    "motion_accuracy": "motion_accuracy/toy_r3d",
    "fid": "fid/inception2015",
    "kid": "kid/inception2015",
    "fvd": "fvd/i3d_k400",
    "fvd_infinity": "fvd_infinity/i3d_k400",
    "kvd": "kvd/i3d_k400",
    "jedi": "jedi/vjepa_h16_ssv2",
    "cmmd": "cmmd/tiny-clip",
    "improved_precision": "improved_precision/i3d_k400",
    "improved_recall": "improved_recall/i3d_k400",
    "diversity": "diversity/i3d_k400",
    "state_accuracy": "state_accuracy/oracle",
    "state_size": "state_size/oracle",
    "state_colour": "state_colour/oracle",
    "state_shape": "state_shape/oracle",
    "state_motion": "state_motion/oracle",
    "condition_frame": "condition_frame/linear_probe",
    "condition_phase": "condition_phase/linear_probe",
}


@pytest.fixture
def all_given(
    clip_folder: Path,
    inception_file: str,
    i3d_file: str,
    dino_folder: Path,
    pyiqa_file: str,
    head_file: Path,
    amt_file: str,
    vjepa_file: str,
    raft_file: str,
) -> Extractors:
    return Extractors(
        clip=str(clip_folder),
        inception=inception_file,
        i3d=i3d_file,
        dino=str(dino_folder),
        musiq=pyiqa_file,
        aesthetic=str(head_file),
        aesthetic_clip=str(clip_folder),
        amt=amt_file,
        vjepa=vjepa_file,
        raft=raft_file,
    )


@pytest.fixture
def clips() -> Pixels:
    """As many clips as every family needs, but the one that needs hundreds."""
    return np.random.default_rng(0).integers(0, 256, (4, 9, 32, 32, 3)).astype(np.uint8)


Resolved = Callable[[str], MetricKey]


@pytest.fixture
def resolved(all_given: Extractors, base_folder: Path) -> Resolved:
    """A family's key with all networks given; the classifier is that of a base."""
    card = read_card(find_base(str(base_folder)))

    def resolve_one(family: str) -> MetricKey:
        own = METRICS[family].extractor == "classifier"
        return resolve(family, card if own else BARE, all_given, str(base_folder) if own else "org/none")

    return resolve_one


Scored = Callable[[Pixels], dict[str, Score]]


@pytest.fixture
def scored(resolved: Resolved) -> Scored:
    """Scores of clips by all families but one; references, true continuations and conditions are noise."""
    keys = [resolved(family) for family in METRICS if family not in HUNDREDS]

    def score(clips: Pixels) -> dict[str, Score]:
        noise = np.random.default_rng(7).integers(0, 256, clips.shape).astype(np.uint8)
        features = np.random.default_rng(8).normal(size=(*clips.shape[:2], 3)).astype(np.float32)
        inside = Inside([["a red circle drops"]] * len(clips), ["a large red circle stays"] * len(clips), features)
        prompts, truth = ["a red circle drops"] * len(clips), Continuation(noise, GIVEN)
        return Scorer(keys, lambda: noise, "cpu").score(clips, prompts, truth, inside=inside)

    return score


def test_every_family_has_a_key_a_score_and_values_by_frame(scored: Scored, clips: Pixels) -> None:
    scores = scored(clips)
    assert list(scores) == [key for family, key in PUBLISHED.items() if family not in HUNDREDS]
    assert list(PUBLISHED) == list(METRICS)
    for family, score in zip((METRICS[name] for name in METRICS if name not in HUNDREDS), scores.values(), strict=True):
        assert score.direction == family.direction
        assert score.surrogate == (family.extractor == "classifier")
        assert Score.model_validate_json(score.model_dump_json()) == score
        if family.per == "set":
            assert score.per_clip is score.per_frame is None
            continue
        assert score.per_clip is not None
        assert score.per_frame is not None
        assert len(score.per_frame) == clips.shape[1]
        known = [value for value in score.per_frame if value is not None]
        assert score.value == pytest.approx(np.mean(known), rel=1e-5)
        assert score.value == pytest.approx(np.mean(score.per_clip), rel=1e-12)
        without = clips.shape[1] - len(known)
        assert without == {"psnr": GIVEN, "ssim": GIVEN, "motion_smoothness": 5, "dynamic_degree": 1}.get(
            family.name, family.least_frames - 1 if family.name != "video_coherence" else 0
        )
        if family.needs_continuation:
            assert score.parameters["given_frames"] == GIVEN


def test_a_frozen_clip_is_best_where_a_motion_measure_is_added(scored: Scored, clips: Pixels) -> None:
    frozen = np.repeat(clips[:, :1], clips.shape[1], axis=1)
    names = [name for name in METRICS if name not in HUNDREDS]
    moving, still = (dict(zip(names, scored(one).values(), strict=True)) for one in (clips, frozen))
    assert still["motion_magnitude"].value == 0
    for name, family in METRICS.items():
        if family.companion is not None and family.extractor != "amt":  # a random network interpolates nothing
            assert still[name].value == pytest.approx(1 if family.direction == "max" else 0, abs=1e-6)
            assert (still[name].value - moving[name].value) * (1 if family.direction == "max" else -1) > 0


def test_the_number_of_frames_that_a_family_needs_is_enough_and_not_too_many(
    scored: Scored, resolved: Resolved
) -> None:
    for name, family in METRICS.items():
        if family.per == "set" or family.inside:
            continue
        key = resolved(name)
        for frames in range(1, 4):
            clips = np.random.default_rng(0).integers(0, 256, (1, frames, 16, 16, 3)).astype(np.uint8)
            scorer = Scorer([key], None, "cpu")
            if frames < key.least_frames:
                with pytest.raises(ValueError, match=f"at least {key.least_frames}"):
                    scorer.score(clips, ["a circle drops"], Continuation(clips, 0))
            else:
                assert np.isfinite(scorer.score(clips, ["a circle drops"], Continuation(clips, 0))[key.key].value)


def test_networks_are_loaded_once_and_missing_ones_are_told(all_given: Extractors) -> None:
    for role in HOW_TO_GET:
        needing = [family.name for family in METRICS.values() if family.extractor == role and family.instead is None]
        without = all_given.model_copy(update={role: None})
        for family in needing:
            with pytest.raises(ValueError, match=f"get .*extractors: {{{role}: .* or remove {family}"):
                resolve(family, BARE, without, "org/none")


def test_without_its_network_motion_smoothness_is_another_metric(all_given: Extractors) -> None:
    key = resolve("motion_smoothness", BARE, Extractors(), "org/none")
    assert key.key == "interp_residual_score/farneback"
    assert "not its values" in key.words
    assert not key.surrogate
    assert key.extractor is None


def test_a_true_continuation_is_needed(clips: Pixels) -> None:
    for family in ("psnr", "ssim"):
        scorer = Scorer([resolve(family, BARE, Extractors(), "org/none")])
        assert scorer.needs_continuation
        with pytest.raises(ValueError, match=f"{family} compares with the true continuation"):
            scorer.score(clips, [""] * 4)


def test_states_and_condition_are_needed(clips: Pixels) -> None:
    for family, reads in (("state_accuracy", "states"), ("condition_phase", "condition")):
        scorer = Scorer([resolve(family, BARE, Extractors(), "org/none")])
        assert scorer.inside == {reads}
        with pytest.raises(ValueError, match=f"{family} reads what the model was given and made"):
            scorer.score(clips, [""] * 4)


def test_every_family_and_group_is_documented() -> None:
    page = (ROOT / "docs/bases_and_metrics.md").read_text(encoding="utf-8")
    for name in (*METRICS, *GROUPS):
        assert f"| `{name}` |" in page
    for key in PUBLISHED.values():
        head, _, tail = key.partition("/")
        shown = {"tiny": "<model>", "toy_": tail.replace("toy", "shapes")}.get(tail[:4], tail)
        assert f"`{head}/{shown}`" in page
    for role in HOW_TO_GET:
        assert f"  {role}: " in page


def test_members_of_groups_are_families() -> None:
    for group in GROUPS.values():
        assert set(group.members) <= set(METRICS)
    assert not set(GROUPS) & set(METRICS)


def test_a_key_keeps_the_family_of_the_study(resolved: Resolved) -> None:
    keys = [resolved(family) for family in METRICS]
    assert [key.family for key in keys] == list(METRICS)
    assert len({key.key for key in keys}) == len(keys)
