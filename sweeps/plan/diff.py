"""Differences between two studies: keys, arms, seeds, metrics and cells."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from sweeps.plan.arms import Arm
from sweeps.plan.plan import Plan
from sweeps.study.document import Key, dotted, printable
from sweeps.study.words import written

T = TypeVar("T")
Row = tuple[str, str, str]

_WIDTH = 60


@dataclass(frozen=True)
class Change:
    """A value that differs.

    Args:
        path: Dotted path.
        old: Value in the first study; None without one.
        new: Value in the second study; None without one.
    """

    path: str
    old: Any
    new: Any

    def in_words(self) -> str:
        """Format as ``old -> new``, with values as in a study file."""
        # Long values may be cut before the first difference.
        shown = repr if written(self.old) == written(self.new) else written
        return f"{shown(self.old)} -> {shown(self.new)}"


@dataclass(frozen=True)
class Sides(Generic[T]):
    """Elements of both studies and of only one of them, in the order of the study."""

    both: tuple[T, ...]
    only_a: tuple[T, ...]
    only_b: tuple[T, ...]

    @classmethod
    def of(cls, a: Iterable[T], b: Iterable[T]) -> "Sides[T]":
        """Compare two collections."""
        in_a, in_b = dict.fromkeys(a), dict.fromkeys(b)
        return cls(
            both=tuple(element for element in in_a if element in in_b),
            only_a=tuple(element for element in in_a if element not in in_b),
            only_b=tuple(element for element in in_b if element not in in_a),
        )


@dataclass(frozen=True)
class Diff:
    """Differences of study B from study A; true if there are any.

    Args:
        keys: Changed keys, with protocol and data after defaults; ``objective`` is the first metric.
        arms: Ids of the arms.
        arms_alone: Changes to the control of each arm that only one study has.
        arms_changed: Differences in tree or hypothesis of each arm that both studies have.
        seeds: The seeds.
        metrics: Full names of the metrics.
        cells: Ids of the cells; finished cells that both plans contain are not run again.
        proposed: Number of cells that each search may still propose; 0 without a search.
        same_search: Whether both searches are the same, so that trials of A count in B, except for changed arms.
    """

    keys: tuple[Change, ...]
    arms: Sides[str]
    arms_alone: Mapping[str, Mapping[str, object]]
    arms_changed: Mapping[str, tuple[Change, ...]]
    seeds: Sides[int]
    metrics: Sides[str]
    cells: Sides[str]
    proposed: tuple[int, int] = (0, 0)
    same_search: bool = False

    def __bool__(self) -> bool:
        sides = (self.arms, self.seeds, self.metrics, self.cells)
        another_search = any(self.proposed) and not self.same_search
        return bool(self.keys or self.arms_changed or another_search or any(s.only_a or s.only_b for s in sides))

    def as_json(self) -> dict[str, Any]:
        """Convert to plain values under the same names, with numbers of cells instead of ids."""
        counts = {side: len(ids) for side, ids in vars(self.cells).items()}
        return {"same": not self, **asdict(self), "cells": counts}

    def text(self, a: str = "A", b: str = "B") -> str:
        """Format as text: ``-`` marks elements of A only, ``+`` of B only, ``~`` changes.

        Args:
            a: Name of study A.
            b: Name of study B.
        """
        if not self:
            return printable(f"{a} and {b} do not differ: the same {len(self.cells.both)} cells")
        sections: dict[str, list[Row]] = {
            "keys": [("~", change.path, change.in_words()) for change in self.keys],
            "arms": self._arm_rows(),
            "seeds": _rows(self.seeds),
            "metrics": _rows(self.metrics),
        }
        lines = [f"{a} -> {b}"]
        for title, rows in sections.items():
            lines += [f"  {title}", *_aligned(rows)] if rows else []
        same, only_a, only_b = (f"{len(ids):,}" for ids in vars(self.cells).values())
        lines += ["  cells", f"    {same} in both, {only_a} only in {a}, {only_b} only in {b}"]
        if any(self.proposed):
            search = "same search, trials are kept" if self.same_search else "different search"
            lines.append(f"    to propose: {self.proposed[0]:,} in {a}, {self.proposed[1]:,} in {b}; {search}")
        return "\n".join(map(printable, lines))

    def _arm_rows(self) -> list[Row]:
        """One row per arm; arms with the same change share a row, since a change of the control affects most arms."""
        by_change: dict[str, list[str]] = {}
        for arm, changes in self.arms_changed.items():
            by_change.setdefault("; ".join(f"{change.path}: {change.in_words()}" for change in changes), []).append(arm)
        return [
            *(("-", arm, written(self.arms_alone[arm])) for arm in self.arms.only_a),
            *(("+", arm, written(self.arms_alone[arm])) for arm in self.arms.only_b),
            *(("~", _listed(arms), changes) for changes, arms in by_change.items()),
        ]


def differences(a: Plan, b: Plan) -> Diff:
    """Compare the meaning of two studies; comments, order and notation are ignored."""
    arms_a, arms_b = ({arm.id: arm for arm in plan.arms} for plan in (a, b))
    arms = Sides.of(arms_a, arms_b)
    changed = {arm: changes(_arm(a, arms_a[arm]), _arm(b, arms_b[arm])) for arm in arms.both}
    keys_a, keys_b = settings(a), settings(b)
    if keys_a["data"] == keys_b["data"]:  # else all cells differ anyway
        keys_a["data"], keys_b["data"] = (
            {**keys["data"], "content": plan.cells[0].spec.content} for keys, plan in ((keys_a, a), (keys_b, b))
        )
    return Diff(
        keys=changes(keys_a, keys_b),
        arms=arms,
        arms_alone={arm: (arms_a | arms_b)[arm].changes for arm in (*arms.only_a, *arms.only_b)},
        arms_changed={arm: of_arm for arm, of_arm in changed.items() if of_arm},
        seeds=Sides.of(a.study.all_seeds, b.study.all_seeds),
        metrics=Sides.of((metric.key for metric in a.metrics), (metric.key for metric in b.metrics)),
        cells=Sides.of((cell.id for cell in a.cells), (cell.id for cell in b.cells)),
        proposed=(_proposed(a), _proposed(b)),
        same_search=bool(a.search and b.search and a.search.identity == b.search.identity),
    )


def changes(old: object, new: object, path: Key = ()) -> tuple[Change, ...]:
    """List the differences of two plain values: maps key by key, other values as a whole.

    Maps with a different ``kind`` or ``layout`` differ as a whole as well, since their other keys differ in meaning.
    """
    if old == new:
        return ()
    if isinstance(old, dict) and isinstance(new, dict) and all(old.get(k) == new.get(k) for k in ("kind", "layout")):
        keys = dict.fromkeys([*old, *new])
        return tuple(change for key in keys for change in changes(old.get(key), new.get(key), (*path, key)))
    return (Change(dotted(path), old, new),)


def settings(plan: Plan) -> dict[str, Any]:
    """Return a study's keys with defaults of its base, without the keys that are compared by their expansion."""
    spec, by_meaning = plan.cells[0].spec, {"control", "ablations", "arms", "seeds", "metrics"}
    keys = plan.study.model_dump(mode="json", by_alias=True, exclude=by_meaning)
    keys["data"] = spec.data.model_dump(mode="json", by_alias=True)
    keys["protocol"] = spec.protocol.model_dump(mode="json")
    keys["objective"] = plan.metrics[0].family
    if plan.search:
        keys["search"]["seed"], keys["search"]["repeats"] = plan.search.seed, plan.search.repeats
        keys["search"]["objectives"] = {objective.key: objective.direction for objective in plan.search.objectives}
    return keys


def _proposed(plan: Plan) -> int:
    return plan.search.num_proposed if plan.search else 0


def _arm(plan: Plan, arm: Arm) -> dict[str, Any]:
    """Return the meaning of an arm; system and base only where they are not the study's, which is compared itself."""
    expected = asdict(arm.expected) if arm.expected else None
    own = {"system": arm.system.name} if arm.has_own_system else {}
    own |= {"base": arm.base} if arm.base != plan.study.base else {}
    own |= {"text_encoder": arm.text_encoder} if "text_encoder" in arm.changes else {}
    own |= {f"protocol.{key}": value for key, value in arm.sampling.items()}
    return {**arm.system.model_dump(mode="json"), **own, "hypothesis": arm.hypothesis or None, "expected": expected}


def _rows(sides: Sides[Any]) -> list[Row]:
    """Format the elements of only one study, one line per study."""
    marked = (("-", sides.only_a), ("+", sides.only_b))
    return [(mark, _listed(elements), "") for mark, elements in marked if elements]


def _listed(elements: Sequence[object]) -> str:
    """List up to 8 elements, or the first 7 and the number of the others."""
    shown = elements if len(elements) <= 8 else [*elements[:7], f"and {len(elements) - 7:,} others"]
    return ", ".join(map(str, shown))


def _aligned(rows: list[Row]) -> list[str]:
    """Format rows with their last column aligned."""
    width = min(_WIDTH, max(len(name) for _, name, _ in rows))
    return [f"    {mark} {name:{width}}  {change}".rstrip() for mark, name, change in rows]
