"""Figures as they were asked for beside what was measured, kept with date and machine in ``benchmarks/results``."""

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
    """One number that something is asked of.

    Args:
        what: What was measured, with its unit.
        measured: The number.
        side: Which side of the mark is asked for.
        asked: The mark.
    """

    what: str
    measured: float
    side: Literal["at most", "at least"]
    asked: float

    @property
    def met(self) -> bool:
        """Whether the number lies on the side that was asked for."""
        return self.measured <= self.asked if self.side == "at most" else self.measured >= self.asked


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; the first column is words, the others are numbers (floats to four digits)."""
    lines = [_line(head), "|---|" + "---:|" * (len(head) - 1)]
    return lines + [_line(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row) for row in rows]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def conclude(name: str, setting: str, details: Sequence[str], figures: Sequence[Figure]) -> int:
    """Print a measurement, keep it as ``results/<date>-<name>.md``, and give the exit code: 1 where a mark is missed.

    Args:
        name: Of the benchmark; names the file.
        setting: What was measured and under what conditions, in a sentence or two.
        details: Lines of tables that the figures come from.
        figures: What was asked, each beside what was measured.
    """
    now = datetime.now(UTC)
    rows = [
        (figure.what, f"{figure.side} {figure.asked:g}", figure.measured, "met" if figure.met else "**missed**")
        for figure in figures
    ]
    lines = [f"# {name.replace('_', ' ').capitalize()}, {now:%Y-%m-%d %H:%M} UTC", "", setting]
    lines += [f"Machine: {machine()}. Commit: {commit()}.", "", *table(("figure", "asked", "measured", ""), rows)]
    lines += ["", *details]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{now:%Y-%m-%d}-{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(not all(figure.met for figure in figures))


def machine() -> str:
    """Cores, processor, system, and how busy the machine is with everything that runs on it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    processor = names[0].partition(":")[2].strip() if names else platform.processor() or "unknown processor"
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{os.cpu_count()} cores, {processor}, {platform.system()}; load over 1, 5, 15 minutes {load}"
