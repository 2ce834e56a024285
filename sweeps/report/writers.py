"""Output of the report: printed in one format, saved in all."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from sweeps.output import escaped_html, escaped_json
from sweeps.plan import Plan
from sweeps.proof import read_proof
from sweeps.report.blocks import save_overview, study_name
from sweeps.report.clips import films, strips
from sweeps.report.exports import to_csv, to_groups_csv, to_json, to_values_csv
from sweeps.report.figures import figure_files
from sweeps.report.latex import to_latex
from sweeps.report.markdown import to_markdown
from sweeps.report.page import to_html
from sweeps.report.plots import plots
from sweeps.report.table import Report, build
from sweeps.report.terminal import print_terminal
from sweeps.results.ledger import Ledger, study_folder
from trainables.failures import is_disk_full, unwritten
from trainables.files import write_atomically

Format = Literal["terminal", "markdown", "csv", "json", "latex", "html"]

REPORT = "report"
"""Folder of the saved report in a study's folder."""

WRITERS: dict[str, Callable[[Report], str]] = {
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
}


def save(report: Report, ledger: Ledger, folder: Path) -> list[Path]:
    """Write the report in all formats, its figures and its frame strips; return the files.

    ``report.html`` is the complete report; ``table.*`` and ``report.json`` contain the table, ``values.csv`` the values
    per seed behind it, ``groups.csv`` the groups of clips if there are any, ``figures.pdf`` one figure per page; each
    figure is also written as SVG.

    Raises:
        OSError: The folder is not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures, shown = list(plots(report)), films(report, ledger)
    files = {
        "report.html": to_html(report, figures, shown).encode(),
        "report.json": to_json(report).encode(),
        "table.md": to_markdown(report).encode(),
        "table.csv": to_csv(report).encode(),
        "table.tex": to_latex(report).encode(),
        "values.csv": to_values_csv(report).encode(),
    }
    files |= {"groups.csv": to_groups_csv(report).encode()} if report.groups else {}
    files |= figure_files(figures)
    files |= dict(strips(report, shown))
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]


def main(plans: Mapping[str, Plan], storage: Path, format: Format, save_to: Path | None) -> int:
    """Print the report of each block in one format, and save all formats if ``save_to`` is given.

    With several blocks each is saved in its own folder, beside an overview.

    Returns:
        Exit code: 0; 1 after failed cells or unequal effort between arms; 2 without results, or if
        ``save_to`` cannot be written.

    Raises:
        OSError: The disk is full.
    """
    ledgers = {block: Ledger(study_folder(storage, plan.study.name)) for block, plan in plans.items()}
    if not any(ledger.records() for ledger in ledgers.values()):
        folders = ", ".join(str(ledger.folder) for ledger in ledgers.values())
        print(f"{folders}: no results of this study -> run it first, or give its --storage DIR", file=sys.stderr)
        return 2
    reports = _reports(plans, ledgers)
    for block, report in reports.items():
        _print(report, ledgers[block], format)
    if save_to is not None:
        try:
            for block, report in reports.items():
                save(report, ledgers[block], save_to / block)
            if len(reports) > 1:
                save_overview(reports, {block: f"{block}/report.html" for block in reports}, save_to)
        except OSError as error:
            if is_disk_full(error):
                raise
            print(f"--save {save_to}: {unwritten(error)} -> another folder, or its permissions", file=sys.stderr)
            return 2
    return 1 if any(report.errors or report.effort.problems for report in reports.values()) else 0


def _reports(plans: Mapping[str, Plan], ledgers: Mapping[str, Ledger]) -> dict[str, Report]:
    """Build the report of each block."""
    return {
        block: build(plan, ledgers[block].records(), read_proof(ledgers[block].folder)) for block, plan in plans.items()
    }


def _print(report: Report, ledger: Ledger, format: Format) -> None:
    if format == "terminal":
        print_terminal(report)
    elif format == "html":
        print(escaped_html(to_html(report, list(plots(report)), films(report, ledger)), sys.stdout.encoding))
    elif format == "json":
        print(escaped_json(to_json(report), sys.stdout.encoding), end="")
    else:
        print(WRITERS[format](report), end="")


def save_blocks(plans: Mapping[str, Plan], storage: Path) -> Path:
    """Write the overview of a study with blocks into its own folder in the storage; return the page.

    Raises:
        OSError: The folder is not writable.
    """
    ledgers = {block: Ledger(study_folder(storage, plan.study.name)) for block, plan in plans.items()}
    links = {block: f"../../{plan.study.name}/{REPORT}/report.html" for block, plan in plans.items()}
    return save_overview(_reports(plans, ledgers), links, study_folder(storage, study_name(plans)) / REPORT)
