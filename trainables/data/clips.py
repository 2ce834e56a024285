"""Clips on disk: videos and folders of pictures are read, H.264 is written with PyAV."""

import itertools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainables.data.frames import FrameChoice, Seconds, Stretch, blended, neighbours
from trainables.data.video import REMEDY, ClipError, VideoDecoder, last_line, read_video

__all__ = [
    "ClipError",
    "DecoderName",
    "picture_names",
    "read_chosen",
    "read_clip",
    "read_frames",
    "read_stretch",
    "write_clip",
]

DecoderName = VideoDecoder | Literal["pillow"]
"""Library that reads the frames of a clip."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def read_clip(path: Path, frames: int, start: int = 0) -> NDArray[np.uint8]:
    """Read consecutive frames of a clip.

    Args:
        path: Video file.
        frames: Number of frames, at least 1.
        start: First frame, from 0.

    Shape:
        (f h w 3) uint8, RGB.

    Raises:
        ClipError: The file is missing, truncated, not a video, or too short.
    """
    return read_frames(path, lambda _: range(frames), least=frames, start=start)


def read_frames(
    path: Path,
    choose: Callable[[int], Sequence[int]],
    *,
    least: int = 1,
    start: int = 0,
    stop: int | None = None,
) -> NDArray[np.uint8]:
    """Read chosen frames of a clip, or of a range of it.

    Args:
        path: Video file, or a folder with one picture per frame.
        choose: Maps the number of frames of the range to the frames to read, counted from its start.
        least: Fewest frames of the range, at least 1.
        start: First frame of the range, from 0.
        stop: One past its last frame; None is the end.

    Shape:
        (f h w 3) uint8, RGB.

    Raises:
        ClipError: The file is missing, truncated, not a video, or too short; a folder's pictures differ in size.
    """
    return read_stretch(path, Stretch(start, stop), choose, least=least)[0]


def read_stretch(
    path: Path,
    stretch: Stretch,
    choose: Callable[[int], Sequence[int]],
    *,
    least: int = 1,
    decoder: DecoderName | None = None,
) -> tuple[NDArray[np.uint8], DecoderName]:
    """Read chosen frames of a stretch of a clip.

    Files are opened and closed here, since decord's readers survive neither fork nor pickling.

    Args:
        path: Video file, or a folder with one picture per frame.
        stretch: The stretch.
        choose: Maps the number of its frames to the frames to read, counted from its start.
        least: Fewest frames of the stretch, at least 1.
        decoder: Decoder that an earlier call returned for the unchanged file; None finds out.

    Returns:
        The frames, and the library that has read them.

    Shape:
        (f h w 3) uint8, RGB.

    Raises:
        ClipError: The file is missing, truncated, not a video, or too short; a folder's pictures differ in size, or
            some are missing within a stretch.
    """

    def numbers(length: int, seconds: Seconds | None) -> list[int]:
        first, end = stretch.bounds(length, seconds)
        if end - first < max(1, least):
            raise ClipError(f"{path}: has {stretch.describe(first, end)}, needs at least {least} -> {REMEDY}")
        return [first + number for number in choose(end - first)]

    if path.is_dir():
        whole = stretch.start == 0 and stretch.stop is None
        return _pictures(path, lambda length: numbers(length, None), gaps=whole), "pillow"
    if not path.is_file():
        raise ClipError(f"{path}: no such clip -> {REMEDY}")
    return read_video(path, numbers, decoder if decoder != "pillow" else None)


def read_chosen(
    path: Path,
    stretch: Stretch,
    choice: FrameChoice,
    frames: int,
    *,
    position: float = 0.5,
    decoder: DecoderName | None = None,
) -> tuple[NDArray[np.uint8], DecoderName]:
    """Read the frames of a stretch of a clip that a rule chooses; frames between two are blended.

    Args:
        path: Video file, or a folder with one picture per frame.
        stretch: The stretch.
        choice: The rule.
        frames: Number of frames.
        position: Position in the stretch of a choice that takes a part of it, from 0 (start) to 1 (end).
        decoder: As in ``read_stretch``, which see also for errors.

    Returns:
        The frames, and the library that has read them.

    Shape:
        (f h w 3) uint8, RGB.
    """
    positions: list[float] = []

    def numbers(available: int) -> list[int]:
        positions[:] = choice.positions(available, frames, position)
        return neighbours(positions)

    read, decoder = read_stretch(path, stretch, numbers, least=choice.least(frames), decoder=decoder)
    return blended(read, positions, frames), decoder


def picture_names(folder: Path) -> list[str]:
    """Return the names of a folder's visible pictures, in the order of the numbers in their names.

    Raises:
        OSError: The folder cannot be read.
    """
    names = [name for name in os.listdir(folder) if not name.startswith(".") and name.lower().endswith(PICTURES)]
    return sorted(
        names, key=lambda name: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    )


def _pictures(folder: Path, numbers: Callable[[int], list[int]], *, gaps: bool) -> NDArray[np.uint8]:
    """Read frames from a folder of pictures, in the order of the numbers in their names.

    Args:
        folder: The folder.
        numbers: Maps the number of pictures to the ones to read, from 0.
        gaps: Whether numbers may be missing; if so, frame numbers of a list are not those of the pictures.
    """
    from PIL import Image

    names = picture_names(folder)
    chosen = numbers(len(names))
    numbered = [re.findall(r"\d+", Path(name).stem)[-1:] for name in names[: max(chosen) + 1]]
    steps = [(before, after) for before, after in itertools.pairwise(numbered) if before and after]
    if not gaps and (missing := next((step for step in steps if int(step[1][0]) - int(step[0][0]) > 1), None)):
        raise ClipError(f"{folder}: pictures are missing between {missing[0][0]} and {missing[1][0]} -> {REMEDY}")
    frames = []
    for number in chosen:
        file = folder / names[number]
        try:
            with Image.open(file) as picture:
                if picture.mode[0] in "IF":  # convert would cut its levels off at 255
                    raise ClipError(f"{file}: has more than 8 bits per channel -> save it with 8 bits")
                frames.append(np.asarray(picture.convert("RGB")))
        except OSError as error:
            raise ClipError(f"{file}: cannot be decoded ({last_line(error)}) -> {REMEDY}") from error
    if len({frame.shape for frame in frames}) > 1:
        raise ClipError(f"{folder}: its pictures differ in size -> {REMEDY}")
    return np.stack(frames)


def write_clip(
    path: Path, frames: NDArray[np.uint8], *, fps: int = 8, pixel_format: str = "yuv420p", scale: int = 1, crf: int = 10
) -> None:
    """Write frames as an H.264 file with a key frame at least every 12 frames.

    Args:
        path: Output file ``.mp4``; overwritten.
        frames: RGB frames.
        fps: Frames per second.
        pixel_format: ``yuv444p`` keeps full colour resolution, ``yuv420p`` plays in every browser.
        scale: Integer factor by which pixels are repeated in both directions.
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
