"""Drift of metrics over the frames of a clip: mean at each frame index, over clips and seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.results.arm_values import ArmValues
from sweeps.results.comparison import finite
from sweeps.statistics.paired import mean_interval
from trainables.metrics import MetricKey

Numbers = tuple[float | None, ...]


@dataclass(frozen=True)
class ArmDrift:
    """One metric of one arm by frame index; a frame without a value, and bounds from one seed, are None.

    Args:
        arm: Id of the arm.
        seeds: Number of seeds with values.
        mean: Mean over the seeds of the mean over the clips.
        low: Lower bound of the 95 % t interval over the seeds.
        high: Upper bound of it.
    """

    arm: str
    seeds: int
    mean: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Drift:
    """One metric by frame index.

    Args:
        metric: Key of the metric.
        frames_of_base: Number of frames that the base was trained on; None where it is unknown.
        arms: Arms with values, in the order of the table.
    """

    metric: str
    frames_of_base: int | None
    arms: tuple[ArmDrift, ...]


def drift(arms: Sequence[ArmValues], metrics: Sequence[MetricKey], frames_of_base: int | None) -> tuple[Drift, ...]:
    """Average the metrics that have values by frame; those with a value at one frame only are left out.

    Args:
        arms: The control first, then the arms.
        metrics: Metrics of the table.
        frames_of_base: Number of frames that the base was trained on, if it is known.
    """
    found = []
    for metric in metrics:
        rows = [row for arm in arms if (row := _of_arm(arm, metric.key)) is not None]
        if any(sum(mean is not None for mean in row.mean) > 1 for row in rows):
            found.append(Drift(metric.key, frames_of_base, tuple(rows)))
    return tuple(found)


def _of_arm(arm: ArmValues, key: str) -> ArmDrift | None:
    of_seeds = list(arm.per_frame(key).values())
    if not of_seeds:
        return None
    columns = [_interval(column) for column in zip(*of_seeds, strict=True)]
    mean, low, high = ([column[place] for column in columns] for place in range(3))
    return ArmDrift(arm.id, len(of_seeds), tuple(mean), tuple(low), tuple(high))


def _interval(column: Sequence[float | None]) -> Numbers:
    """Compute mean and bounds over the seeds at one frame."""
    values = [value for value in column if value is not None and math.isfinite(value)]
    if not values:
        return None, None, None
    mean, low, high = mean_interval(values)
    return mean, finite(low), finite(high)
