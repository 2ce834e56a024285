"""Clips on disk: H.264 written with PyAV, read with decord in the process that uses it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class ClipError(ValueError):
    """A clip cannot be read or has too few frames; the message names the file and the remedy."""


def read_clip(path: Path, frames: int, start: int = 0) -> NDArray[np.uint8]:
    """Consecutive frames of a clip.

    The reader is opened here and closed here: decord's readers survive neither a fork nor pickling.

    Args:
        path: Video file.
        frames: How many, 1 and up.
        start: First frame, 0 and up.

    Shape:
        (f h w 3) uint8, RGB.

    Raises:
        ClipError: The file is missing, cut short, no video, or shorter than asked.
    """
    import decord

    remedy = "replace the file, or delete its folder if the clips were rendered: they are rendered anew"
    if not path.is_file():
        raise ClipError(f"{path}: no such clip; {remedy}")
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        if len(reader) < start + frames:
            raise ClipError(f"{path}: has {len(reader)} frames, {start + frames} are needed; {remedy}")
        video: NDArray[np.uint8] = reader.get_batch(list(range(start, start + frames))).asnumpy()
    except (RuntimeError, decord.DECORDError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ClipError(f"{path}: cannot be decoded, probably cut short ({reason}); {remedy}") from error
    return video


def write_clip(
    path: Path, frames: NDArray[np.uint8], *, fps: int = 8, pixel_format: str = "yuv420p", scale: int = 1, crf: int = 10
) -> None:
    """Write frames as an H.264 file with a key frame at least every 12 frames.

    Args:
        path: Ends in ``.mp4``; overwritten.
        frames: RGB.
        fps: Frames per second.
        pixel_format: ``yuv444p`` keeps full colour resolution, ``yuv420p`` plays in every browser.
        scale: Whole factor by which pixels are repeated in both directions.
        crf: x264's constant rate factor: 0 is lossless, 51 worst.

    Shape:
        frames (f h w 3) uint8; h and w times ``scale`` even.
    """
    import av

    assert frames.ndim == 4, frames.shape
    assert frames.dtype == np.uint8, frames.dtype
    large = frames.repeat(scale, axis=1).repeat(scale, axis=2) if scale > 1 else frames
    with av.open(str(path), "w", format="mp4") as container:
        options = {"crf": str(crf), "g": "12", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = large.shape[1], large.shape[2], pixel_format
        for image in large:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
