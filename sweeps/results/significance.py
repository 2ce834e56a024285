"""Tests of a table's differences: pairs by the metric's unit, families, and seeds that diverged."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import Literal

from sweeps.results.arm_values import ArmValues
from sweeps.results.divergence import ranked
from sweeps.results.pairing import Inference, Pairs, family
from sweeps.statistics.families import PValues
from sweeps.statistics.paired import ALPHA
from sweeps.statistics.power import smallest_difference
from trainables.metrics import MetricKey, is_context

Place = tuple[str, int]
"""Metric key, and the place of an arm in the table."""


def pairs_of(
    arms: Sequence[ArmValues], place: Place, inference: Inference, seeds: Sequence[int] | None = None
) -> Pairs:
    """Pair one metric of an arm with the control's, over all seeds or some."""
    key, arm = place
    unit = inference.unit(key)
    return Pairs.of(arms[arm].by_unit(key, unit, seeds), arms[0].by_unit(key, unit, seeds))


def pairs_by_arm(arms: Sequence[ArmValues], key: str, inference: Inference) -> dict[str, Pairs]:
    """Pair one metric of every arm with the control's, by the arm's id; arms without a pair are left out."""
    found = {arm.id: pairs_of(arms, (key, place), inference) for place, arm in enumerate(arms) if place}
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


def p_values_of(
    arms: Sequence[ArmValues], metrics: Sequence[MetricKey], pairs: Mapping[Place, Pairs], inference: Inference
) -> dict[Place, PValues]:
    """Test every difference, corrected over its family."""
    of_metric = {metric.key: [place for place in pairs if place[0] == metric.key] for metric in metrics}
    tests: dict[Place, PValues] = {}
    for keys, number in dict.fromkeys(family_of(metric, metrics, inference) for metric in metrics):
        if not (places := [place for key in keys for place in of_metric[key]]):
            continue
        found = _of_family(arms, places, inference, number, directions=None)
        if any(record.diverged for arm in arms for record in arm.records.values()):
            with_lost = _of_family(
                arms, places, inference, number, {metric.key: metric.direction for metric in metrics}
            )
            found = {place: _with_lost(arms, place, test, with_lost[place], inference) for place, test in found.items()}
        tests |= found
    return tests


def _of_family(
    arms: Sequence[ArmValues],
    places: Sequence[Place],
    inference: Inference,
    number: int,
    directions: Mapping[str, Literal["max", "min"]] | None,
) -> dict[Place, PValues]:
    """Test one of so many families; with the metrics' directions, seeds that diverged count as the worst."""

    def at(place: Place, seeds: Sequence[int] | None) -> Pairs:
        found = pairs_of(arms, place, inference, seeds)
        if directions is None or not _has_lost(arms, place):
            return found
        key, arm = place
        return ranked(found, arms[arm], arms[0], inference.unit(key), directions[key], seeds)

    analyses = inference.analyses(arms[0].seeds)
    looks = [family(at(place, seeds) for place in places) for seeds, _ in analyses]
    tests = zip(places, inference.tests(looks, [share for _, share in analyses], len(places)), strict=True)
    return {place: replace(test, p_corrected=min(1.0, number * test.p_corrected)) for place, test in tests}


def _has_lost(arms: Sequence[ArmValues], place: Place) -> bool:
    return any(record.diverged for side in (arms[place[1]], arms[0]) for record in side.records.values())


def _with_lost(
    arms: Sequence[ArmValues], place: Place, test: PValues, with_lost: PValues, inference: Inference
) -> PValues:
    """Return the test that counts where cells diverged: both must agree, or seeds that diverged are ranked last."""
    if not _has_lost(arms, place):
        return test
    if inference.diverged == "worst":
        return with_lost
    ps = (max(one, other) for one, other in zip(astuple(test), astuple(with_lost), strict=True))
    return PValues(*ps)
