"""Messages about a study file: the written value -> the allowed values (did you mean ...?)."""

import json
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from models.words import did_you_mean
from sweeps.study.document import Key

_PLAIN = re.compile(r"[\w.,@/+=-]+( [\w.,@/+=-]+)*")
_SHOWN = 60

_ALLOWED = {
    "string_type": "a string",
    "string_too_short": "a non-empty string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "at least {min_length} entry",
    "too_long": "at most {max_length} entries",
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{choices}",
    "union_tag_invalid": "{choices}",
    "union_tag_not_found": "a map with the key {discriminator}",
    "value_error": "{error}",
}
"""Type of a pydantic error -> allowed values; braces are filled from the error's context."""


def written(value: object) -> str:
    """Format a value as in a study file, shortened to 60 characters."""
    text = _flow(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _flow(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def not_among(word: object, allowed: Iterable[str]) -> str:
    """Word the message for a string outside a closed set."""
    allowed = list(allowed)
    return f"{written(word)} -> {', '.join(allowed)}{_hint(word, allowed)}"


def _hint(word: object, allowed: Iterable[str]) -> str:
    """Suggest the same word in another case, else the most similar one."""
    text = str(word)[:_SHOWN]
    same = next((choice for choice in allowed if choice.lower() == text.lower()), None)
    return f" (did you mean {same}?)" if same is not None else did_you_mean(text, allowed)


def problems(model: type[BaseModel], value: object, more_keys: Iterable[str] = ()) -> list[tuple[Key, str]]:
    """Validate a value against a type, and list every problem with its path and message.

    Args:
        model: The type of the map.
        value: Plain values from the reader.
        more_keys: Top-level keys that are read elsewhere, listed among the allowed ones.
    """
    try:
        model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return [_in_words(details, model, value, more_keys) for details in error.errors(include_url=False)]
    return []


def _in_words(details: Any, model: type[BaseModel], value: object, more_keys: Iterable[str]) -> tuple[Key, str]:
    """Convert a pydantic error to (path, message)."""
    loc, kind = details["loc"], details["type"]
    path = place(loc, value)
    holder = _holder(model, loc[:-1])
    info = _field(holder, str(loc[-1]))
    if kind == "missing":
        return path, f"{loc[-1]} is missing{f' -> {info.description}' if info.description else ''}"
    if kind == "extra_forbidden":
        allowed = [*_keys(holder), *(more_keys if len(path) == 1 else ())]
        return path, f"unknown key -> {', '.join(allowed)}{_hint(loc[-1], allowed)}"
    context = {"message": details["msg"], **details.get("ctx", {})}
    expected = str(context.get("expected", context.get("expected_tags", "")))
    choices = re.findall("'([^']+)'", expected) or re.findall(r"\d+", expected)
    context["choices"] = ", ".join(choices)
    allowed_words = _ALLOWED.get(kind, "{message}").format_map(context)
    if kind == "string_pattern_mismatch":
        allowed_words = info.description
    given = context.get("tag", details["input"])
    return path, f"{written(given)} -> {allowed_words}{_hint(given, choices)}"


def place(loc: Iterable[int | str], value: object) -> Key:
    """Convert an error's location to a path in the written values; names of union members are dropped."""
    path: list[int | str] = []
    for step in loc:
        if (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        ):
            value = value[step]  # type: ignore[index]
            path.append(step)
    return tuple(path)


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else [_key(name, info) for name, info in model.model_fields.items()]


def _key(name: str, info: FieldInfo) -> str:
    """Return the key of a field in the file."""
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    return alias if isinstance(alias, str) else name


def _field(model: type[BaseModel] | None, key: str) -> Any:
    fields: Mapping[str, Any] = {} if model is None else model.model_fields
    return next((info for name, info in fields.items() if _key(name, info) == key), None)


def _holder(model: type[BaseModel], loc: Iterable[int | str]) -> type[BaseModel] | None:
    """Return the type of the map at an error's location."""
    here: type[BaseModel] | None = model
    members: list[type[BaseModel]] = [model]
    for step in loc:
        info = _field(here, str(step)) if here is not None else None
        if info is not None:
            members = list(_models(info.annotation))
            here = members[0] if len(members) == 1 else None
        elif len(members) > 1 and isinstance(step, str):  # the tag of a union member
            here = next((member for member in members if step in _tags(member)), None)
    return here


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _tags(model: type[BaseModel]) -> tuple[object, ...]:
    """Return the values of the discriminator that select this member of a union."""
    fields = (info for name, info in model.model_fields.items() if name in ("layout", "kind"))
    return next((typing.get_args(info.annotation) for info in fields), ())


THESE_SETTINGS = "these two settings"
"""In place of a verdict on two arms that were searched once each."""


def counted(number: int, noun: str) -> str:
    """Format a number with its noun, such as ``1 seed`` or ``3 seeds``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def sampled_text(sampled: Mapping[str, object]) -> str:
    """Format a trial's sampled values on one line, floats with four digits."""
    return ", ".join(f"{path}: {value_text(value)}" for path, value in sampled.items())


def value_text(value: object) -> str:
    """Format a sampled value, floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else written(value)


def duration(seconds: float) -> str:
    """Format seconds, such as ``42 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
