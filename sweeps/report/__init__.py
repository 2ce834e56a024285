"""The report of a study in several formats, built from the ledger alone, without Ray or MLflow."""

from sweeps.report.table import Report, build
from sweeps.report.terminal import print_terminal
from sweeps.report.writers import REPORT, Format, main, save, save_blocks

__all__ = ["REPORT", "Format", "Report", "build", "main", "print_terminal", "save", "save_blocks"]
