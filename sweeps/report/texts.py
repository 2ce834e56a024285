"""Formatted numbers, marks and headings that all formats of the report share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from sweeps.plan.arms import CONTROL
from sweeps.report import spent
from sweeps.report.table import Report
from sweeps.report.verdicts import verdict_words
from sweeps.results.ablation_path import AblationPath
from sweeps.results.comparison import ArmRow, Summary, finite
from sweeps.results.contrasts import ContrastRow, Estimate
from sweeps.results.search import SearchFindings, TrialRow
from sweeps.statistics.paired import ALPHA, CONFIDENCE
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import THESE_SETTINGS, counted
from trainables.metrics import MetricKey, is_context

MARK = "*"
LEGEND = f"{MARK} corrected p at most {ALPHA}"
ARROWS = {"max": "↑", "min": "↓"}
WORDS = {"max": "higher is better", "min": "lower is better"}
DIFFERENCE = f"Δ [{CONFIDENCE:.0%}]"
MEAN = f"mean ± {CONFIDENCE:.0%}"
NOTHING = "–"
HEADINGS = {
    "effect": ("Main effects", "Main effects: effect of each change, averaged over the other changes"),
    "interaction": (
        "Interactions",
        "Interactions: effect of two changes together, minus the sum of their separate effects",
    ),
    "added to nothing": (
        "Effect of adding one part",
        "Effect of adding one part while all other ablated parts are removed",
    ),
    "trend": (
        "Trends",
        "Trends: linear change from the smallest to the largest value, over all arms with a value and the control",
    ),
    "shapley": (
        "Shapley values",
        "Shapley values: effect of adding each part, averaged over the orders in which parts can be added",
    ),
}
"""Kind of effect -> short heading, full heading."""
SIZES = ("Δ parameters", "Δ FLOPs")
"""Columns of the model size."""


@dataclass(frozen=True)
class FormattedMetric:
    """One metric of one arm, formatted; missing numbers are empty.

    Args:
        mean: Mean ± half of its interval, such as ``70.5 ± 2.1``.
        difference: Arm minus control, signed.
        interval: Interval of the difference, such as ``[-1.7, +0.8]``.
        mark: ``*`` where the corrected p-value is at most 0.05.
        verdict: Verdict in words.
        is_finding: Whether the verdict is conclusive.
    """

    mean: str
    difference: str = ""
    interval: str = ""
    mark: str = ""
    verdict: str = ""
    is_finding: bool = False

    @property
    def change(self) -> str:
        """Difference, interval and mark on one line."""
        return " ".join(filter(None, (self.difference, self.interval))) + self.mark

    @property
    def finding(self) -> str:
        """The verdict where it is conclusive, else empty."""
        return self.verdict if self.is_finding else ""


def entries(rows: Sequence[ArmRow], key: str) -> list[FormattedMetric]:
    """Format one metric of all rows, with two significant digits of the median interval in the whole column."""
    return formatted([row.metrics[key] for row in rows])


def formatted(summaries: Sequence[Summary]) -> list[FormattedMetric]:
    """Format the entries of one column, with two significant digits of its median interval."""
    of_means = _decimals([_half(s.low_mean, s.high_mean) for s in summaries], [s.mean for s in summaries])
    of_differences = _decimals([_half(s.low, s.high) for s in summaries], [s.difference for s in summaries])
    return [_entry(summary, of_means, of_differences) for summary in summaries]


def _entry(summary: Summary, of_means: int, of_differences: int) -> FormattedMetric:
    mean = NOTHING if summary.mean is None else f"{summary.mean:.{of_means}f}"
    half = _half(summary.low_mean, summary.high_mean)
    if half is not None:
        mean += f" ± {half:.{of_means}f}"
    mark, is_finding = MARK if is_marked(summary) else "", summary.verdict is not Verdict.INCONCLUSIVE
    if summary.difference is None:  # with a verdict where all units diverged
        return FormattedMetric(mean, mark=mark, verdict=verdict_words(summary), is_finding=is_finding)
    interval = ""
    if summary.low is not None and summary.high is not None:
        interval = f"[{summary.low:+z.{of_differences}f}, {summary.high:+z.{of_differences}f}]"
    difference = f"{summary.difference:+z.{of_differences}f}"
    return FormattedMetric(mean, difference, interval, mark, verdict_words(summary), is_finding)


@dataclass(frozen=True)
class ContrastTable:
    """Effects of one kind, formatted; ``entries`` has one entry per row for each metric."""

    short: str
    heading: str
    rows: tuple[ContrastRow, ...]
    entries: Mapping[str, list[FormattedMetric]]


def contrast_tables(report: Report) -> list[ContrastTable]:
    """Format the effects by kind, in the order of the headings."""
    tables = []
    for kind, (short, heading) in HEADINGS.items():
        rows = tuple(row for row in report.contrasts if row.kind == kind)
        entries = {metric.key: _contrast_entries(rows, metric.key) for metric in report.metrics}
        tables += [ContrastTable(short, heading, rows, entries)] if rows else []
    return tables + [_path_table(report, path) for path in (report.search.paths if report.search else ())]


def _path_table(report: Report, path: AblationPath) -> ContrastTable:
    """Format the steps of an ablation path."""
    short = f"Ablation path of {path.arm}"
    end = "its untuned settings" if path.arm == CONTROL else "the control's best settings"
    heading = f"{short}: change by each step from its best settings to {end}, at fresh seeds"
    entries = {metric.key: _contrast_entries(path.steps, metric.key) for metric in report.metrics}
    return ContrastTable(short, heading, path.steps, entries)


def _contrast_entries(rows: Sequence[ContrastRow], key: str) -> list[FormattedMetric]:
    estimates = [row.metrics.get(key) for row in rows]
    halves = [_half(finite(estimate.effect.low), finite(estimate.effect.high)) for estimate in estimates if estimate]
    decimals = _decimals(halves, [estimate.effect.difference for estimate in estimates if estimate])
    return [_contrast(estimate, decimals) for estimate in estimates]


def _contrast(estimate: Estimate | None, decimals: int) -> FormattedMetric:
    if estimate is None:
        return FormattedMetric(NOTHING)
    low, high = finite(estimate.effect.low), finite(estimate.effect.high)
    interval = "" if low is None or high is None else f"[{low:+z.{decimals}f}, {high:+z.{decimals}f}]"
    mark = MARK if estimate.p_corrected <= ALPHA else ""
    return FormattedMetric("", f"{estimate.effect.difference:+z.{decimals}f}", interval, mark)


def is_marked(summary: Summary) -> bool:
    """Whether the difference is significant after the correction over the arms."""
    return summary.p_corrected is not None and summary.p_corrected <= ALPHA


def legend(report: Report) -> list[str]:
    """Explain the mark, where the report has one."""
    confirmed = report.search.confirmed if report.search else ()
    summaries = (summary for row in (*report.rows, *confirmed) for summary in row.metrics.values())
    steps = [row for path in (report.search.paths if report.search else ()) for row in path.steps]
    effects = (estimate for row in (*report.contrasts, *steps) for estimate in row.metrics.values())
    marks = [*map(is_marked, summaries), *(estimate.p_corrected <= ALPHA for estimate in effects)]
    return [LEGEND] if any(marks) else []


def _half(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else (high - low) / 2


def _decimals(halves: Sequence[float | None], values: Sequence[float | None]) -> int:
    spreads = [half for half in halves if half]
    if spreads:
        return min(6, max(0, 1 - math.floor(math.log10(median(spreads)))))
    sizes = [abs(value) for value in values if value]
    return min(6, max(0, 3 - math.floor(math.log10(median(sizes))))) if sizes else 4


def decimals_of(low: float | None, high: float | None, value: float) -> int:
    """Return the decimals of one number: two significant digits of half its interval."""
    return _decimals([_half(low, high)], [value])


def head(metric: MetricKey) -> str:
    """Return a metric's name with an arrow to its better side; metrics that only give context have no arrow."""
    return metric.key if is_context(metric) else f"{metric.key} {ARROWS[metric.direction]}"


def aim(metric: MetricKey) -> str:
    """State which side of a metric is better, in words."""
    return "context only, no better side" if is_context(metric) else WORDS[metric.direction]


def sizes(rows: Sequence[ArmRow]) -> list[tuple[str, str]]:
    """Format parameters and operations: the control's, then differences from it; empty where none was counted."""
    if not any(row.size for row in rows):
        return []
    return [_size(row) for row in rows]


def _size(row: ArmRow) -> tuple[str, str]:
    size = row.size
    if size is None:
        return NOTHING, NOTHING
    if row.role == "control":
        return _short(size.parameters), _short(size.flops)
    return _change(size.delta_parameters, size.parameters), _change(size.delta_flops, size.flops)


def _change(delta: int, of_arm: int) -> str:
    """Format a difference with its percentage of the control's."""
    of_control = of_arm - delta
    share = f" ({delta / of_control:+.1%})" if of_control and delta else ""
    return f"{'+' if delta > 0 else ''}{_short(delta)}{share}"


def _short(number: int) -> str:
    """Format a count with three significant digits, such as ``3.58 M``."""
    for power, unit in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(number) >= 10**power:
            return f"{number / 10**power:.3g} {unit}"
    return str(number)


def pairs(row: ArmRow) -> str:
    """Format the number of seeds with a value: a number, or a range where metrics differ."""
    numbers = [summary.n for summary in row.metrics.values()] or [0]
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)}–{max(numbers)}"


def incomplete(row: ArmRow) -> str:
    """List the cells without a usable value, such as ``1 failed, 2 missing``; empty for a complete arm."""
    counts = {
        "failed": row.failed,
        "with a machine failure": row.lost,
        "diverged": row.diverged,
        "pruned": row.pruned,
        "missing": row.missing,
        "with other code": row.other_code,
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def marked(row: ArmRow) -> str:
    """Return an arm's name, with its incomplete cells in parentheses."""
    return f"{row.id} ({incomplete(row)})" if incomplete(row) else row.id


def remarks(report: Report) -> list[str]:
    """List the sentences below the tables: problems, legend, caption, notes, and the settings of winners."""
    search = report.search
    winners = [f"{row.id}: {row.changes}" for row in search.confirmed if row.changes] if search else []
    notes = [*report.caption.splitlines(), *report.notes, *spent.remarks(report), *report.search_notes]
    return [*spent.problems(report), *legend(report), *notes, *winners]


def search_heading(search: SearchFindings) -> str:
    """Name the list of best trials: the Pareto front, or the best trial of each arm."""
    if len(search.objectives) > 1:
        done = sum(trial.status == "done" for trial in search.trials)
        name = "Pareto front" if search.repeats == 1 else f"Pareto fronts of {search.repeats} searches"
        return f"{name}: {len(search.pareto)} of {done} finished trials"
    return f"Best trial of each arm ({effort(search)})"


def effort(search: SearchFindings) -> str:
    """Word the trials of each arm, and its searches where there are several."""
    trials = f"{counted(search.trials_per_arm, 'trial')} per arm"
    return trials if search.repeats == 1 else f"{search.repeats} searches per arm, up to {trials} in each"


def trial_name(search: SearchFindings, trial: TrialRow) -> str:
    """Name a trial by its number within the arm, and by its repeat where there are several: ``2.7``."""
    return str(trial.number) if search.repeats == 1 else f"{trial.repeat + 1}.{trial.number}"


def objective_values(search: SearchFindings, trial: TrialRow) -> list[str]:
    """Format a trial's objective values, to five significant digits."""
    values = [trial.values.get(objective.key) for objective in search.objectives]
    return [NOTHING if value is None else f"{value:.5g}" for value in values]


def p_text(p: float | None) -> str:
    """Format a p-value with two digits."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def typeset(number: str) -> str:
    """Replace the hyphen of a number by a minus sign."""
    return number.replace("-", "−")


@dataclass(frozen=True)
class TunedLine:
    """One arm in one metric, at the control's settings and at its best settings; ``verdict`` is on the latter."""

    arm: str
    settings: str
    at_control_settings: FormattedMetric
    at_best_settings: FormattedMetric
    verdict: str


def tuned_lines(report: Report, key: str) -> list[TunedLine]:
    """Format differences at the control's settings and at each arm's best settings; empty without confirmed winners."""
    search = report.search
    if search is None or not search.tuned:
        return []
    untuned = {row.id: entry for row, entry in zip(report.rows, entries(report.rows, key), strict=True)}
    tuned = zip(search.tuned, entries(search.tuned, key), strict=True)
    return [
        TunedLine(row.id, row.changes, untuned.get(row.id, FormattedMetric(NOTHING)), entry, _verdict(search, entry))
        for row, entry in tuned
    ]


def _verdict(search: SearchFindings, entry: FormattedMetric) -> str:
    """Word the verdict on a tuned arm; a single search gives none."""
    return THESE_SETTINGS if search.repeats == 1 and entry.difference else entry.verdict


def tuned_heading(search: SearchFindings) -> str:
    """Name the table of tuned arms, by the number of searches where there are several."""
    return "All arms tuned" if search.repeats == 1 else f"All arms tuned, {search.repeats} searches each"
