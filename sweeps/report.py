"""The table: each arm's difference from the control, paired by seed, with its interval.

Built from the ledger alone, without Ray or MLflow.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from sweeps.ledger import Ledger, Record, study_folder
from sweeps.statistics import paired_difference, smallest_p, standard_deviation
from trainables.files import write_atomically

if TYPE_CHECKING:
    from sweeps.plan import Arm, Plan
    from trainables.metrics import MetricKey

CONFIDENCE = 0.95
STRIP_CLIPS = 4
ARROWS = {"max": "↑", "min": "↓"}


@dataclass(frozen=True)
class Summary:
    """One metric of one arm; what does not exist (the control's difference, bounds from one seed) is None."""

    mean: float | None
    sd: float | None
    n: int
    difference: float | None
    low: float | None
    high: float | None

    def verdict(self, metric: "MetricKey") -> str:
        """Better or worse than the control where the interval excludes zero, else nothing.

        A measure that only gives context (motion beside consistency) is higher or lower, never better.
        """
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return ""
        if is_context(metric):
            return "higher" if self.low > 0 else "lower"
        return "better" if (self.low > 0) == (metric.direction == "max") else "worse"


@dataclass(frozen=True)
class ArmRow:
    """One arm's line of the table."""

    id: str
    role: Literal["control", "arm"]
    metrics: dict[str, Summary]
    failed: int
    missing: int


@dataclass(frozen=True)
class Report:
    """Everything the table says, in numbers and in words."""

    study: str
    question: str
    rows: tuple[ArmRow, ...]
    metrics: "tuple[MetricKey, ...]"
    notes: tuple[str, ...]
    errors: tuple[str, ...]
    plan: "Plan"


def build(plan: "Plan", ledger: Ledger) -> Report:
    """Summarise the ledger's results for a plan."""
    records = ledger.records()
    of_arm = {
        arm.id: {cell.seed: records[cell.id] for cell in plan.cells if cell.arm == arm.id and cell.id in records}
        for arm in plan.arms
    }
    control = next(of_arm[arm.id] for arm in plan.arms if arm.role == "control")
    seeds = sorted({cell.seed for cell in plan.cells})
    rows = tuple(_row(arm, of_arm[arm.id], control, plan.metrics, len(seeds)) for arm in plan.arms)
    found = [record for by_seed in of_arm.values() for record in by_seed.values()]
    return Report(
        study=plan.study.name,
        question=plan.study.question,
        rows=rows,
        metrics=plan.metrics,
        notes=(*_caption(plan, len(seeds)), *plan.notes, *_warnings(found)),
        errors=tuple(f"{r.arm} seed {r.seed}: {r.error}" for r in found if r.status == "failed"),
        plan=plan,
    )


def _row(
    arm: "Arm",
    cells: Mapping[int, Record],
    control: Mapping[int, Record],
    metrics: "Sequence[MetricKey]",
    num_seeds: int,
) -> ArmRow:
    return ArmRow(
        id=arm.id,
        role=arm.role,
        metrics={metric.key: _summary(arm.role, metric.key, cells, control) for metric in metrics},
        failed=sum(record.status == "failed" for record in cells.values()),
        missing=num_seeds - len(cells),
    )


def _summary(role: str, key: str, cells: Mapping[int, Record], control: Mapping[int, Record]) -> Summary:
    values = _values(cells, key)
    n = len(values)
    mean = math.fsum(values.values()) / n if n else None
    sd = _number(standard_deviation(list(values.values())))
    reference = _values(control, key)
    paired = sorted(values.keys() & reference.keys())
    if role == "control" or not paired:
        return Summary(mean, sd, n, None, None, None)
    difference = paired_difference([values[s] for s in paired], [reference[s] for s in paired], CONFIDENCE)
    return Summary(mean, sd, n, difference.difference, _number(difference.low), _number(difference.high))


def _values(cells: Mapping[int, Record], key: str) -> dict[int, float]:
    return {
        seed: record.scores[key]
        for seed, record in cells.items()
        if record.status == "done" and key in record.scores and math.isfinite(record.scores[key])
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _caption(plan: "Plan", num_seeds: int) -> list[str]:
    protocol = plan.cells[0].spec.protocol
    p = smallest_p(num_seeds)
    leads = ": these intervals are leads, not proofs" if p > 0.05 else ""
    return [
        f"Mean ± standard deviation over {num_seeds} seeds of {protocol.clips} clips x {protocol.frames} frames; "
        f"Δ is arm minus control, paired by seed, with its {CONFIDENCE:.0%} paired-t interval.",
        "better / worse (higher / lower for context): the interval excludes zero; intervals are not corrected for the "
        f"number of arms. With {num_seeds} seeds the smallest two-sided sign-flip p is {p:.2g}{leads}.",
        *dict.fromkeys(f"{metric.key}: {metric.words}" for metric in plan.metrics),
    ]


def _warnings(records: Sequence[Record]) -> list[str]:
    notes = []
    if len({record.code_hash for record in records}) > 1:
        notes.append("These results come from more than one version of the code.")
    for key in sorted({key for record in records for key in record.scored_by}):
        if len({record.scored_by[key] for record in records if key in record.scored_by}) > 1:
            notes.append(f"{key}: not all cells were scored with the same settings, so they do not compare.")
    return notes


# ------------------------------------------------------------------------------------------------------------- writing


def to_json(report: Report) -> str:
    """The table as JSON: ``{"arms": [{"id", "metrics": {name: {mean, sd, n, difference, low, high}}}]}``."""
    arms = [
        {"id": row.id, "metrics": {key: asdict(value) for key, value in row.metrics.items()}} for row in report.rows
    ]
    return json.dumps({"arms": arms}, indent=1, allow_nan=False)


def to_markdown(report: Report) -> str:
    """The table as Markdown: a line per arm, two columns per metric."""
    heads = [f"{_head(metric)} | Δ [{CONFIDENCE:.0%}]" for metric in report.metrics]
    lines = [f"# {report.study}", "", report.question, "", "| arm | " + " | ".join(heads) + " | n |"]
    lines.append("|---|" + "---:|---:|" * len(report.metrics) + "---:|")
    for row in report.rows:
        texts = [text for metric in report.metrics for text in _texts(report, row, metric)[:2]]
        lines.append(f"| {_marked(row)} | " + " | ".join(texts) + f" | {_n(row)} |")
    lines += ["", *(f"- {note}" for note in report.notes)]
    if report.errors:
        lines += ["", "Failed cells:", "", *(f"- {error}" for error in report.errors)]
    return "\n".join(lines) + "\n"


def print_terminal(report: Report) -> None:
    """The table for a terminal: one block per metric, so that no line has to wrap."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no edge
    print(f"\n{report.study}: {report.question}\n")
    for metric in report.metrics:
        table = Table(title=_head(metric), title_justify="left", title_style="bold")
        for column, justify in (("arm", "left"), ("mean ± sd", "right"), (f"Δ [{CONFIDENCE:.0%}]", "right")):
            table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        table.add_column("", no_wrap=True)
        table.add_column("n", justify="right", no_wrap=True)
        for row in report.rows:
            mean, difference, verdict = _texts(report, row, metric)
            style = {"better": "green", "worse": "red"}.get(verdict, "")
            table.add_row(_marked(row), mean, difference, verdict, _n(row), style=style)
        console.print(table)
    print(*(f"- {note}" for note in report.notes), *(f"failed: {error}" for error in report.errors), sep="\n")


def is_context(metric: "MetricKey") -> bool:
    """Whether a metric stands beside others to show what they miss, and is no goal itself."""
    from trainables.metrics import FAMILIES

    return metric.family in {family.companion for family in FAMILIES.values()}


def _head(metric: "MetricKey") -> str:
    return metric.key if is_context(metric) else f"{metric.key} {ARROWS[metric.direction]}"


def _texts(report: Report, row: ArmRow, metric: "MetricKey") -> tuple[str, str, str]:
    summary = row.metrics[metric.key]
    decimals = _decimals([other.metrics[metric.key] for other in report.rows])
    if summary.mean is None:
        return "–", "–", ""
    mean = f"{summary.mean:.{decimals}f}" + (f" ± {summary.sd:.{decimals}f}" if summary.sd is not None else "")
    if summary.difference is None:
        return mean, "", ""
    difference = f"{summary.difference:+.{decimals}f}"
    if summary.low is not None and summary.high is not None:
        difference += f" [{summary.low:+.{decimals}f}, {summary.high:+.{decimals}f}]"
    return mean, difference, summary.verdict(metric)


def _decimals(summaries: Sequence[Summary]) -> int:
    """Decimals that show two digits of the smallest spread in the column."""
    spreads = [summary.sd for summary in summaries if summary.sd]
    return min(6, max(0, 1 - math.floor(math.log10(min(spreads))))) if spreads else 4


def _n(row: ArmRow) -> str:
    return str(max((summary.n for summary in row.metrics.values()), default=0))


def _marked(row: ArmRow) -> str:
    lost = [f"{row.failed} failed"] * bool(row.failed) + [f"{row.missing} missing"] * bool(row.missing)
    return row.id + (f" ({', '.join(lost)})" if lost else "")


def save(report: Report, ledger: Ledger, folder: Path) -> list[Path]:
    """Write the table in every form and the frame strips; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"table.md": to_markdown(report).encode(), "report.json": to_json(report).encode()}
    files |= _strips(report, ledger)
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]


def _strips(report: Report, ledger: Ledger) -> dict[str, bytes]:
    """Pictures of one clip in every arm at the first seed: same prompt, same start noise draws, one row per arm."""
    import io

    from models.streams import Streams
    from trainables.cell_files import read_clips
    from trainables.pictures import frame_strip

    plan = report.plan
    seed = plan.cells[0].seed
    cells = [cell for cell in plan.cells if cell.seed == seed]
    drawn = [(cell.arm, kept.clips) for cell in cells if (kept := read_clips(ledger.cell_folder(cell.id)))]
    pictures = {}
    if drawn:
        protocol = plan.cells[0].spec.protocol
        prompts = plan.cells[0].spec.data.prompts(Streams(seed), protocol.clips)
        for clip in range(min(STRIP_CLIPS, protocol.clips)):
            content = io.BytesIO()
            clips = np.stack([clips[clip] for _, clips in drawn])
            frame_strip(clips, [arm for arm, _ in drawn], f"seed {seed}, clip {clip}: {prompts[clip]}").save(
                content, "PNG"
            )
            pictures[f"strip_seed{seed}_clip{clip}.png"] = content.getvalue()
    return pictures


def main(plan: "Plan", storage: Path, format: Literal["terminal", "markdown", "json"], save_to: Path | None) -> int:
    """Print the report in one form, and write all forms and the strips to a folder if asked.

    Returns:
        Exit code: 0, 1 where a cell failed, 2 where there is nothing to report.
    """
    ledger = Ledger(study_folder(storage, plan.study.name))
    if not ledger.records():
        print(f"{ledger.folder}: no results of this study -> run it first, or name its --storage", file=sys.stderr)
        return 2
    report = build(plan, ledger)
    if format == "terminal":
        print_terminal(report)
    else:
        print(to_json(report) if format == "json" else to_markdown(report), end="" if format == "markdown" else "\n")
    if save_to is not None:
        save(report, ledger, save_to)
    return 1 if any(row.failed for row in report.rows) else 0
