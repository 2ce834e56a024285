"""Sensitivity of a study: the smallest p of its seeds, and the smallest difference that they detect."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.plan import Plan
from sweeps.results.arm_values import ArmValues, values_of
from sweeps.results.comparison import is_context
from sweeps.results.record import Record
from sweeps.results.stopping import reached_seeds
from sweeps.statistics.paired import paired, smallest_p, standard_deviation
from sweeps.statistics.power import smallest_difference
from sweeps.statistics.sequential import smallest_sequential_p


@dataclass(frozen=True)
class Reachable:
    """The smallest difference in one metric that all seeds detect with 80 % power.

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
        seeds: Number of seeds.
        arms: Number of arms that are compared with the control.
        smallest_p: Smallest p-value of one test.
        p_corrected: The same after correction over the arms.
        differences: Smallest detectable differences, for metrics with values in at least two pairs.
    """

    seeds: int
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
    arms, seeds = len(plan.arms) - 1, len(plan.study.all_seeds)
    if not arms:
        return None
    looks = reached_seeds(plan, records).looks
    smallest = smallest_sequential_p(looks.seeds, looks.shares) if looks else smallest_p(seeds)
    values = values_of(plan, records, plan.study.all_seeds)
    keys = [metric.key for metric in plan.metrics if not is_context(metric)]
    differences = (_reachable(values, key, seeds, arms) for key in keys)
    return Reach(seeds, arms, smallest, min(1.0, arms * smallest), tuple(filter(None, differences)))


def _reachable(arm_values: list[ArmValues], key: str, seeds: int, arms: int) -> Reachable | None:
    """Compute the smallest difference in one metric, for the arm with the largest spread."""
    control, *others = ((arm.id, arm.values(key)) for arm in arm_values)
    spreads = []
    for name, values in others:
        common = sorted(values.keys() & control[1].keys())
        if len(common) >= 2:
            differences = paired([values[seed] for seed in common], [control[1][seed] for seed in common])
            spreads.append((standard_deviation(differences), name, len(common)))
    if not spreads:
        return None
    sd, name, pairs = max(spreads)
    difference = smallest_difference(sd, seeds, arms)
    return None if difference is None else Reachable(key, difference, name, pairs)
