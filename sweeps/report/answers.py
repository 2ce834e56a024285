"""The answer of a study, in sentences: what differs from the control, by how much, and how sure that is."""

from collections.abc import Iterator

from sweeps.plan.arms import Arm
from sweeps.report import texts
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow, Summary
from sweeps.results.contrasts import ContrastRow, Estimate
from sweeps.results.robustness import Robustness
from sweeps.statistics.paired import ALPHA
from sweeps.statistics.verdicts import Verdict, is_above
from sweeps.study.designs import TREND
from sweeps.study.fields import REMOVED
from sweeps.study.words import counted, written
from trainables.metrics import MetricKey, is_context

MOST = 8
"""Largest number of sentences on findings; a study with more is read from its table."""
_UPPER = ("clip", "cmmd", "fd", "fid", "fvd", "jedi", "kd", "kid", "kvd", "psnr", "ssim")


def answers(report: Report) -> list[str]:
    """State what the study found, one sentence per arm or trend that differs, and what else it could have shown."""
    if not any(summary.verdict for row in report.rows for summary in row.metrics.values()):
        return []
    metrics = [metric for metric in report.metrics if not is_context(metric)]
    rows = [row for row in report.rows[1:] if any(_is_found(row.metrics[metric.key]) for metric in metrics)]
    shown = [_of_arm(report, row, metrics) for row in rows[:MOST]]
    if len(rows) > MOST:
        shown.append(f"{len(rows) - MOST} more arms differ; see the table.")
    shown += _of_trends(report)
    preliminary = ["Preliminary, since cells are missing."] if _is_unfinished(report) else []
    return [*preliminary, *shown, _rest(report, is_alone=not shown)]


def _of_arm(report: Report, row: ArmRow, metrics: list[MetricKey]) -> str:
    arm = next(arm for arm in report.plan.arms if arm.id == row.id)
    findings = [_finding(row, metric) for metric in metrics if _is_found(row.metrics[metric.key])]
    return f"{_subject(arm, report.plan.arms[0])} {' and '.join(findings)}{_doubt(report, row, metrics)}."


def _is_found(summary: Summary) -> bool:
    return summary.verdict not in (None, Verdict.INCONCLUSIVE)


def _finding(row: ArmRow, metric: MetricKey) -> str:
    """Word one difference, such as ``lowers temporal consistency by 0.037 [0.020, 0.055] (p = 0.01, 24 clips)``."""
    summary = row.metrics[metric.key]
    assert summary.verdict is not None, "a finding has a verdict"
    name, number = metric_words(metric), counted(summary.pairs, summary.unit)
    if summary.verdict is Verdict.EQUIVALENT:
        return f"leaves {name} as it is, within {summary.margin:g} ({number})"
    if summary.difference is None or is_above(summary.verdict, metric.direction) != (summary.difference > 0):
        return f"makes {name} {summary.verdict} with the seeds that diverged ranked last ({_p(summary.p_corrected)})"
    how = f"{summary.verdict}, {_p(summary.p_corrected)}, {number}"
    return f"{_by(name, summary.difference, summary.low, summary.high)} ({how})"


def _p(p: float | None) -> str:
    words = texts.p_text(p)
    return f"p {words}" if words.startswith("<") else f"p = {words}"


def _by(name: str, difference: float | None, low: float | None, high: float | None) -> str:
    """Word a change as one to the side of the difference, with its interval on that side."""
    assert difference is not None, "a finding has a difference"
    decimals = texts.decimals_of(low, high, difference)
    side = 1 if difference > 0 else -1
    bounds = () if low is None or high is None else tuple(sorted((side * low, side * high)))
    interval = f" [{bounds[0]:z.{decimals}f}, {bounds[1]:z.{decimals}f}]" if bounds else ""
    return f"{'raises' if side > 0 else 'lowers'} {name} by {abs(difference):.{decimals}f}{interval}"


def _doubt(report: Report, row: ArmRow, metrics: list[MetricKey]) -> str:
    """Say which of an arm's findings depend on a single unit or on the choice of test."""
    by_place = {(examined.arm, examined.metric): examined for examined in report.robustness}
    fragile = [
        metric_words(metric)
        for metric in metrics
        if _is_found(row.metrics[metric.key]) and _is_fragile(by_place.get((row.id, metric.key)))
    ]
    return f" – not robust in {' and '.join(fragile)}, see Robustness" if fragile else ""


def _is_fragile(examined: Robustness | None) -> bool:
    return examined is not None and examined.is_fragile


def _of_trends(report: Report) -> Iterator[str]:
    for row in report.contrasts:
        found = [
            _trend(report, row, metric, estimate)
            for metric in report.metrics
            if not is_context(metric)
            and (estimate := row.metrics.get(metric.key)) is not None
            and row.kind == TREND
            and estimate.p_corrected <= ALPHA
        ]
        if found:
            least, most = _ends(report, row.name)
            yield f"Raising {row.name} from {least} to {most} {' and '.join(found)}."


def _trend(report: Report, row: ContrastRow, metric: MetricKey, estimate: Estimate) -> str:
    effect, unit = estimate.effect, report.inference.unit(metric.key)
    how = f"{_p(estimate.p_corrected)}, {counted(effect.n, unit)}"
    return f"{_by(metric_words(metric), effect.difference, effect.low, effect.high)} ({how})"


def _ends(report: Report, path: str) -> tuple[str, str]:
    """Return the smallest and the largest value of a trend."""
    contrast = next(item for item in report.plan.contrasts if (item.name, item.kind) == (path, TREND))
    by_weight = sorted(contrast.weights, key=lambda arm: contrast.weights[arm])
    values = [_value(report, arm, path) for arm in (by_weight[0], by_weight[-1])]
    return values[0], values[1]


def _value(report: Report, arm: str, path: str) -> str:
    of_arm = next(item for item in report.plan.arms if item.id == arm)
    part, _, name = path.rpartition(".")
    tree = of_arm.system.model_dump(mode="json")
    for key in filter(None, part.split(".")):
        tree = tree[key]
    return written(tree[name])


def _rest(report: Report, *, is_alone: bool) -> str:
    """Say that nothing else differs, and which differences the study could have shown."""
    shown = []
    for metric in report.metrics:
        open_ones = (item for item in report.robustness if item.metric == metric.key and item.p_corrected > ALPHA)
        if known := [item.smallest_difference for item in open_ones if item.smallest_difference]:
            shown.append(f"{max(known):.2g} in {metric_words(metric)}")
    rest = "No arm is shown to differ from the control" if is_alone else "Nothing else in this study is shown to differ"
    if not shown:
        return f"{rest}."
    return f"{rest}; it could show differences of {', '.join(shown)} or more (80 % power)."


def _is_unfinished(report: Report) -> bool:
    return any(row.missing or row.lost for row in report.rows)


def _subject(arm: Arm, control: Arm) -> str:
    """Word what an arm does, as the beginning of a sentence."""
    if arm.has_own_system or len(arm.changes) != 1:
        return f'"{arm.id}"'
    ((path, value),) = arm.changes.items()
    match arm.action:
        case "REMOVE":
            return f"Removing the {_part_words(path, control)}"
        case "REPLACE" if isinstance(value, str) and value != REMOVED:
            return f"Replacing the {_part_words(path, control)} by {_part_words(path, arm)}"
        case "ADD" if isinstance(value, str):
            return f"Adding {_part_words(path, arm)}"
        case "VALUES":
            return f"Setting {path} to {written(value)}"
    return f'"{arm.id}"'


def _part_words(path: str, arm: Arm) -> str:
    """Name the part in a slot: an alias that says what it is, else its kind and its slot."""
    slot = path.replace("_", " ")
    part = getattr(arm.system, path, None)
    kind = str(getattr(part, "kind", "")).replace("_", " ")
    aliases = [alias for alias in getattr(part, "aliases", ()) if alias.endswith(slot)]
    return aliases[0] if aliases else f"{kind} {slot}".strip()


def metric_words(metric: MetricKey) -> str:
    """Name a metric in a sentence, such as ``temporal consistency`` or ``CLIP score``."""
    name = metric.key.partition("/")[0]
    return " ".join(word.upper() if word in _UPPER else word for word in name.split("_"))
