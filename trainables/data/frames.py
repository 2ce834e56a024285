"""Which frames of a clip are taken, and how they are brought to size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class _Choice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Whole(_Choice):
    """Frames spread evenly over the whole clip, both ends included: an action from its beginning to its end."""

    kind: Literal["whole"] = "whole"

    def least(self, frames: int) -> int:
        """Frames that a clip has to have."""
        return frames

    def numbers(self, available: int, frames: int, position: float = 0.5) -> list[int]:
        """Numbers of the frames to take: ``round(k (available - 1) / (frames - 1))``.

        Args:
            available: Frames of the clip, at least ``frames``.
            frames: How many to take.
            position: Not used: the whole clip has one place only.
        """
        if frames == 1:
            return [0]
        return [round(k * (available - 1) / (frames - 1)) for k in range(frames)]


class Consecutive(_Choice):
    """Frames one after another at a stride: the motion at its own speed, of a part of the clip."""

    kind: Literal["consecutive"] = "consecutive"
    stride: Annotated[int, Field(ge=1, description="1 takes every frame")] = 1

    def least(self, frames: int) -> int:
        """Frames that a clip has to have."""
        return (frames - 1) * self.stride + 1

    def numbers(self, available: int, frames: int, position: float = 0.5) -> list[int]:
        """Numbers of the frames to take.

        Args:
            available: Frames of the clip, at least ``least(frames)``.
            frames: How many to take.
            position: Where in the clip, in [0, 1]: 0 is its beginning, 1 its end.
        """
        first = round(position * (available - self.least(frames)))
        return [first + k * self.stride for k in range(frames)]


Choice = Annotated[Whole | Consecutive, Field(discriminator="kind")]


def to_video(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Pixels in [0, 255] as models take them.

    Shape:
        uint8 (b f h w c) -> (b f c h w) in [-1, 1].
    """
    import torch

    return torch.from_numpy(pixels).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def fit(frames: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Scale frames until they just cover a size, then cut out the middle.

    Pixel areas are averaged where frames shrink, so that nothing aliases; they are interpolated linearly where they
    grow.

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
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    top, left = (tall - height) // 2, (wide - width) // 2
    scaled = (cv2.resize(frame, (wide, tall), interpolation=how) for frame in frames)
    return np.stack([frame[top : top + height, left : left + width] for frame in scaled])
