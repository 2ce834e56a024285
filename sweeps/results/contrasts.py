"""Contrasts of a design: effects, interactions and Shapley values, each with interval and corrected test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sweeps.results.arm_values import ArmValues, Key
from sweeps.results.pairing import Inference, Pairs, family
from sweeps.statistics.combined import over_draws
from sweeps.statistics.paired import ALPHA, Difference, holm, paired_difference
from sweeps.study.designs import Contrast


@dataclass(frozen=True)
class Estimate:
    """Estimate of a weighted sum of arms' values, over the units at which all of them have a value."""

    effect: Difference
    p_corrected: float


@dataclass(frozen=True)
class ContrastRow:
    """One effect.

    Args:
        name: The part or parts that it belongs to.
        kind: Kind of effect.
        metrics: Metric key -> estimate; metrics without a unit at which all arms have a value are absent.
    """

    name: str
    kind: str
    metrics: Mapping[str, Estimate]


def estimate(
    contrasts: Sequence[Contrast[str]], arms: Sequence[ArmValues], keys: Sequence[str], inference: Inference
) -> tuple[ContrastRow, ...]:
    """Estimate effects.

        e_u = sum_a w_a y_{a, u},   then its mean over units, t interval and sign-flip test as for a difference

    Where the sum is a mean over random draws, interval and test include the sampling error of the draws. The test is
    corrected over the effects of one kind and metric: as the study's arms are, and after Holm where effects are means
    over draws, since their error over draws has no sign to flip.

    Args:
        contrasts: The weighted sums.
        arms: Values of the arms.
        keys: Keys of the metrics.
        inference: Units, analyses and correction.
    """
    rows = [ContrastRow(item.name, item.kind, {}) for item in contrasts]
    of_arm = {arm.id: arm for arm in arms}
    for key in keys:
        for kind in dict.fromkeys(contrast.kind for contrast in contrasts):
            places = [place for place, contrast in enumerate(contrasts) if contrast.kind == kind]
            estimates = _of_kind([contrasts[place] for place in places], of_arm, key, inference)
            for place, found in zip(places, estimates, strict=True):
                if found is not None:
                    rows[place] = replace(rows[place], metrics={**rows[place].metrics, key: found})
    return tuple(rows)


def _of_kind(
    contrasts: Sequence[Contrast[str]], arms: Mapping[str, ArmValues], key: str, inference: Inference
) -> list[Estimate | None]:
    """Estimate the effects of one kind, which are one family; None where no unit has values of all arms."""
    requested = next(iter(arms.values())).seeds
    sides = [_sides(contrast, arms, key, inference) for contrast in contrasts]
    kept = [place for place, pairs in enumerate(sides) if pairs]
    analyses = inference.analyses(requested)
    looks = [family(_sides(contrasts[place], arms, key, inference, seeds) for place in kept) for seeds, _ in analyses]
    tests = inference.tests(looks, [share for _, share in analyses], len(kept))
    level = 1 - ALPHA * inference.share(requested)
    effects = [
        _effect(contrasts[place], sides[place], test.p_value, arms, key, inference, level)
        for place, test in zip(kept, tests, strict=True)
    ]
    are_drawn = any(contrasts[place].draws for place in kept)
    corrected = holm([e.p_value for e in effects]) if are_drawn else [test.p_corrected for test in tests]
    estimates: list[Estimate | None] = [None] * len(contrasts)
    for place, effect, p in zip(kept, effects, corrected, strict=True):
        estimates[place] = Estimate(effect, p)
    return estimates


def _sides(
    contrast: Contrast[str],
    arms: Mapping[str, ArmValues],
    key: str,
    inference: Inference,
    seeds: Sequence[int] | None = None,
) -> Pairs:
    """Compute the sum at each unit as positive minus negative terms, which are then paired like arm and control."""
    names = dict.fromkeys(arm for weights in (contrast.weights, *contrast.draws) for arm in weights)
    values = {arm: arms[arm].by_unit(key, inference.unit(key), seeds) for arm in names}
    first = next(iter(values.values()), {})
    units = [unit for unit in first if all(unit in of_arm for of_arm in values.values())]

    def side(sign: int) -> dict[Key, float]:
        weights = {arm: abs(weight) for arm, weight in contrast.weights.items() if weight * sign > 0}
        return {unit: sum(weight * values[arm][unit] for arm, weight in weights.items()) for unit in units}

    return Pairs.of(side(1), side(-1))


def _effect(
    contrast: Contrast[str],
    pairs: Pairs,
    p_value: float,
    arms: Mapping[str, ArmValues],
    key: str,
    inference: Inference,
    level: float,
) -> Difference:
    difference = paired_difference(pairs.arm, pairs.control, level)._replace(p_value=p_value)
    if not contrast.draws:
        return difference
    names = dict.fromkeys(arm for draw in contrast.draws for arm in draw)
    values = {arm: arms[arm].by_unit(key, inference.unit(key)) for arm in names}
    means = {arm: math.fsum(of_arm[unit] for unit in pairs.units) / len(pairs) for arm, of_arm in values.items()}
    draws = [sum(weight * means[arm] for arm, weight in draw.items()) for draw in contrast.draws]
    return over_draws(difference, draws, level)
