"""What became of the study's hypotheses: each with its outcome, and the numbers behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.plan.arms import Arm
from sweeps.results.comparison import ArmRow, Summary, is_context
from sweeps.results.robustness import Robustness
from sweeps.statistics.verdicts import Verdict
from trainables.metrics import MetricKey

Outcome = Literal["supported", "contradicted", "open"]


@dataclass(frozen=True)
class Claim:
    """A hypothesis about an arm, and what the table says of it.

    Args:
        arm: Of which it speaks.
        claim: In the author's words.
        effect: Where the arm is expected, seen from the control.
        metric: By which, by its key.
        outcome: ``supported``, ``contradicted`` or ``open``.
        summary: The arm's numbers in this metric.
        robustness: What a reviewer asks of the difference; None where nothing was examined.
    """

    arm: str
    claim: str
    effect: str
    metric: str
    outcome: Outcome
    summary: Summary
    robustness: Robustness | None


def judge(
    arms: Sequence[Arm], rows: Sequence[ArmRow], metrics: Sequence[MetricKey], examined: Sequence[Robustness]
) -> tuple[Claim, ...]:
    """Set every hypothesis against the table.

    Args:
        arms: The plan's, with what their author expects.
        rows: The table's.
        metrics: The table's; a hypothesis that names none speaks of the first.
        examined: What a reviewer asks of each difference.
    """
    of_row = {row.id: row for row in rows}
    robust = {(examined_metric.arm, examined_metric.metric): examined_metric for examined_metric in examined}
    claims = []
    for arm in arms:
        if arm.expected is None or arm.id not in of_row:
            continue
        metric = next(
            examined_metric
            for examined_metric in metrics
            if examined_metric.family == (arm.expected.metric or metrics[0].family)
        )
        summary = of_row[arm.id].metrics[metric.key]
        effect = arm.expected.effect
        outcome, examined_so = _outcome(effect, summary, metric), robust.get((arm.id, metric.key))
        claims.append(Claim(arm.id, arm.hypothesis, effect, metric.key, outcome, summary, examined_so))
    return tuple(claims)


def _outcome(effect: str, summary: Summary, metric: MetricKey) -> Outcome:
    if summary.difference is None or summary.verdict in (None, Verdict.INCONCLUSIVE):
        return "open"
    if Verdict.EQUIVALENT in (effect, summary.verdict):
        return "supported" if effect == summary.verdict else "contradicted"
    expected = effect == "different" or effect == _side(summary.difference, effect, metric)
    return "supported" if expected else "contradicted"


def _side(difference: float, effect: str, metric: MetricKey) -> str:
    """The side of the control on which an arm is, in the terms in which it was expected to be somewhere."""
    if effect in ("higher", "lower") or is_context(metric):
        return "higher" if difference > 0 else "lower"
    return "better" if (difference > 0) == (metric.direction == "max") else "worse"
