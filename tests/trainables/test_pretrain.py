"""Rebuilding the base: a shortened training improves the figures, a failed one replaces nothing."""

import json
from pathlib import Path

import pytest
import torch

from models.bases import find_base, missing_files, read_card
from models.bases.families import STABLE_VIDEO_DIFFUSION
from trainables import pretrain as module
from trainables.pretrain import pretrain
from trainables.pretraining.corpus import load_corpus
from trainables.pretraining.networks import build_networks
from trainables.pretraining.quality import Quality, measure
from trainables.pretraining.video_quality import VideoQuality


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_shortened_training_moves_the_figures_the_right_way(tmp_path: Path) -> None:
    # Motion and shape need more of the training than this to move: of them only the full run's card speaks.
    out = tmp_path / "base"
    trained = pretrain(out, fraction=0.04, data=tmp_path / "data", threads=1)  # another test runs beside it
    assert isinstance(trained, Quality)
    torch.manual_seed(0)
    held_out = load_corpus(tmp_path / "data", 64, "test", 0)
    untrained = measure(build_networks(), held_out, steps=4, guidance=4.0, num_generated=48)
    assert trained.vae_psnr_db > untrained.vae_psnr_db + 5
    assert trained.clip_picks_of_16 > untrained.clip_picks_of_16 + 0.05
    assert trained.classifier_colour > untrained.classifier_colour + 0.3
    assert trained.generated_colour > untrained.generated_colour + 0.1
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    # Four digits behind the point.
    assert card["quality"] == {
        name: pytest.approx(figure, rel=0, abs=0.5e-4 + 1e-12) for name, figure in trained.model_dump().items()
    }
    assert card["training"]["fraction"] == 0.04
    assert set(card["training"]["wall_seconds"]) == {*module.BASES["shapes"].stages, "clips", "quality"}
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


@pytest.mark.slow
def test_a_shortened_training_of_the_video_base_writes_a_whole_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # another test runs beside it
    out = tmp_path / "bases" / "video"
    out.parent.mkdir()
    trained = pretrain(out, base="shapes_video", fraction=0.005, data=tmp_path / "data")
    assert isinstance(trained, VideoQuality)
    assert trained.generated_clips == 8
    assert trained.vae_psnr_db > 8
    assert trained.rendered_motion > trained.frozen_motion
    ref = find_base(str(out))
    assert ref.family == STABLE_VIDEO_DIFFUSION
    assert missing_files(ref) == []
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["quality"] == {
        name: pytest.approx(figure, rel=0, abs=0.5e-4 + 1e-12) for name, figure in trained.model_dump().items()
    }
    assert set(card["training"]["wall_seconds"]) == {"clips", "vae", "unet", "quality"}
    assert read_card(ref).protocol == module.BASES["shapes_video"].protocol
    for extractor in card["extractors"].values():
        assert (out / extractor / "config.json").is_file()
    assert "| `first_frame_psnr_db` |" in (out / "README.md").read_text(encoding="utf-8")
    assert (out / "samples.png").is_file()
    assert [entry.name for entry in out.parent.iterdir()] == ["video"]


@pytest.mark.slow
def test_a_failed_training_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "base"
    out.mkdir()
    (out / "card.json").write_text("{}", encoding="utf-8")

    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("no figures today")

    monkeypatch.setattr(module, "measure", fail)
    with pytest.raises(RuntimeError, match="no figures today"):
        pretrain(out, fraction=0.0001, data=tmp_path / "data")
    assert (out / "card.json").read_text(encoding="utf-8") == "{}"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["base", "data"]


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_a_fraction_out_of_range_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(ValueError, match="above 0, up to 1"):
        pretrain(tmp_path / "base", fraction=fraction)
