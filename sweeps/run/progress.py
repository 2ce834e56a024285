"""Progress line of a study: cells done, running, failed, and the time left."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sweeps.study.words import duration

EVERY_S = 5.0  # shortest interval between lines if the output is not a terminal


class Reading:
    """Prints at intervals how many clips were read before a study starts.

    Args:
        study: Name of the study.
        clock: Seconds, monotonic.
    """

    def __init__(self, study: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.study = study
        self._clock = clock
        self._began = self._last_print = clock()

    def __call__(self, done: int, total: int) -> None:
        """Print the number of clips, and the time left."""
        now = self._clock()
        if now - self._last_print < EVERY_S:
            return
        self._last_print = now
        left = duration((now - self._began) / done * (total - done))
        notify(f"{self.study}: hashing the clips, once: {done:,} of {total:,}, about {left} left")


class Progress:
    """Shows the progress of a study's cells: a live line on a terminal, else a plain line at intervals.

    Args:
        total: Number of cells to run.
        clock: Seconds, monotonic.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self.total = total
        self.running = self.done = self.failed = 0
        self.under_way = 0.0
        self._clock = clock
        self._first_start: float | None = None
        self._last_print = -EVERY_S
        self._last_line = ""
        self._stale = False
        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("starting workers", total=total)

    def __enter__(self) -> Self:
        """Show the progress line."""
        self._bar.start()
        self._show(force=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the live line, and print the final counts."""
        self._bar.stop()
        self._show(force=True)

    def start(self) -> None:
        """Count a cell as running."""
        if self._first_start is None:
            self._first_start = self._clock()
        self.running += 1
        self._show()

    def end(self, failed: bool) -> None:
        """Count a cell as done or failed."""
        self.running -= 1
        self.done += not failed
        self.failed += failed
        self._show(force=self.done + self.failed == self.total)

    def advance(self, under_way: float) -> None:
        """Note what the running cells have done of their updates, as a number of cells."""
        self.under_way = under_way
        self._show()

    def tick(self) -> None:
        """Show what an earlier call left out, since lines are printed at intervals."""
        if self._stale or self._console.is_terminal:
            self._show()

    @property
    def left(self) -> float | None:
        """Estimated seconds left at the average pace; None before anything is done."""
        ended = self.done + self.failed + self.under_way
        if not ended or self._first_start is None:
            return None
        return (self._clock() - self._first_start) / ended * (self.total - ended)

    def line(self) -> str:
        """Word the counts and the time left."""
        updates = (
            f" with {self.under_way / self.running:.0%} of their updates" if self.running and self.under_way else ""
        )
        parts = [f"{self.done} done", f"{self.running} running{updates}", f"{self.failed} failed"]
        left = self.left
        if self.done + self.failed < self.total:
            parts.append(f"about {duration(left)} left" if left is not None else "time left unknown")
        return ", ".join(parts)

    def _show(self, force: bool = False) -> None:
        ended, counts = self.done + self.failed, self.line()
        self._bar.update(self._task, completed=ended, description=counts)
        now, line = self._clock(), f"cells {ended}/{self.total}: {counts}"
        due = line != self._last_line and (force or now - self._last_print >= EVERY_S)
        self._stale = line != self._last_line and not due
        if due and not self._console.is_terminal:
            self._last_print, self._last_line = now, line
            print(line, file=sys.stderr, flush=True)


def notify(message: str) -> None:
    """Print a message to standard error; standard output is for results."""
    print(message, file=sys.stderr, flush=True)


def cannot_continue(study: str, reason: str) -> str:
    """Word the end of a run whose storage cannot be written any more, such as on a full disk."""
    return f"{study}: {reason} -> free space, or correct permissions; finished cells are kept, the same command resumes"
