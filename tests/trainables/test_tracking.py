from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run

from trainables.cell_files import Drawn, save_clips
from trainables.tracking import Tracker, tracking_uri
from trainables.trial_spec import RESULT, Result, Score, TrialSpec


def make_result(seed: int = 0, arm: str = "control", error: str = "") -> Result:
    spec = TrialSpec.model_validate(
        {
            "study": "a-study",
            "arm": arm,
            "role": "control" if arm == "control" else "arm",
            "part": "" if arm == "control" else "noise",
            "action": "" if arm == "control" else "REMOVE",
            "system": "zs2",
            "tree": {"noise": {"kind": "two_stage", "threshold": 0.1}, "attention": {"kind": "momentum", "mu": 0.98}},
            "base": "shapes",
            "data": {"layout": "shapes"},
            "protocol": {"clips": 2, "frames": 3, "steps": 2, "guidance": 4.0, "height": 8, "width": 8},
            "seed": seed,
            "metrics": ["clip_score"],
        }
    )
    score = Score(value=31.5 + seed, per_clip=[31.0, 32.0], direction="max", surrogate=True, parameters={"frames": 3})
    return Result(
        cell_id=f"{arm}{seed}",
        spec=spec,
        status="failed" if error else "done",
        error=error,
        scores={} if error else {"clip_score/shapes_clip": score},
        statistics={"correlation": 0.9},
        seconds={"sample": 1.5},
        finished="2026-11-21T00:00:00+00:00",
        provenance={"code_hash": "c0de", "base_hash": "ba5e", "commit": "abc"},
    )


def make_folder(root: Path, result: Result) -> Path:
    folder = root / result.cell_id
    folder.mkdir(parents=True)
    save_clips(Drawn(np.random.default_rng(0).integers(0, 255, (2, 3, 8, 8, 3), np.uint8), {}, "c0de"), folder)
    (folder / RESULT).write_text(result.model_dump_json())
    return folder


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def open_tracker(uri: str, tmp_path: Path) -> Tracker:
    return Tracker(uri, "a-study", "why?", tmp_path / "mlartifacts" / "a-study", {"commit": "abc"})


def search(uri: str, filter_string: str = "") -> list[Run]:
    mlflow.set_tracking_uri(uri)
    runs = mlflow.search_runs(experiment_names=["a-study"], filter_string=filter_string, output_format="list")
    assert isinstance(runs, list)
    return runs


def test_a_study_is_one_parent_with_a_run_for_each_cell(uri: str, tmp_path: Path) -> None:
    tracker = open_tracker(uri, tmp_path)
    for seed in range(2):
        result = make_result(seed)
        tracker.record(result, make_folder(tmp_path / "cells", result))
    failed = make_result(0, "noise=removed", error="NonFiniteError: NaN at step 3")
    tracker.record(failed, make_folder(tmp_path / "cells", failed))
    table = tmp_path / "table.md"
    table.write_text("| arm |")
    tracker.finish([table], failed=True)
    assert tracker.failures == []

    (parent,) = search(uri, "tags.role = 'study'")
    assert parent.info.status == "FAILED"
    assert parent.data.tags["mlflow.note.content"] == "why?"
    cells = search(uri, f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert {run.data.tags["cell_id"] for run in cells} == {"control0", "control1", "noise=removed0"}
    by_name = {run.info.run_name: run for run in cells}
    control = by_name["control/s1"]
    assert control.info.status == "FINISHED"
    assert control.data.metrics["clip_score/shapes_clip"] == 32.5
    assert control.data.params["attention.mu"] == "0.98"
    assert control.data.params["protocol.guidance"] == "4.0"
    wanted = {"study", "arm", "part", "action", "role", "seed", "cell_id", "commit", "code_hash", "base_hash"}
    assert wanted <= set(control.data.tags)
    assert control.data.tags["surrogate"] == "true"
    assert by_name["noise=removed/s0"].info.status == "FAILED"
    assert "NaN at step 3" in by_name["noise=removed/s0"].data.tags["error"]
    client = mlflow.MlflowClient(uri)
    artifacts = {file.path for file in client.list_artifacts(control.info.run_id)}
    assert artifacts == {"spec.yaml", "strip.png", "clip_0.mp4", "clip_1.mp4", "result.json"}
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "report")] == ["report/table.md"]


def test_a_second_driver_continues_the_same_runs(uri: str, tmp_path: Path) -> None:
    result = make_result()
    folder = make_folder(tmp_path / "cells", result)
    for _ in range(2):
        tracker = open_tracker(uri, tmp_path)
        tracker.record(result, folder)
        tracker.finish([], failed=False)
        assert tracker.failures == []
    assert open_tracker(uri, tmp_path).recorded() == {"control0"}
    assert len(search(uri)) == 2


def test_a_retried_cell_keeps_its_run_and_loses_its_error(uri: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "cells", make_result())
    for error in ("RuntimeError: out of memory", ""):
        tracker = open_tracker(uri, tmp_path)
        tracker.record(make_result(error=error), folder)
        tracker.finish([], failed=False)
    (run,) = search(uri, "tags.cell_id = 'control0'")
    assert run.info.status == "FINISHED"
    assert run.data.tags["error"] == ""


def test_a_failing_upload_is_said_and_costs_nothing_else(uri: str, tmp_path: Path) -> None:
    tracker = open_tracker(uri, tmp_path)
    good, bad = make_result(0), make_result(1)
    bad = bad.model_copy(update={"scores": {"not a metric name!": bad.scores["clip_score/shapes_clip"]}})
    tracker.record(bad, make_folder(tmp_path / "cells", bad))
    tracker.record(good, make_folder(tmp_path / "cells", good))
    tracker.finish([], failed=False)
    assert len(tracker.failures) == 1
    assert "seed 1" in tracker.failures[0]
    assert open_tracker(uri, tmp_path).recorded() == {"control0"}


def test_a_deleted_experiment_is_restored(uri: str, tmp_path: Path) -> None:
    first = open_tracker(uri, tmp_path)
    first.finish([], failed=False)
    mlflow.MlflowClient(uri).delete_experiment(first.experiment_id)
    assert open_tracker(uri, tmp_path).experiment_id == first.experiment_id


def test_where_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path, None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri(tmp_path, None) == "http://127.0.0.1:5000"
    assert tracking_uri(tmp_path, "http://127.0.0.1:6000") == "http://127.0.0.1:6000"
