"""Procedural scenes: deterministic, disjoint splits, captions that match the pixels."""

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from trainables.data.clips import ClipError
from trainables.data.scenes import (
    BRIGHTNESS,
    COLOURS,
    FILLS,
    MOTIONS,
    SHAPES,
    TEXTURES,
    draw_paced_scene,
    draw_scene,
    size_of,
)
from trainables.data.shapes import path, read_dataset, render, scene_of, states_of, write_dataset


def test_a_scene_depends_on_split_index_and_seed_only() -> None:
    assert draw_scene("train", 5) == draw_scene("train", 5)
    drawn = {draw_scene(split, index, seed) for split in ("train", "test") for index in range(20) for seed in (0, 1)}
    assert len(drawn) == 80


def test_the_world_has_every_attribute() -> None:
    scenes = [draw_scene("train", index) for index in range(600)]
    assert {(s.shape, s.colour) for s in scenes} == {(shape, colour) for shape in SHAPES for colour in COLOURS}
    assert {m for s in scenes for m in s.motions} == set(MOTIONS)
    assert {s.fill for s in scenes} == set(FILLS)
    assert {s.background.texture for s in scenes} == set(TEXTURES)
    assert {s.background.brightness for s in scenes} == set(BRIGHTNESS)
    assert {len(s.motions) for s in scenes} == {1, 2}
    assert all(len(set(s.motions)) == len(s.motions) for s in scenes)


def test_captions_say_what_is_shown() -> None:
    scene = replace(
        draw_scene("test", 0), shape="circle", colour="red", motions=("moves right", "drops"), fill="banded", radius=9.0
    )
    ground = scene.background
    assert scene.caption() == "a red circle moves right, then drops"
    assert scene.rich_caption(np.zeros(5, bool)) == scene.caption()
    assert scene.rich_caption(np.ones(5, bool)) == (
        f"a large banded red circle on a {ground.brightness} {ground.hue} {ground.texture} background "
        "moves right, then drops"
    )


@pytest.mark.parametrize("frames", [1, 2, 5, 8, 16])
def test_any_number_of_frames_starts_and_ends_alike(frames: int) -> None:
    scene = draw_scene("test", 3)
    clip = render(scene, frames)
    assert clip.shape == (frames, 32, 32, 3)
    assert clip.dtype == np.uint8
    assert np.array_equal(clip[0], render(scene, 8)[0])
    if frames > 1:
        assert np.array_equal(clip[-1], render(scene, 8)[-1])


def test_motions_do_what_they_say() -> None:
    moves = {
        "moves left": lambda a, b: b[0] < a[0] and b[1] == a[1],
        "moves right": lambda a, b: b[0] > a[0] and b[1] == a[1],
        "rises": lambda a, b: b[1] < a[1] and b[0] == a[0],
        "drops": lambda a, b: b[1] > a[1] and b[0] == a[0],
        "grows": lambda a, b: b[2] > a[2],
        "shrinks": lambda a, b: b[2] < a[2],
        "turns": lambda a, b: abs(b[3] - a[3]) > 0.5,
        "stays": np.array_equal,
    }
    seen = set()
    for index in range(100):
        scene = draw_scene("train", index)
        way = path(scene, 9)
        for phase, motion in enumerate(scene.motions):
            start, end = (0, 8) if len(scene.motions) == 1 else (4 * phase, 4 * phase + 4)
            assert moves[motion](way[start], way[end]), (index, motion)
            seen.add(motion)
    assert seen == set(MOTIONS)


def test_every_motion_but_staying_changes_pixels_and_the_shape_stays_inside() -> None:
    for index in range(150):
        scene = draw_scene("train", index)
        clip = render(scene, 8).astype(int)
        moved = np.abs(clip - clip[0]).max()
        assert (moved == 0) if scene.motions == ("stays",) else (moved > 30), (index, scene.caption())
        way = path(scene, 17)
        reach = way[:, 2:3]
        assert (way[:, :2] - reach >= 0).all(), index
        assert (way[:, :2] + reach <= 32).all(), index


def test_the_shape_stands_out_from_its_background() -> None:
    contrasts = []
    for index in range(300):
        scene = draw_scene("train", index)
        ground = np.asarray([scene.background.first, scene.background.second])
        contrasts.append(np.linalg.norm(ground - np.asarray(scene.rgb), axis=1).min())
    assert min(contrasts) > 0.35


def test_open_attributes_vary_widely() -> None:
    first = np.stack([render(draw_scene("train", index), 1)[0] for index in range(300)])
    corner_means = first[:, :4].mean(axis=(1, 2))  # the top rows are mostly background
    assert corner_means.mean(axis=1).std() > 45  # brightness
    assert (corner_means.max(axis=1) - corner_means.min(axis=1)).std() > 15  # saturation


def test_a_larger_canvas_shows_the_same(tmp_path: Path) -> None:
    scene = draw_scene("test", 4)
    small, large = render(scene, 2).astype(float), render(scene, 2, 64, 64).astype(float)
    assert np.abs(large.reshape(2, 32, 2, 32, 2, 3).mean(axis=(2, 4)) - small).mean() < 4.0


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32), (64, 96)])
def test_frames_that_are_not_square_hold_the_square_ones_in_their_middle(height: int, width: int) -> None:
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    for index in range(20):
        scene = draw_scene("test", index)
        whole = render(scene, 3, height, width)
        assert whole.shape == (3, height, width, 3)
        middle = whole[:, top : top + side, left : left + side].astype(int)
        # Coordinates are shifted by whole pixels, which may round a level up or down.
        assert np.abs(middle - render(scene, 3, side, side)).max() <= 1


def test_some_clips_of_a_dataset_are_read_by_number(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", 4, "test", frames=3, height=32, width=48)
    clips, captions = read_dataset(folder, 3)
    some, texts = read_dataset(folder, 3, [2, 0, 2])
    assert np.array_equal(some, clips[[2, 0, 2]])
    assert texts == [captions[k] for k in (2, 0, 2)]


def test_a_dataset_is_real_video_with_captions(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", 6, "test", frames=5)
    clips, captions = read_dataset(folder, 5)
    rendered = np.stack([render(draw_scene("test", index), 5) for index in range(6)])
    assert captions == [draw_scene("test", index).caption() for index in range(6)]
    assert np.abs(clips.astype(int) - rendered).mean() < 3.0
    assert b"avc1" in (folder / "00000.mp4").read_bytes()


def test_a_dataset_is_written_once(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", 3, "test")
    before = (folder / "00000.mp4").stat().st_mtime_ns
    assert write_dataset(folder, 3, "test") == folder
    assert (folder / "00000.mp4").stat().st_mtime_ns == before


def test_racing_writers_leave_one_whole_dataset(tmp_path: Path) -> None:
    folder, failures = tmp_path / "set", []

    def write() -> None:
        try:
            write_dataset(folder, 4, "test", frames=3)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
    assert read_dataset(folder, 3)[0].shape == (4, 3, 32, 32, 3)


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("trainables.data.shapes.write_clip", fail)
    with pytest.raises(OSError, match="disk full"):
        write_dataset(tmp_path / "set", 2, "test")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_clip_names_itself_and_the_remedy(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", 2, "test")
    clip = folder / "00001.mp4"
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(ClipError, match=r"00001\.mp4: cannot be decoded.*rendered again"):
        read_dataset(folder)


def test_a_folder_without_captions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"captions\.csv"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("frames_per_motion", [4, 8])
def test_a_longer_clip_of_constant_pace_continues_the_shorter_one(frames_per_motion: int) -> None:
    for index in range(40):
        long = draw_paced_scene("test", index, frames=64, frames_per_motion=frames_per_motion)
        whole = render(long, 64)
        for frames in (1, 8, 24):
            scene = draw_paced_scene("test", index, frames=frames, frames_per_motion=frames_per_motion)
            num_motions = max(1, -(-(frames - 1) // frames_per_motion))
            assert scene.motions == long.motions[:num_motions]
            assert np.array_equal(render(scene, frames), whole[:frames])


def test_a_paced_scene_begins_like_the_scene_of_its_number() -> None:
    for index in range(20):
        scene, paced = (
            draw_scene("train", index, 3),
            draw_paced_scene("train", index, 3, frames=24, frames_per_motion=8),
        )
        assert replace(paced, motions=scene.motions, changes=scene.changes, frames_per_motion=None) == scene
        assert (paced.motions[0], paced.changes[0]) == (scene.motions[0], scene.changes[0])
        assert paced != draw_paced_scene("train", index, 4, frames=24, frames_per_motion=8)


def test_a_paced_scene_stays_on_the_canvas_and_shows_every_motion() -> None:
    seen: set[str] = set()
    for index in range(200):
        scene = draw_paced_scene("train", index, frames=201, frames_per_motion=8)
        assert len(scene.motions) == 25
        assert all(one != next_one for one, next_one in pairwise(scene.motions))
        way = path(scene, 201)
        centre, radius, angle = way[:, :2], way[:, 2:3], way[:, 3]
        assert (centre - radius >= 1 - 1e-9).all(), index
        assert (centre + radius <= 31 + 1e-9).all(), index
        assert (radius > 4.5).all(), index
        assert (radius < 13.7).all(), index
        for number, motion in enumerate(scene.motions):
            first, last = way[8 * number], way[8 * number + 8]
            if motion == "stays":
                assert np.array_equal(first, last)
            elif motion == "turns":
                assert abs(angle[8 * number + 8] - angle[8 * number]) > 0.8
                assert scene.shape != "circle" or scene.fill in ("banded", "halved")
            elif motion in ("grows", "shrinks"):
                assert max(first[2], last[2]) / min(first[2], last[2]) > 1.24
                assert (last[2] > first[2]) == (motion == "grows")
            else:
                assert np.abs(last[:2] - first[:2]).max() >= 4.99
        seen |= set(scene.motions[1:])
    assert seen == set(MOTIONS)


def test_captions_of_paced_scenes_name_the_motions_that_the_clip_shows() -> None:
    short, exact, long = (draw_paced_scene("test", 1, frames=n, frames_per_motion=8) for n in (8, 9, 24))
    assert short == exact
    assert [len(scene.motions) for scene in (short, long)] == [1, 3]
    assert long.caption() == f"a {long.colour} {long.shape} {', then '.join(long.motions)}"
    assert long.caption().startswith(short.caption())


def test_a_dataset_of_paced_scenes(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", 2, "test", frames=12, frames_per_motion=4)
    clips, captions = read_dataset(folder, 12)
    scenes = [scene_of("test", index, frames=12, frames_per_motion=4) for index in range(2)]
    assert captions == [scene.caption() for scene in scenes]
    assert np.abs(clips.astype(int) - np.stack([render(scene, 12) for scene in scenes])).mean() < 3.0
    assert scene_of("test", 0, frames=12) == draw_scene("test", 0)


@pytest.mark.parametrize("pace", [None, 4])
def test_states_follow_the_motions_of_a_scene(pace: int | None) -> None:
    frames = 13  # three motions of four frames at a pace of 4
    for index in range(20):
        scene = scene_of("train", index, frames=frames, frames_per_motion=pace)
        states = states_of(scene, frames, 6)
        motions = [state.split(f"{scene.colour} {scene.shape} ")[1] for state in states]
        each = 6 // len(scene.motions)
        assert motions == [motion for motion in scene.motions for _ in range(each)]
        sizes = [state.split()[1] for state in states]
        radii = path(scene, frames)[:, 2]
        assert set(sizes) <= {size_of(radius) for radius in radii.tolist()} | {scene.size}
        assert sizes[0] == size_of(float(np.interp(1.0, np.arange(frames), radii)))
