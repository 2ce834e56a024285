"""Lines of the table: arms against a control over the same seeds, metric by metric."""

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
from sweeps.statistics.sequential import Looks, looked_at
from sweeps.statistics.verdicts import Verdict, equivalent, verdict
from trainables.metrics import MetricKey


@dataclass(frozen=True)
class Summary:
    """One metric of one arm; what does not exist (the control's difference, bounds from one seed) is None.

    Args:
        mean: Mean over the seeds that have a value.
        sd: Standard deviation over the seeds.
        n: Seeds that have a value.
        low_mean: Lower bound of the mean's 95 % t interval.
        high_mean: Upper bound of it.
        difference: Mean of arm minus control over the seeds that have a value in both.
        low: Lower bound of its 95 % paired t interval, not corrected for the number of arms; wider where a study is
            looked at on its way, so that it holds at whatever look.
        high: Upper bound of it.
        p_value: Two-sided sign-flip test of the difference, valid at every look where there are several.
        p_corrected: The same after Holm's correction over the arms of this metric.
        smallest_p: What ``p_value`` could reach with so many pairs.
        correlation: Pearson, arm against control over the seeds.
        verdict: What the difference amounts to; None where there is none.
        pairs: Seeds that have a value in both.
        margin: Within which the arm is shown to be equivalent; None where it is not.
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
class Size:
    """What an arm denoises with, as the proof counted it.

    Args:
        parameters: All of them.
        flops: Of one denoising pass of a clip.
        delta_parameters: Arm minus control.
        delta_flops: Arm minus control.
    """

    parameters: int
    flops: int
    delta_parameters: int
    delta_flops: int


@dataclass(frozen=True)
class ArmRow:
    """One line of the table.

    Args:
        id: The arm, or a winner of a search.
        role: The control is what the others are compared with.
        changes: What the arm changes, as the study writes it.
        metrics: Metric key -> its summary.
        failed: Cells that ended in an error of the arm.
        diverged: Cells in which the method left the finite numbers.
        pruned: Cells that were stopped early.
        missing: Cells without a result.
        other_code: Cells done by other code than the newest result was.
        lost: Cells that the machine failed, which is not charged to the arm; they are done again.
        size: What was counted of it before it ran; None where that was not done.
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
    size: Size | None = None


def compare(
    arms: Sequence[ArmValues],
    metrics: Sequence[MetricKey],
    margins: Mapping[str, float],
    code: str,
    looks: Looks | None = None,
) -> tuple[ArmRow, ...]:
    """Set arms against a control.

    Args:
        arms: The control first, then the arms; they are one family for the correction.
        metrics: The table's metrics.
        margins: Family -> largest difference that does not matter, in the metric's units.
        code: Code hash of the newest result.
        looks: How often the arms are looked at on the way, where they are; seeds are then numbers from 0.
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
            other_code=sum(record.code_hash != code for record in arm.records.values()),
        )
        for place, arm in enumerate(arms)
    )


def _is_charged(record: Record) -> bool:
    """Whether a cell ended in an error that is neither the machine's nor the arm's own result."""
    return record.status == "failed" and not record.diverged and not record.lost


def is_context(metric: MetricKey) -> bool:
    """Whether a metric stands beside others to show what they miss, and is no goal itself."""
    from trainables.metrics import FAMILIES

    return metric.family in {family.companion for family in FAMILIES.values()}


def _column(arms: Sequence[ArmValues], metric: MetricKey, margin: float | None, looks: Looks | None) -> list[Summary]:
    """One metric of all arms, corrected over those that have a pair with the control."""
    values = [arm.values(metric.key) for arm in arms]
    control = values[0]
    column = [_mean(list(arm.values())) for arm in values]
    common = {place: sorted(arm.keys() & control.keys()) for place, arm in enumerate(values) if place}
    common = {place: seeds for place, seeds in common.items() if seeds}
    pairs = {place: ([values[place][s] for s in seeds], [control[s] for s in seeds]) for place, seeds in common.items()}
    level = ALPHA * (looks.share_at(arms[0].num_seeds) if looks else 1)
    asked = arms[0].num_seeds
    differences = [looked_at(*pairs[place], seeds, looks, asked) for place, seeds in common.items()]
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
    """A number, or None where it is not one that can be shown."""
    return value if math.isfinite(value) else None
