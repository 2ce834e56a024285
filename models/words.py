"""Text for messages about invalid values and names: allowed values, and the nearest valid name."""

import difflib
import json
import typing
from collections.abc import Iterable

from pydantic.fields import FieldInfo


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """Return a hint at the nearest allowed word, to append to a message; empty if none is near."""
    near = difflib.get_close_matches(str(word).lower(), list(words), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def allowed_in_words(info: FieldInfo) -> str:
    """Describe the allowed values of a field by type and range, with the field's description if it has one."""
    names = {float: "a number", int: "a whole number", str: "a string", bool: "true or false"}
    members = typing.get_args(info.annotation) or (info.annotation,)
    origin = typing.get_origin(info.annotation)
    if origin is list:
        words = "a list"
    elif origin is typing.Literal:
        words = f"one of {listed(map(str, members))}"
    else:
        words = " or ".join(names.get(member, "null") for member in members)
    bounds = {
        name: getattr(rule, name) for rule in info.metadata for name in ("ge", "gt", "le", "lt") if hasattr(rule, name)
    }
    if {"ge", "le"} <= bounds.keys():
        words += f" from {bounds['ge']:.6g} to {bounds['le']:.6g}"
    else:
        signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        words += "".join(f", {signs[name]} {bound:.6g}" for name, bound in bounds.items())
    return f"{words}: {info.description}" if info.description else words


def listed(words: Iterable[str]) -> str:
    """Join words with commas."""
    return ", ".join(words)


def as_written(value: object) -> str:
    """Format a value as in a study file."""
    return json.dumps(value, default=str, ensure_ascii=False) if not isinstance(value, float) else f"{value:g}"
