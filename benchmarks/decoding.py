"""Speed of reading clips, relative to decord alone, which does not check whether it returns the frames asked for.

Seconds are those of the processor. The first reading of a clip includes the proof by its time stamps; later ones know
the decoder. 16 frames are read of each clip, over the whole and consecutive ones.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, conclude, table
from trainables.data.clips import DecoderName, read_stretch
from trainables.data.frames import Consecutive, FrameChoice, Stretch, Whole

FRAMES = 16
CLIPS = {"H.264, 320 x 240, 250 frames": (240, 320, 250), "H.264, 640 x 360, 100 frames": (360, 640, 100)}


def main() -> int:
    """Measure all ways in turn, and save the ratios with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds; each measures all ways in turn")
    arguments = parser.parse_args()
    figures, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in CLIPS.items():
            path = write(Path(folder) / f"{len(rows)}.mp4", *shape)
            for choice in (Whole(), Consecutive()):
                alone, first, later = measure(path, choice, arguments.rounds)
                rows.append((f"{name}, {choice.kind}", 1e3 * alone, 1e3 * first, 1e3 * later))
                figures.append(Figure(f"speed of the first reading: {rows[-1][0]}", alone / first, "at least", 0.7))
                figures.append(Figure(f"speed of later readings: {rows[-1][0]}", alone / later, "at least", 0.7))
    head = ("clip and choice", "decord alone, ms", "first reading, ms", "later readings, ms")
    setting = f"{FRAMES} frames of ordinary MP4 files; medians of {arguments.rounds} rounds, one thread."
    return conclude("decoding", setting, table(head, rows), figures)


def write(path: Path, height: int, width: int, frames: int) -> Path:
    """Write a clip in x264's default settings: a picture that moves."""
    cells = np.random.default_rng(0).integers(0, 255, (height // 8 + 40, width // 8 + 40, 3), np.uint8)
    picture = cells.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(frames):
            top, left = number % 200, 2 * number % 200
            shown = np.ascontiguousarray(picture[top : top + height, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())
    return path


def measure(path: Path, choice: FrameChoice, rounds: int) -> tuple[float, float, float]:
    """Return seconds of decord alone, of a first reading, and of a later one."""
    ways = (
        partial(_by_decord, path, choice),
        partial(_read, path, choice, known=False),
        partial(_read, path, choice, known=True),
    )
    seconds = [[_seconds(way) for way in ways] for _ in range(rounds)]
    alone, first, later = (median(values) for values in zip(*seconds, strict=True))
    return alone, first, later


def _by_decord(path: Path, choice: FrameChoice) -> NDArray[np.uint8]:
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    frames: NDArray[np.uint8] = reader.get_batch(choice.numbers(len(reader), FRAMES)).asnumpy()
    return frames


def _read(path: Path, choice: FrameChoice, *, known: bool) -> NDArray[np.uint8]:
    os.utime(path)  # a file that changed is checked again
    decoder: DecoderName | None = "decord" if known else None
    return read_stretch(path, Stretch(), lambda n: choice.numbers(n, FRAMES), decoder=decoder)[0]


def _seconds(way: Callable[[], object]) -> float:
    started = time.process_time()
    way()
    return time.process_time() - started


if __name__ == "__main__":
    raise SystemExit(main())
