"""Choice of the frames of a clip, and their scaling."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class _FrameChoice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @abstractmethod
    def least(self, frames: int) -> int:
        """Fewest frames of a usable clip."""

    @abstractmethod
    def positions(self, available: int, frames: int, position: float = 0.5) -> Sequence[float]:
        """Return the positions of the frames to take, in frames from 0; between two frames, they are blended.

        Args:
            available: Frames of the clip, at least ``least(frames)``.
            frames: Number of frames to take; the clip is padded with grey frames if there are fewer positions.
            position: Position in the clip of a choice that takes a part of it, from 0 (start) to 1 (end).
        """


class _WholeFrames(_FrameChoice):
    @abstractmethod
    def numbers(self, available: int, frames: int, position: float = 0.5) -> list[int]:
        """Return the numbers of the frames to take."""

    def positions(self, available: int, frames: int, position: float = 0.5) -> Sequence[float]:
        """Return the numbers of the frames: none are blended."""
        return self.numbers(available, frames, position)


class Whole(_WholeFrames):
    """Frames evenly spaced over the whole clip, including the first and last: an action from start to end."""

    kind: Literal["whole"] = "whole"

    def least(self, frames: int) -> int:
        """Fewest frames of a usable clip."""
        return frames

    def numbers(self, available: int, frames: int, position: float = 0.5) -> list[int]:
        """Return the numbers of the frames to take: ``round(k (available - 1) / (frames - 1))``.

        Args:
            available: Frames of the clip, at least ``frames``.
            frames: Number of frames to take.
            position: Not used.
        """
        if frames == 1:
            return [0]
        return [round(k * (available - 1) / (frames - 1)) for k in range(frames)]


class Consecutive(_WholeFrames):
    """Consecutive frames at a stride: a part of the clip, at its original speed for stride 1."""

    kind: Literal["consecutive"] = "consecutive"
    stride: Annotated[int, Field(ge=1, description="1 takes every frame")] = 1

    def least(self, frames: int) -> int:
        """Fewest frames of a usable clip."""
        return (frames - 1) * self.stride + 1

    def numbers(self, available: int, frames: int, position: float = 0.5) -> list[int]:
        """Return the numbers of the frames to take.

        Args:
            available: Frames of the clip, at least ``least(frames)``.
            frames: Number of frames to take.
            position: Position in the clip, from 0 (start) to 1 (end).
        """
        first = round(position * (available - self.least(frames)))
        return [first + k * self.stride for k in range(frames)]


class Interpolated(_FrameChoice):
    """Frames interpolated in time over the whole clip, without its very first and last: the rule of Seer's data.

        p_k = (k + 1/2) N / F - 1/2,   frame k = (1 - w) x_floor(p_k) + w x_floor(p_k)+1,   w = p_k - floor(p_k)

    N frames of a clip become F: 45 become 12 at 1.375, 5.125 ... 42.625. A clip with fewer than F frames is kept and
    padded with grey. It is not the default, since the choice of frames holds for the data of all systems, and blended
    frames show moving objects twice. Values published for Seer are of such frames, on both sides of each distance.

    Source: Seer (arXiv 2303.14897), its released code (trilinear ``interpolate``); departures: blended frames are
    rounded to 8 bits before they are scaled to size, not after; grey is 128.
    """

    kind: Literal["interpolated"] = "interpolated"

    def least(self, frames: int) -> int:
        """Fewest frames of a usable clip."""
        return 1

    def positions(self, available: int, frames: int, position: float = 0.5) -> Sequence[float]:
        """Return the positions of the frames; all frames of a clip that has too few.

        Args:
            available: Frames of the clip, at least 1.
            frames: Number of frames to take.
            position: Not used.
        """
        if available < frames:
            return range(available)
        return [((2 * k + 1) * available - frames) / (2 * frames) for k in range(frames)]


FrameChoice = Annotated[Whole | Consecutive | Interpolated, Field(discriminator="kind")]

GREY = 128


def neighbours(positions: Sequence[float]) -> list[int]:
    """Return the numbers of the frames at positions, or on both sides of them; sorted, each once."""
    return sorted({number for place in positions for number in (math.floor(place), math.ceil(place))})


def blended(read: NDArray[np.uint8], positions: Sequence[float], frames: int) -> NDArray[np.uint8]:
    """Make a clip from the frames that were read, padded at its end with grey.

    Args:
        read: The frames ``neighbours(positions)``.
        positions: Positions of the frames of the clip.
        frames: Number of frames of the clip.

    Shape:
        read (n h w 3) uint8 -> (frames h w 3) uint8.
    """
    import numpy as np

    clip = np.full((frames, *read.shape[1:]), GREY, np.uint8)
    row = {number: k for k, number in enumerate(neighbours(positions))}
    for k, place in enumerate(positions):
        before, after = read[row[math.floor(place)]], read[row[math.ceil(place)]]
        weight = np.float32(place - math.floor(place))
        clip[k] = before if weight == 0 else np.rint((1 - weight) * before + weight * after)
    return clip


Seconds = Callable[[], "NDArray[np.float64]"]
"""Returns the presentation times of the frames of a clip, in seconds from its first frame, sorted."""

ROUNDING_S = 1e-3
"""Rounding of time stamps: containers store them in units of up to a millisecond, decord as 32-bit floats."""


@dataclass(frozen=True)
class Stretch:
    """Part of a clip, by frame numbers or by time.

    Attributes:
        start: First frame, from 0.
        stop: One past the last frame; None is the end.
        seconds: Start and end in seconds from the first frame; takes the place of frame numbers in clips whose frames
            have times. A frame belongs to the stretch if its time is at or after the start and before the end.
    """

    start: int = 0
    stop: int | None = None
    seconds: tuple[float, float] | None = None

    def bounds(self, length: int, times: Seconds | None) -> tuple[int, int]:
        """Return the first frame, and one past the last.

        Args:
            length: Frames of the clip.
            times: Their times; None for pictures, which have none.
        """
        import numpy as np

        if self.seconds is None or times is None:
            return self.start, length if self.stop is None else min(self.stop, length)
        first, end = np.searchsorted(times(), np.array(self.seconds) - ROUNDING_S).tolist()
        return first, end

    def describe(self, first: int, end: int) -> str:
        """Say in words how many frames a clip has for the stretch, given its bounds."""
        if self.seconds is None:
            part = f" from frame {first}" if first else ""
        else:
            part = f" from {self.seconds[0]:g} s to {self.seconds[1]:g} s"
        return f"{max(0, end - first)} frames{part}"


class ClipFile(NamedTuple):
    """Video file, or folder of pictures, and the stretch of it that is a clip."""

    path: Path
    stretch: Stretch


def to_video(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Convert pixels in [0, 255] to model video.

    Shape:
        uint8 (b f h w c) -> (b f c h w) in [-1, 1].
    """
    import torch

    return torch.from_numpy(pixels).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def fit(frames: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Scale frames to cover a size, then crop the centre.

    Frames are shrunk by area averaging, without aliasing, and enlarged by linear interpolation.

    Shape:
        frames (f h w 3) uint8 -> (f height width 3) uint8.
    """
    import cv2
    import numpy as np

    h, w = frames.shape[1:3]
    if (h, w) == (height, width):
        return frames
    scale = max(height / h, width / w)
    tall, wide = max(height, round(h * scale)), max(width, round(w * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    top, left = (tall - height) // 2, (wide - width) // 2
    scaled = (cv2.resize(frame, (wide, tall), interpolation=interpolation) for frame in frames)
    return np.stack([frame[top : top + height, left : left + width] for frame in scaled])
