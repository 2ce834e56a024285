"""Units of a study's comparisons, once there are results: clips of a seed may be too much alike to be units."""

import math
from collections.abc import Sequence
from dataclasses import replace

from sweeps.plan import Plan
from sweeps.plan.units import LARGEST_DESIGN_EFFECT, Units, drawn_unit
from sweeps.results.arm_values import ArmValues, Key
from sweeps.results.record import prompt_hash
from sweeps.statistics.paired import intraclass_correlation
from trainables.metrics import METRICS, MetricKey


def choose_units(plan: Plan, arms: Sequence[ArmValues], metrics: Sequence[MetricKey]) -> dict[str, Units]:
    """Choose the unit of each metric; seeds take the place of clips where clips of a seed are too much alike.

    Args:
        plan: The plan.
        arms: Values of its arms, the control first.
        metrics: The metrics.
    """
    chosen = {}
    for metric in metrics:
        unit = drawn_unit(plan, metric)
        if METRICS[metric.family].per != "set":
            unit = replace(unit, correlation=_correlation(arms, metric.key))
        if unit.kind != "seed" and not arms[0].by_unit(metric.key, unit.kind) and arms[0].values(metric.key):
            unit = replace(unit, kind="seed", reason="no values by clip")
        if unit.reason in ("drawn per clip", "few prompts") and unit.design_effect > LARGEST_DESIGN_EFFECT:
            unit = replace(unit, kind="seed", reason="alike")
        chosen[metric.key] = unit
    return chosen


def _correlation(arms: Sequence[ArmValues], key: str) -> float | None:
    """Compute the intra-class correlation of the differences within seeds, mean over the arms."""
    control = arms[0].by_unit(key, "clip")
    found = []
    for arm in arms[1:]:
        by_seed: dict[int, list[float]] = {}
        for unit, value in arm.by_unit(key, "clip").items():
            if unit in control and isinstance(unit, tuple):
                by_seed.setdefault(unit[0], []).append(value - control[unit])
        found.append(intraclass_correlation(list(by_seed.values())))
    known = [value for value in found if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None


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
