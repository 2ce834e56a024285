"""Ends of a run: exit codes, and the signals that end it like Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn, Self

INCOMPLETE = 1
REFUSED = 2
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class EndingSignals:
    """Context manager that raises KeyboardInterrupt on SIGTERM and SIGHUP.

    Signals that are ignored, as under nohup, stay ignored.
    """

    def __init__(self) -> None:
        self._number: int = signal.SIGINT
        self._earlier: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """Exit code of an interrupted run, as shells have it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

        The exception does not tell them apart: Ray replaces it.
        """
        return 128 + self._number

    def __enter__(self) -> Self:
        """Handle the signals; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in _ENDING}
            self._earlier = {number: own for number, own in handlers.items() if own is not signal.SIG_IGN}
            for number in self._earlier:
                signal.signal(number, self.end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the earlier handlers."""
        for number, own in self._earlier.items():
            signal.signal(number, own)

    def end(self, number: int, frame: Any) -> NoReturn:
        """Handle a signal; a second one does not disturb the end."""
        self._number = number
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep the handler of ``EndingSignals`` while Ray starts, which installs its own: an exit with code 15."""
    own = signal.getsignal(signal.SIGTERM)
    if not isinstance(getattr(own, "__self__", None), EndingSignals):
        yield
        return
    assert callable(own)
    try:
        yield
    except SystemExit as end:
        if end.code == signal.SIGTERM:
            own(signal.SIGTERM, None)
        raise
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, own)
