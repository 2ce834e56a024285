"""Which arms a study's ablations make together, and what is then computed from them.

An ablation is a factor, and each of its arms a level of it beside the control's. A design crosses levels into arms; an
effect is a weighted sum of arms' values, the same in every seed, so that it has an interval and a test like any
difference from the control.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MOST_EXACT = 6
"""Parts up to which Shapley values are computed over all subsets."""
MOST_ARMS = 1024
NONE = "none of them"
_NONE = 1e-12
"""A weight no larger than this is what rounding left of nothing."""


def _tuples(value: object) -> object:
    """Lists as the tuples that strict types want: what a file holds has lists only."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


Pairs = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_tuples)]


class _Design(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class OneAtATime(_Design):
    """Each change alone, against the control."""

    kind: Literal["one_at_a_time"] = "one_at_a_time"


class AddOneIn(_Design):
    """All changes at once, and from there each part put back alone: what it is worth without the others."""

    kind: Literal["add_one_in"] = "add_one_in"


class Factorial(_Design):
    """Every combination of the changes, or of those of named pairs: effects and how they depend on one another."""

    kind: Literal["factorial"] = "factorial"
    pairs: Pairs = Field((), description="pairs of parts to cross; all parts by default")


class Shapley(_Design):
    """Each part's mean worth over all orders in which parts can be added: exact up to 6 parts, sampled above."""

    kind: Literal["shapley"] = "shapley"
    orders: Annotated[int, Field(ge=4, multiple_of=2)] = Field(
        16, description="orders that are drawn above 6 parts, every second one the reverse of the one before"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of the drawn orders")


Design = OneAtATime | AddOneIn | Factorial | Shapley


@dataclass(frozen=True)
class Level:
    """One change of one factor: its name, and its place among the factor's levels."""

    factor: int
    name: str


Combination = frozenset[Level]
"""Levels of different factors, laid on the control together; empty is the control."""


Of = TypeVar("Of", bound=Hashable)
Other = TypeVar("Other", bound=Hashable)


@dataclass(frozen=True)
class Contrast(Generic[Of]):
    """A weighted sum of values, the same in every seed: what a design computes besides differences from the control.

    Args:
        name: What it is of.
        kind: ``effect``, ``interaction``, ``added to nothing`` or ``shapley``.
        weights: By combination, or by the arm that is run for it; they sum to 0.
        draws: Where the sum is a mean over something that is drawn, such as orders: the sum of each draw alone.
    """

    name: str
    kind: str
    weights: Mapping[Of, float]
    draws: "tuple[Mapping[Of, float], ...]" = ()

    def over(self, other: "Callable[[Of], Other]") -> "Contrast[Other]":
        """The same sum over other names, of which one may stand for several; what cancels out is left away."""
        draws = tuple(_over(draw, other) for draw in self.draws)
        return Contrast(self.name, self.kind, _over(self.weights, other), draws)


def _over(weights: Mapping[Of, float], other: "Callable[[Of], Other]") -> dict[Other, float]:
    found: dict[Other, float] = {}
    for one, weight in weights.items():
        found[other(one)] = found.get(other(one), 0.0) + weight
    return {one: weight for one, weight in found.items() if abs(weight) > _NONE}


def crossed(design: Design, factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[Combination]:
    """The combinations that a design runs beside the control, singles first, each once.

    Args:
        design: Which.
        factors: The levels of each.
        parts: What each factor changes, for naming pairs.
    """
    singles = [frozenset({level}) for levels in factors for level in levels]
    together = [frozenset(levels) for levels in itertools.product(*factors)] if factors else []
    match design:
        case OneAtATime():
            found = singles
        case AddOneIn():
            found = [
                *together,
                *(_without(whole, factor) for whole in together for factor in range(len(factors))),
            ]
        case Factorial():
            found = [*singles, *(one for group in _groups(design, factors, parts) for one in _product(group))]
        case Shapley():
            found = [*singles, *(prefix for order in _orders(design, factors) for prefix in _coalitions(order))]
    return [one for one in dict.fromkeys(found) if one]


def effects(design: Design, factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[Contrast[Combination]]:
    """What a design computes besides each arm's difference from the control."""
    match design:
        case AddOneIn():
            return _added(factors, parts)
        case Factorial():
            return [effect for group in _groups(design, factors, parts) for effect in _factorial(group)]
        case Shapley():
            return _shapley(design, factors, parts)
    return []


# ------------------------------------------------------------------------------------------------------- combinations


def _without(combination: Combination, factor: int) -> Combination:
    return frozenset(level for level in combination if level.factor != factor)


def _product(factors: Sequence[Sequence[Level]]) -> list[Combination]:
    """All combinations of the factors' levels, the control's among them, fewest changes first."""
    choices = itertools.product(*([None, *levels] for levels in factors))
    found = [frozenset(level for level in choice if level is not None) for choice in choices]
    return sorted(found, key=len)


def _groups(design: Factorial, factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[list[Sequence[Level]]]:
    """The factors that are crossed with one another: those of each named pair, or all."""
    pairs = [[factors[parts.index(part)] for part in pair] for pair in design.pairs]
    return pairs or [list(factors)]


# ------------------------------------------------------------------------------------------------------------- effects


def _added(factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[Contrast[Combination]]:
    """Each part alone less none of them; and all of them less none."""
    (nothing,) = [frozenset(levels) for levels in itertools.product(*factors)]
    alone = [
        Contrast(part, "added to nothing", {_without(nothing, factor): 1.0, nothing: -1.0})
        for factor, part in enumerate(parts)
    ]
    return [*alone, Contrast("all of them", "added to nothing", {frozenset(): 1.0, nothing: -1.0})]


def _factorial(factors: Sequence[Sequence[Level]]) -> list[Contrast[Combination]]:
    """Effects of each level, averaged over the other factors' levels; then of each pair, how far they do not add up.

    A(a) = mean_r [y(a, r) - y(0, r)],   AB(a, b) = mean_r [y(a, b, r) - y(a, 0, r) - y(0, b, r) + y(0, 0, r)]
    """
    found = []
    for size, kind in ((1, "effect"), (2, "interaction")):
        for chosen in itertools.combinations(range(len(factors)), size):
            rest = _product([factors[k] for k in range(len(factors)) if k not in chosen])
            for levels in itertools.product(*(factors[k] for k in chosen)):
                weights: dict[Combination, float] = {}
                for some in itertools.product((True, False), repeat=size):
                    sign = math.prod(1 if there else -1 for there in some)
                    own = frozenset(level for level, there in zip(levels, some, strict=True) if there)
                    for others in rest:
                        weights[own | others] = weights.get(own | others, 0.0) + sign / len(rest)
                found.append(Contrast(" x ".join(level.name for level in levels), kind, weights))
    return found


def _shapley(design: Shapley, factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[Contrast[Combination]]:
    """Each part's worth, averaged over orders: what adding it changes, given the parts that were added before it.

        phi_i = mean over orders of [v(before_i + i) - v(before_i)],   sum_i phi_i = v(all) - v(none)

    Where orders are drawn, one and its reverse are one draw.

    Source: Shapley (1953); sampled orders: Castro, Gomez and Tejada (2009).
    """
    orders = _orders(design, factors)
    whole = _worths(factors, orders)
    pairs = () if len(factors) <= MOST_EXACT else tuple(zip(orders[::2], orders[1::2], strict=True))
    draws = [_worths(factors, pair) for pair in pairs]
    sums = (
        Contrast(part, "shapley", whole[number], tuple(draw[number] for draw in draws))
        for number, part in enumerate(parts)
    )
    return [one.over(lambda combination: combination) for one in sums]


def _worths(factors: Sequence[Sequence[Level]], orders: Sequence[tuple[Level, ...]]) -> list[dict[Combination, float]]:
    """By factor, what adding it changes, in the mean of some orders."""
    everything = frozenset(levels[0] for levels in factors)
    weights: list[dict[Combination, float]] = [{} for _ in factors]
    for order in orders:
        for place, level in enumerate(order):
            changed = everything - frozenset(order[:place])
            for combination, sign in ((changed - {level}, 1.0), (changed, -1.0)):
                known = weights[level.factor]
                known[combination] = known.get(combination, 0.0) + sign / len(orders)
    return weights


def _orders(design: Shapley, factors: Sequence[Sequence[Level]]) -> list[tuple[Level, ...]]:
    """Orders in which parts are added: all of them up to 6 parts, else some, each with its reverse."""
    levels = [one[0] for one in factors]
    if len(levels) <= MOST_EXACT:
        return list(itertools.permutations(levels))
    import numpy as np

    rng = np.random.default_rng(design.seed)
    drawn = [tuple(levels[k] for k in rng.permutation(len(levels))) for _ in range(design.orders // 2)]
    return [order for one in drawn for order in (one, one[::-1])]


def _coalitions(order: Sequence[Level]) -> Iterable[Combination]:
    """What is changed while parts are added in an order, from all of them to none."""
    return (frozenset(order[place:]) for place in range(len(order) + 1))
