"""Sensitivity of a study: the smallest p of its units, and the smallest difference that they show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.plan import Plan
from sweeps.plan.units import number_of_units
from sweeps.results.arm_values import ArmValues, values_of
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.results.significance import family_of, pairs_by_arm, smallest_shown
from sweeps.results.stopping import inference_of, reached_seeds
from sweeps.results.units import choose_units
from sweeps.statistics.families import smallest_of
from sweeps.statistics.paired import standard_deviation
from sweeps.study.fields import Unit
from trainables.metrics import MetricKey, is_context


@dataclass(frozen=True)
class Reachable:
    """The smallest difference in one metric that all seeds show with 80 % power.

    Args:
        metric: Key of the metric.
        difference: Its absolute value, in the units of the metric.
        arm: The arm with the largest spread of paired differences, from which it was computed.
        pairs: Pairs of that arm so far.
    """

    metric: str
    difference: float
    arm: str
    pairs: int


@dataclass(frozen=True)
class Reach:
    """Sensitivity of all seeds of a plan.

    Args:
        unit: Unit of the study's first metric.
        units: Number of units in all seeds.
        arms: Number of arms that are compared with the control.
        smallest_p: Smallest p-value of one test.
        p_corrected: The same after correction over the arms.
        differences: Smallest detectable differences, for metrics with values in at least two pairs.
    """

    unit: Unit
    units: int
    arms: int
    smallest_p: float
    p_corrected: float
    differences: tuple[Reachable, ...]


def reach(plan: Plan, records: Mapping[str, Record]) -> Reach | None:
    """Compute the sensitivity of all seeds of a plan; None where no arm is compared.

    Args:
        plan: The plan.
        records: Results by cell id.
    """
    arms = len(plan.arms) - 1
    if not arms:
        return None
    values = values_of(plan, records, dict.fromkeys((arm.id for arm in plan.arms), plan.study.all_seeds))
    inference = inference_of(plan, choose_units(plan, values, plan.metrics), reached_seeds(plan, records))
    first, seeds = plan.metrics[0], plan.study.all_seeds
    unit = inference.unit(first.key)
    units = number_of_units(plan, unit)
    looks = [(at or seeds, share) for at, share in inference.analyses(seeds)]
    smallest = min(smallest_of(round(units * len(at) / len(seeds)), inference.test) / share for at, share in looks)
    keys, families = family_of(first, plan.metrics, inference)
    comparisons = families * (len(keys) * arms if inference.correction == "holm" else 1)
    corrected = min(1.0, comparisons * smallest)
    differences = (_reachable(plan, values, m, inference, arms) for m in plan.metrics if not is_context(m))
    return Reach(unit, units, arms, min(1.0, smallest), corrected, tuple(filter(None, differences)))


def _reachable(
    plan: Plan, arm_values: Sequence[ArmValues], metric: MetricKey, inference: Inference, arms: int
) -> Reachable | None:
    """Compute the smallest difference in one metric, for the arm with the largest spread."""
    spreads = [
        (standard_deviation(list(pairs.differences.values())), arm, len(pairs))
        for arm, pairs in pairs_by_arm(arm_values, metric.key, inference).items()
        if len(pairs) >= 2
    ]
    if not spreads:
        return None
    sd, arm, pairs = max(spreads)
    units = number_of_units(plan, inference.unit(metric.key))
    keys, families = family_of(metric, plan.metrics, inference)
    share = inference.share(plan.study.all_seeds)
    difference = smallest_shown(sd, units, (arms * len(keys), families), inference, share)
    return None if difference is None else Reachable(metric.key, difference, arm, pairs)
