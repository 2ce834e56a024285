"""Clip decoding in a separate process with a time limit, so that a hanging or crashing decoder affects nothing else.

The process is spawned (not forked, so that it inherits no reader) and kept; it is replaced when a decode exceeds the
limit. ``python -m trainables.data.decoder`` is that process: a request is a line of JSON on its standard input, an
answer a line of JSON followed by the pixels.
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
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from trainables.data.annotations import Entry
from trainables.data.clips import ClipError, DecoderName, read_chosen
from trainables.data.frames import FrameChoice, Stretch, fit
from trainables.interpreter import ROOT, child_environment

LIMIT_S = 60.0
STARTING_S = 60.0


class Decoded(NamedTuple):
    """Frames of a clip, uint8 (f h w 3), and the library that has read them."""

    frames: NDArray[np.uint8]
    decoder: DecoderName


class Decoder:
    """Reader of clips in a separate process; for use in a ``with`` block, from one thread.

    Args:
        limit_s: Time limit per clip in seconds.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self.limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return the decoder; its process starts with the first clip."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._end()

    def read(
        self, entry: Entry, choice: FrameChoice, frames: int, height: int, width: int, position: float = 0.5
    ) -> NDArray[np.uint8]:
        """Read frames of a clip, scaled and cropped to size.

        Shape:
            (f height width 3) uint8, RGB.

        See ``decode`` for arguments and errors.
        """
        return self.decode(entry, choice, frames, height, width, position).frames

    def decode(
        self, entry: Entry, choice: FrameChoice, frames: int, height: int, width: int, position: float = 0.5
    ) -> Decoded:
        """Read frames of a clip, scaled and cropped to size, and tell by which library.

        Args:
            entry: The clip, or a stretch of it. Its ``decoder`` is used, or found out if it has none.
            choice: Choice of its frames.
            frames: Number of frames.
            height: Height in pixels.
            width: Width in pixels.
            position: Position of ``consecutive`` frames in the clip, in [0, 1].

        Shape:
            (f height width 3) uint8, RGB.

        Raises:
            ClipError: The clip is missing, truncated, not a video, or too short, or exceeded the time limit.
        """
        request = {
            "path": str(entry.path.absolute()),  # the process has another working directory
            "stretch": (entry.start, entry.stop, entry.seconds),
            "decoder": entry.decoder,
            "choice": choice.model_dump(),
            "shape": (frames, height, width),
            "position": position,
        }
        answer = self._request(request, entry.path)
        if reason := answer.get("error"):
            raise ClipError(str(reason))
        pixels = self._receive(frames * height * width * 3, time.monotonic() + self.limit_s, entry.path)
        return Decoded(np.frombuffer(pixels, np.uint8).reshape(frames, height, width, 3), answer["decoder"])

    def _request(self, request: dict[str, Any], path: Path) -> dict[str, Any]:
        """Send a request to the process, started if necessary, and wait for its answer."""
        try:
            process = self._started()
            assert process.stdin is not None
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self._end()
            raise ClipError(f"{path}: the decoder ended before the request") from None
        deadline, line = time.monotonic() + self.limit_s, b""
        while not line.endswith(b"\n"):
            line += self._receive(1, deadline, path)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainables.data.decoder"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
            env=child_environment(),
        )  # fmt: skip
        self._receive(1, time.monotonic() + STARTING_S, Path("decoder"))  # imports do not count as decoding time
        return self._process

    def _receive(self, number: int, deadline: float, path: Path) -> bytes:
        """Read ``number`` bytes of the answer; end the process if it crashed or exceeds the deadline."""
        assert self._process is not None
        assert self._process.stdout is not None
        source, received = self._process.stdout.fileno(), bytearray()
        while len(received) < number:
            ready, _, _ = select.select([source], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self._end()
                raise ClipError(f"{path}: decoding took longer than {self.limit_s:g} s")
            chunk = os.read(source, number - len(received))
            if not chunk:
                self._end()
                raise ClipError(f"{path}: the decoder crashed on this clip")
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
    """Answer requests until standard input ends; output of libraries goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import av  # noqa: F401  # imports do not count as decoding time
    import cv2
    import decord  # noqa: F401

    cv2.setNumThreads(1)
    choices: TypeAdapter[FrameChoice] = TypeAdapter(FrameChoice)
    answers.write(b"\n")
    answers.flush()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        frames, height, width = request["shape"]
        start, stop, seconds = request["stretch"]
        choice = choices.validate_python(request["choice"])
        try:
            taken, decoder = read_chosen(
                Path(request["path"]),
                Stretch(start, stop, seconds and tuple(seconds)),
                choice,
                frames,
                position=request["position"],
                decoder=request["decoder"],
            )
            answers.write(json.dumps({"decoder": decoder}).encode() + b"\n")
            answers.write(np.ascontiguousarray(fit(taken, height, width)).tobytes())
        except ClipError as error:
            answers.write(json.dumps({"error": str(error)}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
