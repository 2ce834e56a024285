"""Designs: how a study's ablations are combined into arms, and the effects that are estimated from these arms.

Each ablation is a factor; its arms are the factor's levels besides the control. A design crosses levels into arms. An
effect is a weighted sum of arms' values with the same weights in every seed, so it has an interval and a test like any
difference from the control.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_EXACT_PARTS = 6
"""Largest number of parts for which Shapley values are computed over all subsets."""
MAX_ARMS = 1024
NONE = "none of them"
_NONE = 1e-12
"""Weights up to this size are rounding errors of 0."""


def _tuples(value: object) -> object:
    """Convert lists to the tuples that strict types require; files contain only lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


Pairs = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_tuples)]


class _Design(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class OneAtATime(_Design):
    """Each change alone, against the control."""

    kind: Literal["one_at_a_time"] = "one_at_a_time"


class AddOneIn(_Design):
    """All changes at once, and each part added back alone: its effect without the others."""

    kind: Literal["add_one_in"] = "add_one_in"


class Factorial(_Design):
    """Every combination of the changes, or of named pairs of them: main effects and interactions."""

    kind: Literal["factorial"] = "factorial"
    pairs: Pairs = Field((), description="pairs of parts to cross; all parts by default")
    # Left out if not set: plans of studies without it are those of versions without it.
    shapley: Annotated[bool, Field(exclude_if=lambda value: not value)] = Field(
        False, description="also the Shapley value of each part; one change per part, up to 6 parts, no pairs"
    )


class Shapley(_Design):
    """Mean effect of adding each part, over all orders of adding the parts: exact up to 6 parts, sampled above."""

    kind: Literal["shapley"] = "shapley"
    orders: Annotated[int, Field(ge=4, multiple_of=2)] = Field(
        16, description="orders that are drawn above 6 parts, in pairs of an order and its reverse"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="random seed of the drawn orders")


Design = OneAtATime | AddOneIn | Factorial | Shapley


@dataclass(frozen=True)
class Level:
    """One change of a factor.

    Args:
        factor: Index of the factor.
        name: Id of the arm with this change alone.
    """

    factor: int
    name: str


Combination = frozenset[Level]
"""Levels of different factors, applied to the control together; the empty set is the control."""


Term = TypeVar("Term", bound=Hashable)
NewTerm = TypeVar("NewTerm", bound=Hashable)


@dataclass(frozen=True)
class Contrast(Generic[Term]):
    """A weighted sum of arms' values, with the same weights in every seed.

    Args:
        name: Part or arms that the effect belongs to.
        kind: ``effect``, ``interaction``, ``added to nothing``, ``shapley`` or ``trend``.
        weights: By combination, or by the arm that is run for it; they sum to 0.
        draws: The weights of each draw alone, where the sum is a mean over random draws such as orders.
    """

    name: str
    kind: str
    weights: Mapping[Term, float]
    draws: "tuple[Mapping[Term, float], ...]" = ()

    def renamed(self, other: "Callable[[Term], NewTerm]") -> "Contrast[NewTerm]":
        """Rename the terms; terms with the same new name are added, and those that cancel out are left out."""
        draws = tuple(_renamed(draw, other) for draw in self.draws)
        return Contrast(self.name, self.kind, _renamed(self.weights, other), draws)


def _renamed(weights: Mapping[Term, float], other: "Callable[[Term], NewTerm]") -> dict[NewTerm, float]:
    sums: dict[NewTerm, float] = {}
    for term, weight in weights.items():
        sums[other(term)] = sums.get(other(term), 0.0) + weight
    return {term: weight for term, weight in sums.items() if abs(weight) > _NONE}


def crossed(design: Design, factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[Combination]:
    """List the combinations that a design runs besides the control, single changes first, each once.

    Args:
        design: The design.
        factors: Levels of each factor.
        parts: Part that each factor changes, to look up named pairs.
    """
    singles = [frozenset({level}) for levels in factors for level in levels]
    together = [frozenset(levels) for levels in itertools.product(*factors)] if factors else []
    match design:
        case OneAtATime():
            combinations = singles
        case AddOneIn():
            combinations = [
                *together,
                *(_without(whole, factor) for whole in together for factor in range(len(factors))),
            ]
        case Factorial():
            groups = _groups(design, factors, parts)
            combinations = [*singles, *(combination for group in groups for combination in _product(group))]
        case Shapley():
            coalitions = (coalition for order in _orders(design, factors) for coalition in _coalitions(order))
            combinations = [*singles, *coalitions]
    return [combination for combination in dict.fromkeys(combinations) if combination]


def effects(design: Design, factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[Contrast[Combination]]:
    """List the effects that a design estimates besides each arm's difference from the control."""
    match design:
        case AddOneIn():
            return _added(factors, parts)
        case Factorial():
            found = [effect for group in _groups(design, factors, parts) for effect in _factorial(group)]
            return found + (_shapley(Shapley(), factors, parts) if design.shapley else [])
        case Shapley():
            return _shapley(design, factors, parts)
    return []


TREND = "trend"
LEAST_VALUES = 3
"""Smallest number of values that have a trend of their own; two have a difference."""


def trend(path: str, values: Mapping[str, float]) -> Contrast[str] | None:
    """Return the linear change of a metric from the smallest to the largest value; None for fewer than 3 values.

        w_a = (v_a - mean(v)) / sum_b (v_b - mean(v))^2 * (max(v) - min(v))

    One test of all arms of an ordered set of values has more power than a test of each.

    Args:
        path: Dotted path of the value.
        values: Arm -> its value.
    """
    if len(set(values.values())) < LEAST_VALUES:
        return None
    mean = math.fsum(values.values()) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values.values())
    width = max(values.values()) - min(values.values())
    return Contrast(path, TREND, {arm: (value - mean) / squares * width for arm, value in values.items()})


# ------------------------------------------------------------------------------------------------------- combinations


def _without(combination: Combination, factor: int) -> Combination:
    return frozenset(level for level in combination if level.factor != factor)


def _product(factors: Sequence[Sequence[Level]]) -> list[Combination]:
    """List all combinations of the factors' levels including the control, fewest changes first."""
    choices = itertools.product(*([None, *levels] for levels in factors))
    combinations = [frozenset(level for level in choice if level is not None) for choice in choices]
    return sorted(combinations, key=len)


def _groups(design: Factorial, factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[list[Sequence[Level]]]:
    """Group the factors that are crossed: each named pair, or all factors."""
    pairs = [[factors[parts.index(part)] for part in pair] for pair in design.pairs]
    return pairs or [list(factors)]


# ------------------------------------------------------------------------------------------------------------- effects


def _added(factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[Contrast[Combination]]:
    """Effects of each part alone, and of all parts, relative to none of the parts."""
    (nothing,) = [frozenset(levels) for levels in itertools.product(*factors)]
    alone = [
        Contrast(part, "added to nothing", {_without(nothing, factor): 1.0, nothing: -1.0})
        for factor, part in enumerate(parts)
    ]
    return [*alone, Contrast("all of them", "added to nothing", {frozenset(): 1.0, nothing: -1.0})]


def _factorial(factors: Sequence[Sequence[Level]]) -> list[Contrast[Combination]]:
    """Main effects of each level, averaged over the other factors' levels, then interactions of each pair of levels.

    A(a) = mean_r [y(a, r) - y(0, r)],   AB(a, b) = mean_r [y(a, b, r) - y(a, 0, r) - y(0, b, r) + y(0, 0, r)]
    """
    contrasts = []
    for size, kind in ((1, "effect"), (2, "interaction")):
        for chosen in itertools.combinations(range(len(factors)), size):
            rest = _product([factors[k] for k in range(len(factors)) if k not in chosen])
            for levels in itertools.product(*(factors[k] for k in chosen)):
                weights: dict[Combination, float] = {}
                for applied in itertools.product((True, False), repeat=size):
                    sign = math.prod(1 if is_in else -1 for is_in in applied)
                    own = frozenset(level for level, is_in in zip(levels, applied, strict=True) if is_in)
                    for others in rest:
                        weights[own | others] = weights.get(own | others, 0.0) + sign / len(rest)
                contrasts.append(Contrast(" x ".join(level.name for level in levels), kind, weights))
    return contrasts


def _shapley(design: Shapley, factors: Sequence[Sequence[Level]], parts: Sequence[str]) -> list[Contrast[Combination]]:
    """Shapley value of each part: the mean over orders of the effect of adding it to the parts added before it.

        phi_i = mean over orders of [v(before_i + i) - v(before_i)],   sum_i phi_i = v(all) - v(none)

    Where orders are drawn, an order and its reverse are one draw.

    Source: Shapley (1953); sampled orders: Castro, Gomez and Tejada (2009).
    """
    orders = _orders(design, factors)
    whole = _marginal_weights(factors, orders)
    pairs = () if len(factors) <= MAX_EXACT_PARTS else tuple(zip(orders[::2], orders[1::2], strict=True))
    draws = [_marginal_weights(factors, pair) for pair in pairs]
    contrasts = (
        Contrast(part, "shapley", whole[number], tuple(draw[number] for draw in draws))
        for number, part in enumerate(parts)
    )
    return [contrast.renamed(lambda combination: combination) for contrast in contrasts]


def _marginal_weights(
    factors: Sequence[Sequence[Level]], orders: Sequence[tuple[Level, ...]]
) -> list[dict[Combination, float]]:
    """Weights of the mean effect of adding each factor's part, over some orders."""
    everything = frozenset(levels[0] for levels in factors)
    weights: list[dict[Combination, float]] = [{} for _ in factors]
    for order in orders:
        for place, level in enumerate(order):
            changed = everything - frozenset(order[:place])
            for combination, sign in ((changed - {level}, 1.0), (changed, -1.0)):
                of_part = weights[level.factor]
                of_part[combination] = of_part.get(combination, 0.0) + sign / len(orders)
    return weights


def _orders(design: Shapley, factors: Sequence[Sequence[Level]]) -> list[tuple[Level, ...]]:
    """Orders in which parts are added: all orders up to 6 parts, else a random sample, each with its reverse."""
    levels = [of_factor[0] for of_factor in factors]
    if len(levels) <= MAX_EXACT_PARTS:
        return list(itertools.permutations(levels))
    import numpy as np

    rng = np.random.default_rng(design.seed)
    drawn = [tuple(levels[k] for k in rng.permutation(len(levels))) for _ in range(design.orders // 2)]
    return [order for forward in drawn for order in (forward, forward[::-1])]


def _coalitions(order: Sequence[Level]) -> Iterable[Combination]:
    """Remaining changes while parts are added in an order, from all changes to none."""
    return (frozenset(order[place:]) for place in range(len(order) + 1))
