"""Frames of video files, by their order of presentation.

decord is the faster reader, but its seeking may return other frames than those that were asked for: it trusts that
decoding can start at every packet that is marked as a key frame, and that the container finds it. So it reads a file
only if the time stamps of the packets prove this. PyAV reads all other files, and compares the time stamp of every
decoded frame.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from trainables.data.frames import ROUNDING_S, Seconds
from trainables.data.timeline import Timeline, read_timeline

if TYPE_CHECKING:
    import decord
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

VideoDecoder = Literal["decord", "pyav"]
Choose = Callable[[int, Seconds], list[int]]
"""Maps the number of frames, and their presentation times in seconds from the first frame, to the frames to take."""


class ClipError(ValueError):
    """A clip cannot be read or has too few frames; the message gives the file and the remedy."""


_I_PICTURE = 1  # FFmpeg's AV_PICTURE_TYPE_I
REMEDY = "replace the file; rendered clips: delete the folder, and they are rendered again"


def read_video(
    path: Path, choose: Choose, decoder: VideoDecoder | None = None
) -> tuple[NDArray[np.uint8], VideoDecoder]:
    """Read frames of a video file.

    Args:
        path: Video file.
        choose: Chooses the frames, by number in order of presentation.
        decoder: Decoder that an earlier call returned for the unchanged file; None finds out.

    Returns:
        The frames, and the decoder that has read them.

    Shape:
        (f h w 3) uint8, RGB.

    Raises:
        ClipError: The file is truncated, damaged or not a video, or ``choose`` raised it.
    """
    try:
        if decoder == "decord":
            return _by_decord(_decord(path), choose), "decord"
        if decoder is None and (video := _by_proven_decord(path, choose)) is not None:
            return video, "decord"
        return _by_pyav(path, choose), "pyav"
    except ClipError:
        raise
    except Exception as error:  # decord raises RuntimeError and its own errors, PyAV its own and OSError
        reason = last_line(error)
        raise ClipError(f"{path}: cannot be decoded, probably truncated ({reason}) -> {REMEDY}") from error


def last_line(error: Exception) -> str:
    """Return the last line of an error's text, without the number and file of an operating system's error."""
    lines = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


# ------------------------------------------------------------------------------------------------------------- decord


def _by_proven_decord(path: Path, choose: Choose) -> NDArray[np.uint8] | None:
    """Read frames if the time stamps prove that decord reads the file correctly, else return None."""
    timeline = _timeline(path)
    if not timeline.independent:
        return None
    try:
        reader = _decord(path)
        return _by_decord(reader, choose) if _agrees(reader, timeline) else None
    except ClipError:
        raise
    except Exception:  # RuntimeError and its own errors: for some formats, and sizes that it pads
        return None


def _agrees(reader: decord.VideoReader, timeline: Timeline) -> bool:
    """Whether decord finds the frames, their times and the key frames of the timeline."""
    return (
        len(reader) == len(timeline.stamps)
        and reader.get_key_indices() == np.searchsorted(timeline.stamps, timeline.keys).tolist()
        and np.allclose(_decord_seconds(reader), timeline.seconds, rtol=1e-6, atol=ROUNDING_S)
    )


def _decord(path: Path) -> decord.VideoReader:
    import decord

    return decord.VideoReader(str(path), num_threads=1)


def _by_decord(reader: decord.VideoReader, choose: Choose) -> NDArray[np.uint8]:
    numbers = choose(len(reader), functools.partial(_decord_seconds, reader))
    video: NDArray[np.uint8] = reader.get_batch(numbers).asnumpy()
    return video


def _decord_seconds(reader: decord.VideoReader) -> NDArray[np.float64]:
    starts: NDArray[np.float64] = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    return starts - starts[:1]


# --------------------------------------------------------------------------------------------------------------- PyAV


def _by_pyav(path: Path, choose: Choose) -> NDArray[np.uint8]:
    """Decode from the key frame before the chosen frames if the time stamps allow it, else from the first frame."""
    import av

    timeline = _timeline(path)
    if timeline.numbered:
        numbers = choose(len(timeline.stamps), lambda: timeline.seconds)
        with suppress(av.error.InvalidDataError):  # of frames whose references were not decoded
            if (pictures := _by_stamps(path, timeline, numbers)) is not None:
                return pictures
    return _by_count(path, choose)


def _by_stamps(path: Path, timeline: Timeline, numbers: list[int]) -> NDArray[np.uint8] | None:
    """Return frames by their time stamps; None if the decoded frames have others than the packets."""
    stamps, wanted, pictures = timeline.stamps, set(numbers), dict[int, NDArray[np.uint8]]()
    key = timeline.key_before(int(stamps[min(numbers)]))
    first = int(np.searchsorted(stamps, key))
    with _Video(path) as video:
        for number, frame in enumerate(video.frames(since=key if first else None), first):
            # A packet that is only marked as a key frame gives no I picture, or corrupt ones.
            is_start = number > first or first == 0 or frame.pict_type == _I_PICTURE
            if number == len(stamps) or frame.pts != stamps[number] or not is_start or (first and frame.is_corrupt):
                return None
            if number in wanted:
                pictures[number] = video.rgb(frame)
            if len(pictures) == len(wanted):
                return np.stack([pictures[number] for number in numbers])
    return None


def _by_count(path: Path, choose: Choose) -> NDArray[np.uint8]:
    """Return frames by number, in the order in which decoding from the start yields them; decodes twice."""
    with _Video(path) as video:
        rate = float(video.stream.average_rate or video.stream.guessed_rate or 1)
        stamps = [frame.pts for frame in video.frames()]
    numbers = choose(len(stamps), lambda: _seconds(stamps, _timeline(path), rate))
    wanted, pictures = set(numbers), dict[int, NDArray[np.uint8]]()
    with _Video(path) as video:
        for number, frame in enumerate(video.frames()):
            if number in wanted:
                pictures[number] = video.rgb(frame)
            if len(pictures) == len(wanted):
                break
    return np.stack([pictures[number] for number in numbers])


def _seconds(stamps: Sequence[int | None], timeline: Timeline, rate: float) -> NDArray[np.float64]:
    """Return times of decoded frames in seconds from the first, for files whose time stamps do not tell them.

    These are the times of the packets if there are as many of them as frames, else those of the frames if these
    increase, else times at a constant rate.

    Args:
        stamps: Time stamps of the decoded frames.
        timeline: Time stamps of the packets.
        rate: Frames per second.
    """
    if len(timeline.times) == len(stamps):
        return timeline.seconds
    times: NDArray[np.float64] = np.array([np.nan if stamp is None else stamp for stamp in stamps])
    if (np.diff(times) > 0).all():  # not if one is missing
        return (times - times[:1]) * float(timeline.unit)
    return np.arange(len(times)) / rate


class _Video:
    """An open video, decoded by PyAV on one thread; for use in a ``with`` block.

    Args:
        path: Video file.
    """

    def __init__(self, path: Path) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self._container = av.open(str(path))
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise ClipError(f"{path}: has no video that can be decoded -> {REMEDY}")
        self.stream = cast("VideoStream", stream)
        self.stream.codec_context.thread_count = 1
        self._reformatter = VideoReformatter()
        self._size = self.stream.codec_context.width, self.stream.codec_context.height

    def __enter__(self) -> Self:
        """Return the video."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._container.close()

    def timeline(self) -> Timeline:
        """Read the time stamps of all packets."""
        return read_timeline(self._container, self.stream)

    def frames(self, since: int | None = None) -> Iterator[VideoFrame]:
        """Iterate over the frames in order of presentation.

        Args:
            since: Time stamp of the first frame, which is a key frame; None is the start of the video.
        """
        if since is None:
            return self._container.decode(self.stream)
        self._container.seek(since, stream=self.stream)
        # Earlier frames belong to an earlier key frame, or are leading ones of an open GOP, which lack references.
        return itertools.dropwhile(
            lambda frame: frame.pts is not None and frame.pts < since, self._container.decode(self.stream)
        )

    def rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert a frame to pixels as decord does: upright, and all frames of one size.

        Shape:
            (h w 3) uint8.
        """
        width, height = self._size
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", threads=1)
        return np.rot90(rgb.to_ndarray(), round(frame.rotation / 90))


def _timeline(path: Path) -> Timeline:
    """Read the time stamps of a file, or return those that were read before if it is unchanged.

    Raises:
        ClipError: The file is truncated, or has no video.
    """
    about = path.stat()
    timeline = _read_timeline(path, about.st_size, about.st_mtime_ns)
    if timeline.packets < timeline.stated:
        raise ClipError(f"{path}: truncated, {timeline.packets} of {timeline.stated} frames -> {REMEDY}")
    return timeline


@functools.lru_cache(maxsize=8)  # the actions of EPIC-Kitchens share long videos
def _read_timeline(path: Path, size: int, changed: int) -> Timeline:
    with _Video(path) as video:
        return video.timeline()
