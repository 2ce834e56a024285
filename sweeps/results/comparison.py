"""Rows of the table: arms compared with the control over the same seeds, metric by metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sweeps.results.arm_values import ArmValues
from sweeps.results.record import Record
from sweeps.statistics.paired import (
    ALPHA,
    holm,
    mean_interval,
    pairing_correlation,
    standard_deviation,
)
from sweeps.statistics.sequential import Looks, sequential_difference
from sweeps.statistics.verdicts import Verdict, equivalent, verdict
from trainables.metrics import MetricKey


@dataclass(frozen=True)
class Summary:
    """One metric of one arm; missing numbers (the control's difference, bounds from one seed) are None.

    Args:
        mean: Mean over the seeds that have a value.
        sd: Standard deviation over the seeds.
        n: Seeds that have a value.
        low_mean: Lower bound of the mean's 95 % t interval.
        high_mean: Upper bound of it.
        difference: Mean of arm minus control over the seeds that have a value in both.
        low: Lower bound of its 95 % paired t interval, not corrected for the number of arms; wider in a study with
            interim analyses, so that it is valid at each of them.
        high: Upper bound of it.
        p_value: Two-sided sign-flip test of the difference, valid at every interim analysis.
        p_corrected: The same after Holm's correction over the arms of this metric.
        smallest_p: Smallest ``p_value`` that so many pairs can reach.
        correlation: Pearson, arm against control over the seeds.
        verdict: Verdict on the difference; None without a difference.
        pairs: Seeds that have a value in both.
        margin: Margin within which the arm is equivalent; None where equivalence is not shown.
    """

    mean: float | None = None
    sd: float | None = None
    n: int = 0
    low_mean: float | None = None
    high_mean: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    smallest_p: float | None = None
    correlation: float | None = None
    verdict: Verdict | None = None
    pairs: int = 0
    margin: float | None = None


@dataclass(frozen=True)
class NetworkSize:
    """Size of an arm's denoising network, as the ablation proof counted it.

    Args:
        parameters: Number of parameters.
        flops: Operations of one denoising pass of a clip.
        delta_parameters: Arm minus control.
        delta_flops: Arm minus control.
    """

    parameters: int
    flops: int
    delta_parameters: int
    delta_flops: int


@dataclass(frozen=True)
class ArmRow:
    """One row of the table.

    Args:
        id: The arm, or a winner of a search.
        role: ``control`` or ``arm``; arms are compared with the control.
        changes: Changes of the arm, as the study writes them.
        metrics: Metric key -> its summary.
        failed: Cells that ended in an error of the arm.
        diverged: Cells whose values became NaN or infinite.
        pruned: Cells that were stopped early.
        missing: Cells without a result.
        other_code: Cells computed with other code than the newest result of their system.
        lost: Cells that failed for reasons of the machine; they are rerun and not counted as failures of the arm.
        size: Parameters and operations, counted before the arm ran; None where they were not counted.
    """

    id: str
    role: Literal["control", "arm"]
    changes: str
    metrics: dict[str, Summary]
    failed: int
    diverged: int
    pruned: int
    missing: int
    other_code: int
    lost: int = 0
    size: NetworkSize | None = None


def compare(
    arms: Sequence[ArmValues],
    metrics: Sequence[MetricKey],
    margins: Mapping[str, float],
    code: Mapping[str, str],
    looks: Looks | None = None,
) -> tuple[ArmRow, ...]:
    """Compare arms with a control.

    Args:
        arms: The control first, then the arms; they are one family for the correction.
        metrics: Metrics of the table.
        margins: Family -> largest difference that does not matter, in the metric's units.
        code: Arm -> code hash of the newest result of its system.
        looks: Interim analyses, where the study has any; seeds are then numbered from 0.
    """
    columns = {metric.key: _column(arms, metric, margins.get(metric.family), looks) for metric in metrics}
    return tuple(
        ArmRow(
            id=arm.id,
            role=arm.role,
            changes=arm.changes,
            metrics={key: column[place] for key, column in columns.items()},
            failed=sum(_is_charged(record) for record in arm.records.values()),
            lost=sum(record.lost for record in arm.records.values()),
            diverged=sum(record.diverged for record in arm.records.values()),
            pruned=sum(record.status == "pruned" for record in arm.records.values()),
            missing=arm.num_seeds - len(arm.records),
            other_code=sum(record.code_hash != code.get(record.arm) for record in arm.records.values()),
        )
        for place, arm in enumerate(arms)
    )


def _is_charged(record: Record) -> bool:
    """Whether a cell ended in an error that is neither a machine failure nor divergence."""
    return record.status == "failed" and not record.diverged and not record.lost


def is_context(metric: MetricKey) -> bool:
    """Whether a metric only gives context to another one and is no objective itself."""
    from trainables.metrics import METRICS

    return metric.family in {family.companion for family in METRICS.values()}


def _column(arms: Sequence[ArmValues], metric: MetricKey, margin: float | None, looks: Looks | None) -> list[Summary]:
    """Compute one metric of all arms, corrected over the arms that have a pair with the control."""
    values = [arm.values(metric.key) for arm in arms]
    control = values[0]
    column = [_mean(list(arm.values())) for arm in values]
    common = {place: sorted(arm.keys() & control.keys()) for place, arm in enumerate(values) if place}
    common = {place: seeds for place, seeds in common.items() if seeds}
    pairs = {place: ([values[place][s] for s in seeds], [control[s] for s in seeds]) for place, seeds in common.items()}
    level = ALPHA * (looks.share_at(arms[0].num_seeds) if looks else 1)
    requested = arms[0].num_seeds
    differences = [sequential_difference(*pairs[place], seeds, looks, requested) for place, seeds in common.items()]
    corrected = holm([difference.p_value for difference in differences])
    direction = None if is_context(metric) else metric.direction
    for (place, pair), difference, p_corrected in zip(pairs.items(), differences, corrected, strict=True):
        within = margin if margin and equivalent(*pair, margin, level / len(pairs)) else None
        column[place] = replace(
            column[place],
            difference=difference.difference,
            low=finite(difference.low),
            high=finite(difference.high),
            p_value=difference.p_value,
            p_corrected=p_corrected,
            smallest_p=difference.smallest_p,
            correlation=finite(pairing_correlation(*pair)),
            verdict=verdict(difference, p_corrected, direction, is_equivalent=within is not None),
            pairs=difference.n,
            margin=within,
        )
    return column


def _mean(values: Sequence[float]) -> Summary:
    if not values:
        return Summary()
    mean, low, high = mean_interval(values)
    return Summary(mean, finite(standard_deviation(values)), len(values), finite(low), finite(high))


def finite(value: float) -> float | None:
    """Return a finite number as it is, and None for NaN or infinity."""
    return value if math.isfinite(value) else None
