"""Measurements and their targets, saved with date and machine in ``benchmarks/results``."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from trainables.provenance import commit

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Figure:
    """One measurement with a target.

    Args:
        name: Measured quantity, with its unit.
        measured: Measured value.
        side: Side of the target that is required.
        target: Target value.
    """

    name: str
    measured: float
    side: Literal["at most", "at least"]
    target: float

    @property
    def met(self) -> bool:
        """Whether the measured value meets the target."""
        return self.measured <= self.target if self.side == "at most" else self.measured >= self.target


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Make the lines of a Markdown table: text in the first column, numbers in the others (floats to four digits)."""
    lines = [_line(head), "|---|" + "---:|" * (len(head) - 1)]
    return lines + [_line(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row) for row in rows]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def conclude(name: str, setting: str, details: Sequence[str], figures: Sequence[Figure]) -> int:
    """Print a benchmark, save it as ``results/<date>-<name>.md``, and return the exit code: 1 if a target is missed.

    Args:
        name: Name of the benchmark and of the file.
        setting: Measurement and its conditions, in one or two sentences.
        details: Lines of tables with the details.
        figures: Measurements with their targets.
    """
    now = datetime.now(UTC)
    rows = [
        (figure.name, f"{figure.side} {figure.target:g}", figure.measured, "met" if figure.met else "**missed**")
        for figure in figures
    ]
    lines = [f"# {name.replace('_', ' ').capitalize()}, {now:%Y-%m-%d %H:%M} UTC", "", setting]
    lines += [f"Machine: {machine()}. Commit: {commit()}.", "", *table(("figure", "target", "measured", ""), rows)]
    lines += ["", *details]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{now:%Y-%m-%d}-{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(not all(figure.met for figure in figures))


def machine() -> str:
    """Describe the machine: cores, processor, system and load."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    processor = names[0].partition(":")[2].strip() if names else platform.processor() or "unknown processor"
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{os.cpu_count()} cores, {processor}, {platform.system()}; load over 1, 5, 15 minutes {load}"
