"""Content of data, in hashes: it changes where prompts, annotations or clips change under the same names."""

from collections.abc import Sequence
from typing import Any

from trainables.files import json_hash

Content = dict[str, str]
"""What data consists of, such as ``{"prompts": "4 prompts, 1f0c2a9be6d4a1c3"}``; empty if it is not known."""

LABELS = "labels"
"""Name of the labels in a content: they decide how clips are grouped, not which clips are sampled."""


def summary(noun: str, values: Sequence[Any]) -> str:
    """Return number and hash of plain values: ``4 prompts, 1f0c2a9be6d4a1c3``."""
    return f"{len(values):,} {noun}, {json_hash(values)}"


def changes(then: Content, now: Content) -> str:
    """Word what has changed: ``4 prompts, 1f0c2a9be6d4a1c3, now 4 prompts, 77ab...``; empty without changes."""
    changed = (name for name in now if then.get(name) != now[name])
    return "; ".join(f"{then.get(name) or f'{name} not recorded'}, now {now[name]}" for name in changed)
