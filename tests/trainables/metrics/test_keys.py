"""Families, keys and companions of metrics on a base."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.bases import Card
from tests.factories import fresh
from trainables.metrics import (
    GROUPS,
    HOW_TO_GET,
    METRICS,
    Extractors,
    absent,
    members,
    resolve,
    with_companions,
)

SHAPES = Card(name="shapes", extractors={"clip": "clip", "clips": "classifier"}, surrogate=True, data="shapes")
BARE = Card(name="stable-diffusion-v1-5/stable-diffusion-v1-5")
SURROGATE_KEYS = {
    "clip_score": "clip_score/shapes_clip",
    "temporal_consistency": "temporal_consistency/shapes_clip",
    "video_coherence": "video_coherence/shapes_clip",
    "subject_consistency": "subject_consistency/shapes_clip",
    "background_consistency": "background_consistency/shapes_clip",
    "fid": "fd/shapes_clip",
    "kid": "mmd/shapes_clip",
    "fvd": "fd/shapes_r3d",
    "fvd_infinity": "fd_infinity/shapes_r3d",
    "kvd": "mmd/shapes_r3d",
    "cmmd": "mmd_gaussian/shapes_clip",
    "improved_precision": "improved_precision/shapes_r3d",
    "improved_recall": "improved_recall/shapes_r3d",
    "diversity": "diversity/shapes_r3d",
}
RENAMED = {"fid", "fvd", "fvd_infinity", "kid", "kvd", "cmmd"}
PIXEL_KEYS = {
    "temporal_flickering": "temporal_flickering/vbench_formula",
    "motion_magnitude": "motion_magnitude/farneback",
    "motion_smoothness": "interp_residual_score/farneback",
    "warp_error": "warp_error/farneback",
    "psnr": "psnr/vs_truth",
    "ssim": "ssim/vs_truth",
}
QUALITY = GROUPS["video_quality"]


@pytest.mark.parametrize(("family", "key"), SURROGATE_KEYS.items())
def test_a_stand_in_never_has_the_published_name_and_says_so(family: str, key: str) -> None:
    metric = resolve(family, SHAPES, Extractors(), "shapes")
    assert metric.key == key
    assert metric.surrogate
    assert "surrogate" in metric.words
    assert metric.key.split("/")[0] not in RENAMED
    assert metric.extractor is not None
    assert metric.extractor.source == "shapes"
    if family in RENAMED:
        assert f"not {family.upper()}" in metric.words


@pytest.mark.parametrize(("family", "key"), PIXEL_KEYS.items())
@pytest.mark.parametrize("card", [SHAPES, BARE])
def test_pixels_need_no_network(family: str, key: str, card: Card) -> None:
    metric = resolve(family, card, Extractors(), card.name)
    assert (metric.key, metric.surrogate, metric.extractor) == (key, False, None)


@pytest.mark.parametrize("card", [SHAPES, BARE])
def test_the_users_networks_come_first_and_give_published_names(card: Card, tmp_path: Path) -> None:
    i3d, inception, clip = tmp_path / "i3d.pt", tmp_path / "inception.pt", tmp_path / "My CLIP"
    i3d.touch()
    inception.touch()
    clip.mkdir()
    given = Extractors(clip=str(clip), i3d=str(i3d), inception=str(inception), dino="facebook/dino-vitb16@main")
    keys = {family: resolve(family, card, given, card.name) for family in SURROGATE_KEYS}
    assert {family: metric.key for family, metric in keys.items()} == {
        "clip_score": "clip_score/My-CLIP",
        "temporal_consistency": "temporal_consistency/My-CLIP",
        "video_coherence": "video_coherence/My-CLIP",
        "subject_consistency": "subject_consistency/dino-vitb16",
        "background_consistency": "background_consistency/My-CLIP",
        "fid": "fid/inception2015",
        "kid": "kid/inception2015",
        "fvd": "fvd/i3d_k400",
        "fvd_infinity": "fvd_infinity/i3d_k400",
        "kvd": "kvd/i3d_k400",
        "cmmd": "cmmd/My-CLIP",
        "improved_precision": "improved_precision/i3d_k400",
        "improved_recall": "improved_recall/i3d_k400",
        "diversity": "diversity/i3d_k400",
    }
    assert not any(metric.surrogate or "surrogate" in metric.words for metric in keys.values())
    assert keys["fvd"].least_frames == 9


@pytest.mark.parametrize("source", ["openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32@3d74acf"])
def test_a_hub_id_needs_no_download_to_plan(source: str) -> None:
    metric = resolve("clip_score", BARE, Extractors(clip=source), "some/base")
    assert metric.key == "clip_score/clip-vit-base-patch32"
    assert metric.extractor is not None
    assert metric.extractor.source == source


@pytest.mark.parametrize("family", SURROGATE_KEYS)
def test_a_base_without_networks_says_what_to_add(family: str) -> None:
    role = METRICS[family].extractor
    with pytest.raises(ValueError, match=f"extractors: {{{role}: "):
        resolve(family, BARE, Extractors(), "some/base")


@pytest.mark.parametrize(
    ("family", "given"),
    [
        ("fid", Extractors(inception="nowhere/inception.pt")),
        ("fvd", Extractors(i3d="~/nowhere/i3d.pt")),
        ("clip_score", Extractors(clip="./nowhere")),
        ("subject_consistency", Extractors(dino="./nowhere")),
        ("imaging_quality", Extractors(musiq="nowhere.pth")),
        ("aesthetic_quality", Extractors(aesthetic="nowhere.pth")),
        ("motion_smoothness", Extractors(amt="nowhere.pt")),
    ],
)
def test_a_path_to_nothing_is_told_with_a_source_and_has_a_key_all_the_same(family: str, given: Extractors) -> None:
    role = METRICS[family].extractor
    assert role is not None
    assert resolve(family, SHAPES, given, "shapes").key.startswith(f"{family}/")
    assert list(absent(given)) == [role]
    assert absent(given)[role].startswith(f"{getattr(given, role)} does not exist -> get ")
    assert HOW_TO_GET[role] in absent(given)[role]


def test_an_unknown_family_gets_a_hint() -> None:
    with pytest.raises(ValueError, match=r"did you mean clip_score\?"):
        resolve("clipscore", SHAPES, Extractors(), "shapes")
    with pytest.raises(ValueError, match="video_coherence"):
        with_companions(["video_coherance"])


def test_the_clip_of_the_aesthetic_head_is_published_or_given() -> None:
    by_default = resolve("aesthetic_quality", SHAPES, Extractors(aesthetic="head.pth"), "shapes").extractor
    given = Extractors(aesthetic="head.pth", aesthetic_clip="./nowhere", clip="openai/clip-vit-base-patch32")
    own = resolve("aesthetic_quality", SHAPES, given, "shapes").extractor
    assert by_default is not None
    assert own is not None
    assert (by_default.clip, own.clip) == ("openai/clip-vit-large-patch14", "./nowhere")
    assert list(absent(given)) == ["aesthetic", "aesthetic_clip"]


@pytest.mark.parametrize("family", ["imaging_quality", "aesthetic_quality"])
def test_no_network_stands_in_for_peoples_judgement(family: str) -> None:
    with pytest.raises(ValueError, match=f"extractors: {{{METRICS[family].extractor}: "):
        resolve(family, SHAPES, Extractors(), "shapes")


def test_video_quality_is_what_can_be_measured_with_reasons_for_the_rest() -> None:
    found, left_out = members(QUALITY, SHAPES, Extractors(), "shapes", continues=True)
    assert found == ["subject_consistency", "psnr", "ssim", "warp_error"]
    assert left_out == {
        "imaging_quality": "without extractors.musiq",
        "aesthetic_quality": "without extractors.aesthetic",
        "background_consistency": "the stand-in network gives the same number",
    }
    found, left_out = members(QUALITY, BARE, Extractors(), "org/none", continues=False)
    assert found == ["warp_error"]
    assert left_out["psnr"] == left_out["ssim"] == "no true continuation"
    assert left_out["subject_consistency"] == "without extractors.dino"
    given = Extractors(clip="a/b", dino="c/d", musiq="m.pth", aesthetic="a.pth")
    assert members(QUALITY, BARE, given, "org/none", continues=True) == (list(QUALITY.members), {})


@pytest.mark.parametrize(
    "family",
    [
        "temporal_consistency",
        "video_coherence",
        "temporal_flickering",
        "motion_smoothness",
        "subject_consistency",
        "background_consistency",
        "warp_error",
    ],
)
def test_motion_stands_beside_what_a_frozen_clip_would_win(family: str) -> None:
    families, notes = with_companions([family, "clip_score"])
    assert families == [family, "motion_magnitude", "clip_score"]
    assert len(notes) == 1
    assert family in notes[0]


def test_companions_are_added_once_and_only_where_missing() -> None:
    assert with_companions(["clip_score", "fid"]) == (["clip_score", "fid"], [])
    assert with_companions(["temporal_consistency", "clip_score", "motion_magnitude"])[1] == []
    families, notes = with_companions(["clip_score", "temporal_consistency", "video_coherence"])
    assert families == ["clip_score", "temporal_consistency", "motion_magnitude", "video_coherence"]
    assert len(notes) == 1


def test_directions_follow_the_literature() -> None:
    lower = {name for name, family in METRICS.items() if family.direction == "min"}
    of_sets = {"improved_precision", "improved_recall", "diversity"}
    assert lower == {"fid", "kid", "fvd", "fvd_infinity", "kvd", "jedi", "cmmd", "warp_error"}
    assert lower - {"warp_error"} | of_sets == {name for name, family in METRICS.items() if family.needs_references}
    assert all(name == family.name for name, family in METRICS.items())


def test_families_are_known_without_torch() -> None:
    assert not {"torch", "cv2", "transformers"} & fresh("import trainables.metrics").packages
