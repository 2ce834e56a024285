"""Units of a study's comparisons, once there are results: clips of a seed may be too much alike to be units."""

import math
from collections.abc import Sequence
from dataclasses import replace

from sweeps.plan import Plan
from sweeps.plan.units import Reason, Units, drawn_unit, recurring
from sweeps.results.arm_values import ArmValues, Key
from sweeps.results.record import prompt_hash
from sweeps.statistics.paired import intraclass_correlation
from trainables.metrics import METRICS, MetricKey


def choose_units(plan: Plan, arms: Sequence[ArmValues], metrics: Sequence[MetricKey]) -> dict[str, Units]:
    """Choose the unit of each metric; seeds take the place of clips and prompts where clips of a seed are alike.

    Clips of a seed are too much alike by their values, or since their cell diverged as a whole and all of them would
    count as the worst.

    Args:
        plan: The plan.
        arms: Values of its arms, the control first.
        metrics: The metrics.
    """
    counts_lost = plan.study.diverged == "worst" and any(arm.diverged for arm in arms)
    chosen = {}
    for metric in metrics:
        unit = drawn_unit(plan, metric)
        if METRICS[metric.family].per != "set" and (found := _correlations(arms, metric.key)):
            unit = replace(unit, correlation=math.fsum(found) / len(found), largest=max(found))
        if unit.kind != "seed" and (reason := _reason_for_seeds(plan, unit, arms[0], metric.key, counts_lost)):
            unit = replace(unit, kind="seed", reason=reason)
        chosen[metric.key] = unit
    return chosen


def _reason_for_seeds(plan: Plan, unit: Units, control: ArmValues, key: str, counts_lost: bool) -> Reason | None:
    """Return why seeds take the place of a unit below the seed; None where they do not."""
    if not control.by_unit(key, unit.kind) and control.values(key):
        return "no values by clip"
    if counts_lost:
        return "diverged"
    if unit.reason == "study" or not unit.is_alike:
        return None
    return "alike at these prompts" if recurring(plan) else "alike"


def _correlations(arms: Sequence[ArmValues], key: str) -> list[float]:
    """Compute the intra-class correlation of each arm's differences within seeds, for arms that have one."""
    control = arms[0].draws(key, "clip")
    found = []
    for arm in arms[1:]:
        by_seed: dict[int, list[float]] = {}
        for draw, value in arm.draws(key, "clip").items():
            if draw in control and isinstance(draw, tuple):
                by_seed.setdefault(draw[0], []).append(value - control[draw])
        found.append(intraclass_correlation(list(by_seed.values())))
    return [value for value in found if math.isfinite(value)]


def unit_words(key: Key, prompts: Sequence[str]) -> str:
    """Name one unit for readers: the number of a seed, ``seed 3, clip 5``, or a prompt in quotes.

    Args:
        key: The unit.
        prompts: Prompts that the study lists.
    """
    if isinstance(key, tuple):
        return f"seed {key[0]}, clip {key[1]}"
    if isinstance(key, str):
        return next((f'"{prompt}"' for prompt in prompts if prompt_hash(prompt) == key), key)
    return str(key)
