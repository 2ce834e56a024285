"""Arms of a study: each a named set of changes, and the resulting system tree."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel

from models.bases import BaseRef, Protocol
from models.system import EditError, Slot, System
from sweeps.plan.other_models import NO_CHANGE, Model, model_of, unlike_control
from sweeps.study.designs import (
    MAX_ARMS,
    MAX_EXACT_PARTS,
    NONE,
    AddOneIn,
    Combination,
    Contrast,
    Design,
    Factorial,
    Level,
    OneAtATime,
    Shapley,
    crossed,
    effects,
)
from sweeps.study.document import Key
from sweeps.study.fields import REMOVED
from sweeps.study.types import Ablation, Hypothesis, Study
from sweeps.study.words import not_among, written

CONTROL = "control"


@dataclass(frozen=True)
class Expected:
    """The testable part of a hypothesis.

    Args:
        metric: Metric family that tests it; empty for the study's first.
        effect: ``worse``, ``better``, ``lower``, ``higher``, ``different`` or ``equivalent``, relative to the control.
    """

    metric: str
    effect: str

    @classmethod
    def of(cls, hypothesis: str | Hypothesis, action: str) -> "Expected | None":
        """Interpret a hypothesis; a string means worse for a removed or replaced part, else different."""
        if isinstance(hypothesis, Hypothesis):
            return cls(hypothesis.metric or "", hypothesis.expect)
        if not hypothesis:
            return None
        return cls("", "worse" if action in ("REMOVE", "REPLACE") else "different")


@dataclass(frozen=True)
class Arm:
    """A named set of changes to the control.

    Args:
        id: ``control``, ``noise=removed``, ``attention.mu=0.6``, or the name the study gives.
        role: The control is the arm without changes.
        part: Changed path; several are joined by " + ".
        action: REMOVE, REPLACE, VALUES, ADD; ``ARMS`` for a combination from ``arms``; empty for the control.
        changes: Changes as the study writes them: arguments of ``System.edit``, and the keys ``system``, ``base``,
            ``text_encoder`` and ``protocol`` where the arm has its own; empty for the control.
        system: The resulting tree.
        base: Base that it is built on, as the study writes it.
        text_encoder: Text encoder beside the base; empty for the base's own, and for a system that reads none.
        sampling: Keys of the protocol whose values differ from the study's.
        hypothesis: The author's hypothesis in words.
        expected: Its testable part; None without a hypothesis.
    """

    id: str
    role: Literal["control", "arm"]
    part: str
    action: str
    changes: Mapping[str, object]
    system: System
    base: str
    text_encoder: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    hypothesis: str = ""
    expected: Expected | None = None

    @property
    def has_own_system(self) -> bool:
        """Whether it names its system: its tree starts from that system's defaults, not from the control."""
        return "system" in self.changes

    @property
    def ref(self) -> BaseRef:
        """Location of its base."""
        return self.system.find_base(self.base, self.text_encoder)

    def place_of(self, key: str) -> Key:
        """Return the place of a key that it may have of its own: in the arm, or in the study."""
        return ("arms", self.id, key) if key in self.changes else (key,)


@dataclass(frozen=True)
class _Draft:
    """An arm before its changes are applied, with its place in the study.

    ``places`` maps each changed path to the place of its value in the study; ``own`` has the keys of the arm that are
    no change of its tree.
    """

    id: str
    part: str
    action: str
    changes: Mapping[str, object]
    place: Key
    places: Mapping[str, Key]
    hypothesis: str | Hypothesis = ""
    own: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Arms:
    """The arms of a study, control first, with notes on merged arms and all problems."""

    arms: list[Arm] = field(default_factory=list)
    contrasts: list[Contrast[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[tuple[Key, str]] = field(default_factory=list)


def expand_arms(study: Study, system: type[System], protocol: Protocol | None) -> Arms:
    """Apply every change of the study to its control, and keep the arms that differ.

    An arm that equals the control, or an earlier arm, is merged into that one with a note.

    Args:
        study: The study.
        system: Its system.
        protocol: Its protocol, after the defaults of its base; None for an invalid one.
    """
    result = Arms()
    trained = study.training if system.is_trained else {}
    of_control = {**{f"training.{key}": value for key, value in trained.items()}, **study.control}
    places: dict[str, Key] = {f"training.{key}": ("training", key) for key in trained}
    places |= {path: ("control", path) for path in study.control}
    control = _edited(system(), of_control, places, result) or system()
    model = Model.of_study(study)
    result.arms.append(Arm(CONTROL, "control", "", "", {}, control, model.base, model.text_encoder))
    lines: dict[str, Key] = {}
    first = {_identity(model, control): CONTROL}
    same_as: dict[str, str] = {CONTROL: CONTROL}
    drafts, contrasts = _designed(study, control, result)
    for draft in drafts:
        if draft.id in lines:
            other = study.document.problem(lines[draft.id], "").line
            result.problems.append((draft.place, f"{draft.id} is also the arm on line {other} -> another name"))
            continue
        lines[draft.id] = draft.place
        own = model_of(draft.own, draft.place, study, protocol, result.problems)
        if own is None:
            continue
        start = control if own.system is system else own.system()
        edited = _edited(start, draft.changes, draft.places, result)
        if edited is None:
            continue
        if own.system is not system:
            result.problems += unlike_control(edited, draft.changes, draft.place, control)
        same = same_as[draft.id] = first.setdefault(_identity(own, edited), draft.id)
        if same != draft.id:
            result.notes.append(f"{draft.id} is identical to {same}: merged, not run twice")
            continue
        hypothesis = draft.hypothesis
        words = hypothesis if isinstance(hypothesis, str) else hypothesis.claim
        expected = Expected.of(hypothesis, draft.action)
        changes = {**draft.own, **draft.changes}
        about = own.base, own.text_encoder, own.sampling, words, expected
        result.arms.append(Arm(draft.id, "arm", draft.part, draft.action, changes, edited, *about))
    if not result.problems:
        result.contrasts = [contrast.renamed(same_as.__getitem__) for contrast in contrasts]
    return result


def _identity(model: Model, tree: System) -> tuple[str, ...]:
    """Return what makes two arms the same."""
    return (
        model.system.name,
        model.base,
        model.text_encoder,
        str(sorted(model.sampling.items())),
        tree.model_dump_json(),
    )


def _edited(system: System, changes: Mapping[str, object], places: Mapping[str, Key], result: Arms) -> System | None:
    """Return the system with the changes applied; on failure None, with the reasons added to the problems."""
    try:
        return system.edit(changes)
    except EditError as error:
        for problem in error.problems:
            result.problems.append((_place(problem.path, places), problem.message))
    return None


def _place(path: str, places: Mapping[str, Key]) -> Key:
    """Return the place in the study of an edit's problem: the change itself, or a key inside its map."""
    if path in places:
        return places[path]
    above = next(change for change in sorted(places, key=len, reverse=True) if path.startswith(f"{change}."))
    return (*places[above], *path.removeprefix(f"{above}.").split("."))


def _designed(study: Study, control: System, result: Arms) -> tuple[list[_Draft], list[Contrast[str]]]:
    """List the arms of the design, then the arms under ``arms``; and the design's contrasts.

    The problems of invalid ablations are added to ``result``.
    """
    factors: list[list[_Draft]] = []
    for position, ablation in enumerate(study.ablations):
        place: Key = ("ablations", position)
        wrong = _misfits(ablation, control)
        result.problems += [((*place, *key), message) for key, message in wrong]
        factors += [] if wrong else [list(_drafts(ablation, control, place))]
    named = [_named(name, changes) for name, changes in study.arms.items()]
    parts = [drafts[0].part for drafts in factors]
    problems = _design_problems(study.design, factors, parts)
    result.problems += problems
    if problems or isinstance(study.design, OneAtATime):
        return [*(draft for drafts in factors for draft in drafts), *named], []
    levels = [[Level(k, draft.id) for draft in drafts] for k, drafts in enumerate(factors)]
    of_level = dict(zip(sum(levels, []), sum(factors, []), strict=True))
    names = {
        combination: _name(study.design, combination, len(factors), parts)
        for combination in crossed(study.design, levels, parts)
    }
    contrasts = [
        contrast.renamed(lambda combination: names.get(combination, CONTROL))
        for contrast in effects(study.design, levels, parts)
    ]
    combined = [
        _together(name, [of_level[level] for level in sorted(combination, key=_order)])
        for combination, name in names.items()
    ]
    return [*combined, *named], contrasts


def _named(name: str, changes: Mapping[str, object]) -> _Draft:
    place: Key = ("arms", name)
    places: dict[str, Key] = {path: (*place, path) for path in changes}
    own = {key: value for key, value in changes.items() if key in NO_CHANGE}
    of_tree = {path: change for path, change in changes.items() if path not in own}
    return _Draft(name, " + ".join(changes), "ARMS", of_tree, place, places, own=own)


def _order(level: Level) -> int:
    return level.factor


def _name(design: Design, combination: Combination, num_factors: int, parts: Sequence[str]) -> str:
    """Name an arm by its changes, or by its remaining part where a design starts from none of the parts."""
    changed = {level.factor for level in combination}
    if isinstance(design, AddOneIn) and len(changed) == num_factors:
        return NONE
    if isinstance(design, AddOneIn) and num_factors > 1:
        return f"only {next(part for factor, part in enumerate(parts) if factor not in changed)}"
    return " + ".join(level.name for level in sorted(combination, key=_order))


def _together(name: str, drafts: Sequence[_Draft]) -> _Draft:
    """Combine the changes of several arms into one arm."""
    if len(drafts) == 1:
        return replace(drafts[0], id=name)
    changes = {path: value for draft in drafts for path, value in draft.changes.items()}
    places = {path: place for draft in drafts for path, place in draft.places.items()}
    return _Draft(name, " + ".join(draft.part for draft in drafts), "DESIGN", changes, drafts[0].place, places)


def _design_problems(
    design: Design, factors: Sequence[Sequence[_Draft]], parts: Sequence[str]
) -> list[tuple[Key, str]]:
    """List the reasons why the ablations cannot be combined in this design."""
    if isinstance(design, OneAtATime):
        return []
    problems: list[tuple[Key, str]] = []
    with_shapley = design if isinstance(design, Factorial) and design.shapley else None
    for k, part in enumerate(parts):
        clash = next((other for other in parts[:k] if other.partition(".")[0] == part.partition(".")[0]), None)
        if clash is not None:
            message = f"{design.kind}: {part} and {clash} change the same slot -> one ablation per slot"
            problems.append((factors[k][0].place, message))
        if (isinstance(design, AddOneIn | Shapley) or with_shapley) and len(factors[k]) > 1:
            message = f"{design.kind}: {part} has {len(factors[k])} arms -> one change per part"
            problems.append((factors[k][0].place, message))
    if isinstance(design, Factorial):
        unknown = [part for pair in design.pairs for part in pair if part not in parts]
        allowed = f"a part of an ablation: {', '.join(parts)}"
        problems += [(("design", "pairs"), f"{part} -> {allowed}") for part in unknown]
        problems += [
            (("design", "pairs"), f"{pair[0]} twice -> two different parts")
            for pair in design.pairs
            if pair[0] == pair[1]
        ]
    if with_shapley and (with_shapley.pairs or len(parts) > MAX_EXACT_PARTS):
        what = f"{len(parts)} parts{' in pairs' if with_shapley.pairs else ''}"
        allowed = f"without pairs, up to {MAX_EXACT_PARTS} parts; above, the design shapley"
        problems.append((("design", "shapley"), f"{what} -> {allowed}"))
    if not factors:
        problems.append((("design",), f"{design.kind} without ablations -> at least one ablation"))
    num_arms = math.prod(len(drafts) + 1 for drafts in factors)
    if isinstance(design, Factorial) and not design.pairs and num_arms > MAX_ARMS:
        problems.append((("design",), f"factorial of {num_arms:,} arms -> at most {MAX_ARMS:,}, or named pairs"))
    return problems


def _drafts(ablation: Ablation, control: System, place: Key) -> Iterator[_Draft]:
    """Yield the arms of a valid ablation."""
    part, action = ablation.part, ablation.action
    changes: list[tuple[str, object, Key]]
    if action == "REMOVE":
        changes = [(f"{part}={REMOVED}", REMOVED, (*place, "part"))]
    elif action == "VALUES":
        values = enumerate(ablation.values or ())
        changes = [(f"{part}={written(value)}", value, (*place, "values", index)) for index, value in values]
    elif isinstance(ablation.with_, dict):
        changes = [(name, edit, (*place, "with", name)) for name, edit in ablation.with_.items()]
    else:
        kinds = enumerate(ablation.with_ or _only_kind(control.slots()[part]))
        changes = [(f"{part}={kind}", kind, (*place, "with", index)) for index, kind in kinds]
    for name, change, written_at in changes:
        yield _Draft(name, part, action, {part: change}, written_at, {part: written_at}, ablation.hypothesis)


def _misfits(ablation: Ablation, control: System) -> list[tuple[Key, str]]:
    """List the reasons why an ablation does not fit this system."""
    slots = control.slots()
    action, part = ablation.action, ablation.part
    wrong = _surplus(ablation)
    if action == "VALUES":
        if ablation.values is None:
            wrong.append(((), "VALUES without values -> values: [a, b]"))
        if part in slots:
            wrong.append((("part",), f"{part} is a slot -> VALUES of a value inside it, or REPLACE with: [kinds]"))
        elif not _is_value(control, part):
            wrong += [(("part",), message) for message in edit_problems(control, part)]
        return wrong
    if part not in slots:
        return [*wrong, (("part",), _no_slot(part, control))]
    kind = getattr(control, part).kind
    if action == "REMOVE" and REMOVED not in slots[part].kinds:
        wrong.append((("part",), f"{part} cannot be removed -> REPLACE with: [{', '.join(slots[part].kinds)}]"))
    elif action != "ADD" and kind == REMOVED:
        wrong.append((("action",), f"{action}: {part} is already removed in the control -> ADD, or another part"))
    elif action == "ADD" and kind != REMOVED:
        wrong.append((("action",), f"ADD: {part} is {kind} in the control, not removed -> REPLACE with: [kinds]"))
    if action == "REPLACE" and ablation.with_ is None:
        kinds = [name for name in slots[part].kinds if name != kind]
        wrong.append(((), f"REPLACE without with -> with: a list of kinds ({', '.join(kinds)}), or a map of arms"))
    if action == "ADD" and ablation.with_ is None and not _only_kind(slots[part]):
        kinds = [name for name in slots[part].kinds if name != REMOVED]
        wrong.append(((), f"ADD without with, and {part} has several kinds -> with: [{', '.join(kinds)}]"))
    return wrong


def _surplus(ablation: Ablation) -> list[tuple[Key, str]]:
    """List keys that the action does not accept."""
    wrong: list[tuple[Key, str]] = []
    if ablation.with_ is not None and ablation.action in ("REMOVE", "VALUES"):
        wrong.append((("with",), f"{ablation.action} takes no with -> remove it, or REPLACE"))
    if ablation.values is not None and ablation.action != "VALUES":
        wrong.append((("values",), f"{ablation.action} takes no values -> remove them, or VALUES"))
    return wrong


def _is_value(system: System, path: str) -> bool:
    """Whether a dotted path leads to a plain value of the tree."""
    here: object = system
    for key in path.split("."):
        if not isinstance(here, BaseModel) or key == "kind" or key not in type(here).model_fields:
            return False
        here = getattr(here, key)
    return not isinstance(here, BaseModel)


def edit_problems(system: System, path: str) -> list[str]:
    """Return the system's own messages for a change at a path that does not exist."""
    try:
        system.edit({path: 0})
    except EditError as error:
        return [problem.message for problem in error.problems]
    raise AssertionError(f"{path} does not exist, yet the system accepted a value")


def _no_slot(part: str, system: System) -> str:
    """Word the message for a part that is not a slot."""
    slots = system.slots()
    slot, _, value = part.partition(".")
    if value and slot in slots:
        return f"{part} is a value, not a slot -> {slot}, or action: VALUES"
    return not_among(part, slots)


def _only_kind(slot: Slot) -> tuple[str, ...]:
    """Return the default kind of ADD: the only kind besides removed; empty where there are several."""
    kinds = tuple(kind for kind in slot.kinds if kind != REMOVED)
    return kinds if len(kinds) == 1 else ()
