"""Tests of differences and effects: pairs by the metric's unit, families, and cells that diverged."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace

from sweeps.results.arm_values import ArmValues
from sweeps.results.divergence import Direction, direction_of, one_sided, ranked
from sweeps.results.pairing import Inference, Pairs, WeightedSum, family
from sweeps.statistics.families import PValues
from sweeps.statistics.paired import ALPHA
from sweeps.statistics.power import smallest_difference
from trainables.metrics import MetricKey, is_context

Place = tuple[str, int]
"""Metric key, and the place of an arm in the table."""


@dataclass(frozen=True)
class Tested(PValues):
    """Tests of one difference, with its side.

    Args:
        side: 1 above zero, -1 below: of the ranks where cells that diverged count as the worst, else of the mean.
    """

    side: int


def difference_of(arms: Sequence[ArmValues], place: Place, inference: Inference) -> WeightedSum:
    """Return one metric of an arm minus the control's."""
    key, arm = place
    return WeightedSum(((arms[0], -1.0), (arms[arm], 1.0)), key, inference.unit(key))


def pairs_by_arm(arms: Sequence[ArmValues], key: str, inference: Inference) -> dict[str, Pairs]:
    """Pair one metric of every arm with the control's, by the arm's id; arms without a pair are left out."""
    found = {arm.id: difference_of(arms, (key, place), inference).pairs() for place, arm in enumerate(arms) if place}
    return {arm: pairs for arm, pairs in found.items() if pairs}


def family_of(metric: MetricKey, metrics: Sequence[MetricKey], inference: Inference) -> tuple[tuple[str, ...], int]:
    """Return the metrics of a metric's family, and the number of families that share its level.

    Units of different kinds have no common sign, so with ``correct_over: arms_and_metrics`` each kind is a family.
    """
    if inference.over == "arms" or is_context(metric):
        return (metric.key,), 1
    claims = [claim.key for claim in metrics if not is_context(claim)]
    kinds = {inference.unit(key) for key in claims}
    return tuple(key for key in claims if inference.unit(key) == inference.unit(metric.key)), len(kinds)


def smallest_shown(sd: float, units: int, family: tuple[int, int], inference: Inference, share: float) -> float | None:
    """Compute the smallest difference that so many units show with 80 % power by the study's own test.

    Args:
        sd: Standard deviation of the paired differences.
        units: Number of pairs.
        family: Number of comparisons of the family, and of families that share the level.
        inference: Test and correction.
        share: Share of the level at this analysis.

    Returns:
        The difference; None where no difference can be significant, and for the bootstrap, whose power depends on the
        shape of the distribution.
    """
    size, families = family
    if inference.test == "bootstrap_t":
        return None
    return smallest_difference(sd, units, size, inference.correction, ALPHA * share / families)


def is_tested(difference: WeightedSum, metric: MetricKey, inference: Inference) -> bool:
    """Whether a difference can be tested: it has a pair, or cells that diverged count as the worst."""
    return bool(difference.pairs()) or (_ranks_alone(direction_of(metric), inference) and one_sided(difference))


def p_values_of(
    differences: Mapping[Place, WeightedSum], metrics: Sequence[MetricKey], seeds: Sequence[int], inference: Inference
) -> dict[Place, Tested]:
    """Test differences from the control, corrected over their families.

    Args:
        differences: The differences that can be tested.
        metrics: Metrics of the table.
        seeds: Seeds that the control has been asked for.
        inference: Units, analyses and correction.
    """
    of_metric = {metric.key: [place for place in differences if place[0] == metric.key] for metric in metrics}
    directions = {metric.key: direction_of(metric) for metric in metrics}
    tests: dict[Place, Tested] = {}
    for keys, number in dict.fromkeys(family_of(metric, metrics, inference) for metric in metrics):
        if not (places := [place for key in keys for place in of_metric[key]]):
            continue
        terms = [(differences[place], directions[place[0]]) for place in places]
        found = zip(places, tests_of(terms, seeds, inference), strict=True)
        tests |= {p: replace(test, p_corrected=min(1.0, number * test.p_corrected)) for p, test in found}
    return tests


def tests_of(
    terms: Sequence[tuple[WeightedSum, Direction]], seeds: Sequence[int], inference: Inference
) -> list[Tested]:
    """Test a family of differences or effects, with what their cells that diverged mean for each.

    By default a difference must be significant among the survivors and with cells that diverged ranked last, on the
    same side. With ``diverged: worst`` the ranks alone count, except where a metric has no better side.

    Args:
        terms: Differences, each with the better side of its metric.
        seeds: Seeds that the control has been asked for.
        inference: Units, analyses and correction.
    """
    alive = _tested([one.pairs for one, _ in terms], seeds, inference)
    if not any(one.has_diverged for one, _ in terms):
        return alive
    with_lost = _tested([functools.partial(ranked, one, direction) for one, direction in terms], seeds, inference)
    return [
        of_all if _ranks_alone(direction, inference) else _both(test, of_all) if one_sided(one) else test
        for (one, direction), test, of_all in zip(terms, alive, with_lost, strict=True)
    ]


def _ranks_alone(direction: Direction, inference: Inference) -> bool:
    return inference.diverged == "worst" and direction is not None


def _tested(
    pairs_at: Sequence[Callable[[Sequence[int] | None], Pairs]], seeds: Sequence[int], inference: Inference
) -> list[Tested]:
    """Test a family from the pairs that each difference has at some seeds."""
    analyses = inference.analyses(seeds)
    looks = [family(pairs(some) for pairs in pairs_at) for some, _ in analyses]
    sides = [math.fsum(pairs(None).differences.values()) for pairs in pairs_at]
    tests = zip(inference.tests(looks, [share for _, share in analyses], len(pairs_at)), sides, strict=True)
    return [Tested(**asdict(test), side=(side > 0) - (side < 0)) for test, side in tests]


def _both(test: Tested, with_lost: Tested) -> Tested:
    """Join the tests without and with the cells that diverged: the larger p-value, or 1 on different sides."""
    if test.side != with_lost.side:
        return replace(test, p_value=1.0, p_corrected=1.0, p_latest=1.0)
    ps = (max(one, other) for one, other in zip(astuple(test), astuple(with_lost), strict=True))
    return Tested(*ps)
