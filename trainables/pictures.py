"""Frame strips: clips laid out as pictures that a person can compare."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 2
LABEL_WIDTH = 190
LABEL_SIZE = 13


def frame_strip(
    clips: NDArray[np.uint8], labels: Sequence[str] | None = None, title: str = "", frame_px: int = 64
) -> "Image":
    """Lay clips out as rows and their frames as columns, enlarged without smoothing.

    Args:
        clips: Pixels in [0, 255].
        labels: One word or line for each row, written left of it.
        title: One line above the rows.
        frame_px: Least height of a frame in the picture; small frames are enlarged by a whole factor.

    Shape:
        clips (n f h w 3).
    """
    from PIL import Image, ImageDraw, ImageFont

    assert clips.ndim == 5, "clips are (n f h w 3)"
    assert clips.dtype == np.uint8, "clips are uint8"
    n, f, h, w, _ = clips.shape
    factor = max(1, -(-frame_px // h))
    cell_h, cell_w = h * factor + GAP, w * factor + GAP
    left, top = (LABEL_WIDTH if labels else GAP), (LABEL_SIZE + 12 if title else GAP)
    picture = Image.new("RGB", (left + f * cell_w, top + n * cell_h), "white")
    font = ImageFont.load_default(LABEL_SIZE)
    draw = ImageDraw.Draw(picture)
    if title:
        draw.text((GAP + 2, 5), title, fill="black", font=font)
    for row in range(n):
        if labels:
            draw.text((GAP + 2, top + row * cell_h + cell_h // 2 - 9), labels[row], fill="black", font=font)
        for column in range(f):
            frame = Image.fromarray(clips[row, column]).resize((w * factor, h * factor), Image.Resampling.NEAREST)
            picture.paste(frame, (left + column * cell_w, top + row * cell_h))
    return picture
