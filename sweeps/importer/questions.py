"""Suggestions of several planners to questions: what each asks of a system, and who asks it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models import SYSTEMS
from sweeps.importer import items
from sweeps.importer.documents import PlanDocument, Suggestion
from sweeps.importer.meaning import Lexicon, Target, lexicon, stands_in, words_of
from sweeps.study.fields import REMOVED
from sweeps.study.types import Todo
from sweeps.study.words import written
from trainables.metrics import FAMILIES

PARTS = "its parts"
"""The topic of a question about a system that is not here."""
ACTIONS = ("REMOVE", "REPLACE", "ADD")


@dataclass(frozen=True)
class Source:
    """Who asks: an entry of a document."""

    document: PlanDocument
    suggestion: Suggestion

    @property
    def planner(self) -> str:
        """Who wrote the plan."""
        return self.document.planner


@dataclass
class Question:
    """One study to be: what is asked of one part, or of all components.

    Args:
        system: Whose part; empty where the plan is about a system that is not here.
        topic: The part's path; "components"; else a few words of the plan's.
        action: What is done to it.
        ablations: As a study writes them.
        arms: Name -> changes, for arms that change several parts.
        changes: What each arm lays on the control, by the arm's name, to compare questions by.
        metrics: Families, and phrases that nothing here measures.
        sources: Who asks.
        todos: What is open.
        remarks: What a reader should know, such as that an arm is the control.
    """

    system: str
    topic: str
    action: str = ""
    ablations: list[dict[str, Any]] = field(default_factory=list)
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    todos: list[Todo] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def votes(self) -> int:
        """How many planners ask it."""
        return len({source.planner for source in self.sources})

    @property
    def asks(self) -> set[str]:
        """What its arms change, to be compared with another question's."""
        return {_key(changes) for changes in self.changes.values()}

    def measure_too(self, other: "Question") -> None:
        """Take in another question's metrics."""
        self.metrics += [metric for metric in other.metrics if metric not in self.metrics]
        self.unmeasured += [metric for metric in other.unmeasured if metric not in self.unmeasured]

    def open(self, asked: str, reason: str, candidates: Mapping[str, float] | None = None) -> None:
        """Leave something to be settled by a person."""
        self.todos.append(Todo(asked=asked, reason=reason, candidates=dict(candidates or {})))


def _key(changes: Mapping[str, Any]) -> str:
    """Changes as one word: the same for the same ones."""
    return json.dumps(changes, sort_keys=True)


# ---------------------------------------------------------------------------------------------------- whose plan it is


def system_of(document: PlanDocument) -> str:
    """The system that a document is about, by the title of its paper; empty where it is none of those here."""
    title = words_of(f"{document.paper} {document.file.stem}".replace("_", " "))
    found = [
        name for name, system in SYSTEMS.items() if any(stands_in(alias, title) for alias in lexicon(system).aliases)
    ]
    return found[0] if len(found) == 1 else ""


# ------------------------------------------------------------------------------------------------ one suggestion's sake


def question_of(source: Source, system: str) -> Question:
    """What one entry of a plan asks; what is not known is among the question's todos."""
    suggestion = source.suggestion
    question = Question(system, suggestion.ablated_part or suggestion.name, suggestion.action, sources=[source])
    _metrics(question, suggestion.metrics)
    if not system:
        question.open(_whole(suggestion), f"its system is none of {', '.join(SYSTEMS)}")
        return question
    names = lexicon(SYSTEMS[system])
    if suggestion.action not in ACTIONS:
        action = suggestion.action or "no action"
        question.open(_whole(suggestion), f"the action is {action}, not REMOVE, REPLACE or ADD")
        return question
    meaning = names.part(suggestion.ablated_part)
    if not meaning.targets:
        question.open(_whole(suggestion), meaning.reason, meaning.candidates)
        return question
    several = len(meaning.targets) > 1
    question.topic = "components" if several else meaning.targets[0].path
    if suggestion.action == "REMOVE":
        _remove(question, meaning.targets, names)
    elif several:
        question.open(_whole(suggestion), "several parts at once -> one entry for each")
    elif not suggestion.replacement:
        question.open(_whole(suggestion), f"{suggestion.action} without a replacement")
    else:
        _replace(question, meaning.targets[0], names, suggestion)
    _remark(question, names)
    return question


def _whole(suggestion: Suggestion) -> str:
    """An entry in one line."""
    instead = "; ".join(item if isinstance(item, str) else json.dumps(item) for item in suggestion.replacement)
    return f"{suggestion.action or '?'} {suggestion.ablated_part or '?'}{f' -> {instead}' if instead else ''}"


def _metrics(question: Question, phrases: Iterable[str]) -> None:
    names = [
        (words_of(alias), family.name)
        for family in FAMILIES.values()
        for alias in (family.name.replace("_", " "), *family.aliases)
    ]
    for phrase in phrases:
        words = words_of(phrase)
        found = [family for alias, family in names if stands_in(alias, words)]
        target = question.metrics if found else question.unmeasured
        target += [name for name in (found[:1] or [phrase]) if name not in target]


def _remove(question: Question, targets: Sequence[Target], names: Lexicon) -> None:
    """Take each part away; of several, all together too."""
    slots = names.system.slots()
    for target in targets:
        if target.value or not target.slot:
            default = getattr(names.system() if not target.slot else slots[target.slot].default, target.value, None)
            reason = f"{target.path} is a value ({default} by default) -> REPLACE it by another, or REMOVE its slot"
            question.open(_whole(question.sources[0].suggestion), reason, {target.slot or target.path: 0.5})
        elif REMOVED not in slots[target.slot].kinds:
            reason = f"{target.slot} cannot be absent -> one of {', '.join(slots[target.slot].kinds)}"
            question.open(_whole(question.sources[0].suggestion), reason)
        else:
            question.ablations.append({"part": target.slot, "action": "REMOVE"})
            question.changes[f"{target.slot}={REMOVED}"] = {target.slot: REMOVED}
    if len(question.ablations) > 1:
        together = {ablation["part"]: REMOVED for ablation in question.ablations}
        label = "neither" if len(together) == 2 else "none"
        question.arms[label] = question.changes[label] = dict(together)


def _replace(question: Question, target: Target, names: Lexicon, suggestion: Suggestion) -> None:
    """Put each replacement in."""
    kinds: list[str] = []
    edits: dict[str, Any] = {}
    values: dict[str, list[Any]] = {}
    for given in suggestion.replacement:
        item = items.understand(given, target, names)
        if item.reason:
            text = given if isinstance(given, str) else json.dumps(given, default=str)
            question.open(f"{suggestion.action} {target.path} -> {text}", item.reason, item.candidates)
        for name, edit in item.edits.items():
            if _sound(question, names, {target.slot: edit}, given):
                kinds += [edit] if isinstance(edit, str) and edit not in kinds else []
                edits |= {} if isinstance(edit, str) else {_unused(name, edits): edit}
        for number in item.values:
            _value(
                question,
                Target(target.slot, item.value or target.value, "" if item.value else target.kind),
                number,
                names,
                edits,
                values,
            )
    slot = names.system.slots().get(target.slot)
    action = "ADD" if slot is not None and slot.default.kind == REMOVED else "REPLACE"
    if kinds:
        question.ablations.append({"part": target.slot, "action": action, "with": kinds})
        question.changes |= {f"{target.slot}={kind}": {target.slot: kind} for kind in kinds}
    if edits:
        question.ablations.append({"part": target.slot, "action": action, "with": edits})
        question.changes |= {name: {target.slot: edit} for name, edit in edits.items()}
    for path, numbers in values.items():
        question.ablations.append({"part": path, "action": "VALUES", "values": numbers})
        question.changes |= {f"{path}={written(number)}": {path: number} for number in numbers}


def _value(
    question: Question, target: Target, number: Any, names: Lexicon, edits: dict[str, Any], values: dict[str, list[Any]]
) -> None:
    """One number for a value: of the default part a VALUES arm, of another kind that kind at the value."""
    slots = names.system.slots()
    number = items.typed(names, target, number)
    if target.slot and target.kind not in ("", slots[target.slot].default.kind):
        edit = {"kind": target.kind, target.value: number}
        if _sound(question, names, {target.slot: edit}, number):
            edits[_unused(f"{target.value}_{number:g}", edits)] = edit
    elif _sound(question, names, {target.path: number}, number) and number not in values.setdefault(target.path, []):
        values[target.path].append(number)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    unused = name
    while unused in taken:
        unused, number = f"{name}_{number}", number + 1
    return unused


def _sound(question: Question, names: Lexicon, changes: Mapping[str, Any], given: Any) -> bool:
    """Whether the system can be edited so; else it is to be settled."""
    wrong = items.wrong_edit(names, changes)
    if wrong:
        question.open(f"{question.topic} -> {written(given)}", wrong)
    return not wrong


def _remark(question: Question, names: Lexicon) -> None:
    """Arms that are the control, and arms of which the system has something to say."""
    control = names.system()
    for name, changes in question.changes.items():
        arm = control.edit(changes)
        if arm == control:
            question.remarks.append(f"{name} is the control: not run twice")
        notes = [note for note in arm.notes() if note not in control.notes()]
        question.remarks += [note if note.startswith(f"{name}: ") else f"{name}: {note}" for note in notes]


# -------------------------------------------------------------------------------------------------------------- merging


def merged(questions: Iterable[Question]) -> list[Question]:
    """One question for all that ask the same: the same part and action, or a part of which they share an arm."""
    found: list[Question] = []
    for question in questions:
        same = [other for other in found if _same(other, question)]
        for other in same[:1]:
            _join(other, question)
        for other in same[1:]:  # apart until this one, which asks both
            _join(same[0], other)
            found.remove(other)
        found += [] if same else [question]
    return found


def _same(one: Question, other: Question) -> bool:
    if one.system != other.system or not one.system:
        return False
    if not one.changes or not other.changes:
        return one.topic == other.topic and one.action == other.action
    if one.topic == other.topic and one.action == other.action:
        return True
    same_slot = one.topic.partition(".")[0] == other.topic.partition(".")[0]
    return same_slot and not one.asks.isdisjoint(other.asks)


def _join(one: Question, other: Question) -> None:
    """Add another planner's arms, metrics and open ends to a question."""
    shared = one.asks
    one.topic = min(one.topic, other.topic, key=len)  # a slot, if one of them is about all of it
    for ablation in other.ablations:
        _join_ablation(one, ablation, shared)
    new = {name: changes for name, changes in other.changes.items() if _key(changes) not in shared}
    one.changes |= {name: changes for name, changes in new.items() if name not in one.changes}
    one.arms |= {name: changes for name, changes in other.arms.items() if name in new}
    one.measure_too(other)
    one.todos += [todo for todo in other.todos if todo not in one.todos]
    one.remarks += [remark for remark in other.remarks if remark not in one.remarks]
    one.sources += other.sources


def _join_ablation(one: Question, ablation: dict[str, Any], shared: set[str]) -> None:
    same = next((a for a in one.ablations if _head(a) == _head(ablation)), None)
    if same is None:
        one.ablations.append(ablation)
    elif "values" in ablation:
        same["values"] += [value for value in ablation["values"] if value not in same["values"]]
    elif isinstance(ablation.get("with"), list):
        same["with"] += [kind for kind in ablation["with"] if kind not in same["with"]]
    elif "with" in ablation:
        part = ablation["part"]
        new = {n: e for n, e in ablation["with"].items() if _key({part: e}) not in shared}
        same["with"] |= {_unused(name, same["with"]): edit for name, edit in new.items()}


def _head(ablation: Mapping[str, Any]) -> tuple[Any, ...]:
    return ablation["part"], ablation["action"], type(ablation.get("with"))
