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


def chosen(further: Mapping[str, Sequence[str]], name: str, number: int) -> list[list[str]]:
    """Return the states of every clip from one of its further texts.

    Raises:
        ValueError: The clips do not have this text, or one is empty.
    """
    if name not in further:
        had = ", ".join(further) or "none"
        raise ValueError(f"the clips have no further text {name} ({had}) -> a column {name}, or another kind of states")
    return [evenly(split_states(text), number) for text in further[name]]


def deranged(texts: Sequence[str]) -> list[str]:
    """Give every clip the text of another clip of the list, always the same for the same number of clips.

    Raises:
        ValueError: The list has one clip.
    """
    n = len(texts)
    if n == 1:
        raise ValueError("one clip has no other clip whose states it could get -> at least two clips")
    order = Streams(0).generator("shuffled_states").permutation(n).tolist()
    other = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    return [texts[other[clip]] for clip in range(n)]
