"""What comes instead of a part: a plan's phrase, number or map, to the edits of an arm."""

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
    """What came of one replacement.

    Args:
        edits: Arm's name -> what is laid on the slot: a kind's word, or a map.
        values: Numbers for a value.
        value: Which value of the slot's default part; empty where the plan itself names one.
        reason: Why it is not known; empty where it is.
        candidates: The nearest there are, with how near they are.
    """

    edits: dict[str, Any] = field(default_factory=dict)
    values: tuple[Number, ...] = ()
    value: str = ""
    reason: str = ""
    candidates: dict[str, float] = field(default_factory=dict)


def understand(written: Any, target: Target, names: Lexicon) -> Item:
    """What a replacement means for a slot or value.

    Args:
        written: A number, a map or a phrase.
        target: What it comes instead of.
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
    """Numbers for a value; for a slot, for the one value that its part has."""
    if target.value:
        return Item(values=numbers)
    default = names.system.slots()[target.slot].default
    numeric = [name for name, value in default.model_dump(exclude={"kind"}).items() if isinstance(value, Number)]
    if len(numeric) == 1:
        return Item(values=numbers, value=numeric[0])
    near = dict.fromkeys((f"{target.slot}.{name}" for name in numeric[:3]), 0.5)
    return Item(reason=f"a number, and {target.slot} has {len(numeric)} values", candidates=near)


def _map(written: Mapping[Any, Any], target: Target, names: Lexicon) -> Item:
    """Several values at once, by their names."""
    if not target.slot:
        return Item(reason=f"a map, and {target.path} is a plain value")
    kind = target.kind or names.system.slots()[target.slot].default.kind
    found = {key: names.value_of(target.slot, kind, str(key)) for key in written}
    if unknown := [str(key) for key, name in found.items() if name is None]:
        return Item(reason=f"{', '.join(unknown)}: no value of {target.slot}={kind} is called so")
    values = {str(name): written[key] for key, name in found.items()}
    label = "_".join(f"{name}_{value}" for name, value in values.items())
    default = kind == names.system.slots()[target.slot].default.kind
    return Item(edits={label: values if default else {"kind": kind, **values}})


def _values_in(text: str, target: Target, names: Lexicon) -> Item:
    """The numbers that a phrase gives for a value, or a word that it takes."""
    if listed := _LIST.search(text):
        return Item(values=_all_numbers(listed[2]))
    if given := _GIVEN.findall(text):
        return Item(values=tuple(_number(number) for _, number in given)) if len(given) == 1 else _several(text)
    if leading := _LEADING.match(text.strip()):
        return Item(values=(_number(leading[1]),))
    if len(numbers := _all_numbers(text)) == 1 and not re.search(r"\d", re.sub(_NUMBER, "", text)):
        return Item(values=numbers)
    return Item(reason=f"no number for {target.path} in it")


def _several(text: str) -> Item:
    return Item(reason=f"several values in one: {text}")


def _phrase(text: str, target: Target, names: Lexicon) -> Item:
    """A kind, a value, or a kind at a value."""
    slot = names.system.slots()[target.slot]
    listed, given = _LIST.search(text), _GIVEN.findall(text)
    rest = _GIVEN.sub(" ", text[: listed.start(2)] if listed else text)
    kinds = names.kinds(target.slot, rest)
    if len(kinds) > 1:
        scores = dict.fromkeys((f"{target.slot}={kind}" for kind in kinds), round(1 / len(kinds), 2))
        return Item(reason="it names several kinds", candidates=scores)
    kind, alias = next(iter(kinds.items()), (slot.default.kind, ()))
    if listed:
        return _listed_values(listed[1], _all_numbers(listed[2]), target.slot, kind, names)
    if given:
        return _given_values(dict(given), target.slot, kind, alias, names)
    if not kinds:
        near = {f"{target.slot}={kind}": score for kind, score in names.near_kinds(target.slot, text).items()}
        return Item(reason=f"no kind of {target.slot} is called so", candidates=near)
    return Item(edits={kind: kind})


def _listed_values(word: str, numbers: tuple[Number, ...], slot: str, kind: str, names: Lexicon) -> Item:
    name = names.value_of(slot, kind, word) or names.value_of(slot, names.system.slots()[slot].default.kind, word)
    if name is None:
        return Item(reason=f"{word}: no value of {slot}={kind} is called so")
    if kind == names.system.slots()[slot].default.kind:
        return Item(values=numbers, value=name)
    values = {number: typed(names, Target(slot, name, kind), number) for number in numbers}
    return Item(edits={f"{kind}_{number:g}": {"kind": kind, name: value} for number, value in values.items()})


def _given_values(given: Mapping[str, str], slot: str, kind: str, alias: tuple[str, ...], names: Lexicon) -> Item:
    """A kind at a value; where the kind lacks it and the default part has it, the default part at that value."""
    default = names.system.slots()[slot].default.kind
    for holder in dict.fromkeys((kind, default)):
        found = {name: names.value_of(slot, holder, name) for name in given}
        if None not in found.values():
            numbers = {str(name): _number(given[word]) for word, name in found.items()}
            values = {name: typed(names, Target(slot, name, holder), number) for name, number in numbers.items()}
            same = "_".join(alias) or "_".join(f"{name}_{value:g}" for name, value in values.items())
            label = same if kind in (REMOVED, default) else kind
            return Item(edits={label: values if holder == default else {"kind": holder, **values}})
    return Item(reason=f"{', '.join(given)}: no value of {slot}={kind} is called so")


def _all_numbers(text: str) -> tuple[Number, ...]:
    return tuple(_number(number) for number in re.findall(_NUMBER, text, re.IGNORECASE))


def _number(text: str) -> Number:
    value = float(text)
    return int(value) if re.fullmatch(r"[-+]?\d+", text) else value


def wrong_edit(names: Lexicon, changes: Mapping[str, Any]) -> str:
    """Why the system cannot be edited so; empty where it can."""
    try:
        names.system().edit(changes)
    except EditError as error:
        return "; ".join(map(str, error.problems))
    return ""


def typed(names: Lexicon, target: Target, value: Any) -> Any:
    """A number as the value's type wants it: 0 for a share is 0.0."""
    holder: Any = names.system
    if target.slot:
        slot = names.system.slots()[target.slot]
        holder = slot.kinds[target.kind or slot.default.kind]
    wants = holder.model_fields[target.value].annotation
    return float(value) if wants is float and isinstance(value, int) else value
