"""Which functions of ``models`` run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

import models

_ROOT = Path(models.__file__).resolve().parent


@contextmanager
def traced() -> Iterator[set[str]]:
    """Note every function of ``models`` that is called, as ``seer.temporal.WindowAttention.forward``."""
    codes: set[CodeType] = set()
    names: set[str] = set()
    before = sys.getprofile()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            codes.add(frame.f_code)

    sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(before)
        names |= {name for code in codes if (name := _name(code))}


def _name(code: CodeType) -> str:
    """The function's name below ``models``; empty for all other code, and for what has no name of its own."""
    file = Path(code.co_filename)
    if not file.is_relative_to(_ROOT) or code.co_name.startswith("<"):
        return ""
    module = ".".join(file.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")
    return f"{module}.{code.co_qualname}".removeprefix("__init__.")
