"""The report for a terminal: one table per metric, so that rows fit on one line."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from sweeps.output import terminal
from sweeps.report import by_group, spent, texts
from sweeps.report.answers import answers
from sweeps.report.table import Report
from sweeps.report.verdicts import ClaimLine, robustness_lines
from sweeps.results.comparison import ArmRow
from sweeps.results.search import SearchFindings
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import sampled_text
from trainables.metrics import MetricKey

WIDTH_IN_FILES = 160  # a file or a pipe has no edge
WORDS = ("arm", "group", "effect", "verdict", "settings", "hypothesis", "reason", "evidence", "metric", "conclusion")
"""Columns of text, which may wrap on a narrow terminal."""
STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red"}
OUTCOMES = {"supported": "green", "contradicted": "red"}


def print_terminal(report: Report) -> None:
    """Print the answer, the results, the search, the caption, the notes and the failures."""
    console = terminal(WIDTH_IN_FILES)
    print(f"\n{report.study}: {report.question}\n" if report.question else f"\n{report.study}\n")
    for sentence in answers(report):
        console.print(sentence, markup=False, highlight=False, soft_wrap=False)
    print()
    for table in _tables(report):
        console.print(table)
    print(*(f"- {line}" for line in texts.remarks(report)), *(f"failed: {e}" for e in report.errors), sep="\n")


def _tables(report: Report) -> Iterator[Table]:
    yield from _of_metrics(report.rows, report.metrics)
    if sizes := texts.sizes(report.rows):
        table = _table("Model size", "arm", *texts.SIZES)
        for row, cells in zip(report.rows, sizes, strict=True):
            table.add_row(row.id, *cells)
        yield table
    yield from _contrasts(report)
    yield from _groups(report)
    if report.claims:
        yield _claims(report.claims)
    yield from _robustness(report)
    if report.search is not None:
        if report.search.pareto:
            yield _best_trials(report.search)
        yield from _of_metrics(report.search.confirmed, report.metrics, "Winners at fresh seeds: ")
        yield from _tuned(report)
    table = _table("Cost", *spent.COLUMNS)
    for words in spent.rows(report):
        table.add_row(*words)
    yield table


def _of_metrics(rows: Sequence[ArmRow], metrics: Sequence[MetricKey], prefix: str = "") -> Iterator[Table]:
    """Make one table per metric; none without rows."""
    for metric in metrics if rows else ():
        table = _table(prefix + texts.head(metric), "arm", texts.MEAN, texts.DIFFERENCE, "corrected p", "verdict", "n")
        for row, entry in zip(rows, texts.entries(rows, metric.key), strict=True):
            summary = row.metrics[metric.key]
            cells = (entry.mean, entry.change, texts.p_text(summary.p_corrected), entry.verdict, str(summary.n))
            table.add_row(texts.marked(row), *cells, style=STYLES.get(summary.verdict, "") if summary.verdict else "")
        yield table


def _contrasts(report: Report) -> Iterator[Table]:
    """Make one table for each kind of effect and metric."""
    for contrasts in texts.contrast_tables(report):
        for metric in report.metrics:
            table = _table(f"{contrasts.short}: {texts.head(metric)}", "effect", texts.DIFFERENCE, "corrected p", "n")
            for row, entry in zip(contrasts.rows, contrasts.entries[metric.key], strict=True):
                estimate = row.metrics.get(metric.key)
                numbers = (texts.p_text(estimate.p_corrected), str(estimate.effect.n)) if estimate else ("", "0")
                table.add_row(row.name, entry.change or entry.mean, *numbers)
            yield table


def _groups(report: Report) -> Iterator[Table]:
    """Make one table for each metric and grouping of the clips."""
    for found in by_group.tables(report):
        table = _table(found.heading, "group", "arm", texts.MEAN, texts.DIFFERENCE, "n", "clips")
        for line in found.lines:
            shown = line.refusal or line.entry.mean
            table.add_row(line.group, line.arm, shown, line.entry.change, line.n, line.clips)
        yield table


def _claims(claims: Sequence[ClaimLine]) -> Table:
    table = _table("Hypotheses", "arm", "hypothesis", "outcome", "reason", "evidence")
    for claim in claims:
        hypothesis = f"{claim.claim} (tested: {claim.reading})"
        style = OUTCOMES.get(claim.outcome, "")
        table.add_row(claim.arm, hypothesis, claim.outcome, claim.because, claim.evidence, style=style)
    return table


def _robustness(report: Report) -> Iterator[Table]:
    """Make a table of what was found and of what is not symmetric, with what it depends on; none without any."""
    table = _table("Robustness", "arm", "metric", "conclusion")
    for line in robustness_lines(report.robustness):
        table.add_row(line.arm, line.metric, line.conclusion)
    if table.rows:
        yield table


def _tuned(report: Report) -> Iterator[Table]:
    """Make one table per metric: differences at the control's settings and at each arm's best settings."""
    assert report.search is not None, "a report of a search"
    for metric in report.metrics:
        lines = texts.tuned_lines(report, metric.key)
        columns = ("arm", f"{texts.DIFFERENCE} untuned", f"{texts.DIFFERENCE} tuned", "verdict", "settings")
        table = _table(f"{texts.tuned_heading(report.search)}: {texts.head(metric)}", *columns)
        for line in lines:
            changes = (entry.change or entry.mean for entry in (line.at_control_settings, line.at_best_settings))
            table.add_row(line.arm, *changes, line.verdict, line.settings)
        if lines:
            yield table


def _best_trials(search: SearchFindings) -> Table:
    keys = [objective.key for objective in search.objectives]
    table = _table(texts.search_heading(search), "arm", "trial", *keys, "settings")
    for trial in search.pareto:
        values = texts.objective_values(search, trial)
        table.add_row(trial.arm, texts.trial_name(search, trial), *values, sampled_text(trial.sampled))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        is_text = column in WORDS
        table.add_column(column, justify="left" if is_text else "right", no_wrap=not is_text)
    return table
