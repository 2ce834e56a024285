"""Decoding check of clips: real and bad files of each layout, and a decoder that hangs or crashes."""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from trainables.data import ClipsData
from trainables.data.annotations import Entry
from trainables.data.clips import ClipError, read_frames
from trainables.data.decoder import Decoder
from trainables.data.frames import Consecutive, Interpolated, Whole
from trainables.data.ingest import CHECKED, QUARANTINE, IngestError, ingest, read_all
from trainables.data.layout import ClipSize

SIZE = (4, 32, 32)
WriteVideo = Callable[..., Path]


def grey(frame: int) -> int:
    return 20 + 8 * frame


def brightness(clip: np.ndarray) -> list[int]:
    return [round(float(frame.mean())) for frame in clip]


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".avi", ".mkv"])
def test_every_container_gives_the_frames_that_were_asked_for(
    ending: str, write_video: WriteVideo, tmp_path: Path
) -> None:
    entry = Entry(write_video(tmp_path / f"a{ending}"), "")
    with Decoder() as decoder:
        whole = decoder.read(entry, Whole(), *SIZE)
        between = decoder.read(entry, Interpolated(), 6, 32, 32)
        some = decoder.read(entry, Consecutive(stride=2), *SIZE, position=1.0)
    assert whole.shape == (4, 32, 32, 3)
    assert brightness(whole) == pytest.approx([grey(0), grey(5), grey(10), grey(15)], abs=5)
    assert brightness(between) == pytest.approx([20 + 8 * (16 * (k + 0.5) / 6 - 0.5) for k in range(6)], abs=5)
    assert brightness(some) == pytest.approx([grey(9), grey(11), grey(13), grey(15)], abs=5)


def test_a_path_is_relative_to_the_working_directory(
    write_video: WriteVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "clips" / "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read_all([Entry(Path("clips/a.mp4"), "")], Whole(), SIZE)) == 1


def test_a_folder_of_pictures_in_the_order_of_their_numbers(write_pictures: WriteVideo, tmp_path: Path) -> None:
    entry = Entry(write_pictures(tmp_path / "images0", first=5), "")
    (entry.path / "._im_5.jpg").write_bytes(b"what macOS leaves beside a file")
    clip = read_all([entry], Whole(), SIZE)[0]
    assert brightness(clip) == pytest.approx([grey(0), grey(5), grey(10), grey(15)], abs=2)


def test_a_stretch_of_a_long_video(write_video: WriteVideo, tmp_path: Path) -> None:
    video = write_video(tmp_path / "P01_01.MP4", 24)
    clips = read_all([Entry(video, "", start=6, stop=14), Entry(video, "", start=20)], Whole(), SIZE)
    assert brightness(clips[0])[::3] == pytest.approx([grey(6), grey(13)], abs=3)
    assert brightness(clips[1]) == pytest.approx([grey(20), grey(21), grey(22), grey(23)], abs=3)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32)])
@pytest.mark.parametrize(("h", "w"), [(48, 64), (64, 48)])
def test_videos_pictures_and_stretches_in_any_shape(
    write_video: WriteVideo, write_pictures: WriteVideo, tmp_path: Path, h: int, w: int, height: int, width: int
) -> None:
    video = write_video(tmp_path / "a.mp4", height=h, width=w)
    pictures = write_pictures(tmp_path / "images0", height=h, width=w)
    entries = [Entry(video, ""), Entry(pictures, ""), Entry(video, "", start=4, stop=8)]
    size = (4, height, width)
    assert ingest(entries, Whole(), size, tmp_path / "out").good == tuple(entries)
    clips = read_all(entries, Whole(), size)
    assert clips.shape == (3, *size, 3)
    for clip, first, last in zip(clips, (0, 0, 4), (15, 15, 7), strict=True):
        assert brightness(clip)[::3] == pytest.approx([grey(first), grey(last)], abs=5)


def test_what_decord_cannot_read_pyav_may(
    write_video: WriteVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mp4")

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("decord says no")

    by_decord = read_frames(path, lambda n: [0, n - 1])
    monkeypatch.setattr("decord.VideoReader", fails)
    assert np.array_equal(read_frames(path, lambda n: [0, n - 1]), by_decord)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ClipError, match=r"cannot be decoded, probably truncated \(Invalid data found"):
        read_frames(cut, lambda n: [0])


def test_an_action_by_time_in_a_video_of_another_rate(write_video: WriteVideo, tmp_path: Path) -> None:
    """Frames are numbered at 60 per second; the recording has 8 frames a second, its pictures have all numbers."""
    head = "video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,narration,verb\n"
    rows = ["P01_01,00:00:01.00,00:00:02.00,60,120,take cup,take\n", "P01_01,00:00:00.50,00:00:01.00,4,7,put cup,put\n"]
    (tmp_path / "EPIC_100_train.csv").write_text(head + "".join(rows))
    (tmp_path / "EPIC_100_validation.csv").write_text(head + "".join(rows))
    write_video(tmp_path / "P01" / "videos" / "P01_01.MP4", 24)
    data = ClipsData(layout="epic", path=str(tmp_path))
    clips = data.reference_clips(ClipSize(*SIZE), tmp_path / "out")
    shown = {text: brightness(clip) for text, clip in zip(clips.texts, clips.all(), strict=True)}
    assert shown["take cup"][::3] == pytest.approx([grey(8), grey(15)], abs=3)
    assert shown["put cup"] == pytest.approx([grey(4), grey(5), grey(6), grey(7)], abs=3)
    assert clips.decoders == ["decord", "decord"]
    assert clips.take([1]).decoders == ["decord"]
    assert [identity[-1] for identity in clips.identity] == ["decord", "decord"]


def test_an_action_in_pictures_is_taken_by_frame_numbers(write_pictures: WriteVideo, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "rgb_frames")
    entry = Entry(folder, "", start=4, stop=8, seconds=(1.0, 2.0))
    assert brightness(read_all([entry], Whole(), SIZE)[0])[::3] == pytest.approx([grey(4), grey(7)], abs=2)


@pytest.fixture
def dataset(write_video: WriteVideo, tmp_path: Path) -> list[Entry]:
    """Twenty good clips."""
    return [Entry(write_video(tmp_path / "clips" / f"{number}.mp4", 8), f"clip {number}") for number in range(20)]


def bad_clips(folder: Path, write_video: WriteVideo) -> list[Entry]:
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mp4").write_bytes(b"")
    short = write_video(folder / "short.mp4", 2)
    content = write_video(folder / "cut.mp4", 16).read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    return [Entry(folder / name, "") for name in ("text.mp4", "empty.mp4", short.name, "cut.mp4", "absent.mp4")]


def test_bad_clips_are_listed_and_the_rest_is_used(
    dataset: list[Entry], write_video: WriteVideo, tmp_path: Path
) -> None:
    bad = bad_clips(tmp_path / "clips", write_video)[2:3]
    shown: list[tuple[int, int]] = []
    looked = ingest([*dataset, *bad], Whole(), SIZE, tmp_path / "out", show=lambda *where: shown.append(where))
    assert looked.good == tuple(dataset)
    assert [clip.entry for clip in looked.bad] == bad
    assert shown[-1] == (21, 21)
    with (tmp_path / "out" / QUARANTINE).open() as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == str(bad[0].path)
    assert "has 2 frames, needs at least 4" in row["reason"]


def test_too_many_bad_clips_stop_with_the_list(dataset: list[Entry], write_video: WriteVideo, tmp_path: Path) -> None:
    bad = bad_clips(tmp_path / "clips", write_video)
    with pytest.raises(IngestError, match=r"5 of 25 clips cannot be used, more than 5%"):
        ingest([*dataset, *bad], Whole(), SIZE, tmp_path / "out")
    with (tmp_path / "out" / QUARANTINE).open() as file:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert reasons.keys() == {entry.path.name for entry in bad}
    assert "no such clip" in reasons["absent.mp4"]


@pytest.mark.slow
def test_no_clip_is_looked_at_twice_unless_it_changed(
    dataset: list[Entry], write_video: WriteVideo, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ingest(dataset, Whole(), SIZE, out)
    looked: list[tuple[int, int]] = []
    again = ingest(dataset, Whole(), SIZE, out, show=lambda *where: looked.append(where))
    assert (again.good, looked) == (tuple(dataset), [])
    write_video(dataset[3].path, 2)
    changed = ingest(dataset, Whole(), SIZE, out, show=lambda *where: looked.append(where))
    assert [clip.entry for clip in changed.bad] == [dataset[3]]
    assert looked == [(1, 1)]
    (out / CHECKED).write_text((out / CHECKED).read_text()[:-30])
    assert ingest(dataset, Whole(), SIZE, out).bad == changed.bad


def test_nothing_left_after_filtering(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no clips selected"):
        ingest([], Whole(), SIZE, tmp_path)


def decoders() -> list[psutil.Process]:
    """Decoding processes of this one, which may have other children."""
    return [child for child in psutil.Process().children() if "trainables.data.decoder" in child.cmdline()]


@pytest.mark.slow
def test_a_decoder_that_stops_or_dies_is_replaced(write_video: WriteVideo, tmp_path: Path) -> None:
    good = Entry(write_video(tmp_path / "a.mp4"), "")
    with Decoder(limit_s=3.0) as decoder:
        expected = decoder.read(good, Whole(), *SIZE)
        (child,) = decoders()
        child.suspend()
        with pytest.raises(ClipError, match="decoding took longer than 3 s"):
            decoder.read(good, Whole(), *SIZE)
        assert not child.is_running()
        assert np.array_equal(decoder.read(good, Whole(), *SIZE), expected)
        (child,) = decoders()
        child.kill()
        time.sleep(0.2)
        assert np.array_equal(decoder.read(good, Whole(), *SIZE), expected)
    assert not decoders()


@pytest.mark.slow
def test_a_dataset_gives_prompts_and_references(write_video: WriteVideo, tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = []
    for number in range(30):
        write_video(root / f"{number}.mp4", 8)
        lines.append(json.dumps({"path": f"{number}.mp4", "text": f"clip {number}"}))
    (root / "captions.jsonl").write_text("\n".join(lines))
    data = ClipsData(layout="captions", path=str(root), held_out=0.5, references=4)
    clips = data.reference_clips(ClipSize(*SIZE), tmp_path / "references").all()
    assert clips.shape == (4, *SIZE, 3)
    assert np.array_equal(data.reference_clips(ClipSize(*SIZE), tmp_path / "references").all(), clips)
    (folder,) = (tmp_path / "references").iterdir()
    assert (folder / QUARANTINE).read_text() == "path,start,stop,reason\n"
