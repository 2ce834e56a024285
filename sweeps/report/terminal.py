"""The report at a terminal: one block per metric, so that no line has to wrap."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from sweeps.report import spent, texts
from sweeps.report.table import Report
from sweeps.report.verdicts import ClaimLine
from sweeps.results.comparison import ArmRow
from sweeps.results.search import SearchFindings
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import sampled_text
from trainables.metrics import MetricKey

WIDTH_IN_FILES = 160  # a file or a pipe has no edge
WORDS = ("arm", "verdict", "sampled", "expected", "because", "evidence")
"""Columns that may take several lines where a terminal is narrow."""
STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red"}
OUTCOMES = {"supported": "green", "contradicted": "red"}


def print_terminal(report: Report) -> None:
    """Print the table, what the search found, the caption, the notes and the failures."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH_IN_FILES
    print(f"\n{report.study}: {report.question}\n" if report.question else f"\n{report.study}\n")
    for table in _tables(report):
        console.print(table)
    print(*(f"- {line}" for line in texts.remarks(report)), *(f"failed: {e}" for e in report.errors), sep="\n")


def _tables(report: Report) -> Iterator[Table]:
    yield from _blocks(report.rows, report.metrics)
    if sizes := texts.sizes(report.rows):
        table = _table("what each arm is made of", "arm", *texts.SIZES)
        for row, cells in zip(report.rows, sizes, strict=True):
            table.add_row(row.id, *cells)
        yield table
    yield from _contrasts(report)
    if report.claims:
        yield _claims(report.claims)
    if report.search is not None:
        if report.search.pareto:
            yield _found(report.search)
        yield from _blocks(report.search.confirmed, report.metrics, "on fresh seeds: ")
        yield from _tuned(report)
    table = _table("what was spent", *spent.COLUMNS)
    for words in spent.rows(report):
        table.add_row(*words)
    yield table


def _blocks(rows: Sequence[ArmRow], metrics: Sequence[MetricKey], prefix: str = "") -> Iterator[Table]:
    """One table per metric; none where there is no arm."""
    for metric in metrics if rows else ():
        table = _table(prefix + texts.head(metric), "arm", texts.MEAN, texts.DIFFERENCE, "corrected p", "verdict", "n")
        for row, entry in zip(rows, texts.entries(rows, metric.key), strict=True):
            summary = row.metrics[metric.key]
            cells = (entry.mean, entry.change, texts.p_text(summary.p_corrected), entry.verdict, str(summary.n))
            table.add_row(texts.marked(row), *cells, style=STYLES.get(summary.verdict, "") if summary.verdict else "")
        yield table


def _contrasts(report: Report) -> Iterator[Table]:
    """One table for each sort of effect and metric."""
    for found in texts.contrast_tables(report):
        for metric in report.metrics:
            table = _table(f"{found.short}: {texts.head(metric)}", "arm", texts.DIFFERENCE, "corrected p", "n")
            for row, entry in zip(found.rows, found.entries[metric.key], strict=True):
                estimate = row.metrics.get(metric.key)
                numbers = (texts.p_text(estimate.p_corrected), str(estimate.found.n)) if estimate else ("", "0")
                table.add_row(row.name, entry.change or entry.mean, *numbers)
            yield table


def _claims(claims: Sequence[ClaimLine]) -> Table:
    table = _table("what was expected", "arm", "expected", "outcome", "because", "evidence")
    for claim in claims:
        expected = f"{claim.claim} ({claim.reading})"
        style = OUTCOMES.get(claim.outcome, "")
        table.add_row(claim.arm, expected, claim.outcome, claim.because, claim.evidence, style=style)
    return table


def _tuned(report: Report) -> Iterator[Table]:
    """For each metric, differences at the control's settings beside those at each arm's own best."""
    for metric in report.metrics:
        lines = texts.tuned_lines(report, metric.key)
        columns = ("arm", "at the control's settings", "at its own best", "verdict", "sampled")
        table = _table(f"tuned alike: {texts.head(metric)}", *columns)
        for line in lines:
            changes = (one.change or one.mean for one in (line.as_it_stands, line.at_its_best))
            table.add_row(line.arm, *changes, line.at_its_best.verdict, line.settings)
        if lines:
            yield table


def _found(search: SearchFindings) -> Table:
    keys = [objective.key for objective in search.objectives]
    table = _table(texts.found(search), "arm", "trial", *keys, "sampled")
    for trial in search.pareto:
        values = texts.objective_values(search, trial)
        table.add_row(trial.arm, str(trial.number), *values, sampled_text(trial.sampled))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        words = column in WORDS
        table.add_column(column, justify="left" if words else "right", no_wrap=not words)
    return table
