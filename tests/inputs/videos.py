"""Videos, written by PyAV in every container and codec that it writes. Frame k shows the number k, in bars."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

FRAMES, RATE = 100, 25
HEIGHT, WIDTH, BARS = 96, 112, 7

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


OPEN = Codec("libx264", options={"preset": "veryfast", "x264-params": f"{X264}:open-gop=1:min-keyint=24"})
OPEN_HEVC = Codec("libx265", options={"preset": "ultrafast", "x265-params": f"{X265}:open-gop=1:bframes=3"})
CLOSED_HEVC = Codec("libx265", options={"preset": "ultrafast", "x265-params": f"{X265}:open-gop=0:bframes=3"})
REFRESH = Codec(
    "libx264", options={"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=20:bframes=0:scenecut=0"}
)
HIDDEN = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16", "g": "30"}


@dataclass(frozen=True)
class Form:
    """A special form of a video file.

    Args:
        given: The form, in words.
        ending: Ending of the file.
        decoder: Library that reads it.
        codec: Its codec.
        stamp: Time of a frame, in frames.
        muxer: Options of the container.
        cut: Frames that its edit list cuts off at the start.
        second: Frames from second 2 to second 3; None where the container does not store the times.
    """

    given: str
    ending: str
    decoder: str
    codec: Codec = CODECS["libx264"]
    stamp: Callable[[int], int] = lambda number: number
    muxer: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    second: tuple[int, int] | None = (50, 75)

    def write(self, folder: Path) -> Path:
        path = write(folder / f"a.{self.ending}", self.codec, stamp=self.stamp, muxer=self.muxer)
        if self.cut:
            cut_by_edit_list(path, self.cut)
        return path


def cut_by_edit_list(path: Path, frames: int) -> None:
    """Change the edit list of an MP4 file so that its first frames are not shown."""
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    shown, start = (int.from_bytes(content[place : place + 4], "big") for place in (at, at + 4))
    content[at : at + 4] = (shown - frames * 1000 // RATE).to_bytes(4, "big")
    content[at + 4 : at + 8] = (start + frames * 512).to_bytes(4, "big")
    path.write_bytes(content)


def x264(options: str) -> Codec:
    return Codec("libx264", options={"preset": "veryfast", "x264-params": options})


def uneven(number: int) -> int:
    """Times at which frames 17 and 25 are the first ones after 2 and 3 seconds."""
    return 3 * number + number % 2


VARIABLE = {
    "mp4": "libx264",
    "mkv": "libx264",
    "mov": "libx264",
    "webm": "libvpx-vp9",
    "avi": "wmv2",
    "ts": "mpeg2video",
    "mpg": "mpeg1video",
    "wmv": "wmv2",
}
MP4S = ("mp4", "mkv")
FORMS = (
    *(
        Form("Open groups of pictures, H.264", ending, "pyav", OPEN)
        for ending in ("mp4", "mov", "mkv", "flv", "ts", "avi", "wmv")
    ),
    *(Form("Open groups of pictures, HEVC", ending, "pyav", OPEN_HEVC) for ending in MP4S),
    *(Form("Closed groups of pictures, HEVC", ending, "decord", CLOSED_HEVC) for ending in MP4S),
    *(Form("Intra refresh: no key frame after the first", ending, "pyav", REFRESH) for ending in MP4S),
    *(Form("Key frames only", ending, "decord", x264("keyint=1")) for ending in MP4S),
    *(Form("A single key frame", ending, "decord", x264("keyint=1000")) for ending in MP4S),
    *(Form("Interlaced", ending, "decord", x264(f"{X264}:interlaced=1")) for ending in MP4S),
    Form("Frames that are never shown, VP8", "webm", "pyav", Codec("libvpx", options=HIDDEN)),
    Form("Frames that are never shown, VP9", "webm", "decord", Codec("libvpx-vp9", options=HIDDEN)),
    *(
        Form(
            "A variable frame rate",
            ending,
            "decord" if ending in ("mp4", "mkv", "mov", "webm") else "pyav",
            CODECS[codec],
            uneven,
            second=None if ending == "mpg" else (17, 25),  # mpg stores few time stamps
        )
        for ending, codec in VARIABLE.items()
    ),
    *(
        Form(
            "A first time stamp other than zero",
            ending,
            "decord" if ending in MP4S else "pyav",
            CODECS["mpeg2video" if ending == "mpg" else "libx264"],
            lambda number: number + 50,
        )
        for ending in ("mp4", "mkv", "ts", "mpg", "wmv")
    ),
    *(Form("An edit list that cuts frames off", "mp4", "pyav", cut=cut) for cut in (10, 30)),
    Form("An edit list that cuts frames off before a key frame", "mp4", "decord", cut=24),
    Form("Index at the start (`faststart`)", "mp4", "decord", muxer={"movflags": "faststart"}),
    Form("Fragments", "mp4", "decord", muxer={"movflags": "frag_keyframe+empty_moov"}),
    Form("A live recording, without a duration", "mkv", "pyav", muxer={"live": "1"}),
    Form("Index at the start", "mkv", "decord", muxer={"reserve_index_space": "1000"}),
)
"""Special forms; each is read from its first shown frame to its last, by number and by time."""
