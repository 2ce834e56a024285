"""Questions about a system, from the suggestions of several planners."""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models import SYSTEMS
from sweeps.importer import items
from sweeps.importer.documents import PlanDocument, Suggestion
from sweeps.importer.meaning import Lexicon, Target, Words, lexicon, occurs_in, words_of
from sweeps.study.fields import REMOVED
from sweeps.study.types import Todo
from sweeps.study.words import written
from trainables.metrics import GROUPS, METRICS, MetricFamily, MetricGroup

PARTS = "its parts"
"""Topic of a question about an unknown system."""
ACTIONS = ("REMOVE", "REPLACE", "ADD")


@dataclass(frozen=True)
class Source:
    """Source of a question: an entry of a document."""

    document: PlanDocument
    suggestion: Suggestion

    @property
    def planner(self) -> str:
        """Author of the plan."""
        return self.document.planner


@dataclass
class Question:
    """Question of one future study, about one part or all components.

    Args:
        system: Name of the system; empty where it is unknown.
        topic: Path of the part; "components", or a common name such as "adapters"; else a phrase of the plan.
        action: Action of the plan.
        ablations: Ablations as in a study file.
        arms: Name -> changes, for arms that change several parts.
        changes: Arm name -> changes to the control, to compare questions.
        by: Column of the groups of clips; empty without groups.
        blocks: Blocks, as in a study file.
        metrics: Metric families.
        unmeasured: Phrases without a matching metric.
        sources: Entries of the plans.
        todos: Open decisions.
        remarks: Remarks for the author, such as that an arm equals the control.
        wording: The question in words; empty where topic and action say it.
    """

    system: str
    topic: str
    action: str = ""
    ablations: list[dict[str, Any]] = field(default_factory=list)
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    by: str = ""
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    todos: list[Todo] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    wording: str = ""

    @property
    def votes(self) -> int:
        """Number of planners with this question."""
        return len({source.planner for source in self.sources})

    @property
    def change_keys(self) -> set[str]:
        """Changes of its arms, to be compared with another question's."""
        return {_key(changes) for changes in self.changes.values()}

    def add_metrics(self, other: "Question") -> None:
        """Add another question's metrics."""
        self.metrics += [metric for metric in other.metrics if metric not in self.metrics]
        self.unmeasured += [metric for metric in other.unmeasured if metric not in self.unmeasured]

    def open(self, asked: str, reason: str, candidates: Mapping[str, float] | None = None) -> None:
        """Add an open decision."""
        self.todos.append(Todo(asked=asked, reason=reason, candidates=dict(candidates or {})))


def _key(changes: Mapping[str, Any]) -> str:
    """Return a canonical string for changes."""
    return json.dumps(changes, sort_keys=True)


def common_name(parts: Sequence[str]) -> str:
    """Return the path of a part, or what several parts have in common: their last word, else "components".

    >>> common_name(["long_term_adapter", "spatial_adapter"]), common_name(["noise", "attention"])
    ('adapters', 'components')
    """
    last = {part.split("_")[-1] for part in parts}
    if len(parts) > 1:
        return f"{last.pop()}s" if len(last) == 1 else "components"
    return "".join(parts)


# -------------------------------------------------------------------------------------------------------------- system


def system_of(document: PlanDocument) -> str:
    """Determine a document's system from the title of its paper; empty where it is unknown."""
    title = words_of(f"{document.paper} {document.file.stem}".replace("_", " "))
    systems = [
        name for name, system in SYSTEMS.items() if any(occurs_in(alias, title) for alias in lexicon(system).aliases)
    ]
    return systems[0] if len(systems) == 1 else ""


# ------------------------------------------------------------------------------------------------------ one suggestion


def question_of(source: Source, system: str) -> Question:
    """Convert an entry of a plan to a question; anything not understood becomes an open decision."""
    suggestion = source.suggestion
    topic = suggestion.ablated_part or suggestion.name
    question = Question(system, topic, suggestion.action, sources=[source])
    _metrics(question, suggestion.metrics)
    if not system:
        question.open(_whole(suggestion), f"unknown system -> {', '.join(SYSTEMS)}")
        return question
    names = lexicon(SYSTEMS[system])
    if suggestion.action not in ACTIONS:
        action = suggestion.action or "missing"
        question.open(_whole(suggestion), f"action {action} -> REMOVE, REPLACE or ADD")
        return question
    meaning = names.part(suggestion.ablated_part)
    if not meaning.targets:
        question.open(_whole(suggestion), meaning.reason, meaning.candidates)
        return question
    several = len(meaning.targets) > 1
    question.topic = common_name([target.path for target in meaning.targets])
    if suggestion.action == "REMOVE":
        remove_each(question, meaning.targets, names)
        _remove_together(question)
    elif several:
        question.open(_whole(suggestion), "several parts at once -> one entry per part")
    elif not suggestion.replacement:
        question.open(_whole(suggestion), f"{suggestion.action} without a replacement")
    else:
        _replace(question, meaning.targets[0], names, suggestion)
    add_remarks(question, names)
    return question


def _whole(suggestion: Suggestion) -> str:
    """Format an entry on one line."""
    replacement = "; ".join(item if isinstance(item, str) else json.dumps(item) for item in suggestion.replacement)
    return (
        suggestion.text
        or f"{suggestion.action or '?'} {suggestion.ablated_part or '?'}{f' -> {replacement}' if replacement else ''}"
    )


@functools.cache
def metric_names(system: str) -> list[tuple[Words, str]]:
    """Return the names of metrics and of groups in words, with their names in a study.

    Args:
        system: Metrics that read the inside of a model are left out where this one lacks it; empty for all metrics.
    """
    lacking = [f for f in METRICS.values() if system and f.inside not in (None, *SYSTEMS[system].inside)]
    known: list[MetricFamily | MetricGroup] = [*METRICS.values(), *GROUPS.values()]
    return [
        (words_of(alias), family.name)
        for family in known
        if family not in lacking
        for alias in (family.name.replace("_", " "), *family.aliases)
    ]


def _metrics(question: Question, phrases: Iterable[str]) -> None:
    names = metric_names(question.system)
    for phrase in phrases:
        words = words_of(phrase)
        families = [family for alias, family in names if occurs_in(alias, words)]
        target = question.metrics if families else question.unmeasured
        target += [name for name in (families[:1] or [phrase]) if name not in target]


def remove_each(question: Question, targets: Sequence[Target], names: Lexicon) -> None:
    """Add an arm for each part that removes it."""
    slots = names.system.slots()
    for target in targets:
        if target.value or not target.slot:
            default = getattr(names.system() if not target.slot else slots[target.slot].default, target.value, None)
            reason = f"{target.path} is a value ({default} by default) -> REPLACE it by another, or REMOVE its slot"
            question.open(_whole(question.sources[0].suggestion), reason, {target.slot or target.path: 0.5})
        elif REMOVED not in slots[target.slot].kinds:
            reason = f"{target.slot} cannot be removed -> one of {', '.join(slots[target.slot].kinds)}"
            question.open(_whole(question.sources[0].suggestion), reason)
        else:
            question.ablations.append({"part": target.slot, "action": "REMOVE"})
            question.changes[f"{target.slot}={REMOVED}"] = {target.slot: REMOVED}


def _remove_together(question: Question) -> None:
    """Add an arm that removes all parts, if there are several."""
    if len(question.ablations) > 1:
        together = {ablation["part"]: REMOVED for ablation in question.ablations}
        label = "neither" if len(together) == 2 else "none"
        question.arms[label] = question.changes[label] = dict(together)


def _replace(question: Question, target: Target, names: Lexicon, suggestion: Suggestion) -> None:
    """Add an arm for each replacement."""
    kinds: list[str] = []
    edits: dict[str, Any] = {}
    values: dict[str, list[Any]] = {}
    for given in suggestion.replacement:
        item = items.understand(given, target, names)
        if item.reason:
            text = given if isinstance(given, str) else json.dumps(given, default=str)
            question.open(f"{suggestion.action} {target.path} -> {text}", item.reason, item.candidates)
        for name, edit in item.edits.items():
            if _is_valid(question, names, {target.slot: edit}, given):
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
    """Add an arm for a number: VALUES for the default part, else an edit with the value's kind."""
    slots = names.system.slots()
    number = items.typed(names, target, number)
    if target.slot and target.kind not in ("", slots[target.slot].default.kind):
        edit = {"kind": target.kind, target.value: number}
        if _is_valid(question, names, {target.slot: edit}, number):
            edits[_unused(f"{target.value}_{number:g}", edits)] = edit
    elif _is_valid(question, names, {target.path: number}, number) and number not in values.setdefault(target.path, []):
        values[target.path].append(number)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    unused = name
    while unused in taken:
        unused, number = f"{name}_{number}", number + 1
    return unused


def _is_valid(question: Question, names: Lexicon, changes: Mapping[str, Any], given: Any) -> bool:
    """Whether the system accepts the changes; if not, add an open decision."""
    problems = items.edit_problems(names, changes)
    if problems:
        question.open(f"{question.topic} -> {written(given)}", problems)
    return not problems


def add_remarks(question: Question, names: Lexicon) -> None:
    """Add remarks on arms that equal the control, and the system's notes on arms."""
    control = names.system()
    for name, changes in question.changes.items():
        arm = control.edit(changes)
        if arm == control:
            question.remarks.append(f"{name} is identical to the control: not run twice")
        notes = [note for note in arm.notes() if note not in control.notes()]
        question.remarks += [note if note.startswith(f"{name}: ") else f"{name}: {note}" for note in notes]


# -------------------------------------------------------------------------------------------------------------- merging


def merged(questions: Iterable[Question]) -> list[Question]:
    """Merge questions with the same part and action, or with the same slot and a common arm."""
    distinct: list[Question] = []
    for question in questions:
        same = [other for other in distinct if _same(other, question)]
        for other in same[:1]:
            _join(other, question)
        for other in same[1:]:  # separate until this question, which matches both
            _join(same[0], other)
            distinct.remove(other)
        distinct += [] if same else [question]
    return distinct


def _same(question: Question, other: Question) -> bool:
    if question.system != other.system or not question.system:
        return False
    if not question.changes or not other.changes:
        return question.topic == other.topic and question.action == other.action
    if question.topic == other.topic and question.action == other.action:
        return True
    same_slot = question.topic.partition(".")[0] == other.topic.partition(".")[0]
    return same_slot and not question.change_keys.isdisjoint(other.change_keys)


def _join(question: Question, other: Question) -> None:
    """Add another planner's arms, metrics and open decisions to a question."""
    shared = question.change_keys
    question.topic = min(question.topic, other.topic, key=len)  # the slot, if one of them is about a whole slot
    for ablation in other.ablations:
        _join_ablation(question, ablation, shared)
    new = {name: changes for name, changes in other.changes.items() if _key(changes) not in shared}
    question.changes |= {name: changes for name, changes in new.items() if name not in question.changes}
    question.arms |= {name: changes for name, changes in other.arms.items() if name in new}
    question.by = question.by or other.by
    question.blocks = other.blocks | question.blocks
    question.wording = question.wording or other.wording
    question.add_metrics(other)
    question.todos += [todo for todo in other.todos if todo not in question.todos]
    question.remarks += [remark for remark in other.remarks if remark not in question.remarks]
    question.sources += other.sources


def _join_ablation(question: Question, ablation: dict[str, Any], shared: set[str]) -> None:
    same = next((a for a in question.ablations if _head(a) == _head(ablation)), None)
    if same is None:
        question.ablations.append(ablation)
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
