"""Search spaces of a study's arms: the searchable paths of each arm, and reasons for the others."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from pydantic.fields import FieldInfo

from models.system import EditError, Part, Slot, System
from models.words import did_you_mean
from search_spaces import Domain, Kinds, LogUniform, Uniform, Value
from sweeps.plan.arms import Arm, edit_problems
from sweeps.study.fields import REMOVED
from sweeps.study.words import not_among, written


@dataclass(frozen=True)
class ArmSpace:
    """Search space of one arm.

    Args:
        arm: The arm that samples are applied to.
        space: Dotted path -> domain; slots come before the values inside them.
        dropped: A sentence for each path that the study searches and this arm does not.
    """

    arm: Arm
    space: Mapping[str, Domain]
    dropped: tuple[str, ...] = ()

    def exists(self, path: str, sample: Mapping[str, Value]) -> bool:
        """Whether the part of a sample, else the arm's own, has the value at this path."""
        slot, _, value = path.partition(".")
        kind = sample.get(slot, _kind(self.arm.system, slot))
        return not value or value in _values(self.arm.system.slots()[slot], str(kind))

    def draw(self, propose: Callable[[str, Domain], Value]) -> dict[str, Value]:
        """Draw a sample: the kinds first, then the values that the drawn kinds have.

        Args:
            propose: Returns a value for a path and its domain.
        """
        sample: dict[str, Value] = {}
        for path, domain in self.space.items():
            if self.exists(path, sample):
                sample[path] = propose(path, domain)
        return sample

    def holds(self, sample: Mapping[str, Value]) -> bool:
        """Whether a sample is from this space: exactly its paths, each with a value of its domain."""
        return sample.keys() <= self.space.keys() and all(
            (path in sample) == self.exists(path, sample) and (path not in sample or domain.contains(sample[path]))
            for path, domain in self.space.items()
        )

    def within(self, point: Mapping[str, Value]) -> dict[str, Value]:
        """Restrict a point to this space; adds a kind that has the point's values, preferably the arm's own."""
        known = {path: point[path] for path in self.space if path in point}
        for path in list(known):
            slot = path.partition(".")[0]
            if slot in self.space and slot not in known:
                kinds, own = self.kinds(path), _kind(self.arm.system, slot)
                known[slot] = own if own in kinds else kinds[0]
        return known

    def system(self, sample: Mapping[str, Value]) -> System:
        """Apply a sample to the arm; if the kind is unchanged, the part keeps the arm's values."""
        current = {path: kind for path in self.space if (kind := _kind(self.arm.system, path))}
        return self.arm.system.edit({path: value for path, value in sample.items() if value != current.get(path)})

    def kinds(self, path: str) -> tuple[str, ...]:
        """Return the possible kinds of a value's slot that have this value; empty for a value outside slots."""
        slot, _, value = path.partition(".")
        if not value:
            return ()
        drawn = self.space.get(slot)
        kinds = drawn.values if isinstance(drawn, Kinds) else (_kind(self.arm.system, slot),)
        return tuple(kind for kind in kinds if value in _values(self.arm.system.slots()[slot], kind))

    def num_samples(self) -> int | None:
        """Count the different samples; None for a continuous space."""
        slots = {path: domain.values for path, domain in self.space.items() if isinstance(domain, Kinds)}
        total = 0
        for kinds in product(*slots.values()):
            drawn: dict[str, Value] = dict(zip(slots, kinds, strict=True))
            values = {path: domain for path, domain in self.space.items() if path not in slots}
            sizes = [domain.num_values() for path, domain in values.items() if self.exists(path, drawn)]
            if None in sizes:
                return None
            total += math.prod(size for size in sizes if size is not None)
        return total


def apply_space(
    space: Mapping[str, Domain], arms: Sequence[Arm], *, complete: bool
) -> tuple[list[ArmSpace], list[tuple[str, str]]]:
    """Restrict a space to each arm: paths that the arm changes, or that its parts lack, are not searched in it.

    Args:
        space: Dotted path -> domain, as in the study.
        arms: The control first.
        complete: Whether these are all arms; only then is a path that no arm has a problem.

    Returns:
        The spaces, some possibly empty, and problems of the space as (path, message).
    """
    control = arms[0].system
    problems = [(path, message) for path, domain in space.items() for message in _misfits(path, domain, control)]
    unfit = {path for path, _ in problems}
    ordered = sorted(space.keys() - unfit, key=lambda path: ("." in path, path))
    fit = {path: space[path] for path in ordered}
    arm_spaces = [_on_arm(fit, arm) for arm in arms]
    problems += dict.fromkeys(problem for arm_space in arm_spaces for problem in _out_of_range(arm_space))
    if complete:
        for path in fit:
            if path.partition(".")[0] not in unfit and not any(path in arm_space.space for arm_space in arm_spaces):
                reason = _obstacle(path, fit, arms[0])
                problems.append((path, f"not searchable in any arm: {reason} -> a path of some arm"))
    return arm_spaces, problems


def _on_arm(space: Mapping[str, Domain], arm: Arm) -> ArmSpace:
    obstacles = {path: _obstacle(path, space, arm) for path in space}
    kept = {path: domain for path, domain in space.items() if not obstacles[path]}
    dropped = (f"{path} is not searched: {obstacle}" for path, obstacle in obstacles.items() if obstacle)
    return ArmSpace(arm, kept, tuple(dropped))


def _obstacle(path: str, space: Mapping[str, Domain], arm: Arm) -> str:
    """Give the reason why a path is not searched in an arm; empty where it is searched."""
    if arm.has_own_system and (lack := _lack(path, space, arm.system)):
        return lack
    slots = arm.system.slots()
    replaced, changed = _own(arm, slots)
    slot, _, value = path.partition(".")
    if path in changed:
        return "the arm sets it"
    kind = _kind(arm.system, slot)
    if path in slots:
        if path in replaced:
            return "the arm removes it" if kind == REMOVED else f"the arm replaces it by {kind}"
        inside = next((other for other in changed if other.startswith(f"{path}.")), None)
        return f"the arm sets {inside}, which another kind would discard" if inside else ""
    drawn = space.get(slot)
    if not value:
        return ""
    if isinstance(drawn, Kinds) and not _obstacle(slot, space, arm):
        has = any(value in _values(slots[slot], drawable) for drawable in drawn.values)
        return "" if has else f"none of the kinds searched at {slot} has it"
    if value in _values(slots[slot], kind):
        return ""
    return f"{slot} is {kind} here" if kind == REMOVED else f"{slot} is {kind} here, which has no {value}"


def _lack(path: str, space: Mapping[str, Domain], system: System) -> str:
    """Give the reason why another system than the control's has no such slot, kinds or value; empty if it has them."""
    slot, _, value = path.partition(".")
    if slot not in type(system).model_fields or (value and slot not in system.slots()):
        return f"{system.name} has no {slot}"
    domain = space.get(slot)
    if isinstance(domain, Kinds) and (
        others := [kind for kind in domain.values if kind not in system.slots()[slot].kinds]
    ):
        return f"{slot} of {system.name} has no kind {', '.join(others)}"
    return ""


def _own(arm: Arm, slots: Mapping[str, Slot]) -> tuple[list[str], list[str]]:
    """Return the slots that an arm replaces, and the values that it sets; a system of its own sets none."""
    replaced: list[str] = []
    changed: list[str] = []
    if arm.has_own_system:
        return replaced, changed
    for path, change in arm.changes.items():
        if path not in slots:
            changed.append(path)
        elif isinstance(change, Mapping):
            replaced += [path] if "kind" in change else []
            changed += [f"{path}.{key}" for key in change if key != "kind"]
        else:
            replaced.append(path)
    return replaced, changed


def _misfits(path: str, domain: Domain, system: System) -> Iterator[str]:
    """Yield the reasons why a domain cannot be searched at a path in any arm."""
    name, *inner = path.split(".")
    slots = system.slots()
    if name not in type(system).model_fields or len(inner) > 1 or (inner and name not in slots):
        yield from edit_problems(system, path)
        return
    shown = written(domain.written())
    if path in slots:
        if isinstance(domain, Kinds):
            yield from (not_among(kind, slots[path].kinds) for kind in domain.values if kind not in slots[path].kinds)
        else:
            yield f"{shown} -> {{kinds: [{', '.join(slots[path].kinds)}]}} or a subset, since {path} is a slot"
        return
    fields = _fields(path, system)
    if inner == ["kind"]:
        yield f"kinds are searched at their slot -> {name}: {{kinds: [{', '.join(slots[name].kinds)}]}}"
    elif not fields:
        values = list(dict.fromkeys(value for kind in slots[name].kinds for value in _values(slots[name], kind)))
        yield f"{written(inner[0])} -> a value of {name}: {', '.join(values)}{did_you_mean(inner[0], values)}"
    elif isinstance(domain, Kinds):
        yield f"{shown} -> uniform, log_uniform, int_uniform or choice, since {path} is a value, not a slot"
    elif isinstance(domain, Uniform | LogUniform) and any(field.annotation is int for field in fields):
        yield f"{shown} -> {{int_uniform: [low, high]}}, since {path} is a whole number"


def _out_of_range(arm_space: ArmSpace) -> Iterator[tuple[str, str]]:
    """Yield domains with values outside the allowed range, for any kind that has the value, as (path, message)."""
    for path, domain in arm_space.space.items():
        if isinstance(domain, Kinds):
            continue
        slot = path.partition(".")[0]
        contexts: list[dict[str, Value]] = [{slot: kind} for kind in arm_space.kinds(path)] or [{}]
        for context, value in product(contexts, domain.extremes()):
            try:
                arm_space.system({**context, path: value})
            except EditError as error:
                yield from ((path, problem.message) for problem in error.problems)


def _fields(path: str, system: System) -> list[FieldInfo]:
    """Return the fields of a path: of the system, or of every kind of its slot that has the value."""
    name, _, value = path.partition(".")
    if not value:
        return [type(system).model_fields[name]]
    slot = system.slots()[name]
    return [slot.kinds[kind].model_fields[value] for kind in slot.kinds if value in _values(slot, kind)]


def _values(slot: Slot, kind: str) -> list[str]:
    return [name for name in slot.kinds[kind].model_fields if name != "kind"]


def _kind(system: System, slot: str) -> str:
    """Return the kind that fills a slot; empty for a path that is not a slot."""
    part = getattr(system, slot, None)
    return part.kind if isinstance(part, Part) else ""
