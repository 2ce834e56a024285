"""What became of the study's hypotheses: each with a verdict, and the evidence for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sweeps.results.comparison import ArmRow, Summary, is_context
from sweeps.results.robustness import Robustness
from sweeps.statistics.paired import ALPHA
from sweeps.study.words import counted

if TYPE_CHECKING:
    from sweeps.plan.arms import Arm
    from trainables.metrics import MetricKey

Outcome = Literal["supported", "contradicted", "open"]


@dataclass(frozen=True)
class Claim:
    """A hypothesis about an arm, read as something that a table can say, and what it says.

    Args:
        arm: Of which it speaks.
        claim: In the author's words.
        reading: What of it can be tested, such as ``worse by clip_score/shapes``.
        outcome: ``supported``, ``contradicted`` or ``open``.
        because: The rule by which the evidence makes that outcome, with what qualifies it.
        evidence: Difference, interval, corrected p and seeds.
    """

    arm: str
    claim: str
    reading: str
    outcome: Outcome
    because: str
    evidence: str


def judge(
    arms: "Sequence[Arm]", rows: Sequence[ArmRow], metrics: "Sequence[MetricKey]", examined: Sequence[Robustness]
) -> tuple[Claim, ...]:
    """Set every hypothesis against the table.

    Args:
        arms: The plan's, with what their author expects.
        rows: The table's.
        metrics: The table's; a hypothesis that names none speaks of the first.
        examined: What a reviewer asks of each difference.
    """
    of_row = {row.id: row for row in rows}
    robust = {(one.arm, one.metric): one for one in examined}
    claims = []
    for arm in arms:
        if arm.expected is None or arm.id not in of_row:
            continue
        metric = next(one for one in metrics if one.family == (arm.expected.metric or metrics[0].family))
        summary = of_row[arm.id].metrics[metric.key]
        reading = f"{arm.expected.effect} by {metric.key}"
        outcome, because = _outcome(arm.expected.effect, summary, metric, robust.get((arm.id, metric.key)))
        claims.append(Claim(arm.id, arm.hypothesis, reading, outcome, because, evidence(summary)))
    return tuple(claims)


def _outcome(effect: str, summary: Summary, metric: "MetricKey", robust: Robustness | None) -> tuple[Outcome, str]:
    if summary.difference is None or summary.p_corrected is None:
        return "open", "no seed has a value in this arm and in the control"
    equivalent = summary.verdict.startswith("equivalent")
    significant = summary.p_corrected <= ALPHA and not equivalent
    if not significant and not equivalent:
        return "open", robust.verdict if robust else "too few seeds to say"
    if effect == "equivalent":
        return ("supported", summary.verdict) if equivalent else ("contradicted", f"it is {summary.verdict}")
    if equivalent:
        return "contradicted", summary.verdict
    found = effect == "different" or effect == _side(summary.difference, effect, metric)
    shaky = robust is not None and robust.verdict.startswith("hangs")
    doubt = f", but {robust.verdict}" if robust is not None and shaky else ""
    return ("supported" if found else "contradicted"), f"it is {summary.verdict}{doubt}"


def _side(difference: float, effect: str, metric: "MetricKey") -> str:
    """The side of the control on which an arm is, in the terms in which it was expected to be somewhere."""
    if effect in ("higher", "lower") or is_context(metric):
        return "higher" if difference > 0 else "lower"
    return "better" if (difference > 0) == (metric.direction == "max") else "worse"


def evidence(summary: Summary) -> str:
    """The numbers behind a verdict, on one line."""
    if summary.difference is None:
        return ""
    interval = "" if summary.low is None else f" [{summary.low:+.3g}, {summary.high:+.3g}]"
    p = "" if summary.p_corrected is None else f", corrected p {summary.p_corrected:.2g}"
    return f"{summary.difference:+.3g}{interval}{p}, {counted(summary.n, 'seed')}"
