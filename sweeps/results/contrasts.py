"""Contrasts of a design: effects, interactions and Shapley values, each with interval and corrected test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sweeps.results.arm_values import ArmValues, values_in_common
from sweeps.results.divergence import Direction, direction_of
from sweeps.results.pairing import Inference, WeightedSum
from sweeps.results.significance import tests_of
from sweeps.statistics.combined import over_draws
from sweeps.statistics.paired import ALPHA, Difference, holm, paired_difference
from sweeps.study.designs import Contrast
from trainables.metrics import MetricKey


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
    contrasts: Sequence[Contrast[str]], arms: Sequence[ArmValues], metrics: Sequence[MetricKey], inference: Inference
) -> tuple[ContrastRow, ...]:
    """Estimate effects.

        e_u = sum_a w_a y_{a, u},   then its mean over units, t interval and sign-flip test as for a difference

    Where the sum is a mean over random draws, interval and test include the sampling error of the draws. The test is
    corrected over the effects of one kind and metric: as the study's arms are, and after Holm where effects are means
    over draws, since their error over draws has no sign to flip. Where cells diverged, an effect must be significant
    both among the units at which none did, and with these ranked last: it has no verdict that could be about ranks
    alone.

    Args:
        contrasts: The weighted sums.
        arms: Values of the arms.
        metrics: The metrics.
        inference: Units, analyses and correction.
    """
    rows = [ContrastRow(item.name, item.kind, {}) for item in contrasts]
    inference = replace(inference, diverged="compared")
    of_arm = {arm.id: arm for arm in arms}
    for metric in metrics:
        for kind in dict.fromkeys(contrast.kind for contrast in contrasts):
            places = [place for place, contrast in enumerate(contrasts) if contrast.kind == kind]
            estimates = _of_kind([contrasts[place] for place in places], of_arm, metric, inference)
            for place, found in zip(places, estimates, strict=True):
                if found is not None:
                    rows[place] = replace(rows[place], metrics={**rows[place].metrics, metric.key: found})
    return tuple(rows)


def _of_kind(
    contrasts: Sequence[Contrast[str]], arms: Mapping[str, ArmValues], metric: MetricKey, inference: Inference
) -> list[Estimate | None]:
    """Estimate the effects of one kind, which are one family; None where no unit has values of all arms."""
    requested, direction = next(iter(arms.values())).seeds, direction_of(metric)
    sums = [_sum(contrast, arms, metric.key, inference) for contrast in contrasts]
    kept = [place for place, of_contrast in enumerate(sums) if of_contrast.pairs()]
    terms: list[tuple[WeightedSum, Direction]] = [(sums[place], direction) for place in kept]
    tests = tests_of(terms, requested, inference)
    level = 1 - ALPHA * inference.share(requested)
    effects = [
        _effect(contrasts[place], sums[place], test.p_value, level) for place, test in zip(kept, tests, strict=True)
    ]
    are_drawn = any(contrasts[place].draws for place in kept)
    corrected = holm([e.p_value for e in effects]) if are_drawn else [test.p_corrected for test in tests]
    estimates: list[Estimate | None] = [None] * len(contrasts)
    for place, effect, p in zip(kept, effects, corrected, strict=True):
        estimates[place] = Estimate(effect, p)
    return estimates


def _sum(contrast: Contrast[str], arms: Mapping[str, ArmValues], key: str, inference: Inference) -> WeightedSum:
    """Return the sum of a contrast; arms of its draws that cancel out must have a value as well."""
    names = dict.fromkeys(arm for weights in (contrast.weights, *contrast.draws) for arm in weights)
    terms = tuple((arms[arm], contrast.weights.get(arm, 0.0)) for arm in names)
    return WeightedSum(terms, key, inference.unit(key))


def _effect(contrast: Contrast[str], of: WeightedSum, p_value: float, level: float) -> Difference:
    pairs = of.pairs()
    difference = paired_difference(pairs.arm, pairs.control, level)._replace(p_value=p_value)
    if not contrast.draws:
        return difference
    values = values_in_common([arm for arm, _ in of.terms], of.key, of.unit)
    of_arms = zip(of.terms, values, strict=True)
    means = {arm.id: math.fsum(by_unit.values()) / len(by_unit) for (arm, _), by_unit in of_arms}
    draws = [sum(weight * means[arm] for arm, weight in draw.items()) for draw in contrast.draws]
    return over_draws(difference, draws, level)
