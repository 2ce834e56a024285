"""Scores of a cell against their functions, and the number of uses of each network and file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.bases import find_base, read_card
from tests.tolerance import bound
from trainables.grouping import Group
from trainables.metrics import (
    METRICS,
    Extractors,
    MetricKey,
    distances,
    interpolation,
    kernels,
    manifolds,
    motion,
    order,
    resolve,
    score,
    similarity,
)
from trainables.metrics.clips import over_frames
from trainables.metrics.extractors import ClassifierExtractor, ClipExtractor, ImageTextExtractor
from trainables.metrics.loading import load_extractor
from trainables.metrics.score import Scorer
from trainables.metrics.sets import floor_at
from trainables.trial_spec import GroupScore, Score

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
PROMPTS = ["a red circle moves right", "a blue square drops", "a circle turns"]


ON_A_BASE = [
    family.name
    for family in METRICS.values()
    if family.extractor not in ("musiq", "aesthetic", "vjepa", "raft")
    and not (family.needs_continuation or family.inside or family.clips_per_feature)
    and family.least_clips <= len(PROMPTS)
]
"""Families that need no network but those of the base, no true continuation, nothing of the model, and three clips."""


def keys_on(base_folder: Path, families: Sequence[str]) -> list[MetricKey]:
    card = read_card(find_base(str(base_folder)))
    return [resolve(family, card, Extractors(), str(base_folder)) for family in families]


@pytest.fixture
def references() -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (5, 9, 32, 32, 3)).astype(np.uint8)


def test_scores_are_those_of_the_plain_functions(base_folder: Path, clips: Pixels, references: Pixels) -> None:
    keys = keys_on(base_folder, ON_A_BASE)
    scores = Scorer(keys, lambda: references, "cpu").score(clips, PROMPTS)
    clip, classifier = load_extractor(keys[0], "cpu"), load_extractor(keys[-1], "cpu")
    assert isinstance(clip, ImageTextExtractor)
    assert isinstance(classifier, ClassifierExtractor)
    frames, text = clip.embed_frames(clips), clip.embed_text(PROMPTS)
    per_clip = {
        "clip_score/toy_clip": similarity.clip_score(frames, text),
        "temporal_consistency/toy_clip": similarity.temporal_consistency(frames),
        "video_coherence/toy_clip": similarity.video_coherence(frames),
        "subject_consistency/toy_clip": similarity.consistency_with_first(frames),
        "background_consistency/toy_clip": similarity.consistency_with_first(frames),
        "temporal_flickering/vbench_formula": motion.temporal_flickering(clips),
        "interp_residual_score/farneback": interpolation.half_warp_smoothness(clips),
        "warp_error/farneback": motion.warp_error(clips),
        "motion_magnitude/farneback": motion.motion_magnitude(clips),
        "motion_accuracy/toy_r3d": order.motion_accuracy(clips, PROMPTS, classifier.motions),
    }
    real_frames, fake_frames = clip.embed_frames(references).reshape(-1, 24), frames.reshape(-1, 24)
    real_clips, fake_clips = classifier.embed_clips(references), classifier.embed_clips(clips)
    sets = {
        "fd/toy_clip": distances.frechet_distance(real_frames, fake_frames),
        "mmd/toy_clip": kernels.polynomial_mmd(real_frames, fake_frames),
        "mmd_gaussian/toy_clip": kernels.cmmd(real_frames, fake_frames),
        "fd/toy_r3d": distances.frechet_distance(real_clips, fake_clips),
        "mmd/toy_r3d": kernels.polynomial_mmd(real_clips, fake_clips),
        "diversity/toy_r3d": manifolds.vendi_score(real_clips, fake_clips),
    }
    assert scores.keys() == per_clip.keys() | sets.keys()
    for key, values in per_clip.items():
        of_clips = over_frames(values)
        np.testing.assert_array_equal(np.array(scores[key].per_clip), of_clips)
        assert scores[key].value == of_clips.mean()
        per_frame = np.array(scores[key].per_frame, dtype=np.float64)
        np.testing.assert_allclose(per_frame, values.mean(axis=0), rtol=0.5 * 10 ** (1 - score.DIGITS), atol=0)
        # All clips have values at the same frames, so both orders of averaging agree.
        assert scores[key].value == pytest.approx(np.nanmean(per_frame), rel=10 ** (1 - score.DIGITS))
    # Kernels are summed in blocks, for the jackknife, and without: in another order, over at most 45 + 27 rows.
    largest = max(float(np.square(rows).sum(axis=1).max()) / rows.shape[1] for rows in (real_frames, real_clips))
    rounding = bound(torch.float64, 2 * 72**2, 4 * max((largest + 1) ** 3, 1000.0))
    for key, value in sets.items():
        assert scores[key].per_clip is scores[key].per_frame is None
        assert scores[key].value == pytest.approx(value, rel=0, abs=rounding if key.startswith("mmd") else 0)


def test_a_score_carries_what_a_fair_comparison_needs(base_folder: Path, clips: Pixels, references: Pixels) -> None:
    scores = Scorer(keys_on(base_folder, ON_A_BASE), lambda: references, "cpu").score(clips, PROMPTS)
    for value in scores.values():
        assert Score.model_validate_json(value.model_dump_json()) == value
        assert json.loads(json.dumps(value.model_dump())) == value.model_dump()
        assert {"clips", "frames", "size", "libraries"} <= value.parameters.keys()
    distance = scores["fd/toy_clip"]
    assert (distance.direction, distance.surrogate) == ("min", True)
    assert len(distance.parameters["extractor"]["sha256"]) == 64
    assert {
        key: distance.parameters[key]
        for key in ("references", "n_real", "n_fake", "num_features", "ddof", "frames", "size")
    } == {
        "references": 5,
        "n_real": 45,
        "n_fake": 27,
        "num_features": 24,
        "ddof": 1,
        "frames": 9,
        "size": [32, 32],
    }
    assert distance.uncertainty is None, "27 frames are of 3 clips"
    assert "3 clips for 24 features: mostly bias" in distance.parameters["warning"]
    assert "3 clips for 10 features: mostly bias" in scores["fd/toy_r3d"].parameters["warning"]
    assert "warning" not in scores["mmd/toy_r3d"].parameters
    assert distance.set_numbers == {"clips": 3, "frames": 9, "references": 5, "num_features": 24, "ddof": 1}
    assert scores["clip_score/toy_clip"].set_numbers == {}
    assert scores["mmd/toy_r3d"].parameters["kernel"] == {"degree": 3, "gamma": "1/d", "coef0": 1}
    assert not scores["motion_magnitude/farneback"].surrogate
    assert scores["motion_magnitude/farneback"].parameters["flow"]["winsize"] == 15


def test_networks_and_references_are_touched_once(
    base_folder: Path, clips: Pixels, references: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    embedded: list[int] = []
    read: list[int] = []

    def load(key: MetricKey, device: str) -> Any:
        network = load_extractor(key, device)
        loaded.append(network.name)
        for name in ("embed_frames", "embed_clips"):
            if hasattr(network, name):
                whole = getattr(network, name)
                setattr(network, name, lambda items, whole=whole: embedded.append(len(items)) or whole(items))
        return network

    monkeypatch.setattr(score, "load_extractor", load)
    scorer = Scorer(keys_on(base_folder, ON_A_BASE), lambda: read.append(1) or references, "cpu")  # type: ignore[func-returns-value]
    assert sorted(loaded) == ["toy_clip", "toy_r3d"]
    assert not read
    first = scorer.score(clips, PROMPTS)
    assert scorer.score(clips, PROMPTS) == first
    assert len(read) == 1
    assert sorted(embedded) == [3, 3, 3, 3, 5, 5]  # two cells and the references, by two networks


def test_the_references_themselves_are_at_distance_zero(base_folder: Path, references: Pixels) -> None:
    keys = keys_on(base_folder, ["fid", "fvd"])
    scores = Scorer(keys, lambda: references, "cpu").score(references, [""] * 5)
    clip, classifier = (load_extractor(key, "cpu") for key in keys)
    assert isinstance(clip, ImageTextExtractor)
    assert isinstance(classifier, ClipExtractor)
    for distance, rows in (
        (scores["fd/toy_clip"], clip.embed_frames(references).reshape(-1, 24)),
        (scores["fd/toy_r3d"], classifier.embed_clips(references)),
    ):
        traces = 2 * float(np.sum(rows.var(axis=0, ddof=1)))
        assert 0 <= distance.value <= bound(torch.float64, 2 * (rows.size + 8), traces)


def test_distances_say_by_which_decoders_the_references_were_read(
    base_folder: Path, clips: Pixels, references: Pixels
) -> None:
    keys = keys_on(base_folder, ["fid", "kvd", "clip_score"])
    scores = Scorer(
        keys, lambda: references, "cpu", decoders=lambda: ["pyav", "decord", "pyav", "decord", "decord"]
    ).score(clips, PROMPTS)
    told = [value.parameters.get("decoders") for value in scores.values()]
    assert told == [{"decord": 3, "pyav": 2}, {"decord": 3, "pyav": 2}, None]
    for value in Scorer(keys, lambda: references, "cpu").score(clips, PROMPTS).values():
        assert "decoders" not in value.parameters


def test_the_users_files_give_the_published_names(
    clip_folder: Path, inception_file: str, i3d_file: str, base_folder: Path, clips: Pixels, references: Pixels
) -> None:
    given = Extractors(clip=str(clip_folder), inception=inception_file, i3d=i3d_file)
    card = read_card(find_base(str(base_folder)))
    keys = [resolve(family, card, given, str(base_folder)) for family in ("clip_score", "fid", "fvd", "kvd")]
    scores = Scorer(keys, lambda: references, "cpu").score(clips, PROMPTS)
    assert list(scores) == ["clip_score/tiny-clip", "fid/inception2015", "fvd/i3d_k400", "kvd/i3d_k400"]
    assert not any(value.surrogate for value in scores.values())
    assert all(np.isfinite(value.value) for value in scores.values())


def test_pixels_alone_need_no_network_and_no_references(clips: Pixels) -> None:
    keys = [resolve("motion_magnitude", read_card(find_base("org/none")), Extractors(), "org/none")]
    assert list(Scorer(keys).score(clips, PROMPTS)) == ["motion_magnitude/farneback"]


def test_distances_without_references_are_refused(base_folder: Path) -> None:
    with pytest.raises(ValueError, match="fid compares with reference clips"):
        Scorer(keys_on(base_folder, ["fid"]), None, "cpu")


def test_references_of_another_size_are_refused(base_folder: Path, clips: Pixels, references: Pixels) -> None:
    scorer = Scorer(keys_on(base_folder, ["fid"]), lambda: references[:, :8], "cpu")
    with pytest.raises(ValueError, match="clips of the same size"):
        scorer.score(clips, PROMPTS)


def test_bad_clips_are_refused(base_folder: Path, clips: Pixels) -> None:
    scorer = Scorer(keys_on(base_folder, ["clip_score"]), None, "cpu")
    with pytest.raises(ValueError, match="uint8"):
        scorer.score(clips.astype(np.float32), PROMPTS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one prompt per clip"):
        scorer.score(clips, PROMPTS[:2])


def test_groups_are_scored_like_sets_of_their_own(base_folder: Path, clips: Pixels, references: Pixels) -> None:
    """A group's value is that of its clips alone, against its references alone.

    Features of the group are taken from those of all clips: a network may round otherwise in batches of another size.
    """
    families = ["clip_score", "fid", "fvd", "kvd", "motion_magnitude"]
    keys = keys_on(base_folder, families)
    groups = [
        Group("category", "push", (2, 0), (4, 1, 3)),
        Group("category", "pull", (1,), (0, 2)),
        Group("subset", "none", (), (0,)),
    ]
    whole = Scorer(keys, lambda: references, "cpu")
    scores = whole.score(clips, PROMPTS, groups=groups, least=2)
    clip, classifier = load_extractor(keys[0], "cpu"), load_extractor(keys[2], "cpu")
    assert isinstance(clip, ImageTextExtractor)
    assert isinstance(classifier, ClipExtractor)

    def of_push(features: Callable[[Any], Any]) -> tuple[Any, Any]:
        real, fake = features(references)[[4, 1, 3]], features(clips)[[2, 0]]
        return real.reshape(-1, real.shape[-1]), fake.reshape(-1, fake.shape[-1])

    alone = {
        "clip_score/toy_clip": over_frames(
            similarity.clip_score(clip.embed_frames(clips), clip.embed_text(PROMPTS))[[2, 0]]
        ).mean(),
        "motion_magnitude/farneback": over_frames(motion.motion_magnitude(clips[[2, 0]])).mean(),
        "fd/toy_clip": distances.frechet_distance(*of_push(clip.embed_frames)),
        "fd/toy_r3d": distances.frechet_distance(*of_push(classifier.embed_clips)),
        "mmd/toy_r3d": kernels.polynomial_mmd(*of_push(classifier.embed_clips)),
    }
    assert scores.keys() == alone.keys()
    rounding = bound(torch.float64, 2 * 27 * 24) ** 0.5  # the root of a singular covariance moves by a rounding's root
    for key, score_of in scores.items():
        push = score_of.groups["category"]["push"]
        assert push.clips == 2
        assert push.value == pytest.approx(alone[key], rel=rounding, abs=0), key
        assert score_of.groups["subset"]["none"] == GroupScore(value=None, clips=0)
        pull = score_of.groups["category"]["pull"]
        is_set = METRICS[next(k.family for k in keys if k.key == key)].per == "set"
        assert (pull.value is None) == is_set, "one clip has a mean and no distance"
        assert score_of.model_copy(update={"groups": {}}) == whole.score(clips, PROMPTS)[key]


def test_a_floor_is_what_real_clips_reach_and_is_measured_once(
    base_folder: Path, clips: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measure of the reference clips alone: the same in every cell with as many clips."""
    real = np.random.default_rng(2).integers(0, 256, (14, 9, 32, 32, 3)).astype(np.uint8)
    keys = keys_on(base_folder, ["fvd", "diversity"])
    measured: list[str] = []
    monkeypatch.setattr(score, "floor_at", lambda family, *rest: measured.append(family) or floor_at(family, *rest))  # type: ignore[func-returns-value]
    scorer = Scorer(keys, lambda: real, "cpu")
    first, second = scorer.score(clips, PROMPTS), scorer.score(clips[::-1], PROMPTS)
    assert measured == ["fvd", "diversity"]
    classifier = load_extractor(keys[0], "cpu")
    assert isinstance(classifier, ClipExtractor)
    rows = classifier.embed_clips(real)
    draws = [slice(start, start + 3) for start in (0, 3, 6, 9)]
    expected = [distances.frechet_distance(np.delete(rows, draw, axis=0), rows[draw]) for draw in draws]
    floor = first["fd/toy_r3d"].floor
    assert floor is not None
    assert (floor.mean, floor.sd, floor.draws) == (np.mean(expected), np.std(expected, ddof=1), 4)
    assert {key: value.floor for key, value in first.items()} == {key: value.floor for key, value in second.items()}
    assert first["fd/toy_r3d"].set_numbers["floor"] == floor.mean
    few = Scorer(keys, lambda: real[:5], "cpu").score(clips, PROMPTS)
    assert {value.floor for value in few.values()} == {None}, "5 real clips are fewer than twice 3"
