"""Presentation time stamps of a video's packets, and what they prove; nothing is decoded here."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

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
        keys: Time stamps of the key frames, sorted.
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
        return (self.times - self.times[:1]) * float(self.unit)

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
    is_reset = _reset_test(container.format.name, stream)
    stamps: list[int] = []
    keys: list[int] = []
    decoding: list[int] = []
    packets, plain, independent = 0, True, True
    latest: int | None = None
    key: int | None = None
    for packet in container.demux(stream):
        if packet.size == 0 and packet.pts is None and packet.dts is None:  # PyAV's end of the stream
            continue
        packets += 1
        if packet.dts is not None:
            decoding.append(packet.dts)
        stamp = packet.pts
        plain = plain and packet.size > 0 and not (packet.is_discard or packet.is_corrupt)
        if stamp is None:
            continue
        if packet.is_keyframe:
            independent = independent and (latest is None or latest < stamp) and is_reset(packet)
            key = stamp
            keys.append(stamp)
        independent = independent and key is not None and key <= stamp  # no leading frames of an open GOP
        latest = stamp if latest is None else max(latest, stamp)
        stamps.append(stamp)
    ordered, in_order, decoded = (np.sort(np.array(values, np.int64)) for values in (stamps, keys, decoding))
    numbered = plain and 0 < packets == len(stamps) and bool((np.diff(ordered) > 0).all())
    unit = stream.time_base or Fraction(0)
    stated = _stated(container.format.name, stream, int(ordered[-1]) + 1 - packets if len(ordered) else 0)
    times = decoded if container.format.name in UNSTAMPED and len(decoded) == packets else ordered
    return Timeline(ordered, in_order, times, unit, packets, stated, numbered, numbered and independent)


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
