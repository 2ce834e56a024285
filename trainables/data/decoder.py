"""Clips decoded in a process of their own, with a time limit: a decoder that hangs or crashes takes nobody with it.

The process is started afresh (never forked, so that it inherits no reader) and kept; it is replaced when a decode takes
longer than the limit. ``python -m trainables.data.decoder`` is that process: a request is a line of JSON on its
standard input, an answer a line of JSON and then the pixels.
"""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from trainables.data.annotations import Entry
from trainables.data.clips import ClipError, read_frames
from trainables.data.frames import Choice, fit

LIMIT_S = 60.0
STARTING_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


class Decoder:
    """Reads clips in its own process; use it in a ``with`` block, from one thread.

    Args:
        limit_s: Seconds that one clip may take.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self.limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """The process starts with the first clip."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._end()

    def read(
        self, entry: Entry, choice: Choice, frames: int, height: int, width: int, position: float = 0.5
    ) -> NDArray[np.uint8]:
        """Some frames of a clip, scaled and cropped to size.

        Args:
            entry: Which clip, or which stretch of one.
            choice: Which of its frames.
            frames: How many.
            height: Pixels.
            width: Pixels.
            position: Where in the clip ``consecutive`` frames are taken, in [0, 1].

        Shape:
            (f height width 3) uint8, RGB.

        Raises:
            ClipError: The clip is missing, cut short, no video, too short, or took too long.
        """
        request = {
            "path": str(entry.path),
            "stretch": (entry.start, entry.stop),
            "choice": choice.model_dump(),
            "shape": (frames, height, width),
            "position": position,
        }
        answer = self._ask(request, entry.path)
        if reason := answer.get("error"):
            raise ClipError(str(reason))
        pixels = self._receive(frames * height * width * 3, time.monotonic() + self.limit_s, entry.path)
        return np.frombuffer(pixels, np.uint8).reshape(frames, height, width, 3)

    def _ask(self, request: dict[str, Any], path: Path) -> dict[str, Any]:
        """Send a request to the process, started if need be, and wait for the line that answers it."""
        try:
            process = self._started()
            assert process.stdin is not None
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self._end()
            raise ClipError(f"{path}: the decoder ended before it was asked") from None
        deadline, line = time.monotonic() + self.limit_s, b""
        while not line.endswith(b"\n"):
            line += self._receive(1, deadline, path)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainables.data.decoder"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment,
        )  # fmt: skip
        self._receive(1, time.monotonic() + STARTING_S, Path("decoder"))  # its imports are not the first clip's fault
        return self._process

    def _receive(self, number: int, deadline: float, path: Path) -> bytes:
        """So many bytes of the answer, or the end of the process."""
        assert self._process is not None
        assert self._process.stdout is not None
        source, received = self._process.stdout.fileno(), bytearray()
        while len(received) < number:
            ready, _, _ = select.select([source], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self._end()
                raise ClipError(f"{path}: took longer than {self.limit_s:g} s to decode")
            chunk = os.read(source, number - len(received))
            if not chunk:
                self._end()
                raise ClipError(f"{path}: the decoder crashed on it")
            received += chunk
        return bytes(received)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        process.wait(10)


def main() -> None:
    """Answer requests until there are no more; libraries that print do so elsewhere."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import cv2
    import decord  # noqa: F401  # imported before the first clip's time runs

    cv2.setNumThreads(1)
    choices: TypeAdapter[Choice] = TypeAdapter(Choice)
    answers.write(b"\n")
    answers.flush()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        frames, height, width = request["shape"]
        start, stop = request["stretch"]
        choice = choices.validate_python(request["choice"])
        try:
            taken = read_frames(
                Path(request["path"]),
                lambda available: choice.numbers(available, frames, request["position"]),  # noqa: B023  # called here
                least=choice.least(frames),
                start=start,
                stop=stop,
            )
            answers.write(b"{}\n")
            answers.write(np.ascontiguousarray(fit(taken, height, width)).tobytes())
        except ClipError as error:
            answers.write(json.dumps({"error": str(error)}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
