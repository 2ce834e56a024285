import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeps.report import clips
from sweeps.report.clips import films, scenes, strips
from sweeps.report.table import Report
from sweeps.results.ledger import Ledger
from trainables.cell_files import Drawn, save_clips


def test_films_are_the_first_seeds_clips_in_the_tables_order(report: Report, ledger: Ledger) -> None:
    found = films(report, ledger)
    assert [film.arm for film in found] == [row.id for row in report.rows if row.id != "attention.mu=0.2"]
    assert all(film.clips.shape == (2, 3, 32, 32, 3) for film in found)
    assert [int(film.clips[0, 0, 0, 0, 0]) for film in found] == [0, 30, 90, 120, 150, 180]


def test_a_study_without_clips_has_none(report: Report, tmp_path: Path) -> None:
    found = films(report, Ledger(tmp_path / "nothing"))
    assert found == []
    assert scenes(report, found) == ([], "")
    assert list(strips(report, found)) == []


def test_scenes_show_every_arm_at_equal_noise(report: Report, ledger: Ledger) -> None:
    found, _ = scenes(report, films(report, ledger))
    assert [(scene.number, scene.seed, scene.prompt) for scene in found] == [
        (number, 0, "a red circle moves right") for number in range(2)
    ]
    for scene in found:
        assert [arm.arm for arm in scene.arms] == [film.arm for film in films(report, ledger)]
        for arm in scene.arms:
            assert arm.video is not None
            assert b"ftyp" in arm.video[:32]
            with Image.open(io.BytesIO(arm.strip)) as strip:
                assert strip.size == (3 * 32 + 2, 32)
                pixels = np.asarray(strip)
            lightness = [int(pixels[0, frame * 33, 0]) for frame in range(3)]
            assert lightness[1] - lightness[0] == lightness[2] - lightness[1] == 20
            assert pixels[0, 32, 3] == 0, "the gap is clear, whatever the page's colour"


def test_large_and_long_clips_are_made_small(report: Report, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "large")
    folder = ledger.cell_folder(report.plan.cells[0].id)
    folder.mkdir(parents=True)
    frames = np.arange(40, dtype=np.uint8)[None, :, None, None, None]
    clip = np.broadcast_to(frames, (1, 40, 192, 320, 3)).copy()
    save_clips(Drawn(clip, {}, "c0de", ("a red circle moves right",)), folder)
    (film,) = films(report, ledger)
    assert film.clips.shape == (1, clips.MOST_FRAMES, clips.FRAME_PX, 160, 3)
    assert film.clips[0, [0, -1], 0, 0, 0].tolist() == [0, 39], "first and last frame are kept"


def test_what_does_not_fit_is_left_out_and_said(report: Report, ledger: Ledger) -> None:
    shown = films(report, ledger)
    whole, _ = scenes(report, shown)
    sizes = [len(arm.strip) + len(arm.video or b"") for arm in whole[0].arms]
    first_clip_only, said = scenes(report, shown, sum(sizes))
    assert [scene.number for scene in first_clip_only] == [0]
    assert said.startswith("Clips of 6 of 7 arms ("), "one arm has no cell"
    three_arms, said = scenes(report, shown, sum(sizes[:3]))
    assert [len(scene.arms) for scene in three_arms] == [3]
    assert said.startswith("Clips of 3 of 7 arms (")
    assert "under cells/" in said


def test_the_number_of_arms_is_bounded(report: Report, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "MOST_ARMS", 2)
    assert [film.arm for film in films(report, ledger)] == ["control", "noise=removed"]


def test_a_clip_without_a_file_that_plays_has_its_strip(report: Report, ledger: Ledger, tmp_path: Path) -> None:
    copied = Ledger(Path(shutil.copytree(ledger.folder, tmp_path / "copied")))
    (copied.cell_folder(report.plan.cells[0].id) / "clip_0.mp4").unlink()
    found, _ = scenes(report, films(report, copied))
    assert found[0].arms[0].video is None
    assert found[0].arms[0].strip
    assert found[1].arms[0].video is not None


def test_strips_show_every_arm(report: Report, ledger: Ledger) -> None:
    found = dict(strips(report, films(report, ledger)))
    assert list(found) == ["strip_seed0_clip0.png", "strip_seed0_clip1.png"]
    with Image.open(io.BytesIO(found["strip_seed0_clip0.png"])) as strip:
        assert strip.size[1] > 6 * 64
