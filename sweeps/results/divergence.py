"""Cells that diverged: an outcome of the method, so that arms are compared in how often it happens as well."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.results.arm_values import ArmValues, Key
from sweeps.results.pairing import Pairs
from sweeps.statistics.paired import holm
from sweeps.study.fields import Unit


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


def ranked(
    pairs: Pairs,
    arm: ArmValues,
    control: ArmValues,
    unit: Unit,
    direction: Literal["max", "min"],
    seeds: Collection[int] | None = None,
) -> Pairs:
    """Replace differences by signed ranks of their size, with the units at which one side diverged as the largest.

    A unit at which only the arm diverged counts as its worst, one at which only the control did as its best; where both
    did they are equal. Ranks need no value for what has none.

    Args:
        pairs: Pairs of the seeds at which both have values.
        arm: The arm.
        control: The control.
        unit: Unit of the pairs.
        direction: Better side of the metric.
        seeds: Seeds that count; all by default.
    """
    from scipy.stats import rankdata

    own, other = (_lost(side, unit, pairs, seeds) for side in (arm, control))
    worse = -1.0 if direction == "max" else 1.0
    extreme = 1 + 2 * max(map(abs, pairs.differences.values()), default=1.0)
    differences: dict[Key, float] = dict(pairs.differences)
    differences |= dict.fromkeys(own - other, worse * extreme) | dict.fromkeys(other - own, -worse * extreme)
    ranks = rankdata([abs(value) for value in differences.values()])
    scores = [rank * ((value > 0) - (value < 0)) for rank, value in zip(ranks, differences.values(), strict=True)]
    return Pairs(tuple(differences), [float(score) for score in scores], [0.0] * len(scores))


def _lost(side: ArmValues, unit: Unit, pairs: Pairs, seeds: Collection[int] | None) -> set[Key]:
    """Return the units of the cells that diverged; none for prompts, which have the values of other cells."""
    diverged = [s for s, record in side.records.items() if record.diverged and (seeds is None or s in seeds)]
    if unit == "seed":
        return set(diverged)
    clips = {key[1] for key in pairs.units if isinstance(key, tuple)}
    return {(seed, clip) for seed in diverged for clip in clips}
