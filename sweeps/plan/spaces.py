"""A search space laid on the arms of a study: what can be searched inside each, what cannot, and why."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from pydantic.fields import FieldInfo

from models.system import EditError, Part, Slot, System
from models.words import did_you_mean
from search_spaces import Domain, Kinds, LogUniform, Uniform, Value
from sweeps.plan.arms import Arm, refused
from sweeps.study.fields import REMOVED
from sweeps.study.words import not_among, written


@dataclass(frozen=True)
class ArmSpace:
    """What is searched inside one arm.

    Args:
        arm: The arm that samples are laid on.
        space: Dotted path -> domain; slots come before the values inside them.
        dropped: A sentence for each path that the study searches and this arm does not.
    """

    arm: Arm
    space: Mapping[str, Domain]
    dropped: tuple[str, ...] = ()

    def exists(self, path: str, sample: Mapping[str, Value]) -> bool:
        """Whether the part that a sample puts in, or the arm's own, has the value at this path."""
        slot, _, value = path.partition(".")
        kind = sample.get(slot, _kind(self.arm.system, slot))
        return not value or value in _values(self.arm.system.slots()[slot], str(kind))

    def draw(self, ask: Callable[[str, Domain], Value]) -> dict[str, Value]:
        """Draw a sample: the kinds first, then the values that the drawn kinds have.

        Args:
            ask: Gives a value for a path and its domain.
        """
        sample: dict[str, Value] = {}
        for path, domain in self.space.items():
            if self.exists(path, sample):
                sample[path] = ask(path, domain)
        return sample

    def holds(self, sample: Mapping[str, Value]) -> bool:
        """Whether a sample can be drawn here: these paths and no others, each with a value of its domain."""
        return sample.keys() <= self.space.keys() and all(
            (path in sample) == self.exists(path, sample) and (path not in sample or domain.contains(sample[path]))
            for path, domain in self.space.items()
        )

    def within(self, point: Mapping[str, Value]) -> dict[str, Value]:
        """What this space knows of a point; a value brings along a kind that has it, the arm's own where it does."""
        known = {path: point[path] for path in self.space if path in point}
        for path in list(known):
            slot = path.partition(".")[0]
            if slot in self.space and slot not in known:
                kinds, own = self.kinds(path), _kind(self.arm.system, slot)
                known[slot] = own if own in kinds else kinds[0]
        return known

    def system(self, sample: Mapping[str, Value]) -> System:
        """The arm with a sample laid on it; a kind that is there already keeps the arm's values."""
        there = {path: kind for path in self.space if (kind := _kind(self.arm.system, path))}
        return self.arm.system.edit({path: value for path, value in sample.items() if value != there.get(path)})

    def kinds(self, path: str) -> tuple[str, ...]:
        """The kinds that may stand at a value's slot and have this value; empty for a value outside slots."""
        slot, _, value = path.partition(".")
        if not value:
            return ()
        drawn = self.space.get(slot)
        kinds = drawn.values if isinstance(drawn, Kinds) else (_kind(self.arm.system, slot),)
        return tuple(kind for kind in kinds if value in _values(self.arm.system.slots()[slot], kind))

    def num_samples(self) -> int | None:
        """How many different samples there are; None where a continuum is searched."""
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


def lay(
    space: Mapping[str, Domain], arms: Sequence[Arm], *, complete: bool
) -> tuple[list[ArmSpace], list[tuple[str, str]]]:
    """Lay a space on every arm.

    What an arm changes is its own and is not searched in it, nor is what its parts do not have.

    Args:
        space: Dotted path -> domain, as asked.
        arms: The control first.
        complete: Whether these are all arms, so that a path which none of them has is wrong.

    Returns:
        The spaces, some of which may be empty, and what is wrong with the space: (path, message).
    """
    control = arms[0].system
    problems = [(path, message) for path, domain in space.items() for message in _misfits(path, domain, control)]
    unfit = {path for path, _ in problems}
    ordered = sorted(space.keys() - unfit, key=lambda path: ("." in path, path))
    fit = {path: space[path] for path in ordered}
    laid = [_on_arm(fit, arm) for arm in arms]
    problems += dict.fromkeys(problem for arm_space in laid for problem in _out_of_range(arm_space))
    if complete:
        for path in fit:
            if path.partition(".")[0] not in unfit and not any(path in arm_space.space for arm_space in laid):
                reason = _obstacle(path, fit, arms[0])
                problems.append((path, f"searched in no arm: {reason} -> a path that some arm has"))
    return laid, problems


def _on_arm(space: Mapping[str, Domain], arm: Arm) -> ArmSpace:
    obstacles = {path: _obstacle(path, space, arm) for path in space}
    kept = {path: domain for path, domain in space.items() if not obstacles[path]}
    dropped = (f"{path} is not searched: {obstacle}" for path, obstacle in obstacles.items() if obstacle)
    return ArmSpace(arm, kept, tuple(dropped))


def _obstacle(path: str, space: Mapping[str, Domain], arm: Arm) -> str:
    """Why a path is not searched in an arm; empty where it is."""
    slots = arm.system.slots()
    replaced, changed = _own(arm, slots)
    slot, _, value = path.partition(".")
    if path in changed:
        return "the arm sets it"
    kind = _kind(arm.system, slot)
    if path in slots:
        if path in replaced:
            return "the arm removes it" if kind == REMOVED else f"the arm puts {kind} in"
        inside = next((other for other in changed if other.startswith(f"{path}.")), None)
        return f"the arm sets {inside}, which another kind would undo" if inside else ""
    drawn = space.get(slot)
    if not value:
        return ""
    if isinstance(drawn, Kinds) and not _obstacle(slot, space, arm):
        has = any(value in _values(slots[slot], drawable) for drawable in drawn.values)
        return "" if has else f"none of the kinds searched at {slot} has it"
    if value in _values(slots[slot], kind):
        return ""
    return f"{slot} is {kind} here" if kind == REMOVED else f"{slot} is {kind} here, which has no {value}"


def _own(arm: Arm, slots: Mapping[str, Slot]) -> tuple[list[str], list[str]]:
    """The slots that an arm fills anew, and the values that it sets."""
    replaced, changed = [], []
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
    """Why a domain cannot be searched at a path in any arm."""
    name, *inner = path.split(".")
    slots = system.slots()
    if name not in type(system).model_fields or len(inner) > 1 or (inner and name not in slots):
        yield from refused(system, path)
        return
    asked = written(domain.written())
    if path in slots:
        if isinstance(domain, Kinds):
            yield from (not_among(kind, slots[path].kinds) for kind in domain.values if kind not in slots[path].kinds)
        else:
            yield f"{asked} -> {{kinds: [{', '.join(slots[path].kinds)}]}} or some of them, since {path} is a slot"
        return
    fields = _fields(path, system)
    if inner == ["kind"]:
        yield f"a kind is searched at its slot -> {name}: {{kinds: [{', '.join(slots[name].kinds)}]}}"
    elif not fields:
        values = list(dict.fromkeys(value for kind in slots[name].kinds for value in _values(slots[name], kind)))
        yield f"{written(inner[0])} -> a value of {name}: {', '.join(values)}{did_you_mean(inner[0], values)}"
    elif isinstance(domain, Kinds):
        yield f"{asked} -> uniform, log_uniform, int_uniform or choice, since {path} is a value and no slot"
    elif isinstance(domain, Uniform | LogUniform) and any(field.annotation is int for field in fields):
        yield f"{asked} -> {{int_uniform: [low, high]}}, since {path} is a whole number"


def _out_of_range(arm_space: ArmSpace) -> Iterator[tuple[str, str]]:
    """Where a domain reaches beyond what a value may be, in any kind that can have it: (path, message)."""
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
    """The fields that a path may mean: of the system, or of every kind of its slot that has one."""
    name, _, value = path.partition(".")
    if not value:
        return [type(system).model_fields[name]]
    slot = system.slots()[name]
    return [slot.kinds[kind].model_fields[value] for kind in slot.kinds if value in _values(slot, kind)]


def _values(slot: Slot, kind: str) -> list[str]:
    return [name for name in slot.kinds[kind].model_fields if name != "kind"]


def _kind(system: System, slot: str) -> str:
    """The kind that fills a slot; empty for a path that is none."""
    part = getattr(system, slot, None)
    return part.kind if isinstance(part, Part) else ""
