"""Small real video files, in the containers and codecs in which datasets come."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

CODECS = {".mp4": "libx264", ".MP4": "libx264", ".webm": "libvpx-vp9", ".avi": "mpeg4", ".mkv": "libx264"}
WriteVideo = Callable[..., Path]


def grey(frame: int) -> int:
    """The brightness by which a frame is known."""
    return 20 + 8 * frame


@pytest.fixture
def write_video() -> WriteVideo:
    """Writes a video in which frame k has the brightness ``grey(k)``."""

    def write(path: Path, frames: int = 16, height: int = 48, width: int = 64) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(CODECS[path.suffix], rate=8)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for number in range(frames):
                image = np.full((height, width, 3), grey(number), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def write_pictures() -> WriteVideo:
    """Writes the same frames as pictures ``im_0.jpg``, ``im_1.jpg``, ... in a folder."""
    from PIL import Image

    def write(folder: Path, frames: int = 16, height: int = 48, width: int = 64, first: int = 0) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(frames):
            image = Image.fromarray(np.full((height, width, 3), grey(number), np.uint8))
            image.save(folder / f"im_{number + first}.jpg", quality=95)
        return folder

    return write
