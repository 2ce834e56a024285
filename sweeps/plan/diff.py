"""How two studies differ: in what they ask, in their arms, and in the cells that both or one alone have."""

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
        path: Its dotted path.
        old: In the first study; None where there is nothing.
        new: In the second study; None where there is nothing.
    """

    path: str
    old: Any
    new: Any

    def in_words(self) -> str:
        """``old -> new`` as they would stand in a study file."""
        # Long values may be cut before they part.
        shown = repr if written(self.old) == written(self.new) else written
        return f"{shown(self.old)} -> {shown(self.new)}"


@dataclass(frozen=True)
class Sides(Generic[T]):
    """What both studies have and what one alone has, in the order of the study it is from."""

    both: tuple[T, ...]
    only_a: tuple[T, ...]
    only_b: tuple[T, ...]

    @classmethod
    def of(cls, a: Iterable[T], b: Iterable[T]) -> "Sides[T]":
        """Compare two collections of different things."""
        in_a, in_b = dict.fromkeys(a), dict.fromkeys(b)
        return cls(
            both=tuple(thing for thing in in_a if thing in in_b),
            only_a=tuple(thing for thing in in_a if thing not in in_b),
            only_b=tuple(thing for thing in in_b if thing not in in_a),
        )


@dataclass(frozen=True)
class Diff:
    """How study B differs from study A; it is true where it does.

    Args:
        keys: Keys of the studies, with protocol and data as they come out; ``objective`` is the first metric.
        arms: Ids of their arms.
        arms_alone: What each arm that one study alone has changes in the control.
        arms_changed: How each arm that both have, and that is another one in B, differs: in tree or hypothesis.
        seeds: Their seeds.
        metrics: Full names of their metrics.
        cells: Ids of the plans' cells; what is done of a cell that both have stays done.
        proposed: How many more cells the search of each may propose; 0 without one.
        same_search: Whether both search alike, so that trials of A count in B, but for arms that changed.
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
        """The same in plain values under the same names, with numbers of cells for their ids."""
        counts = {side: len(ids) for side, ids in vars(self.cells).items()}
        return {"same": not self, **asdict(self), "cells": counts}

    def text(self, a: str = "A", b: str = "B") -> str:
        """The same for people: ``-`` marks what A alone has, ``+`` what B alone has, ``~`` what is another in B.

        Args:
            a: What to call study A.
            b: What to call study B.
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
            search = "the same search, so that trials stay" if self.same_search else "another search"
            lines.append(f"    to be proposed {self.proposed[0]:,} in {a}, {self.proposed[1]:,} in {b}: {search}")
        return "\n".join(map(printable, lines))

    def _arm_rows(self) -> list[Row]:
        """One row per arm; those that change alike share a row, since a change of the control reaches most arms."""
        alike: dict[str, list[str]] = {}
        for arm, changes in self.arms_changed.items():
            alike.setdefault("; ".join(f"{change.path}: {change.in_words()}" for change in changes), []).append(arm)
        return [
            *(("-", arm, written(self.arms_alone[arm])) for arm in self.arms.only_a),
            *(("+", arm, written(self.arms_alone[arm])) for arm in self.arms.only_b),
            *(("~", _listed(arms), changes) for changes, arms in alike.items()),
        ]


def differences(a: Plan, b: Plan) -> Diff:
    """How study B differs from study A by what they mean: not in comments, order, or other words for the same arms."""
    arms_a, arms_b = ({arm.id: arm for arm in plan.arms} for plan in (a, b))
    arms = Sides.of(arms_a, arms_b)
    changed = {arm: changes(_arm(arms_a[arm]), _arm(arms_b[arm])) for arm in arms.both}
    return Diff(
        keys=changes(_keys(a), _keys(b)),
        arms=arms,
        arms_alone={arm: (arms_a | arms_b)[arm].changes for arm in (*arms.only_a, *arms.only_b)},
        arms_changed={arm: found for arm, found in changed.items() if found},
        seeds=Sides.of(a.study.all_seeds, b.study.all_seeds),
        metrics=Sides.of((metric.key for metric in a.metrics), (metric.key for metric in b.metrics)),
        cells=Sides.of((cell.id for cell in a.cells), (cell.id for cell in b.cells)),
        proposed=(_proposed(a), _proposed(b)),
        same_search=bool(a.search and b.search and a.search.identity == b.search.identity),
    )


def changes(old: object, new: object, path: Key = ()) -> tuple[Change, ...]:
    """Where two plain values differ: maps key by key, all else whole.

    Maps of different ``kind`` or ``layout`` are whole as well, since their other keys mean different things.
    """
    if old == new:
        return ()
    if isinstance(old, dict) and isinstance(new, dict) and all(old.get(k) == new.get(k) for k in ("kind", "layout")):
        keys = dict.fromkeys([*old, *new])
        return tuple(change for key in keys for change in changes(old.get(key), new.get(key), (*path, key)))
    return (Change(dotted(path), old, new),)


def _keys(plan: Plan) -> dict[str, Any]:
    """A study's keys but those compared by what comes of them, defaults of its base filled in."""
    spec, by_meaning = plan.cells[0].spec, {"control", "ablations", "arms", "seeds", "metrics"}
    keys = plan.study.model_dump(mode="json", by_alias=True, exclude=by_meaning)
    keys["data"] = spec.data.model_dump(mode="json", by_alias=True)
    keys["protocol"] = spec.protocol.model_dump(mode="json")
    keys["objective"] = plan.metrics[0].family
    if plan.search:
        keys["search"]["seed"] = plan.search.seed
        keys["search"]["objectives"] = {objective.key: objective.direction for objective in plan.search.objectives}
    return keys


def _proposed(plan: Plan) -> int:
    return plan.search.num_proposed if plan.search else 0


def _arm(arm: Arm) -> dict[str, Any]:
    expected = asdict(arm.expected) if arm.expected else None
    return {**arm.system.model_dump(mode="json"), "hypothesis": arm.hypothesis or None, "expected": expected}


def _rows(sides: Sides[Any]) -> list[Row]:
    """What one study alone has, each study on one line."""
    alone = (("-", sides.only_a), ("+", sides.only_b))
    return [(mark, _listed(things), "") for mark, things in alone if things]


def _listed(things: Sequence[object]) -> str:
    """All of a few things, the first of many."""
    shown = things if len(things) <= 8 else [*things[:7], f"and {len(things) - 7:,} others"]
    return ", ".join(map(str, shown))


def _aligned(rows: list[Row]) -> list[str]:
    """Rows with their last column below each other."""
    width = min(_WIDTH, max(len(what) for _, what, _ in rows))
    return [f"    {mark} {what:{width}}  {more}".rstrip() for mark, what, more in rows]
