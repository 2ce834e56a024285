"""Tests of a table's differences: pairs by the metric's unit, families, and seeds that diverged."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import Literal

from sweeps.results.arm_values import ArmValues
from sweeps.results.divergence import ranked
from sweeps.results.pairing import Inference, Pairs, family
from sweeps.statistics.families import PValues
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


def p_values_of(
    arms: Sequence[ArmValues], metrics: Sequence[MetricKey], pairs: Mapping[Place, Pairs], inference: Inference
) -> dict[Place, PValues]:
    """Test every difference, corrected over its family."""
    of_metric = {metric.key: [place for place in pairs if place[0] == metric.key] for metric in metrics}
    families = list(of_metric.values())
    if inference.over == "arms_and_metrics":
        claims = [metric.key for metric in metrics if not is_context(metric)]
        kinds = dict.fromkeys(inference.unit(key) for key in claims)
        joined = [[p for key in claims if inference.unit(key) == kind for p in of_metric[key]] for kind in kinds]
        families = [*joined, *(of_metric[metric.key] for metric in metrics if is_context(metric))]
        number = len(kinds)  # units of different kinds have no common sign
    else:
        number = 1
    tests: dict[Place, PValues] = {}
    for places in filter(None, families):
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

    looks = [family(at(place, seeds) for place in places) for seeds in inference.analyses(arms[0].seeds)]
    tests = zip(places, inference.tests(looks, len(places)), strict=True)
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
