"""Differences of a study in MLflow: metrics of its run and of its cells' runs, and a table."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from sweeps.report import Report
from sweeps.run.review import review_of
from sweeps.tracking.differences import is_difference, read_differences
from sweeps.tracking.tracker import Tracker
from sweeps.tracking.views import delta


def test_of_a_report(report: Report, saved: list[Path]) -> None:
    found = read_differences(saved)
    assert found is not None
    for row in report.rows[1:]:
        name = {"a_b + c": "a_b _ c"}.get(row.id, row.id.replace("=", ":"))
        for key, summary in row.metrics.items():
            for part, value in {
                "delta": summary.difference,
                "low": summary.low,
                "high": summary.high,
                "p": summary.p_corrected,
            }.items():
                assert found.of_study.get(f"{part}/{key}/{name}") == value
            of_arm = [
                cell[delta(key)] for (arm, _), cell in found.of_cells.items() if arm == row.id and delta(key) in cell
            ]
            assert len(of_arm) == summary.pairs
    assert not any(arm == "control" for arm, _ in found.of_cells)
    assert all(map(is_difference, found.of_study))
    table = json.loads(found.table)
    assert len(table["data"]) == (len(report.rows) - 1) * len(report.metrics)
    assert {len(line) for line in table["data"]} == {len(table["columns"])}


def test_without_the_report_s_files_there_are_none(saved: list[Path]) -> None:
    assert read_differences([path for path in saved if path.name != "values.csv"]) is None


def test_arms_that_mlflow_does_not_allow_in_a_key_stay_different(tmp_path: Path) -> None:
    summary = {"difference": 1.0, "low": None, "high": None, "p_corrected": None} | dict.fromkeys(
        ("mean", "sd", "n", "p_value", "verdict")
    )
    arms = [
        {"id": name, "metrics": {"m": summary}} for name in ("control", "a=b", "a:b", "..", "a/b", "λ=1", "x" * 250)
    ]
    (tmp_path / "report.json").write_text(json.dumps({"arms": arms}))
    (tmp_path / "values.csv").write_text("arm,seed,metric,value\n")
    found = read_differences(tmp_path.iterdir())
    assert found is not None
    assert sorted(found.of_study) == sorted(
        ["delta/m/control", "delta/m/a:b", "delta/m/a:b_", "delta/m/.._", "delta/m/a_b", "delta/m/λ:1"]
    ), "one of more than 250 characters is in the table alone"


@pytest.mark.timeout(300)
def test_in_mlflow_they_are_metrics_that_change_with_the_report(
    report: Report, stored: Path, saved: list[Path], uri: str, tmp_path: Path, find_runs: Callable[..., list[Any]]
) -> None:
    plan = report.plan
    cells = {cell.id: stored / plan.study.name / "cells" / cell.id for cell in plan.cells if cell.seed < 2}
    cells = {cell_id: folder for cell_id, folder in cells.items() if (folder / "result.json").exists()}

    def upload(files: list[Path]) -> str:
        tracker = Tracker(uri, plan.study.name, "", tmp_path / "artifacts", {}, review_of(plan))
        tracker.catch_up(cells)
        tracker.finish(files, failed=False)
        assert tracker.failures == []
        return tracker.link

    def dictionaries() -> dict[str, Any]:
        return {run.info.run_id: run.to_dictionary() for run in find_runs(uri, "", plan.study.name)}

    link = upload(saved)
    (parent,) = find_runs(uri, "tags.role = 'study'", plan.study.name)
    assert link.endswith(f"/#/experiments/{parent.info.experiment_id}/runs?viewStateShareKey=arms")
    first = report.metrics[0].key
    row = report.rows[2]
    name = row.id.replace("=", ":")
    assert parent.data.metrics[f"delta/{first}/{name}"] == row.metrics[first].difference
    assert parent.data.metrics[f"p/{first}/{name}"] == row.metrics[first].p_corrected
    table = MlflowClient(uri).load_table(parent.info.experiment_id, "differences.json", [parent.info.run_id])
    assert set(table["arm"]) == {row.id for row in report.rows[1:]}
    assert len(find_runs(uri, "", plan.study.name)) == 1 + len(cells), "they make no further runs"
    for run in find_runs(uri, "tags.seed = '0' and tags.role = 'arm'", plan.study.name):
        values = report.values[run.data.tags["arm"]].get(first, {})
        if 0 in values:
            assert run.data.metrics[delta(first)] == values[0] - report.values["control"][first][0]
    before = dictionaries()
    upload(saved)
    assert dictionaries() == before

    changed = tmp_path / "changed"
    shutil.copytree(saved[0].parent, changed)
    content = json.loads((changed / "report.json").read_bytes())
    content["arms"] = [arm for arm in content["arms"] if arm["id"] != row.id]
    (changed / "report.json").write_text(json.dumps(content))
    upload(sorted(changed.iterdir()))
    (parent,) = find_runs(uri, "tags.role = 'study'", plan.study.name)
    assert math.isnan(parent.data.metrics[f"delta/{first}/{name}"]), "of an arm that the study has no more"
