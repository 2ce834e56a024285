"""Outcomes of the study's hypotheses, with the numbers behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.plan.arms import Arm
from sweeps.results.comparison import ArmRow, Summary
from sweeps.results.robustness import Robustness
from sweeps.statistics.verdicts import Verdict, is_above
from trainables.metrics import MetricKey, is_context

Outcome = Literal["supported", "contradicted", "open"]


@dataclass(frozen=True)
class Claim:
    """A hypothesis about an arm, with its outcome.

    Args:
        arm: Id of the arm.
        claim: The hypothesis as the study states it.
        effect: Expected effect, relative to the control.
        metric: Key of the metric that decides it.
        outcome: ``supported``, ``contradicted`` or ``open``.
        summary: Numbers of the arm in this metric.
        robustness: Robustness of the difference; None where it was not examined.
    """

    arm: str
    claim: str
    effect: str
    metric: str
    outcome: Outcome
    summary: Summary
    robustness: Robustness | None


def judge(
    arms: Sequence[Arm],
    rows: Sequence[ArmRow],
    metrics: Sequence[MetricKey],
    examined: Sequence[Robustness],
    margins: Mapping[str, float],
) -> tuple[Claim, ...]:
    """Decide every hypothesis from the table.

    Args:
        arms: Arms of the plan, with their hypotheses.
        rows: Rows of the table.
        metrics: Metrics of the table; a hypothesis that names no metric is decided by the first.
        examined: Robustness of each difference.
        margins: Family -> largest difference that does not matter.
    """
    of_row = {row.id: row for row in rows}
    by_difference = {(robustness.arm, robustness.metric): robustness for robustness in examined}
    claims = []
    for arm in arms:
        if arm.expected is None or arm.id not in of_row:
            continue
        family = arm.expected.metric or metrics[0].family
        metric = next(metric for metric in metrics if metric.family == family)
        summary = of_row[arm.id].metrics[metric.key]
        effect = arm.expected.effect
        outcome, robustness = (
            _outcome(effect, summary, metric, margins.get(family)),
            by_difference.get((arm.id, metric.key)),
        )
        claims.append(Claim(arm.id, arm.hypothesis, effect, metric.key, outcome, summary, robustness))
    return tuple(claims)


def _outcome(effect: str, summary: Summary, metric: MetricKey, margin: float | None) -> Outcome:
    if summary.verdict is None:
        return "open"
    if effect == Verdict.EQUIVALENT:
        if summary.verdict is Verdict.EQUIVALENT:
            return "supported"
        # A significant difference may well lie within the margin: only the interval contradicts equivalence.
        return "contradicted" if margin is not None and _is_beyond(summary, margin) else "open"
    if summary.verdict is Verdict.INCONCLUSIVE:
        return "open"
    if summary.verdict is Verdict.EQUIVALENT:
        return "contradicted"
    expected = effect == "different" or effect == _side(summary.verdict, effect, metric)
    return "supported" if expected else "contradicted"


def _is_beyond(summary: Summary, margin: float) -> bool:
    """Whether the whole interval lies beyond the margin, on one side."""
    if summary.low is None or summary.high is None:
        return False
    return summary.low > margin or summary.high < -margin


def _side(verdict: Verdict, effect: str, metric: MetricKey) -> str:
    """Return the side of the control on which an arm lies, in the terms of the expected effect."""
    if effect not in (Verdict.HIGHER, Verdict.LOWER) or is_context(metric):
        return verdict
    return Verdict.HIGHER if is_above(verdict, metric.direction) else Verdict.LOWER
