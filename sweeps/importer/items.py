"""Replacements of a plan (phrases, numbers, maps) to edits and values of arms."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.system import EditError
from sweeps.importer.meaning import Lexicon, Target
from sweeps.study.fields import REMOVED

Number = int | float

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_GIVEN = re.compile(rf"([^\s()=,:]+)\s*=\s*({_NUMBER})(?![\w.])", re.IGNORECASE)
_LIST = re.compile(
    rf"([^\s()=,:]+)\s*(?:values?|settings?)?\s*(?:∈|in|of|:|=)?\s*[\[{{(]?\s*"
    rf"({_NUMBER}(?:\s*(?:,|and|or|/|;)+\s*{_NUMBER})+)",
    re.IGNORECASE,
)
_LEADING = re.compile(rf"({_NUMBER})\s+([^\d()]*)$", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """Interpretation of one replacement.

    Args:
        edits: Arm name -> edit of the slot: a kind, or a map.
        values: Numbers for a value.
        value: The value of the slot's default part that the numbers are for; empty where the plan names one.
        reason: Why it was not understood; empty if it was.
        candidates: Nearest candidates with their similarity.
    """

    edits: dict[str, Any] = field(default_factory=dict)
    values: tuple[Number, ...] = ()
    value: str = ""
    reason: str = ""
    candidates: dict[str, float] = field(default_factory=dict)


def understand(written: Any, target: Target, names: Lexicon) -> Item:
    """Interpret a replacement of a slot or value.

    Args:
        written: A number, a map or a phrase.
        target: The replaced slot or value.
        names: The system's aliases.
    """
    if isinstance(written, bool) or written is None:
        return Item(reason="neither a number nor a phrase")
    if isinstance(written, Number):
        return _numbers((written,), target, names)
    if isinstance(written, Mapping):
        return _map(written, target, names)
    if not target.slot or target.value:
        return _values_in(str(written), target, names)
    return _phrase(str(written), target, names)


def _numbers(numbers: tuple[Number, ...], target: Target, names: Lexicon) -> Item:
    """Interpret numbers for a value; for a slot, its default part must have exactly one numeric value."""
    if target.value:
        return Item(values=numbers)
    default = names.system.slots()[target.slot].default
    numeric = [name for name, value in default.model_dump(exclude={"kind"}).items() if isinstance(value, Number)]
    if len(numeric) == 1:
        return Item(values=numbers, value=numeric[0])
    near = dict.fromkeys((f"{target.slot}.{name}" for name in numeric[:3]), 0.5)
    return Item(reason=f"a number, but {target.slot} has {len(numeric)} values", candidates=near)


def _map(written: Mapping[Any, Any], target: Target, names: Lexicon) -> Item:
    """Interpret a map from names to values."""
    if not target.slot:
        return Item(reason=f"a map, but {target.path} is a plain value")
    kind = target.kind or names.system.slots()[target.slot].default.kind
    value_names = {key: names.value_of(target.slot, kind, str(key)) for key in written}
    if unknown := [str(key) for key, name in value_names.items() if name is None]:
        return Item(reason=f"{', '.join(unknown)}: no such value of {target.slot}={kind}")
    values = {str(name): written[key] for key, name in value_names.items()}
    label = "_".join(f"{name}_{value}" for name, value in values.items())
    default = kind == names.system.slots()[target.slot].default.kind
    return Item(edits={label: values if default else {"kind": kind, **values}})


def _values_in(text: str, target: Target, names: Lexicon) -> Item:
    """Extract the numbers for a value from a phrase."""
    if listed := _LIST.search(text):
        return Item(values=_all_numbers(listed[2]))
    if given := _GIVEN.findall(text):
        return Item(values=tuple(_number(number) for _, number in given)) if len(given) == 1 else _several(text)
    if leading := _LEADING.match(text.strip()):
        return Item(values=(_number(leading[1]),))
    if len(numbers := _all_numbers(text)) == 1 and not re.search(r"\d", re.sub(_NUMBER, "", text)):
        return Item(values=numbers)
    return Item(reason=f"it contains no number for {target.path}")


def _several(text: str) -> Item:
    return Item(reason=f"several values at once: {text}")


def _phrase(text: str, target: Target, names: Lexicon) -> Item:
    """Interpret a phrase as a kind, a value, or a kind with a value."""
    slot = names.system.slots()[target.slot]
    listed, given = _LIST.search(text), _GIVEN.findall(text)
    rest = _GIVEN.sub(" ", text[: listed.start(2)] if listed else text)
    kinds = names.kinds(target.slot, rest)
    if len(kinds) > 1:
        scores = dict.fromkeys((f"{target.slot}={kind}" for kind in kinds), round(1 / len(kinds), 2))
        return Item(reason="several kinds match", candidates=scores)
    kind, alias = next(iter(kinds.items()), (slot.default.kind, ()))
    if listed:
        return _listed_values(listed[1], _all_numbers(listed[2]), target.slot, kind, names)
    if given:
        return _given_values(dict(given), target.slot, kind, alias, names)
    if not kinds:
        near = {f"{target.slot}={kind}": score for kind, score in names.near_kinds(target.slot, text).items()}
        return Item(reason=f"no kind of {target.slot} matches", candidates=near)
    return Item(edits={kind: kind})


def _listed_values(word: str, numbers: tuple[Number, ...], slot: str, kind: str, names: Lexicon) -> Item:
    name = names.value_of(slot, kind, word) or names.value_of(slot, names.system.slots()[slot].default.kind, word)
    if name is None:
        return Item(reason=f"{word}: no such value of {slot}={kind}")
    if kind == names.system.slots()[slot].default.kind:
        return Item(values=numbers, value=name)
    values = {number: typed(names, Target(slot, name, kind), number) for number in numbers}
    return Item(edits={f"{kind}_{number:g}": {"kind": kind, name: value} for number, value in values.items()})


def _given_values(given: Mapping[str, str], slot: str, kind: str, alias: tuple[str, ...], names: Lexicon) -> Item:
    """Interpret a kind with values; where only the default part has the values, use the default part."""
    default = names.system.slots()[slot].default.kind
    for holder in dict.fromkeys((kind, default)):
        value_names = {name: names.value_of(slot, holder, name) for name in given}
        if None not in value_names.values():
            numbers = {str(name): _number(given[word]) for word, name in value_names.items()}
            values = {name: typed(names, Target(slot, name, holder), number) for name, number in numbers.items()}
            same = "_".join(alias) or "_".join(f"{name}_{value:g}" for name, value in values.items())
            label = same if kind in (REMOVED, default) else kind
            return Item(edits={label: values if holder == default else {"kind": holder, **values}})
    return Item(reason=f"{', '.join(given)}: no such value of {slot}={kind}")


def _all_numbers(text: str) -> tuple[Number, ...]:
    return tuple(_number(number) for number in re.findall(_NUMBER, text, re.IGNORECASE))


def _number(text: str) -> Number:
    value = float(text)
    return int(value) if re.fullmatch(r"[-+]?\d+", text) else value


def edit_problems(names: Lexicon, changes: Mapping[str, Any]) -> str:
    """Return the system's messages for invalid changes; empty if they are valid."""
    try:
        names.system().edit(changes)
    except EditError as error:
        return "; ".join(map(str, error.problems))
    return ""


def typed(names: Lexicon, target: Target, value: Any) -> Any:
    """Convert a number to the type of a value: 0 becomes 0.0 for a float."""
    holder: Any = names.system
    if target.slot:
        slot = names.system.slots()[target.slot]
        holder = slot.kinds[target.kind or slot.default.kind]
    annotation = holder.model_fields[target.value].annotation
    return float(value) if annotation is float and isinstance(value, int) else value
