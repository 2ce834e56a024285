"""One line that says how far a study is: cells done, running, failed, and the time left."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sweeps.study.words import duration

EVERY_S = 5.0  # off a terminal a line is printed at most this often


class Progress:
    """Progress of a study's cells: a live line on a terminal, now and then a plain line elsewhere.

    Args:
        total: Cells to do in this run.
        clock: Seconds, monotonic.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self.total = total
        self.running = self.done = self.failed = 0
        self._clock = clock
        self._first_start: float | None = None
        self._last_print = -EVERY_S
        self._last_line = ""
        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("starting workers", total=total)

    def __enter__(self) -> Self:
        """Show the line."""
        self._bar.start()
        self._show(force=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the line off and leave the last count."""
        self._bar.stop()
        self._show(force=True)

    def start(self) -> None:
        """A cell began."""
        if self._first_start is None:
            self._first_start = self._clock()
        self.running += 1
        self._show()

    def end(self, failed: bool) -> None:
        """A cell ended."""
        self.running -= 1
        self.done += not failed
        self.failed += failed
        self._show(force=self.done + self.failed == self.total)

    @property
    def left(self) -> float | None:
        """Seconds left at the pace so far; None before the first cell has ended."""
        ended = self.done + self.failed
        if not ended or self._first_start is None:
            return None
        return (self._clock() - self._first_start) / ended * (self.total - ended)

    def line(self) -> str:
        """The counts and the time left, in words."""
        parts = [f"{self.done} done", f"{self.running} running", f"{self.failed} failed"]
        left = self.left
        if self.done + self.failed < self.total:
            parts.append(f"about {duration(left)} left" if left is not None else "time left not known yet")
        return ", ".join(parts)

    def _show(self, force: bool = False) -> None:
        ended, words = self.done + self.failed, self.line()
        self._bar.update(self._task, completed=ended, description=words)
        now, line = self._clock(), f"cells {ended}/{self.total}: {words}"
        due = line != self._last_line and (force or now - self._last_print >= EVERY_S)
        if due and not self._console.is_terminal:
            self._last_print, self._last_line = now, line
            print(line, file=sys.stderr, flush=True)


def say(message: str) -> None:
    """A line for the person who waits, apart from the results on standard output."""
    print(message, file=sys.stderr, flush=True)
