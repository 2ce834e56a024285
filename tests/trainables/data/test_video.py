"""Frames of videos in order of presentation, in every container and codec that PyAV writes.

Frame k of these clips shows the number k, in bars that are black or white.
"""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.inputs.videos import (
    CODECS,
    FORMS,
    FRAMES,
    HEIGHT,
    OPEN,
    PROVEN,
    RATE,
    REFRESH,
    WIDTH,
    WRITTEN,
    Codec,
    Form,
    numbers,
    write,
)
from trainables.data.annotations import Entry
from trainables.data.clips import ClipError, DecoderName, read_frames, read_stretch
from trainables.data.frames import Consecutive, FrameChoice, Stretch, Whole
from trainables.data.ingest import CHECKED, ingest, read_all

SPREAD = [0, 14, 28, 42, 57, 71, 85, 99]
ALL = Stretch()


def read(path: Path, choice: FrameChoice, stretch: Stretch = ALL, position: float = 0.5) -> list[int]:
    """Numbers of 8 frames, which are the same for a decoder that is known already; and the decoder."""
    frames, decoder = read_stretch(path, stretch, lambda n: choice.numbers(n, 8, position), least=choice.least(8))
    known, same = read_stretch(
        path, stretch, lambda n: choice.numbers(n, 8, position), least=choice.least(8), decoder=decoder
    )
    assert (same, np.array_equal(known, frames)) == (decoder, True)
    return numbers(frames)


def expected(choice: FrameChoice, first: int, end: int, position: float = 0.5) -> list[int]:
    return [first + number for number in choice.numbers(end - first, 8, position)]


def decoder_of(path: Path) -> DecoderName:
    return read_stretch(path, Stretch(), lambda _: [0])[1]


def assert_right(path: Path, first: int = 0) -> None:
    """All choices and stretches of a clip give the frames that were asked for; its first frame shows ``first``."""
    assert read(path, Whole()) == expected(Whole(), first, FRAMES)
    for position in (0.0, 0.4, 1.0):
        choice = Consecutive(stride=3)
        assert read(path, choice, position=position) == expected(choice, first, FRAMES, position)
    start, stop = 37 - first, 61 - first
    assert read(path, Whole(), Stretch(start, stop)) == expected(Whole(), 37, 61)
    assert read(path, Consecutive(), Stretch(start), 1.0) == expected(Consecutive(), 37, FRAMES, 1.0)


USUAL = ("avi", "mp4")
"""Containers of published datasets; the others are in the slow tier."""


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        pytest.param(ending, codec, marks=() if ending in USUAL else pytest.mark.slow)
        for ending, codecs in WRITTEN.items()
        for codec in codecs.split()
    ],
)
def test_every_container_and_codec(ending: str, codec: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{ending}", CODECS[codec])
    assert_right(path)
    assert read(path, Whole(), Stretch(seconds=(2.0, 3.0))) == expected(Whole(), 50, 75)
    assert decoder_of(path) == ("decord" if (ending, codec) in PROVEN else "pyav")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.given}-{form.ending}")
def test_special_forms(form: Form, tmp_path: Path) -> None:
    path = form.write(tmp_path)
    assert_right(path, first=form.cut)
    if form.second is not None and not form.cut:
        assert read(path, Whole(), Stretch(seconds=(2.0, 3.0))) == expected(Whole(), *form.second)
    assert decoder_of(path) == form.decoder


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", CODECS["mpeg4"]), ("a.mpg", CODECS["mpeg4"]), ("a.mp4", OPEN), ("a.mp4", REFRESH)],
)
def test_these_clips_are_wrong_by_decord_alone(name: str, codec: Codec, tmp_path: Path) -> None:
    import decord

    path = write(tmp_path / name, codec)
    assert numbers(decord.VideoReader(str(path), num_threads=1).get_batch(SPREAD).asnumpy()) != SPREAD
    assert numbers(read_frames(path, lambda _: SPREAD)) == SPREAD


@pytest.mark.parametrize(
    ("pixels", "turned"),
    [
        *((pixels, 0) for pixels in ("yuv420p", "yuvj420p", "yuv422p", "yuv444p")),
        *(("yuv420p", k) for k in (90, 180, -90)),
    ],
)
@pytest.mark.parametrize("colours", ["smpte170m", "bt709"])
def test_both_decoders_give_the_same_pixels(pixels: str, colours: str, turned: int, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "colorspace": colours}
        stream: Any = container.add_stream("libx264", rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt = 96, 160, pixels
        if turned:
            stream.set_display_rotation(turned)
        for number in range(4):
            picture = np.random.default_rng(number).integers(0, 255, (12, 20, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    by_decord, decoder = read_stretch(path, Stretch(), lambda _: [0, 3])
    by_pyav, other = read_stretch(path, Stretch(), lambda _: [0, 3], decoder="pyav")
    assert (decoder, other) == ("decord", "pyav")
    assert np.array_equal(by_decord, by_pyav)


@pytest.mark.parametrize(
    ("name", "kept"), [("a.mp4", 0.3), ("a.mp4", 0.7), ("a.mp4", 0.95), ("a.avi", 0.3), ("a.avi", 0.7)]
)
def test_a_truncated_file_is_no_shorter_clip(name: str, kept: float, tmp_path: Path) -> None:
    path = write(tmp_path / name, muxer={"movflags": "faststart"} if name == "a.mp4" else None)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ClipError, match="truncated"):
        read_frames(path, lambda _: [0])


def test_a_stretch_that_is_too_short(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    for stretch, reason in (
        (Stretch(96), "has 4 frames from frame 96, needs at least 8"),
        (Stretch(200), "has 0 frames from frame 200, needs at least 8"),
        (Stretch(seconds=(1.0, 1.2)), "has 5 frames from 1 s to 1.2 s, needs at least 8"),
        (Stretch(seconds=(5.0, 9.0)), "has 0 frames from 5 s to 9 s, needs at least 8"),
    ):
        with pytest.raises(ClipError, match=reason):
            read(path, Whole(), stretch)


def test_the_check_finds_the_decoder_of_each_clip_once(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.mp4"), write(tmp_path / "a.avi", CODECS["mpeg4"])]
    entries = [*(Entry(file, "") for file in files), Entry(files[0], "", seconds=(1.0, 3.0))]
    size = (8, HEIGHT, WIDTH)
    good = ingest(entries, Whole(), size, tmp_path / "out").good
    assert good == tuple(entries)
    assert [entry.decoder for entry in good] == ["decord", "pyav", "decord"]
    checked = (tmp_path / "out" / CHECKED).read_text()
    again = ingest(entries, Whole(), size, tmp_path / "out", show=lambda *_: pytest.fail("checked again"))
    assert [entry.decoder for entry in again.good] == ["decord", "pyav", "decord"]
    assert (tmp_path / "out" / CHECKED).read_text() == checked
    clips = read_all(good, Whole(), size)
    assert [numbers(clip) for clip in clips] == [SPREAD, SPREAD, expected(Whole(), 25, 75)]
