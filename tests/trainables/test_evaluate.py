import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.bases import Protocol
from tests.factories import make_spec
from trainables.cache import Cache
from trainables.cell_files import (
    CHECKPOINTS,
    CLIPS,
    ORIGIN,
    STOP,
    TRAINED,
    Drawn,
    discard_stale_training,
    read_clips,
    save_clips,
)
from trainables.data import ClipsData, ShapesData
from trainables.data.clips import read_clip
from trainables.evaluate import Workbench, run_cell, to_pixels
from trainables.grouping import Grouping, Rule
from trainables.inputs import prompts, real_clips, size
from trainables.metrics.clips import over_frames
from trainables.metrics.motion import motion_magnitude
from trainables.spool import SPOOL
from trainables.trial_spec import RESULT, Result, TrialSpec

PROTOCOL = Protocol(clips=3, frames=8, steps=1, guidance=1.0, height=32, width=32)


def cell(base: Path, *, mu: float = 0.5, seed: int = 0, metrics: tuple[str, ...] = ("motion_magnitude",)) -> TrialSpec:
    return make_spec(
        tree={"noise": {"kind": "two_stage", "threshold": 0.1}, "attention": {"kind": "momentum", "mu": mu}},
        base=str(base),
        data={"layout": "prompts", "prompts": ["a red circle", "a blue square"]},
        protocol={"clips": 2, "frames": 3, "steps": 2, "guidance": 2.0, "height": 32, "width": 32},
        seed=seed,
        metrics=metrics,
    )


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path / "references")


def test_a_cell_leaves_its_clips_and_its_result(tiny_base_folder: Path, tmp_path: Path, bench: Workbench) -> None:
    spec = cell(tiny_base_folder)
    result = run_cell(spec, tmp_path / "cell", bench)
    assert result.error == ""
    assert Result.model_validate_json((tmp_path / "cell" / RESULT).read_bytes()) == result
    assert sorted(path.name for path in (tmp_path / "cell").iterdir()) == [
        "attempts.jsonl",
        "clip_0.mp4",
        "clip_1.mp4",
        "clips.npz",
        RESULT,
        "strip.png",
    ]
    drawn = read_clips(tmp_path / "cell")
    assert drawn is not None
    assert drawn.clips.shape == (2, 3, 32, 32, 3)
    assert drawn.clips.dtype == np.uint8
    assert set(result.scores) == {"motion_magnitude/farneback"}
    assert {"sample", "score", "load"} <= set(result.seconds)
    assert len(result.provenance["base_hash"]) == 64
    assert len(result.provenance["code_hash"]) == 16


def test_a_base_that_is_gone_is_a_failure_with_its_reason(bench: Workbench, tmp_path: Path) -> None:
    spec = make_spec(base="gone", metrics=["motion_magnitude"])
    result = run_cell(spec, tmp_path / spec.cell_id, bench)
    assert result is not None
    assert result.status == "failed"
    assert result.error.startswith("ValueError: base gone -> an embedded base")
    assert result.provenance["base_hash"] == ""


def test_prompts_that_changed_since_the_plan_was_made_are_refused(
    tiny_base_folder: Path, tmp_path: Path, bench: Workbench
) -> None:
    spec = cell(tiny_base_folder)
    now = spec.data.content(None, None)
    assert run_cell(spec.model_copy(update={"content": now}), tmp_path / "same", bench).error == ""
    other = spec.model_copy(update={"content": {"prompts": "2 prompts, 0123456789abcdef"}})
    result = run_cell(other, tmp_path / "other", bench)
    assert (result.status, result.failure) == ("failed", "refused")
    assert f"2 prompts, 0123456789abcdef, now {now['prompts']}" in result.error
    assert not (tmp_path / "other" / "clips.npz").exists()


def test_another_metric_scores_the_kept_clips_and_samples_nothing(
    tiny_base_folder: Path, tmp_path: Path, bench: Workbench
) -> None:
    sampled = run_cell(cell(tiny_base_folder), tmp_path / "cell", bench).seconds["sample"]
    kept = (tmp_path / "cell" / "clips.npz").stat().st_mtime_ns
    more = cell(tiny_base_folder, metrics=("motion_magnitude", "temporal_flickering"))
    assert more.cell_id == cell(tiny_base_folder).cell_id
    result = run_cell(more, tmp_path / "cell", bench)
    assert set(result.scores) == {"motion_magnitude/farneback", "temporal_flickering/vbench_formula"}
    assert result.seconds["sample"] == sampled, "nothing was drawn, and what drawing took is not forgotten"
    assert (tmp_path / "cell" / "clips.npz").stat().st_mtime_ns == kept


@pytest.mark.slow
def test_a_warm_worker_gives_what_a_cold_one_gives(tiny_base_folder: Path, tmp_path: Path, bench: Workbench) -> None:
    arms = [cell(tiny_base_folder, mu=mu, seed=seed) for mu in (0.0, 1.0) for seed in (0, 1)]
    warm = [run_cell(spec, tmp_path / "warm" / spec.cell_id, bench) for spec in arms]
    for spec, before in zip(reversed(arms), reversed(warm), strict=True):
        cold = run_cell(spec, tmp_path / "cold" / spec.cell_id, Workbench(tmp_path / "references"))
        assert cold.scores == before.scores
        one, other = (read_clips(tmp_path / way / spec.cell_id) for way in ("warm", "cold"))
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.clips, other.clips)
    assert len({spec.cell_id for spec in arms}) == 4


@pytest.mark.slow
def test_a_cell_that_goes_nan_fails_with_its_reason_and_the_worker_goes_on(
    tiny_base_folder: Path, tmp_path: Path, bench: Workbench
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_base_folder, broken)
    (weights,) = (broken / "unet").glob("*.safetensors")
    tensors = load_file(weights)
    tensors["conv_out.bias"][:] = float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    failed = run_cell(cell(broken), tmp_path / "bad", bench)
    assert failed.status == "failed"
    assert "NonFiniteError" in failed.error
    assert "step" in failed.error
    assert failed.scores == {}
    assert run_cell(cell(tiny_base_folder), tmp_path / "good", bench).status == "done"


def test_pixels_round_and_clip() -> None:
    video = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]).reshape(1, 1, 1, 1, 6).expand(1, 1, 3, 1, 6)
    pixels = to_pixels(video)
    assert pixels.shape == (1, 1, 1, 6, 3)
    assert pixels[0, 0, 0, :, 0].tolist() == [0, 0, 128, 191, 255, 255]


@pytest.mark.slow
def test_features_of_references_are_shared_and_change_no_score(
    tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = cell(tiny_base_folder, metrics=("fid", "fvd", "kvd")).model_copy(
        update={"base": "shapes", "data": ShapesData(references=6), "protocol": PROTOCOL}
    )
    alone = run_cell(spec, tmp_path / "alone", Workbench(tmp_path / "references"))
    assert alone.error == ""
    assert alone.scores["fd/shapes_r3d"].uncertainty is None, "so few clips have no interval"
    assert alone.scores["fd/shapes_r3d"].floor is not None
    cache = Cache(tmp_path / "cache")
    first = run_cell(spec, tmp_path / "first", Workbench(tmp_path / "references", cache))
    assert len(list(cache.folder.glob("*.npz"))) == 5, "one for each network, and one for each floor"
    monkeypatch.setattr(ShapesData, "reference_clips", lambda *_: pytest.fail("the references were read again"))
    second = run_cell(spec, tmp_path / "second", Workbench(tmp_path / "references", cache))
    assert alone.scores == first.scores == second.scores
    more = spec.model_copy(update={"data": ShapesData(references=7)})
    monkeypatch.undo()
    other = run_cell(more, tmp_path / "other", Workbench(tmp_path / "references", cache))
    assert other.scores["fd/shapes_r3d"].parameters["n_real"] == 7


@pytest.mark.slow
def test_a_distance_says_by_which_decoder_the_references_were_read(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("b.mp4", "libx264"), ("c.avi", "mpeg4")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=8)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for level in range(9):
                picture = np.full((48, 64, 3), 20 * level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    lines = [json.dumps({"path": path.name, "text": "a red circle"}) for path in sorted(tmp_path.glob("?.*"))]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    data = ClipsData(layout="captions", path=str(tmp_path), held_out=0.999)
    spec = make_spec(metrics=("fid", "clip_score"), data=data, protocol=PROTOCOL)
    for folder in ("first", "second"):
        result = run_cell(spec, tmp_path / folder, Workbench(tmp_path / "references", Cache(tmp_path / "cache")))
        assert result.error == ""
        assert result.scores["fd/shapes_clip"].parameters["decoders"] == {"decord": 2, "pyav": 1}
        assert "decoders" not in result.scores["clip_score/shapes_clip"].parameters


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32)])
def test_frames_of_any_shape_are_sampled_and_scored(tmp_path: Path, bench: Workbench, height: int, width: int) -> None:
    protocol = PROTOCOL.model_copy(update={"height": height, "width": width, "clips": 2})
    families = ("clip_score", "temporal_consistency", "motion_magnitude", "temporal_flickering", "fid")
    spec = make_spec(metrics=families, data=ShapesData(references=2), protocol=protocol)
    result = run_cell(spec, tmp_path / "cell", bench)
    assert result.error == ""
    assert len(result.scores) == len(families)
    clips = read_clips(tmp_path / "cell")
    assert clips is not None
    assert clips.clips.shape == (2, 8, height, width, 3)
    assert read_clip(tmp_path / "cell" / "clip_0.mp4", 8).shape == (8, 8 * height, 8 * width, 3)


@pytest.mark.parametrize("given", [0, 1, 2])
def test_clips_that_continue_real_ones_are_compared_with_them(tmp_path: Path, bench: Workbench, given: int) -> None:
    protocol = PROTOCOL.model_copy(update={"clips": 2})
    spec = make_spec(
        system="seer",
        tree={"references": given},
        metrics=("psnr", "ssim"),
        data=ShapesData(references=3),
        protocol=protocol,
        seed=1,
    )
    real = real_clips(spec, bench.references)
    assert real is not None
    wrong = real.copy()
    wrong[:, 5] = 255 - wrong[:, 5]
    wrong[:, 0] = 0  # a given frame, or the first of all
    texts = tuple(prompts(spec, bench.references))
    (tmp_path / "cell").mkdir()
    save_clips(Drawn(wrong, {}, "c0de", texts), tmp_path / "cell")
    result = run_cell(spec, tmp_path / "cell", bench)
    assert result.error == ""
    for key, best in (("psnr/vs_truth", 100), ("ssim/vs_truth", 1)):
        score = result.scores[key]
        assert score.parameters["given_frames"] == given
        assert score.per_frame is not None
        assert score.per_frame[:given] == [None] * given
        right = [value for place, value in enumerate(score.per_frame) if place not in (0, 5) and value is not None]
        assert right == pytest.approx([best] * len(right))
        assert score.per_frame[5] < best / 2


def test_a_cell_that_is_told_to_stop_leaves_what_is_there(
    tiny_base_folder: Path, tmp_path: Path, bench: Workbench
) -> None:
    folder = tmp_path / "cell"

    def train() -> bool:
        (folder / STOP).touch()
        (folder / RESULT).write_text("pruned")
        return True

    assert run_cell(cell(tiny_base_folder), folder, bench, train) is None
    assert (folder / RESULT).read_text() == "pruned"


def test_what_was_begun_with_other_code_or_another_base_is_not_gone_on_from(tmp_path: Path) -> None:
    here = {"code_hash": "a", "base_hash": "b"}
    for there, stays in (
        (here, True),
        ({"code_hash": "a", "base_hash": "c"}, False),
        ({"code_hash": "c", "base_hash": "b"}, False),
        (None, False),
    ):
        shutil.rmtree(tmp_path / "cell", ignore_errors=True)
        (tmp_path / "cell" / CHECKPOINTS).mkdir(parents=True)
        names = {TRAINED, SPOOL, CLIPS}
        for name in names:
            (tmp_path / "cell" / name).touch()
        if there is not None:
            (tmp_path / "cell" / ORIGIN).write_text(json.dumps(there))
        discard_stale_training(tmp_path / "cell", here)
        left = {path.name for path in (tmp_path / "cell").iterdir()}
        assert left == (names | {CHECKPOINTS, ORIGIN} if stays else {CLIPS}), there
        discard_stale_training(tmp_path / "cell", {"code_hash": "a", "base_hash": ""})
        assert (tmp_path / "cell" / TRAINED).exists() == stays, "a base that is not here is not compared"


def test_arms_on_several_bases_are_scored_by_the_networks_of_one(bench: Workbench) -> None:
    """The same clips have the same scores under the same keys, whatever base they were sampled on."""
    common = {"data": {"layout": "shapes", "references": 4}, "protocol": PROTOCOL, "metrics": ("clip_score", "fvd")}
    own = make_spec(system="exvideo", base="shapes_video", **common)
    other = make_spec(system="seer", base="shapes", scoring_base="shapes_video", **common)
    clips = ShapesData(references=3).reference_clips(size(own), bench.references)
    scores = [bench.scorer(spec).score(clips.all(), clips.texts) for spec in (own, other)]
    assert list(scores[0]) == ["clip_score/shapes_video_clip", "fd/shapes_video_r3d"]
    assert scores[0] == scores[1]
    assert own.cell_id == own.model_copy(update={"scoring_base": "shapes"}).cell_id


def test_groups_that_come_later_are_scored_from_the_kept_clips(
    tiny_base_folder: Path, tmp_path: Path, bench: Workbench
) -> None:
    data = ShapesData(references=24)
    protocol = Protocol(clips=6, frames=3, steps=1, guidance=1.0, height=32, width=32)
    plain = cell(tiny_base_folder).model_copy(update={"data": data, "protocol": protocol})
    folder = tmp_path / plain.cell_id
    first = run_cell(plain, folder, bench)
    kept = (folder / CLIPS).stat().st_mtime_ns
    by = Grouping(column="category", least=2, subsets={"two": Rule(column="motions", at_least=2)})
    second = run_cell(plain.model_copy(update={"by": by}), folder, bench)
    assert first is not None
    assert second is not None
    assert (second.status, (folder / CLIPS).stat().st_mtime_ns) == ("done", kept)
    (key,) = second.scores
    score, before = second.scores[key], first.scores[key]
    assert (score.value, score.per_clip, before.groups) == (before.value, before.per_clip, {})
    motions = [text.partition(", then ")[0] for text in second.prompts]
    assert score.per_clip is not None
    for name, group in score.groups["category"].items():
        values = [value for value, text in zip(score.per_clip, motions, strict=True) if text.endswith(name)]
        assert (group.value, group.clips) == (pytest.approx(np.mean(values)), len(values))
    assert sum(group.clips for group in score.groups["category"].values()) == 6
    assert score.groups["subset"]["two"].clips == sum(", then " in text for text in second.prompts)


def test_the_motion_of_the_references_is_computed_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 2**20)
    spec = make_spec(system="seer", data={"layout": "shapes", "references": 3}, protocol=PROTOCOL)
    clips = ShapesData(references=3).reference_clips(size(spec), tmp_path / "references").all()
    expected = over_frames(motion_magnitude(clips)).tolist()
    first = Workbench(tmp_path / "references", cache)
    assert first.motion(spec) == expected
    assert first.motion(spec) == expected
