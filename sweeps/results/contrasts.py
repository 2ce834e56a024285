"""Contrasts of a design: effects, interactions and Shapley values, each with interval and corrected test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sweeps.results.stopping import ReachedSeeds
from sweeps.statistics.paired import Difference, holm, over_draws
from sweeps.statistics.sequential import confidence, sequential_difference
from sweeps.study.designs import Contrast

Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Arm -> metric key -> seed -> value."""


@dataclass(frozen=True)
class Estimate:
    """Estimate of a weighted sum of arms' values, over the seeds at which all of them have a value."""

    effect: Difference
    p_corrected: float


@dataclass(frozen=True)
class ContrastRow:
    """One effect.

    Args:
        name: The part or parts that it belongs to.
        kind: Kind of effect.
        metrics: Metric key -> estimate; metrics without a seed at which all arms have a value are absent.
    """

    name: str
    kind: str
    metrics: Mapping[str, Estimate]


def estimate(
    contrasts: Sequence[Contrast[str]], values: Values, keys: Sequence[str], reached: ReachedSeeds
) -> tuple[ContrastRow, ...]:
    """Estimate effects.

        e_s = sum_a w_a y_{a, s},   then its mean over seeds, t interval and sign-flip test as for a difference

    Where the sum is a mean over random draws, interval and test include the sampling error of the draws.
    The test is corrected after Holm over the effects of one kind and metric.

    Args:
        contrasts: The weighted sums.
        values: Scores of the arms.
        keys: Keys of the metrics.
        reached: Seeds that the study has reached, and its interim analyses.
    """
    rows = [ContrastRow(item.name, item.kind, {}) for item in contrasts]
    for key in keys:
        each = ((place, _difference(contrast, values, key, reached)) for place, contrast in enumerate(contrasts))
        differences = {place: item for place, item in each if item}
        for kind in {contrast.kind for contrast in contrasts}:
            places = [place for place in differences if contrasts[place].kind == kind]
            corrected = holm([differences[place].p_value for place in places])
            for place, p in zip(places, corrected, strict=True):
                rows[place] = replace(
                    rows[place], metrics={**rows[place].metrics, key: Estimate(differences[place], p)}
                )
    return tuple(rows)


def _difference(contrast: Contrast[str], values: Values, key: str, reached: ReachedSeeds) -> Difference | None:
    """Compute the sum at each seed as positive minus negative terms, and compare the two paired sides."""
    of_arms = {arm: values[arm][key] for weights in (contrast.weights, *contrast.draws) for arm in weights}
    seeds = [
        seed
        for seed in next(iter(of_arms.values()), {})
        if all(seed in values_of_arm for values_of_arm in of_arms.values())
    ]
    if not seeds:
        return None

    def side(sign: int) -> list[float]:
        weights = {arm: weight for arm, weight in contrast.weights.items() if weight * sign > 0}
        return [sum(abs(weight) * of_arms[arm][seed] for arm, weight in weights.items()) for seed in seeds]

    difference = sequential_difference(side(1), side(-1), seeds, reached.looks, len(reached.seeds))
    if not contrast.draws:
        return difference
    means = {arm: sum(values_of_arm[seed] for seed in seeds) / len(seeds) for arm, values_of_arm in of_arms.items()}
    draws = [sum(weight * means[arm] for arm, weight in draw.items()) for draw in contrast.draws]
    return over_draws(difference, draws, confidence(reached.looks, len(reached.seeds)))
