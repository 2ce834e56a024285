"""Metrics by group of clips: each arm's mean and its difference from the control, over the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sweeps.plan import Plan
from sweeps.results.arm_values import ArmValues
from sweeps.results.comparison import Summary, finite
from sweeps.results.pairing import Inference
from sweeps.statistics.paired import ALPHA, mean_interval, paired_difference
from trainables.grouping import SUBSET
from trainables.metrics import METRICS, MetricKey


class Refusal(StrEnum):
    """Reason why a group of an arm has no value."""

    FEW_CLIPS = "few clips"
    FEW_CLIPS_OF_A_SET = "few clips of a set"


@dataclass(frozen=True)
class GroupOfArm:
    """One metric of one arm over the clips of one group.

    Args:
        arm: Id of the arm.
        clips: Clips of the group, over all seeds.
        refusal: Reason why it has no value; None where it has one.
        summary: Mean over the seeds of the mean over the group's clips, and the difference from the control's, without
            a test: intervals are not corrected for the numbers of arms and groups.
    """

    arm: str
    clips: int
    refusal: Refusal | None = None
    summary: Summary = Summary()


@dataclass(frozen=True)
class GroupFinding:
    """One metric over the clips of one group, in all arms.

    Args:
        grouping: Column of the annotations, or ``subset``.
        name: Category or subset.
        metric: Key of the metric.
        arms: The control, then the arms that have clips of the group.
    """

    grouping: str
    name: str
    metric: str
    arms: tuple[GroupOfArm, ...]


def by_group(plan: Plan, arms: Sequence[ArmValues], inference: Inference) -> tuple[GroupFinding, ...]:
    """Summarise the metrics of a study by its groups of clips; empty for a study without any.

    Args:
        plan: The plan.
        arms: Values of its arms, the control first.
        inference: Analyses of the study.
    """
    by = plan.study.by
    if by is None:
        return ()
    findings = []
    for metric in plan.metrics:
        found = dict.fromkeys(group for arm in arms for group in arm.group_names(metric.key, by.identity))
        subsets = [(SUBSET, name) for name in by.subsets]
        categories = sorted(group for group in found if group[0] != SUBSET)
        for grouping, name in (*categories, *subsets):
            values = {arm.id: arm.in_group(metric.key, grouping, name, by.identity) for arm in arms}
            control = _shown(values[arms[0].id], by.least)
            rows = tuple(
                _of_arm(arm, values[arm.id], control if arm is not arms[0] else {}, by.least, metric, inference)
                for arm in arms
                if values[arm.id]
            )
            findings += [GroupFinding(grouping, name, metric.key, rows)] if rows else []
    return tuple(findings)


Cells = dict[int, tuple[float | None, int]]
"""Seed -> value and number of clips."""


def _shown(cells: Cells, least: int) -> dict[int, float]:
    """Return the values by seed; empty where all seeds together have too few clips."""
    if sum(clips for _, clips in cells.values()) < least:
        return {}
    return {seed: value for seed, (value, _) in cells.items() if value is not None}


def _of_arm(
    arm: ArmValues, cells: Cells, control: dict[int, float], least: int, metric: MetricKey, inference: Inference
) -> GroupOfArm:
    clips, values = sum(clips for _, clips in cells.values()), _shown(cells, least)
    if not values:
        is_set = METRICS[metric.family].per == "set" and clips >= least
        return GroupOfArm(arm.id, clips, refusal=Refusal.FEW_CLIPS_OF_A_SET if is_set else Refusal.FEW_CLIPS)
    mean, low_mean, high_mean = mean_interval(list(values.values()))
    summary = Summary(mean=mean, n=len(values), low_mean=finite(low_mean), high_mean=finite(high_mean))
    seeds = sorted(values.keys() & control.keys())
    if seeds:
        pair = [values[seed] for seed in seeds], [control[seed] for seed in seeds]
        found = paired_difference(*pair, 1 - ALPHA * inference.share(arm.seeds))
        low, high = finite(found.low), finite(found.high)
        summary = replace(summary, difference=found.difference, low=low, high=high, pairs=found.n)
    return GroupOfArm(arm.id, clips, summary=summary)
