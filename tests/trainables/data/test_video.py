"""Frames of videos in order of presentation, in every container and codec that PyAV writes.

Frame k of these clips shows the number k, in bars that are black or white.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from trainables.data.annotations import Entry
from trainables.data.clips import ClipError, DecoderName, read_frames, read_stretch
from trainables.data.frames import Consecutive, FrameChoice, Stretch, Whole
from trainables.data.ingest import CHECKED, ingest, read_all

FRAMES, RATE = 100, 25
HEIGHT, WIDTH, BARS = 96, 112, 7
SPREAD = [0, 14, 28, 42, 57, 71, 85, 99]

X264 = "bframes=3:b-adapt=0:keyint=24:scenecut=0"
X265 = "log-level=none:keyint=24:pools=none:frame-threads=1"
REALTIME = {"deadline": "realtime", "cpu-used": "8", "g": "24"}


@dataclass(frozen=True)
class Codec:
    """A codec with its settings."""

    name: str
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    b_frames: int | None = None
    size: tuple[int, int] = (HEIGHT, WIDTH)


CODECS = {
    codec.name: codec
    for codec in (
        Codec("mpeg4", b_frames=2),
        Codec("libx264", options={"preset": "ultrafast", "x264-params": X264}),
        Codec("libx265", options={"preset": "ultrafast", "x265-params": X265}),
        Codec("mpeg2video", b_frames=2),
        Codec("mpeg1video", b_frames=2),
        Codec("libvpx", options=REALTIME),
        Codec("libvpx-vp9", options=REALTIME),
        Codec("libsvtav1", options={"preset": "12", "g": "24"}),
        Codec("mjpeg", "yuvj420p"),
        Codec("prores", "yuv422p10le"),
        Codec("huffyuv", "yuv422p"),
        Codec("png", "rgb24"),
        Codec("gif", "rgb8"),
        Codec("dnxhd", "yuv422p", {"profile": "dnxhr_lb"}, size=(144, 256)),
        Codec("svq1", "yuv410p"),
        Codec("cfhd", "yuv422p10le"),
        Codec("flashsv", "bgr24"),
        Codec("amv", "yuvj420p"),
        Codec("h263", size=(144, 176)),
        *(Codec(name) for name in ("wmv1", "wmv2", "msmpeg4v2", "msmpeg4", "h263p", "flv", "ffv1", "ffvhuff")),
        *(Codec(name) for name in ("utvideo", "rawvideo", "snow", "rv10", "rv20", "asv1", "magicyuv", "speedhq")),
    )
}
_ANY = (
    "wmv1 wmv2 msmpeg4v2 msmpeg4 h263 h263p flv libvpx-vp9 libsvtav1 mjpeg ffv1 huffyuv ffvhuff utvideo png rawvideo "
    "snow svq1 asv1 magicyuv cfhd flashsv amv speedhq"
)
_STREAMS = "mpeg4 libx264 libx265 mpeg2video mpeg1video"
WRITTEN = {
    "mp4": "mpeg4 libx264 libx265 mpeg2video mpeg1video libvpx-vp9 libsvtav1 mjpeg ffv1 png",
    "mov": "mpeg4 libx264 libx265 mpeg2video mpeg1video msmpeg4 mjpeg prores png gif dnxhd svq1 magicyuv cfhd h263",
    "m4v": "mpeg4 libx264",
    "3gp": "mpeg4 libx264 h263",
    "mkv": f"{_STREAMS} msmpeg4 libvpx libvpx-vp9 libsvtav1 mjpeg ffv1 prores rawvideo snow",
    "webm": "libvpx libvpx-vp9 libsvtav1",
    "avi": f"mpeg4 libx264 mpeg2video mpeg1video libvpx {_ANY}",
    "mpg": _STREAMS,
    "vob": _STREAMS,
    "ts": _STREAMS,
    "m2ts": _STREAMS,
    "wmv": f"mpeg4 libx264 mpeg2video mpeg1video {_ANY}",
    "asf": "mpeg4 libx264 mpeg1video wmv2",
    "flv": "libx264 libx265 flv libvpx-vp9 libsvtav1 flashsv",
    "f4v": "libx264",
    "nut": f"{_STREAMS} wmv2 libvpx-vp9 mjpeg",
    "mxf": "libx264 mpeg2video ffv1 prores dnxhd",
    "ogv": "libvpx",
    "ivf": "libvpx-vp9 libsvtav1",
    "rm": "rv10 rv20",
    "gif": "gif",
    "h264": "libx264",
    "m2v": "mpeg2video",
    "mjpeg": "mjpeg",
    "obu": "libsvtav1",
    "y4m": "rawvideo",
}
"""Ending -> codecs that PyAV writes into such files, and reads again."""
ALL = Stretch()
PROVEN = {(ending, "libx264") for ending in ("mp4", "mov", "m4v", "3gp", "mkv", "f4v")}
PROVEN |= {(ending, "libvpx-vp9") for ending in ("mp4", "mkv", "webm")}
"""Files that decord reads; PyAV reads the others."""


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A frame that shows its number."""
    bits = [235 if number >> bit & 1 else 20 for bit in range(BARS)]
    columns = np.minimum(np.arange(width) * BARS // width, BARS - 1)
    return np.broadcast_to(np.array(bits, np.uint8)[columns][None, :, None], (height, width, 3)).copy()


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers that frames show."""
    edges = [frames.shape[2] * bar // BARS for bar in range(BARS + 1)]
    return [
        sum(
            int(frame[:, a + (b - a) // 4 : b - (b - a) // 4].mean() > 128) << bit
            for bit, (a, b) in enumerate(pairwise(edges))
        )
        for frame in frames
    ]


def write(
    path: Path,
    codec: Codec = CODECS["libx264"],
    *,
    stamp: Callable[[int], int] = lambda number: number,
    muxer: dict[str, str] | None = None,
    rate: int = RATE,
) -> Path:
    """Write a clip of numbered frames; ``stamp`` gives the time of a frame, in frames."""
    height, width = codec.size
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream: Any = container.add_stream(codec.name, rate=rate, options=codec.options)
        stream.height, stream.width, stream.pix_fmt = height, width, codec.pixels
        stream.codec_context.time_base = Fraction(1, rate)
        if codec.b_frames is not None:
            stream.codec_context.max_b_frames = codec.b_frames
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(numbered(number, height, width), format="rgb24")
            frame = frame.reformat(format=codec.pixels)
            frame.pts, frame.time_base = stamp(number), Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


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


OPEN = Codec("libx264", options={"preset": "veryfast", "x264-params": f"{X264}:open-gop=1:min-keyint=24"})
OPEN_HEVC = Codec("libx265", options={"preset": "ultrafast", "x265-params": f"{X265}:open-gop=1:bframes=3"})
CLOSED_HEVC = Codec("libx265", options={"preset": "ultrafast", "x265-params": f"{X265}:open-gop=0:bframes=3"})
REFRESH = Codec(
    "libx264", options={"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=20:bframes=0:scenecut=0"}
)
HIDDEN = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16", "g": "30"}


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "flv", "ts", "avi", "wmv"])
def test_open_groups_of_pictures(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{ending}", OPEN)
    assert_right(path)
    assert decoder_of(path) == "pyav"


@pytest.mark.parametrize(
    ("codec", "decoder"),
    [
        (OPEN_HEVC, "pyav"),
        (CLOSED_HEVC, "decord"),
        (REFRESH, "pyav"),  # no frame after the first resets the decoder
        (Codec("libx264", options={"preset": "veryfast", "x264-params": "keyint=1"}), "decord"),
        (Codec("libx264", options={"preset": "veryfast", "x264-params": "keyint=1000"}), "decord"),
        (Codec("libx264", options={"preset": "veryfast", "x264-params": f"{X264}:interlaced=1"}), "decord"),
    ],
)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_key_frames_of_all_kinds(codec: Codec, decoder: DecoderName, ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{ending}", codec)
    assert_right(path)
    assert decoder_of(path) == decoder


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_hidden_frames(codec: str, tmp_path: Path) -> None:
    assert_right(write(tmp_path / "a.webm", Codec(codec, options=HIDDEN)))


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "avi", "ts", "mpg", "wmv", "mov"])
def test_a_variable_frame_rate(ending: str, tmp_path: Path) -> None:
    codec = {"webm": "libvpx-vp9", "avi": "wmv2", "ts": "mpeg2video", "mpg": "mpeg1video", "wmv": "wmv2"}
    path = write(tmp_path / f"a.{ending}", CODECS[codec.get(ending, "libx264")], stamp=lambda k: 3 * k + k % 2)
    assert_right(path)
    if ending == "mpg":  # stores few time stamps
        return
    # Frames 25 and 34 are at 76/25 and 102/25 seconds.
    assert read(path, Whole(), Stretch(seconds=(3.0, 4.1))) == expected(Whole(), 25, 35)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "mpg", "wmv"])
def test_a_first_time_stamp_other_than_zero(ending: str, tmp_path: Path) -> None:
    codec = CODECS["mpeg2video" if ending == "mpg" else "libx264"]
    path = write(tmp_path / f"a.{ending}", codec, stamp=lambda k: k + 50)
    assert_right(path)
    assert read(path, Whole(), Stretch(seconds=(2.0, 3.0))) == expected(Whole(), 50, 75)


def cut_by_edit_list(path: Path, frames: int) -> None:
    """Change the edit list of an MP4 file so that its first frames are not shown."""
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    shown, start = (int.from_bytes(content[place : place + 4], "big") for place in (at, at + 4))
    content[at : at + 4] = (shown - frames * 1000 // RATE).to_bytes(4, "big")
    content[at + 4 : at + 8] = (start + frames * 512).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("cut", [10, 24, 30])
def test_an_edit_list(cut: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    cut_by_edit_list(path, cut)
    assert_right(path, first=cut)


@pytest.mark.parametrize(
    ("ending", "muxer", "decoder"),
    [
        ("mp4", {"movflags": "faststart"}, "decord"),
        ("mp4", {"movflags": "frag_keyframe+empty_moov"}, "decord"),
        ("mkv", {"live": "1"}, "pyav"),  # without a duration, which decord needs
        ("mkv", {"reserve_index_space": "1000"}, "decord"),
    ],
)
def test_other_forms_of_a_container(ending: str, muxer: dict[str, str], decoder: DecoderName, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{ending}", muxer=muxer)
    assert_right(path)
    assert decoder_of(path) == decoder


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


def test_a_file_without_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ClipError, match=r"a\.mkv: has no video that can be decoded ->"):
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
