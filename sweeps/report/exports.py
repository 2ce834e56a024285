"""The report for other programs: JSON and CSV, numbers unrounded."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from sweeps.report import by_group, spent
from sweeps.report.answers import answers
from sweeps.report.table import Report
from sweeps.report.verdicts import robustness_words, verdict_words
from sweeps.results.by_group import GroupFinding
from sweeps.results.comparison import ArmRow, NetworkSize, Summary, finite
from sweeps.results.contrasts import ContrastRow
from sweeps.results.effort import Audit
from sweeps.results.robustness import Robustness
from sweeps.results.search import SearchFindings, TrialRow

SIZES = tuple(field.name for field in fields(NetworkSize))
_NO_NUMBERS = ("verdict", "pairs", "margin", "unit", "p_latest")
NUMBERS = tuple(field.name for field in fields(Summary) if field.name not in _NO_NUMBERS)
_OF_GROUP = ("mean", "low_mean", "high_mean", "n", "difference", "low", "high", "pairs")
LOST = ("failed", "lost", "diverged", "pruned", "missing", "other_code")


def to_json(report: Report) -> str:
    """Write the report as JSON: ``{"arms": [{"id", "metrics": {name: {mean, sd, n, difference, low, high, ...}}}]}``.

    Contains the study's metrics only, and no timings except the hours under ``effort``. A missing number, such as the
    control's difference, is null. Keys are an interface: they are added, never changed.
    """
    whole = {
        "study": report.study,
        "question": report.question,
        "answers": answers(report),
        "arms": [_arm(row) for row in report.rows],
        "effort": _effort(report.effort),
        "claims": [asdict(claim) for claim in report.claims],
        "robustness": [_robustness(examined) for examined in report.robustness],
        "contrasts": [_contrast(row) for row in report.contrasts],
        "drift": [asdict(drift) for drift in report.drift],
        "groups": [_group(finding) for finding in report.groups],
        "search": None if report.search is None else _search(report.search, report.search_notes),
        "caption": report.caption,
        "notes": report.notes,
        "errors": report.errors,
    }
    return json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _arm(row: ArmRow) -> dict[str, Any]:
    metrics = {key: _summary(summary) for key, summary in row.metrics.items()}
    size = {} if row.size is None else {"size": asdict(row.size)}
    return {"id": row.id, "metrics": metrics, **{count: getattr(row, count) for count in LOST}, **size}


def _effort(audit: Audit) -> dict[str, Any]:
    problems, remarks = (list(map(spent.in_words, unequal)) for unequal in (audit.problems, audit.remarks))
    return {"efforts": [asdict(effort) for effort in audit.efforts], "problems": problems, "remarks": remarks}


def _summary(summary: Summary) -> dict[str, Any]:
    return {key: value for key, value in asdict(summary).items() if key in NUMBERS} | {
        "verdict": verdict_words(summary),
        "unit": summary.unit,
    }


def _robustness(examined: Robustness) -> dict[str, Any]:
    numbers = {key: value for key, value in asdict(examined).items() if key != "assessment"}
    return numbers | {"verdict": robustness_words(examined)}


def _contrast(row: ContrastRow) -> dict[str, Any]:
    metrics = {
        key: {name: finite(value) for name, value in estimate.effect._asdict().items()}
        | {"p_corrected": estimate.p_corrected}
        for key, estimate in row.metrics.items()
    }
    return {"name": row.name, "kind": row.kind, "metrics": metrics}


def _group(finding: GroupFinding) -> dict[str, Any]:
    arms = [
        {
            "id": arm.arm,
            "clips": arm.clips,
            "refusal": arm.refusal,
            **{key: getattr(arm.summary, key) for key in _OF_GROUP},
        }
        for arm in finding.arms
    ]
    return {"grouping": finding.grouping, "name": finding.name, "metric": finding.metric, "arms": arms}


def _search(search: SearchFindings, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "objectives": [asdict(objective) for objective in search.objectives],
        "seed": search.seed,
        "trials_per_arm": search.trials_per_arm,
        "repeats": search.repeats,
        "trials": [asdict(trial) for trial in search.trials],
        "pareto": [_name(trial) for trial in search.pareto],
        "importances": search.importances,
        "confirmed": [_arm(row) for row in search.confirmed],
        "tuned": [_arm(row) for row in search.tuned],
        "paths": [{"arm": path.arm, "steps": [_contrast(row) for row in path.steps]} for path in search.paths],
        "notes": notes,
    }


def _name(trial: TrialRow) -> dict[str, Any]:
    return {"arm": trial.arm, "repeat": trial.repeat, "number": trial.number}


def to_csv(report: Report) -> str:
    """Write the table in long form: one line per arm and metric, with all numbers; missing ones are empty."""
    lines: list[Sequence[object]] = [
        ("arm", "role", "changes", "metric", "direction", *NUMBERS, "verdict", "unit", *LOST, *SIZES)
    ]
    for row in report.rows:
        counts = [getattr(row, count) for count in LOST]
        for metric in report.metrics:
            summary = row.metrics[metric.key]
            numbers = [*(getattr(summary, number) for number in NUMBERS), verdict_words(summary), summary.unit]
            sizes = [getattr(row.size, name, None) for name in SIZES]
            lines.append((row.id, row.role, row.changes, metric.key, metric.direction, *numbers, *counts, *sizes))
    return _csv(lines)


def to_values_csv(report: Report) -> str:
    """Write the values behind the table: one line per arm, seed and metric."""
    lines: list[Sequence[object]] = [("arm", "seed", "metric", "value")]
    for arm, metrics in report.values.items():
        lines += [(arm, seed, key, value) for key, by_seed in metrics.items() for seed, value in by_seed.items()]
    return _csv(lines)


def to_groups_csv(report: Report) -> str:
    """Write the groups of clips in long form: one line per metric, group and arm, and why one has no value."""
    fewest = by_group.least(report.plan)
    lines: list[Sequence[object]] = [("metric", "grouping", "group", "arm", "clips", *_OF_GROUP, "note")]
    for finding in report.groups:
        for arm in finding.arms:
            numbers = (getattr(arm.summary, name) for name in _OF_GROUP)
            group = (finding.metric, finding.grouping, finding.name)
            lines.append((*group, arm.arm, arm.clips, *numbers, by_group.refusal(arm, fewest)))
    return _csv(lines)


def _csv(lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
