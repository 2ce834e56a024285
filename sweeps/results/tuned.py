"""Arms at their best settings, compared over independent searches: the unit is the repeat of the search."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sweeps.results.arm_values import ArmValues, values_in_common
from sweeps.results.comparison import ArmRow, Summary, finite
from sweeps.results.divergence import direction_of
from sweeps.results.pairing import Inference
from sweeps.statistics.combined import CombinedMean, over_repeats, within_arm
from sweeps.statistics.paired import ALPHA, holm, standard_deviation
from sweeps.statistics.verdicts import verdict
from trainables.metrics import MetricKey, is_context


@dataclass(frozen=True)
class TunedArm:
    """The winners of an arm's searches at the fresh seeds.

    Args:
        id: The arm.
        role: ``control`` or ``arm``.
        repeats: Values of the first winner of each repeat that has one; of an arm that is not tuned, its own values.
        is_tuned: Whether the arm is searched.
        has_barren: Whether a search of the arm has results and no winner, such as one whose trials all diverged.
    """

    id: str
    role: Literal["control", "arm"]
    repeats: tuple[ArmValues, ...]
    is_tuned: bool
    has_barren: bool = False

    @property
    def changes(self) -> str:
        """The settings of the winners, in the order of the repeats."""
        return " | ".join(values.changes for values in self.repeats) if self.is_tuned else "untuned"

    @property
    def has_lost(self) -> bool:
        """Whether a winner diverged, or a search has none: the values of the others are those of a better arm."""
        return self.has_barren or any(repeat.diverged for repeat in self.repeats)

    def with_values(self, key: str, inference: Inference) -> list[ArmValues]:
        """Return the repeats that have a value of a metric."""
        return [repeat for repeat in self.repeats if repeat.by_unit(key, inference.unit(key))]

    def count(self, number: str) -> int:
        """Add up the cells of all repeats that ended in a certain way."""
        return sum(getattr(record, number) for values in self.repeats for record in values.records.values())


def compare_over_repeats(
    arms: Sequence[TunedArm],
    metrics: Sequence[MetricKey],
    margins: Mapping[str, float],
    code: Mapping[str, str],
    inference: Inference,
) -> tuple[ArmRow, ...]:
    """Compare arms that were tuned by several independent searches; see ``over_repeats`` for interval and test.

    Both sides count at the units at which all of their winners have a value. The test is corrected after Holm over the
    family of the study, since the luck of a search has no sign to flip. There is no test where a tuned side has results
    of fewer than 2 repeats, nor where a winner of either side diverged: the others would decide without it. So few
    repeats cannot be compared by ranks, so that this holds with ``diverged: worst`` too.

    Args:
        arms: The control first.
        metrics: Metrics of the table.
        margins: Family -> largest difference that does not matter, in the metric's units.
        code: Arm -> code hash of the newest result of its system.
        inference: Units and family of the comparisons.
    """
    places = [(metric, place) for metric in metrics for place in range(1, len(arms))]
    means = {(metric.key, place): _difference(arms[place], arms[0], metric.key, inference) for metric, place in places}
    tested = {at: m for at, m in means.items() if m is not None and not (arms[0].has_lost or arms[at[1]].has_lost)}
    corrected = _corrected(tested, metrics, inference)
    rows = []
    for place, arm in enumerate(arms):
        of_arm = {metric.key: _summary(arm, metric.key, inference) for metric in metrics}
        for metric in metrics if place else ():
            mean, pairs = means[metric.key, place], _repeats(arm, arms[0], metric.key, inference)
            number = sum(key == metric.key for key, _ in tested)
            if mean is not None:
                _, low, high = mean.interval()
                of_arm[metric.key] = replace(of_arm[metric.key], difference=mean.mean, low=low, high=high, pairs=pairs)
            if mean is not None and (metric.key, place) in tested:
                p, margin = corrected[metric.key, place], margins.get(metric.family)
                of_arm[metric.key] = _compared(of_arm[metric.key], mean, p, metric, margin, number)
        rows.append(_row(arm, of_arm, code))
    return tuple(rows)


def without_verdicts(rows: Sequence[ArmRow]) -> tuple[ArmRow, ...]:
    """Keep differences and intervals of settings, and no verdict on arms: one search tells nothing of its own luck."""

    def kept(summary: Summary) -> Summary:
        untested = replace(summary, p_value=None, p_corrected=None, p_latest=None, smallest_p=None)
        return replace(untested, verdict=None, margin=None)

    return tuple(replace(row, metrics={key: kept(summary) for key, summary in row.metrics.items()}) for row in rows)


def _difference(arm: TunedArm, control: TunedArm, key: str, inference: Inference) -> CombinedMean | None:
    """Compare one metric of two sides; None with fewer than 2 repeats of a tuned side, or fewer than 2 units."""
    of_arm, of_control = arm.with_values(key, inference), control.with_values(key, inference)
    if len(of_arm) < 1 + arm.is_tuned or len(of_control) < 1 + control.is_tuned:
        return None
    rows = [list(row.values()) for row in values_in_common([*of_control, *of_arm], key, inference.unit(key))]
    return over_repeats(rows[len(of_control) :], rows[: len(of_control)]) if len(rows[0]) >= 2 else None


def _repeats(arm: TunedArm, control: TunedArm, key: str, inference: Inference) -> int:
    """Return the number of repeats that a comparison rests on: of the tuned side that has fewer."""
    return min((len(side.with_values(key, inference)) for side in (arm, control) if side.is_tuned), default=1)


def _corrected(
    means: Mapping[tuple[str, int], CombinedMean], metrics: Sequence[MetricKey], inference: Inference
) -> dict[tuple[str, int], float]:
    """Correct the tests after Holm, over the arms of each metric or over all arms and metrics."""
    families = [[metric.key] for metric in metrics]
    if inference.over == "arms_and_metrics":
        claims = [metric.key for metric in metrics if not is_context(metric)]
        families = [claims, *([metric.key] for metric in metrics if is_context(metric))]
    corrected: dict[tuple[str, int], float] = {}
    for keys in families:
        places = [place for place in means if place[0] in keys]
        corrected |= dict(zip(places, holm([means[place].p_value for place in places]), strict=True))
    return corrected


def _summary(arm: TunedArm, key: str, inference: Inference) -> Summary:
    """Summarise one metric of one arm by itself, over its repeats."""
    repeats = arm.with_values(key, inference)
    values = [list(row.values()) for row in values_in_common(repeats, key, inference.unit(key))] if repeats else []
    if not values or not values[0]:
        return Summary(unit="repeat")
    means = [math.fsum(row) / len(row) for row in values]
    mean, sd = math.fsum(means) / len(means), finite(standard_deviation(means))
    if len(values) < 1 + arm.is_tuned or len(values[0]) < 2:
        return Summary(mean, sd, len(values), unit="repeat")
    mean, low, high = within_arm(values).interval()
    return Summary(mean, sd, len(values), low, high, unit="repeat")


def _compared(
    summary: Summary, mean: CombinedMean, p: float, metric: MetricKey, margin: float | None, arms: int
) -> Summary:
    """Add the test of the difference from the control to a summary."""
    within = margin if margin and mean.is_within(margin, ALPHA / arms) else None
    return replace(
        summary,
        p_value=mean.p_value,
        p_corrected=p,
        p_latest=p,
        verdict=verdict(mean.mean, p, direction_of(metric), is_equivalent=within is not None),
        margin=within,
    )


def _row(arm: TunedArm, metrics: dict[str, Summary], code: Mapping[str, str]) -> ArmRow:
    records = [record for values in arm.repeats for record in values.records.values()]
    diverged, lost = arm.count("diverged"), arm.count("lost")
    return ArmRow(
        id=arm.id,
        role=arm.role,
        changes=arm.changes,
        metrics=metrics,
        failed=sum(record.status == "failed" for record in records) - diverged - lost,
        diverged=diverged,
        pruned=sum(record.status == "pruned" for record in records),
        missing=sum(len(values.seeds) for values in arm.repeats) - len(records),
        other_code=sum(record.code_hash != code.get(record.arm) for record in records),
        lost=lost,
    )
