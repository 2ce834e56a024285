"""Rows of the table: arms compared with the control over the same units, metric by metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sweeps.results.arm_values import ArmValues
from sweeps.results.divergence import direction_of, one_sided
from sweeps.results.pairing import Inference, WeightedSum
from sweeps.results.record import Record
from sweeps.results.significance import Tested, difference_of, is_tested, p_values_of
from sweeps.statistics.paired import ALPHA, mean_interval, pairing_correlation, standard_deviation
from sweeps.statistics.verdicts import Verdict, equivalent, verdict
from sweeps.study.fields import Unit
from trainables.metrics import MetricKey


@dataclass(frozen=True)
class Summary:
    """One metric of one arm; missing numbers (the control's difference, bounds from one unit) are None.

    Args:
        mean: Mean over the units that have a value.
        sd: Standard deviation over the units.
        n: Units that have a value.
        low_mean: Lower bound of the mean's 95 % t interval.
        high_mean: Upper bound of it.
        difference: Mean of arm minus control over the units that have a value in both; None where there is none.
        low: Lower bound of its 95 % paired t interval, not corrected for the number of arms; wider in a study with
            several analyses, so that it is valid at each of them.
        high: Upper bound of it.
        p_value: Two-sided sign-flip test of the difference, valid at every analysis.
        p_corrected: The same after the study's correction.
        p_latest: Corrected p-value of the latest analysis alone, which a rule for futility may use and no claim.
        smallest_p: Smallest ``p_value`` that so many pairs can reach.
        correlation: Pearson, arm against control over the units.
        verdict: Verdict on the difference; None without a difference. Where cells that diverged count as the worst, it
            may be on the other side than the difference, which is among the others.
        pairs: Units that have a value in both.
        margin: Margin within which the arm is equivalent; None where equivalence is not shown.
        unit: The unit; ``repeat`` for arms that are compared over independent searches.
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
    p_latest: float | None = None
    smallest_p: float | None = None
    correlation: float | None = None
    verdict: Verdict | None = None
    pairs: int = 0
    margin: float | None = None
    unit: Unit | Literal["repeat"] = "seed"


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
    inference: Inference,
) -> tuple[ArmRow, ...]:
    """Compare arms with a control.

    Args:
        arms: The control first, then the arms; they are one family for the correction.
        metrics: Metrics of the table.
        margins: Family -> largest difference that does not matter, in the metric's units.
        code: Arm -> code hash of the newest result of its system.
        inference: Units, analyses and correction.
    """
    differences = {
        at: difference
        for metric in metrics
        for place in range(1, len(arms))
        if is_tested(difference := difference_of(arms, at := (metric.key, place), inference), metric, inference)
    }
    tests = p_values_of(differences, metrics, arms[0].seeds, inference)
    columns: dict[str, list[Summary]] = {}
    for metric in metrics:
        column = [_summary(arm, metric, inference) for arm in arms]
        of_metric = [place for key, place in differences if key == metric.key]
        for place in of_metric:
            at, alpha = (metric.key, place), ALPHA * inference.share(arms[place].seeds)
            margin = margins.get(metric.family)
            column[place] = _compared(column[place], differences[at], tests[at], metric, margin, alpha, len(of_metric))
        columns[metric.key] = column
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
            missing=len(arm.seeds) - len(arm.records),
            other_code=sum(record.code_hash != code.get(record.arm) for record in arm.records.values()),
        )
        for place, arm in enumerate(arms)
    )


def _is_charged(record: Record) -> bool:
    """Whether a cell ended in an error that is neither a machine failure nor divergence."""
    return record.status == "failed" and not record.diverged and not record.lost


def _summary(arm: ArmValues, metric: MetricKey, inference: Inference) -> Summary:
    """Summarise one metric of one arm by itself."""
    unit = inference.unit(metric.key)
    values = list(arm.by_unit(metric.key, unit).values())
    if not values:
        return Summary(unit=unit)
    mean, low, high = mean_interval(values)
    return Summary(mean, finite(standard_deviation(values)), len(values), finite(low), finite(high), unit=unit)


def _compared(
    summary: Summary, of: WeightedSum, test: Tested, metric: MetricKey, margin: float | None, alpha: float, arms: int
) -> Summary:
    """Add the difference from the control to a summary; ``alpha`` is the level of this analysis."""
    pairs, within = of.pairs(), None
    if pairs:
        mean, low, high = mean_interval(list(pairs.differences.values()), 1 - alpha)
        # A cell that diverged on one side alone differs by more than any margin.
        if margin and not one_sided(of) and equivalent(pairs.arm, pairs.control, margin, alpha / arms):
            within = margin
        correlation = finite(pairing_correlation(pairs.arm, pairs.control))
        summary = replace(summary, difference=mean, low=finite(low), high=finite(high), correlation=correlation)
    return replace(
        summary,
        p_value=test.p_value,
        p_corrected=test.p_corrected,
        p_latest=test.p_latest,
        smallest_p=test.smallest_p,
        verdict=verdict(test.side, test.p_corrected, direction_of(metric), is_equivalent=within is not None),
        pairs=len(pairs),
        margin=within,
    )


def finite(value: float) -> float | None:
    """Return a finite number as it is, and None for NaN or infinity."""
    return value if math.isfinite(value) else None
