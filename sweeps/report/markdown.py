"""The report as Markdown: one row per arm, two columns per metric."""

import re
from collections.abc import Iterator, Sequence

from sweeps.report import by_group, spent, texts
from sweeps.report.answers import answers
from sweeps.report.table import Report
from sweeps.report.verdicts import robustness_lines
from sweeps.results.comparison import ArmRow
from sweeps.results.contrasts import ContrastRow
from sweeps.results.search import SearchFindings
from sweeps.study.words import sampled_text
from trainables.metrics import MetricKey

_SPECIAL = re.compile(r"([\\`*<>|])")


def to_markdown(report: Report) -> str:
    """Write the results, the search, the caption, the notes and the failures."""
    lines = [f"# {escape(report.study)}", ""]
    lines += [escape(report.question), ""] if report.question else []
    lines += [*(f"- {escape(sentence)}" for sentence in answers(report)), ""]
    lines += ["## Results", "", *_arms(report.rows, report.metrics)]
    lines += _contrasts(report)
    lines += _groups(report)
    lines += _claims(report)
    lines += _robustness(report)
    if report.search is not None:
        lines += _search(report.search, report.metrics)
        lines += _tuned(report, report.search)
    lines += _effort(report)
    lines += ["", "## Notes", "", *(f"- {escape(line)}" for line in texts.remarks(report))]
    if report.errors:
        lines += ["", "## Failures", "", *(f"- {escape(error)}" for error in report.errors)]
    return "\n".join(lines) + "\n"


def _arms(rows: Sequence[ArmRow], metrics: Sequence[MetricKey]) -> Iterator[str]:
    heads = [text for metric in metrics for text in (texts.head(metric), texts.DIFFERENCE)]
    sizes = texts.sizes(rows)
    heads += [*texts.SIZES] if sizes else []
    yield _line("arm", *heads, "n")
    yield "|---|" + "---:|" * (len(heads) + 1)
    columns = [texts.entries(rows, metric.key) for metric in metrics]
    for number, row in enumerate(rows):
        cells = [text for column in columns for text in (column[number].mean, column[number].change)]
        yield _line(texts.marked(row), *cells, *(sizes[number] if sizes else ()), texts.pairs(row))


def _contrasts(report: Report) -> Iterator[str]:
    """Write a table for each kind of effect that the design computes."""
    heads = [text for m in report.metrics for text in (f"{texts.head(m)} {texts.DIFFERENCE}", "corrected p")]
    for table in texts.contrast_tables(report):
        yield from ("", f"## {table.heading}", "")
        yield _line("effect", *heads)
        yield "|---|" + "---:|" * len(heads)
        for place, row in enumerate(table.rows):
            columns = table.entries.items()
            cells = [text for key, column in columns for text in (_change(column[place]), _corrected(row, key))]
            yield _line(row.name, *cells)


def _groups(report: Report) -> Iterator[str]:
    """Write a table for each metric and grouping of the clips."""
    for table in by_group.tables(report):
        yield from ("", f"## {escape(table.heading)}", "")
        yield _line(table.grouping, "arm", texts.MEAN, texts.DIFFERENCE, "n", "clips")
        yield "|---|---|---:|---:|---:|---:|"
        for line in table.lines:
            yield _line(line.group, line.arm, line.refusal or line.entry.mean, line.entry.change, line.n, line.clips)


def _claims(report: Report) -> Iterator[str]:
    """Write the hypotheses with their outcomes."""
    if report.claims:
        yield from ("", "## Hypotheses", "")
        yield _line("arm", "hypothesis", "tested as", "outcome", "reason", "evidence")
        yield "|---|---|---|---|---|---|"
    for claim in report.claims:
        yield _line(claim.arm, claim.claim, claim.reading, claim.outcome, claim.because, claim.evidence)


def _robustness(report: Report) -> Iterator[str]:
    """Write what was found and what is not symmetric, with what it depends on."""
    lines = robustness_lines(report.robustness)
    if lines:
        yield from ("", "## Robustness", "")
        yield _line("arm", "metric", "conclusion")
        yield "|---|---|---|"
    for line in lines:
        yield _line(line.arm, line.metric, line.conclusion)


def _change(entry: texts.FormattedMetric) -> str:
    return entry.change or entry.mean


def _corrected(row: ContrastRow, key: str) -> str:
    return texts.p_text(row.metrics[key].p_corrected) if key in row.metrics else ""


def _search(search: SearchFindings, metrics: Sequence[MetricKey]) -> Iterator[str]:
    if search.pareto:
        yield from ("", f"## {texts.search_heading(search)}", "")
        yield _line("arm", "trial", *(objective.key for objective in search.objectives), "settings")
        yield "|---|---:|" + "---:|" * len(search.objectives) + "---|"
        for trial in search.pareto:
            values = texts.objective_values(search, trial)
            yield _line(trial.arm, texts.trial_name(search, trial), *values, sampled_text(trial.sampled))
    if search.confirmed:
        yield from ("", "## Search winners at fresh seeds", "", *_arms(search.confirmed, metrics))


def _tuned(report: Report, search: SearchFindings) -> Iterator[str]:
    """Write the differences at the control's settings and at each arm's best settings."""
    for metric in report.metrics:
        if lines := texts.tuned_lines(report, metric.key):
            yield from ("", f"## {texts.tuned_heading(search)}: {escape(texts.head(metric))}", "")
            yield _line("arm", f"{texts.DIFFERENCE} untuned", f"{texts.DIFFERENCE} tuned", "settings", "verdict")
            yield "|---|---:|---:|---|---|"
            for line in lines:
                changes = (entry.change or entry.mean for entry in (line.at_control_settings, line.at_best_settings))
                yield _line(line.arm, *changes, line.settings, line.verdict)


def _effort(report: Report) -> Iterator[str]:
    yield from ("", "## Cost", "")
    yield _line(*spent.COLUMNS)
    yield "|---|" + "---:|" * (len(spent.COLUMNS) - 1)
    for row in spent.rows(report):
        yield _line(*row)


def _line(*cells: str) -> str:
    return f"| {' | '.join(map(escape, cells))} |"


def escape(text: str) -> str:
    """Escape text for Markdown, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
