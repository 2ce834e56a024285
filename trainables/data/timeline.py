"""Presentation time stamps of a video's packets, and what they prove; nothing is decoded here."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers (FFmpeg's names) in which key frames are found by their presentation time."""
UNSTAMPED = ("avi", "asf")
"""Containers that store times of decoding; FFmpeg guesses those of presentation."""
_RESETS = {"h264": ((5,), 0, 0x1F, 4), "hevc": ((19, 20), 1, 0x3F, 21)}
"""Codec -> NAL unit types that reset the decoder (IDR); shift and mask of the type in a unit's first byte; byte of the
stream's header that gives the size of a unit's length."""


@dataclass(frozen=True)
class Timeline:
    """Time stamps of a video.

    Attributes:
        stamps: Presentation time stamps of the packets (n,), sorted, without those of packets that have none.
        keys: Time stamps of the key frames, sorted; none where seeking to them may lose count of the frames.
        times: Times of presentation, sorted: the time stamps, or in containers without them those of decoding.
        unit: Seconds of one unit of the time stamps.
        packets: Number of packets.
        stated: Number of packets that the container states; 0 if it does not.
        numbered: Every packet has a time stamp of its own, so frame k is expected at the k-th one.
        independent: Decoding from a key frame yields that frame and all later ones, and none of the earlier ones.
    """

    stamps: NDArray[np.int64]
    keys: NDArray[np.int64]
    times: NDArray[np.int64]
    unit: Fraction
    packets: int
    stated: int
    numbered: bool
    independent: bool

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Presentation times in seconds, from the first frame."""
        return (self.times - self.times[:1]).astype(np.float64) * float(self.unit)

    def key_before(self, stamp: int) -> int:
        """Return the time stamp of the last key frame that is not after ``stamp``; the first time stamp without one."""
        number = int(np.searchsorted(self.keys, stamp, side="right"))
        return int(self.keys[number - 1]) if number else int(self.stamps[0])


def read_timeline(container: InputContainer, stream: VideoStream) -> Timeline:
    """Read the time stamps of all packets of a stream; nothing is decoded.

    Args:
        container: An open video, at its start; it is at its end afterwards.
        stream: Its video stream.

    Raises:
        av.error.FFmpegError: The file is damaged.
    """
    resets = _reset_test(container.format.name, stream)
    rows = [
        (packet.pts, packet.dts, _is_whole(packet), packet.is_keyframe, packet.is_keyframe and resets(packet))
        for packet in container.demux(stream)
        if packet.size or packet.pts is not None or packet.dts is not None  # an empty one ends the stream in PyAV
    ]
    stamps = np.array([pts for pts, *_ in rows if pts is not None], np.int64)
    keys = np.array([pts for pts, _, _, is_key, _ in rows if is_key and pts is not None], np.int64)
    decoding = np.array([dts for _, dts, *_ in rows if dts is not None], np.int64)
    ordered = np.sort(stamps)
    numbered = 0 < len(rows) == len(stamps) and all(row[2] for row in rows) and bool((np.diff(ordered) > 0).all())
    is_unstamped = container.format.name in UNSTAMPED and len(decoding) == len(rows)
    return Timeline(
        stamps=ordered,
        keys=np.sort(keys) if _is_seekable(container.format.name, stream) else keys[:0],
        times=np.sort(decoding) if is_unstamped else ordered,
        unit=stream.time_base or Fraction(0),
        packets=len(rows),
        stated=_stated(container.format.name, stream, int(ordered[-1]) + 1 - len(rows) if len(ordered) else 0),
        numbered=numbered,
        independent=numbered and _are_closed(stamps, np.array([row[3] for row in rows]), [row[4] for row in rows]),
    )


def _is_seekable(container: str, stream: VideoStream) -> bool:
    """Whether the packets before a key frame tell its number: AVI files and VP8 may have packets that show no frame."""
    return container in INDEXED and stream.codec_context.name not in ("vp8", "libvpx")


def _is_whole(packet: Packet[VideoStream]) -> bool:
    return packet.size > 0 and not (packet.is_discard or packet.is_corrupt)


def _are_closed(stamps: NDArray[np.int64], is_key: NDArray[np.bool_], resets: Sequence[bool]) -> bool:
    """Whether all groups of pictures are closed: each begins with a reset, and no two overlap in time.

    Args:
        stamps: Time stamps of the packets in order of decoding (n,).
        is_key: Which of them are marked as key frames (n,).
        resets: Which of them reset the decoder.
    """
    if not is_key[0] or int(is_key.sum()) != sum(resets):
        return False
    begins = np.where(is_key, stamps, stamps[0])
    is_after = stamps >= np.maximum.accumulate(begins)  # no leading frames
    is_later = stamps[1:] > np.maximum.accumulate(stamps)[:-1]  # than all frames before
    return bool(is_after.all() and is_later[is_key[1:]].all())


def _stated(container: str, stream: VideoStream, skipped: int) -> int:
    """Return the number of packets that a whole file has.

    The number in an MP4 file includes frames that its edit list leaves out, the number in an AVI file those that it
    skips, up to two of them without a time stamp.
    """
    if container == INDEXED[0]:
        return len(stream.index_entries)
    return stream.frames - max(0, skipped) - 2 if container == "avi" else stream.frames


def _reset_test(container: str, stream: VideoStream) -> Callable[[Packet[VideoStream]], bool]:
    """Return a test of whether a key packet resets the decoder; always false for codecs where that cannot be shown.

    A key frame of H.264 or HEVC may be one of an open GOP or of gradual intra refresh, from which decoding does not
    start cleanly. Key frames of VP9 always do, and its packets in these containers show one frame each.
    """
    codec = stream.codec_context.name
    if container not in INDEXED:
        return lambda packet: False
    if codec in ("vp9", "libvpx-vp9"):
        return lambda packet: True
    header = bytes(stream.codec_context.extradata or b"")
    if codec not in _RESETS or len(header) <= _RESETS[codec][3]:
        return lambda packet: False
    types, shift, mask, place = _RESETS[codec]
    size = (header[place] & 3) + 1

    def test(packet: Packet[VideoStream]) -> bool:
        data, start = memoryview(packet), 0
        while start + size < len(data):
            if (data[start + size] >> shift) & mask in types:
                return True
            start += size + int.from_bytes(data[start : start + size], "big")
        return False

    return test
