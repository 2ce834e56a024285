"""Values to try and search domains for a field of a part, suggested from its type, bounds and default."""

import math
from typing import Any

from pydantic import ValidationError

from models.system import Part, System


def nearby_values(holder: Part | System, name: str) -> list[Any]:
    """Suggest a few other values for a field: across its range where it is closed, else around its default."""
    schema, default = _schema(holder, name), getattr(holder, name)
    values: list[Any]
    match schema, search_domain(holder, name):
        case {"enum": choices}, _:
            values = choices
        case {"type": "boolean"}, _:
            values = [False, True]
        case _, {"log_uniform": _}:
            values = [default / 10, default * 10]
        case _, {"uniform": [low, high]} | {"int_uniform": [low, high]}:
            values = [low + share * (high - low) for share in (0.25, 0.5, 0.75)]
        case {"type": "integer" | "number"}, _:
            values = [default / 2, default * 2]
        case _:
            values = []
    if schema.get("type") == "integer":
        values = [round(value) for value in values]
    values = [_short(value) if isinstance(value, float) else value for value in values]
    return [value for value in dict.fromkeys(values) if value != default and _fits(holder, name, value)]


def search_domain(holder: Part | System, name: str) -> dict[str, Any] | None:
    """Suggest a search domain for a number with a closed range; log-uniform where its default is near the minimum."""
    default = getattr(holder, name)
    match _schema(holder, name):
        case {"type": "integer", "minimum": low, "maximum": high} if low < high:
            return {"int_uniform": [low, high]}
        case {"type": "number", "minimum": low, "maximum": high} if low < high:
            end = _short(high, max(default, (low + high) / 2), high)
            if 0 <= low < default < low + (high - low) / 20:
                return {"log_uniform": [_short(max(low, default / 10), low, default), end]}
            return {"uniform": [low, end]}
    return None


def _schema(holder: Part | System, name: str) -> dict[str, Any]:
    """Return the JSON schema of a field, with its type and bounds."""
    return dict(type(holder).model_json_schema()["properties"][name])


def _short(value: float, least: float = -math.inf, most: float = math.inf) -> float:
    """Round a number to as few digits as possible, at least two, within bounds."""
    rounded = (float(f"{value:.{digits}g}") for digits in range(2, 18))
    return next(short for short in rounded if least <= short <= most)


def _fits(holder: Part | System, name: str, value: object) -> bool:
    """Whether a value is valid for a field, with the other fields unchanged."""
    try:
        type(holder).model_validate({**holder.model_dump(), name: value})
    except ValidationError:
        return False
    return True
