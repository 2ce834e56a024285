"""Ends of commands: refused with exit code 2, or, on a full disk, with exit code 1."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from sweeps.output import discard_output

INCOMPLETE = 1
REFUSED = 2


class Commands(TyperGroup):
    """Commands; a full disk ends each of them with one sentence and exit code 1, be it a file or the output."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command, to the last character of its output."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                if sys.stdout is not None:  # closed, as by `>&-`
                    sys.stdout.flush()
        except Exception as error:
            from trainables.failures import disk_failure, unwritten

            if (failure := disk_failure(error)) is None:
                raise
            what = "" if failure.filename else "its output "
            message = f"{ctx.invoked_subcommand}: {what}{unwritten(failure)} -> free space, and run it again"
            discard_output()
        with contextlib.suppress(OSError):  # standard error may be a file on the same disk
            print(message, file=sys.stderr, flush=True)
        raise typer.Exit(INCOMPLETE)


@contextlib.contextmanager
def refusing(*further: type[Exception], about: str = "") -> Iterator[None]:
    """Refuse what raises ValueError, OSError or these errors, except for a full disk."""
    kinds: tuple[type[Exception], ...] = (ValueError, OSError, *further)
    try:
        yield
    except kinds as error:
        from trainables.failures import is_disk_full

        if is_disk_full(error):
            raise
        refuse(f"{about}{error}")


def refuse(message: str) -> NoReturn:
    """Print why a command is refused, and end it."""
    print(message, file=sys.stderr)
    raise typer.Exit(REFUSED)
