"""Cells that diverged: an outcome of the method, so that arms are compared in how often it happens as well."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.results.arm_values import ArmValues, Key
from sweeps.results.pairing import Pairs, WeightedSum
from sweeps.statistics.paired import holm
from trainables.metrics import MetricKey, is_context

Direction = Literal["max", "min"] | None
"""Better side of a metric; None for one that only gives context."""


@dataclass(frozen=True)
class Divergence:
    """How often an arm diverged, compared with the control.

    Args:
        arm: Id of the arm.
        diverged: Its seeds that diverged.
        of_control: Seeds of the control that diverged.
        seeds: Seeds at which both have ended.
        p_corrected: Exact McNemar test over these seeds, corrected after Holm over the arms.
    """

    arm: str
    diverged: int
    of_control: int
    seeds: int
    p_corrected: float


def divergences(arms: Sequence[ArmValues]) -> tuple[Divergence, ...]:
    """Compare the rates of divergence of arms and control; empty where no cell diverged.

        p = min(1, 2 P(X <= min(b, c))),   X ~ Binomial(b + c, 1/2)

    with b seeds at which only the arm diverged, and c at which only the control did.

    Args:
        arms: Values of the arms, the control first.

    Source: McNemar (1947), its exact form.
    """
    from scipy.stats import binomtest

    control = _ended(arms[0])
    found = []
    for arm in arms[1:]:
        own = _ended(arm)
        seeds = own.keys() & control.keys()
        only_arm = sum(own[seed] and not control[seed] for seed in seeds)
        only_control = sum(control[seed] and not own[seed] for seed in seeds)
        either = only_arm + only_control
        p = float(binomtest(only_arm, either).pvalue) if either else 1.0
        if any(own[seed] or control[seed] for seed in seeds):
            diverged, of_control = (sum(one[seed] for seed in seeds) for one in (own, control))
            found.append(Divergence(arm.id, diverged, of_control, len(seeds), p))
    corrected = holm([item.p_corrected for item in found])
    return tuple(Divergence(i.arm, i.diverged, i.of_control, i.seeds, p) for i, p in zip(found, corrected, strict=True))


def _ended(arm: ArmValues) -> dict[int, bool]:
    """Return whether each cell diverged, by seed; only those that are done or diverged."""
    return {s: record.diverged for s, record in arm.records.items() if record.diverged or record.status == "done"}


def direction_of(metric: MetricKey) -> Direction:
    """Return the better side of a metric."""
    return None if is_context(metric) else metric.direction


def ranked(weighted: WeightedSum, direction: Direction, seeds: Collection[int] | None = None) -> Pairs:
    """Replace differences by signed ranks of their size, with the units at which terms diverged as the largest.

    A cell that diverged has the value -L (L where small is better), L larger than any other. So a unit at which only
    the arm diverged counts as its worst, one at which only the control did as its best; where both did they are equal.
    Where neither side is better, cells that diverged lie where they contradict the others. Ranks need no value for what
    has none.

    Args:
        weighted: Arm minus control, or an effect.
        direction: Better side of the metric.
        seeds: Seeds that count; all by default.
    """
    from scipy.stats import rankdata

    pairs = weighted.pairs(seeds)
    balances = _balances(weighted, seeds)
    if not balances:
        return pairs
    differences = dict(pairs.differences)
    worst = -1.0 if direction == "max" else 1.0
    if direction is None:
        worst = -math.copysign(1.0, math.fsum(differences.values()) * math.fsum(balances.values()))
    extreme = 1 + 2 * max(map(abs, differences.values()), default=1.0)
    differences |= {unit: math.copysign(extreme, worst * balance) for unit, balance in balances.items()}
    ranks = rankdata([abs(value) for value in differences.values()])
    scores = [rank * ((value > 0) - (value < 0)) for rank, value in zip(ranks, differences.values(), strict=True)]
    return Pairs(tuple(differences), [float(score) for score in scores], [0.0] * len(scores))


def one_sided(weighted: WeightedSum, seeds: Collection[int] | None = None) -> bool:
    """Whether any unit has no difference, or no whole one, since cells of one side diverged there."""
    return bool(_balances(weighted, seeds))


_EQUAL = 1e-9


def _balances(weighted: WeightedSum, seeds: Collection[int] | None) -> dict[Key, float]:
    """Add up the weights of the cells that diverged, by unit; units at which they cancel out are left out.

    Only seeds count at which all other cells have a value: what has not ended might diverge as well.
    """
    if not weighted.has_diverged:
        return {}
    sums: dict[Key, float] = {}
    arms = [(arm, weight, arm.values(weighted.key), arm.diverged) for arm, weight in weighted.terms]
    for seed in sorted(set.union(*(diverged for *_, diverged in arms))):
        ended = all(seed in values or seed in diverged for _, _, values, diverged in arms)
        if (seeds is None or seed in seeds) and ended:
            balance = math.fsum(weight for _, weight, _, diverged in arms if seed in diverged)
            alive = next((arm for arm, _, values, _ in arms if seed in values), None)
            for unit in _units_at(seed, alive, weighted) if alive else ():
                sums[unit] = sums.get(unit, 0.0) + balance
    return {unit: balance for unit, balance in sums.items() if abs(balance) > _EQUAL}


def _units_at(seed: int, alive: ArmValues, weighted: WeightedSum) -> Sequence[Key]:
    """Return the units of a seed, from an arm that has a value there."""
    record = alive.records[seed]
    match weighted.unit:
        case "seed":
            return [seed]
        case "clip":
            return [(seed, k) for k in range(len(record.per_clip.get(weighted.key, ())))]
        case "prompt":
            return record.prompts
