"""Differences from the control, read from the files of a study's report: as metrics of its runs, and as a table."""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.tracking.views import DELTA, delta

TABLE = "differences.json"
"""Name of the table: one row per arm and metric, the control left out."""

BOUNDS = {DELTA: "difference", "low": "low", "high": "high", "p": "p_corrected"}
"""First part of the key of a study's metric -> number of the report."""

MAX_KEY = 250  # characters
_COLUMNS = ("difference", "low", "high", "p_value", "p_corrected", "verdict", "mean", "sd", "n")


@dataclass(frozen=True)
class Differences:
    """Differences of a study's arms from its control.

    Args:
        of_study: Metrics of the study's run: ``delta/<metric>/<arm>``, the same with ``low``, ``high`` (bounds of its
            95 % interval) and ``p`` (corrected over the arms).
        of_cells: Arm and seed -> metrics of the cell's run: ``delta/<metric>``, its value minus the control's at the
            same seed.
        table: All numbers of the report's table, in the format of MLflow tables.
    """

    of_study: dict[str, float]
    of_cells: dict[tuple[str, str], dict[str, float]]
    table: bytes


def is_difference(key: str) -> bool:
    """Whether a metric of a run is a difference or belongs to one."""
    return key.partition("/")[0] in BOUNDS


def read_differences(files: Iterable[Path]) -> Differences | None:
    """Read the differences from a saved report; None if its files are not among these."""
    named = {path.name: path for path in files}
    if not {"report.json", "values.csv"} <= named.keys():
        return None
    arms = json.loads(named["report.json"].read_bytes())["arms"]
    with named["values.csv"].open(encoding="utf-8", newline="") as lines:
        values = list(csv.DictReader(lines))
    control = arms[0]["id"] if arms else ""
    return Differences(_of_study(arms), _of_cells(values, control), _table(arms[1:]))


def _of_study(arms: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = _metric_names([arm["id"] for arm in arms])
    found = {
        f"{part}/{key}/{names[arm['id']]}": summary[number]
        for arm in arms
        for key, summary in arm["metrics"].items()
        for part, number in BOUNDS.items()
    }
    return {key: float(value) for key, value in found.items() if value is not None and len(key) <= MAX_KEY}


def _metric_names(arms: Sequence[str]) -> dict[str, str]:
    """Return arms in the characters that MLflow allows in the last part of a metric's key, all different.

    ``=`` becomes a colon, any other character that is not allowed an underscore.
    """
    names: dict[str, str] = {}
    for arm in arms:
        name = re.sub(r"[^\w.\- :]", "_", arm.replace("=", ":"))
        while name in (".", "..", *names.values()):
            name += "_"
        names[arm] = name
    return names


def _of_cells(values: Sequence[Mapping[str, str]], control: str) -> dict[tuple[str, str], dict[str, float]]:
    of_control = {(line["seed"], line["metric"]): float(line["value"]) for line in values if line["arm"] == control}
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for line in values:
        pair = of_control.get((line["seed"], line["metric"]))
        if line["arm"] != control and pair is not None:
            metrics = cells.setdefault((line["arm"], line["seed"]), {})
            metrics[delta(line["metric"])] = float(line["value"]) - pair
    return cells


def _table(arms: Sequence[Mapping[str, Any]]) -> bytes:
    rows = [
        [arm["id"], key, *(summary[column] for column in _COLUMNS)]
        for arm in arms
        for key, summary in arm["metrics"].items()
    ]
    return json.dumps({"columns": ["arm", "metric", *_COLUMNS], "data": rows}).encode()
