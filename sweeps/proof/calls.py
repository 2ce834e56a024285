"""Functions of ``models`` that run, compared with the parts that an arm has."""

import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

import models
from models.system import System

_ROOT = Path(models.__file__).resolve().parent


@contextmanager
def traced() -> Iterator[set[str]]:
    """Record every function of ``models`` that is called, such as ``seer.temporal.WindowAttention.forward``."""
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
    """Return the function's qualified name below ``models``; empty for other code and for unnamed functions."""
    file = Path(code.co_filename)
    if not file.is_relative_to(_ROOT) or code.co_name.startswith("<"):
        return ""
    module = ".".join(file.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")
    return f"{module}.{code.co_qualname}".removeprefix("__init__.")


def wrong_calls(control: System, tree: System, called: Set[str], *, denoises: bool) -> list[str]:
    """Word a problem for each removed part that still runs and, if ``denoises``, for each part that never runs.

    Parts that another part of the arm declares to bypass need not run.
    """
    problems = []
    arm_calls = {call for slot in tree.slots() for call in getattr(tree, slot).calls}
    bypassed = {other for slot in tree.slots() for other in getattr(tree, slot).bypasses}
    for slot in control.slots():
        before, after = getattr(control, slot), getattr(tree, slot)
        if left := (set(before.calls) - arm_calls) & called:
            problems.append(f"{slot}={before.kind} was removed but still runs: {shown(sorted(left))}")
        if denoises and slot not in bypassed and (idle := set(after.calls) - called):
            problems.append(f"{slot}={after.kind} never runs: {shown(sorted(idle))}")
    return problems


def shown(names: list[str]) -> str:
    """Join the first three names, with the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
