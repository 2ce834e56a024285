"""From what a study asks to its arms: each a named set of changes and the system tree they give."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from models.system import EditError, Slot, System
from sweeps.document import Key
from sweeps.study import Ablation, Study
from sweeps.words import not_among, written

CONTROL = "control"
REMOVED = "removed"


@dataclass(frozen=True)
class Arm:
    """A named set of changes to the control.

    Args:
        id: ``control``, ``noise=removed``, ``attention.mu=0.6``, or the name the study gives.
        role: The control is the arm without changes.
        part: Path of what is changed; several are joined by " + ".
        action: REMOVE, REPLACE, VALUES, ADD; ``ARMS`` for a combination from ``arms``; empty for the control.
        changes: What ``System.edit`` was given; empty for the control.
        system: The tree they give.
        hypothesis: What the author expects.
    """

    id: str
    role: Literal["control", "arm"]
    part: str
    action: str
    changes: Mapping[str, object]
    system: System
    hypothesis: str = ""


@dataclass(frozen=True)
class _Draft:
    """An arm before it is tried on the control, and where it was written.

    ``places`` says for each changed path where in the study its value stands.
    """

    id: str
    part: str
    action: str
    changes: Mapping[str, object]
    place: Key
    places: Mapping[str, Key]
    hypothesis: str = ""


@dataclass
class Arms:
    """The arms of a study, control first, with notes on those that fell together and all that is wrong."""

    arms: list[Arm] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[tuple[Key, str]] = field(default_factory=list)


def expand_arms(study: Study, system: type[System]) -> Arms:
    """Lay every change of the study on its control and keep the arms that differ.

    An arm whose tree equals the control's, or an earlier arm's, is merged into that one with a note.
    """
    result = Arms()
    trained = study.training if system.is_trained else {}
    changes = {**{f"training.{key}": value for key, value in trained.items()}, **study.control}
    places: dict[str, Key] = {f"training.{key}": ("training", key) for key in trained}
    places |= {path: ("control", path) for path in study.control}
    control = _edited(system(), changes, places, result) or system()
    result.arms.append(Arm(CONTROL, "control", "", "", {}, control))
    lines: dict[str, Key] = {}
    first = {control.model_dump_json(): CONTROL}
    for draft in _drafts(study, control, result):
        if draft.id in lines:
            other = study.document.problem(lines[draft.id], "").line
            result.problems.append((draft.place, f"{draft.id} -> another name: the arm of line {other} has this one"))
            continue
        lines[draft.id] = draft.place
        edited = _edited(control, draft.changes, draft.places, result)
        if edited is None:
            continue
        same = first.setdefault(edited.model_dump_json(), draft.id)
        if same != draft.id:
            result.notes.append(f"{draft.id} is the same as {same}: merged into it, not run twice")
            continue
        result.arms.append(
            Arm(draft.id, "arm", draft.part, draft.action, dict(draft.changes), edited, draft.hypothesis)
        )
    return result


def _edited(system: System, changes: Mapping[str, object], places: Mapping[str, Key], result: Arms) -> System | None:
    """The system with changes made, or None and the reasons among the problems."""
    try:
        return system.edit(changes)
    except EditError as error:
        for problem in error.problems:
            result.problems.append((_place(problem.path, places), problem.message))
    return None


def _place(path: str, places: Mapping[str, Key]) -> Key:
    """Where the study wrote what an edit's problem is about: the change itself, or a key inside its map."""
    if path in places:
        return places[path]
    above = next(change for change in sorted(places, key=len, reverse=True) if path.startswith(f"{change}."))
    return (*places[above], *path.removeprefix(f"{above}.").split("."))


def _drafts(study: Study, control: System, result: Arms) -> Iterator[_Draft]:
    """The arms as written, in order; an ablation that asks for none says why among the problems."""
    for position, ablation in enumerate(study.ablations):
        place: Key = ("ablations", position)
        wrong = _misfits(ablation, control)
        result.problems += [((*place, *key), message) for key, message in wrong]
        if not wrong:
            yield from _asked(ablation, control, place)
    for name, changes in study.arms.items():
        place = ("arms", name)
        places: dict[str, Key] = {path: (*place, path) for path in changes}
        yield _Draft(name, " + ".join(changes), "ARMS", changes, place, places)


def _asked(ablation: Ablation, control: System, place: Key) -> Iterator[_Draft]:
    """The arms of one ablation that fits its part."""
    part, action = ablation.part, ablation.action
    asked: list[tuple[str, object, Key]]
    if action == "REMOVE":
        asked = [(f"{part}={REMOVED}", REMOVED, (*place, "part"))]
    elif action == "VALUES":
        values = enumerate(ablation.values or ())
        asked = [(f"{part}={written(value)}", value, (*place, "values", index)) for index, value in values]
    elif isinstance(ablation.with_, dict):
        asked = [(name, edit, (*place, "with", name)) for name, edit in ablation.with_.items()]
    else:
        kinds = enumerate(ablation.with_ or _only_kind(control.slots()[part]))
        asked = [(f"{part}={kind}", kind, (*place, "with", index)) for index, kind in kinds]
    for name, change, written_at in asked:
        yield _Draft(name, part, action, {part: change}, written_at, {part: written_at}, ablation.hypothesis)


def _misfits(ablation: Ablation, control: System) -> list[tuple[Key, str]]:
    """Why an ablation cannot be asked of this system; empty if it can."""
    slots = control.slots()
    action, part = ablation.action, ablation.part
    wrong = _surplus(ablation)
    if action == "VALUES":
        if ablation.values is None:
            wrong.append(((), "VALUES without values -> values: [a, b]"))
        if part in slots:
            wrong.append((("part",), f"{part} is a slot -> a value inside it for VALUES, or REPLACE with: [kinds]"))
        elif not _is_value(control, part):
            wrong += [(("part",), message) for message in refused(control, part)]
        return wrong
    if part not in slots:
        return [*wrong, (("part",), _no_slot(part, control))]
    kind = getattr(control, part).kind
    if action == "REMOVE" and REMOVED not in slots[part].kinds:
        wrong.append((("part",), f"{part} cannot be absent -> REPLACE with: [{', '.join(slots[part].kinds)}]"))
    elif action != "ADD" and kind == REMOVED:
        wrong.append((("action",), f"{action}: the control has {part} removed already -> ADD, or another part"))
    elif action == "ADD" and kind != REMOVED:
        wrong.append((("action",), f"ADD: the control has {part}={kind} already -> REPLACE with: [kinds]"))
    if action == "REPLACE" and ablation.with_ is None:
        kinds = [name for name in slots[part].kinds if name != kind]
        wrong.append(((), f"REPLACE without with -> with: a list of kinds ({', '.join(kinds)}), or a map of arms"))
    if action == "ADD" and ablation.with_ is None and not _only_kind(slots[part]):
        kinds = [name for name in slots[part].kinds if name != REMOVED]
        wrong.append(((), f"ADD without with, and {part} has several kinds -> with: [{', '.join(kinds)}]"))
    return wrong


def _surplus(ablation: Ablation) -> list[tuple[Key, str]]:
    """Keys that the action has no use for."""
    wrong: list[tuple[Key, str]] = []
    if ablation.with_ is not None and ablation.action in ("REMOVE", "VALUES"):
        wrong.append((("with",), f"{ablation.action} takes no with -> leave it out, or REPLACE"))
    if ablation.values is not None and ablation.action != "VALUES":
        wrong.append((("values",), f"{ablation.action} takes no values -> leave them out, or VALUES"))
    return wrong


def _is_value(system: System, path: str) -> bool:
    """Whether a dotted path leads to a plain value of the tree."""
    here: object = system
    for key in path.split("."):
        if not isinstance(here, BaseModel) or key == "kind" or key not in type(here).model_fields:
            return False
        here = getattr(here, key)
    return not isinstance(here, BaseModel)


def refused(system: System, path: str) -> list[str]:
    """What the system itself says to a change at a path that leads nowhere."""
    try:
        system.edit({path: 0})
    except EditError as error:
        return [problem.message for problem in error.problems]
    raise AssertionError(f"{path} leads to no value, yet the system took one")


def _no_slot(part: str, system: System) -> str:
    """The message for a part that is no slot."""
    slots = system.slots()
    slot, _, value = part.partition(".")
    if value and slot in slots:
        return f"{part} is a value, not a slot -> {slot}, or action: VALUES"
    return not_among(part, slots)


def _only_kind(slot: Slot) -> tuple[str, ...]:
    """The kind that ADD means without saying: the only one there is besides absence."""
    kinds = tuple(kind for kind in slot.kinds if kind != REMOVED)
    return kinds if len(kinds) == 1 else ()
