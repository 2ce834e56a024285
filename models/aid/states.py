"""States of a clip: short texts in the order in which the instruction is carried out."""

import re
from collections.abc import Mapping, Sequence

from models.streams import Streams


def split_states(text: str) -> list[str]:
    """Split a text into its states, which are separated by semicolons or line ends.

    Raises:
        ValueError: It has no state.
    """
    states = [part.strip() for part in re.split(r"[;\n]", text)]
    if not (states := [state for state in states if state]):
        raise ValueError("a clip has no states -> states in order, separated by semicolons")
    return states


def evenly(states: Sequence[str], number: int) -> list[str]:
    """Choose states evenly: state k of S is number ceil(k n / S) of n, so the last one is always the last.

    Fewer states than asked for are repeated, more are left out.

    Args:
        states: n states, at least one.
        number: S.
    """
    n = len(states)
    return [states[-(-k * n // number) - 1] for k in range(1, number + 1)]


def repeated(texts: Sequence[str], number: int) -> list[list[str]]:
    """Repeat the text of every clip."""
    return [[text] * number for text in texts]


def from_columns(further: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[list[str]]:
    """Return the states of every clip, each from a further text of its own.

    Raises:
        ValueError: The clips do not have all of these texts, or one is empty.
    """
    states = [list(of_clip) for of_clip in zip(*(_text(further, name) for name in names), strict=True)]
    if any(not state.strip() for of_clip in states for state in of_clip):
        raise ValueError(f"a clip has no text in {', '.join(names)} -> a state in every column")
    return states


def from_parts(further: Mapping[str, Sequence[str]], name: str, number: int) -> list[list[str]]:
    """Return the states of every clip from one further text, whose parts are chosen evenly.

    Raises:
        ValueError: The clips do not have this text, or one is empty.
    """
    return [evenly(split_states(text), number) for text in _text(further, name)]


def _text(further: Mapping[str, Sequence[str]], name: str) -> Sequence[str]:
    if name not in further:
        had = ", ".join(further) or "none"
        raise ValueError(f"the clips have no further text {name} ({had}) -> a column {name}, or another kind of states")
    return further[name]


def deranged(texts: Sequence[str]) -> list[str]:
    """Give every clip the text of another clip of the list.

    Which one depends on the number of clips alone, so several texts of a clip move together.

    Raises:
        ValueError: The list has one clip.
    """
    n = len(texts)
    if n == 1:
        raise ValueError("one clip has no other clip whose states it could get -> at least two clips")
    order = Streams(0).generator("shuffled_states").permutation(n).tolist()
    other = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    return [texts[other[clip]] for clip in range(n)]
