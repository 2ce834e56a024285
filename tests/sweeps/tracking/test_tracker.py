"""Runs in a database of this machine; MLflow's own search is the witness."""

import json
import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Param

from sweeps.tracking.tracker import Tracker
from trainables.provenance import ROOT
from trainables.spool import Spool

Find = Callable[..., list[Any]]


@pytest.fixture
def open_tracker(uri: str, tmp_path: Path) -> Callable[[], Tracker]:
    return lambda: Tracker(uri, "a-study", "why?", tmp_path / "mlartifacts" / "a-study", {"commit": "abc"})


def done(tracker: Tracker, files: tuple[Path, ...] = (), *, failed: bool = False) -> Tracker:
    tracker.finish(files, failed=failed)
    assert tracker.failures == []
    assert tracker.pending() == 0
    return tracker


def artifacts(uri: str, run: Any, folder: str | None = None) -> set[str]:
    return {file.path for file in MlflowClient(uri).list_artifacts(run.info.run_id, folder)}


def test_a_study_is_one_parent_with_a_run_for_each_cell(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    tracker = open_tracker()
    failed = cells.result(arm="noise=removed", status="failed", error="NonFiniteError: NaN at step 3")
    for result in (cells.result(0), cells.result(1), failed):
        tracker.record(result.cell_id, cells.save(result))
    table, study = tmp_path / "table.md", tmp_path / "study.yaml"
    table.write_text("| arm |")
    study.write_text("name: a-study")
    done(tracker, (table, study), failed=True)
    assert tracker.uploaded == 3

    (parent,) = find_runs(uri, "tags.role = 'study'")
    assert parent.info.status == "FAILED"
    assert parent.data.tags["mlflow.note.content"] == "why?"
    assert artifacts(uri, parent) - {"uncommitted.diff"} == {"study.yaml", "environment.json", "report"}
    assert artifacts(uri, parent, "report") == {"report/table.md"}
    runs = {run.info.run_name: run for run in find_runs(uri, f"tags.mlflow.parentRunId = '{parent.info.run_id}'")}
    assert set(runs) == {"control/s0", "control/s1", "noise=removed/s0"}
    assert runs["noise=removed/s0"].info.status == "FAILED"
    assert runs["noise=removed/s0"].data.tags["error"] == "NonFiniteError: NaN at step 3"

    control = runs["control/s1"]
    assert control.info.status == "FINISHED"
    assert control.info.end_time - control.info.start_time == 2000
    assert control.data.metrics["clip_score/shapes_clip"] == 32.5
    assert control.data.metrics["seconds/sample"] == 1.5
    parameters = control.data.params
    assert (parameters["arm"], parameters["seed"], parameters["attention.mu"]) == ("control", "1", "0.98")
    assert parameters["protocol.guidance"] == "4.0"
    expected = {"cell_id": cells.spec(1).cell_id, "status": "done", "attempts": "1", "stage": "plan"}
    expected |= {"commit": "abc", "code_hash": "c0de", "base_hash": "ba5e", "surrogate": "true", "role": "control"}
    assert control.data.tags.items() >= expected.items()
    assert not {"error", "trial", "search", "part"} & set(control.data.tags)
    assert artifacts(uri, control) == {"strip.png", "clip_0.mp4", "clip_1.mp4", "result.json", "per_clip.json"}
    experiment = MlflowClient(uri).get_experiment_by_name("a-study")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_scores_clip_by_clip_are_a_table(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    tracker = open_tracker()
    tracker.catch_up(cells.make(1))
    done(tracker)
    (run,) = find_runs(uri, "tags.arm = 'control'")
    table = MlflowClient(uri).load_table(run.info.experiment_id, "per_clip.json", [run.info.run_id])
    assert list(table.columns) == ["clip", "prompt", "clip_score/shapes_clip"]
    assert table["clip_score/shapes_clip"].tolist() == [31.0, 32.0]
    assert all(len(prompt.split()) > 3 for prompt in table["prompt"])


def test_trials_and_confirmations_have_their_names_and_what_was_sampled(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    tracker = open_tracker()
    sampled = {"attention.mu": 0.25, "attention": "momentum"}
    trial = cells.spec(stage="search", trial=7, search="5ea4c4", sampled=sampled)
    winner = cells.spec(101, stage="confirm", trial=0, search="5ea4c4", sampled=sampled)
    as_it_stands = cells.spec(101, stage="confirm", search="5ea4c4")
    for spec, status in ((trial, "pruned"), (winner, "done"), (as_it_stands, "done")):
        tracker.record(spec.cell_id, cells.save(cells.result(spec=spec, status=status)))
    done(tracker)
    runs = {run.info.run_name: run for run in find_runs(uri, "tags.search = '5ea4c4'")}
    assert set(runs) == {"control/t007", "control #1/s101", "control/s101"}
    pruned = runs["control/t007"]
    assert (pruned.info.status, pruned.data.tags["status"]) == ("KILLED", "pruned")
    assert (pruned.data.tags["stage"], pruned.data.tags["trial"]) == ("search", "7")
    assert pruned.data.params["sampled.attention.mu"] == "0.25"
    assert "trial" not in runs["control/s101"].data.tags


def test_a_second_driver_finds_everything_there(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    made = cells.make(2)
    tracker = open_tracker()
    for cell_id, folder in made.items():
        tracker.record(cell_id, folder)
    done(tracker)
    before = {run.info.run_id: run.to_dictionary() for run in find_runs(uri)}
    again = open_tracker()
    again.catch_up(made)
    assert done(again).uploaded == 0
    assert {run.info.run_id: run.to_dictionary() for run in find_runs(uri)} == before


def test_a_retried_cell_keeps_its_run_and_its_parameters(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    failed, finished = cells.result(status="failed", error="RuntimeError: out of memory"), cells.result(attempt=2)
    tracker = open_tracker()
    tracker.record(failed.cell_id, cells.save(failed))
    done(tracker)
    (run,) = find_runs(uri, "tags.arm = 'control'")
    assert (run.info.status, run.data.tags["attempts"]) == ("FAILED", "1")

    # A parameter that this version would write differently stays as it was: MLflow refuses to change one.
    other = open_tracker()
    other_spec = finished.spec.model_copy(update={"base": "renamed", "tree": {**finished.spec.tree, "new": 1}})
    folder = cells.save(finished.model_copy(update={"spec": other_spec}))
    other.report(finished.spec, folder)
    other.record(finished.cell_id, folder)
    done(other)
    (again,) = find_runs(uri, "tags.arm = 'control'")
    assert again.info.run_id == run.info.run_id
    assert (again.info.status, again.data.tags["attempts"]) == ("FINISHED", "2")
    assert (again.data.tags["error"], again.data.tags["status"]) == ("", "done")
    assert again.data.params == {**run.data.params, "new": "1"}


def test_a_result_scored_anew_uploads_only_what_changed(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    result = cells.result()
    tracker = open_tracker()
    tracker.record(result.cell_id, cells.save(result))
    done(tracker)
    (run,) = find_runs(uri, "tags.arm = 'control'")
    strip = next((tmp_path / "mlartifacts").rglob(f"{run.info.run_id}/**/strip.png"))
    strip.write_bytes(b"as it was")

    score = result.scores["clip_score/shapes_clip"]
    scores = {**result.scores, "flicker/vbench": score.model_copy(update={"value": 0.5, "per_clip": None})}
    more = cells.result(scores=scores, finished="2026-11-22T00:00:00+00:00")
    again = open_tracker()
    again.catch_up({more.cell_id: cells.save(more)})
    assert done(again).uploaded == 1
    (run,) = find_runs(uri, "tags.arm = 'control'")
    assert run.data.metrics["flicker/vbench"] == 0.5
    assert strip.read_bytes() == b"as it was"
    uploaded = json.loads((strip.parent / "result.json").read_text())
    assert set(uploaded["scores"]) == set(scores)


@pytest.mark.slow
def test_points_keep_their_steps_and_are_sent_once(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    result = cells.result()
    folder = cells.save(result)
    spool, tracker = Spool(folder), open_tracker()
    for step in range(30):
        spool.append(step, {"loss": math.nan if step == 20 else 1 / (1 + step)}, time_ms=1000 + step)
        tracker.report(result.spec, folder)
    second = open_tracker  # a driver that does not know what the first one sent
    tracker.finish([], failed=True)
    (run,) = find_runs(uri, "tags.arm = 'control'")
    assert (run.info.status, run.data.tags["status"]) == ("RUNNING", "running")
    for step in range(30, 1500):
        spool.append(step, {"loss": 1 / (1 + step)}, time_ms=1000 + step)
    tracker = second()
    tracker.report(result.spec, folder)
    tracker.record(result.cell_id, folder)
    done(tracker)
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.timestamp) for point in sorted(history, key=lambda point: point.step)] == [
        (step, 1000 + step) for step in range(1500)
    ]
    assert [point.step for point in history if math.isnan(point.value)] == [20]
    (score,) = MlflowClient(uri).get_metric_history(run.info.run_id, "clip_score/shapes_clip")
    assert score.step == 1499


def test_a_result_that_mlflow_refuses_is_said_and_costs_nothing_else(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    tracker = open_tracker()
    good, bad = cells.result(0), [cells.result(seed) for seed in (1, 2)]
    for result in bad:
        named = result.model_copy(update={"scores": {"no metric name!": result.scores["clip_score/shapes_clip"]}})
        tracker.record(result.cell_id, cells.save(named))
    tracker.record(good.cell_id, cells.save(good))
    cut = cells.save(cells.result(3))
    (cut / "result.json").write_text('{"cell_id": ')
    tracker.record(cells.spec(3).cell_id, cut)
    tracker.finish([], failed=False)
    names, unreadable = tracker.failures
    assert names.startswith("2 cells: ")
    assert "no metric name!" in names
    assert unreadable.startswith("1 cell: ")
    (run,) = find_runs(uri, "attributes.status = 'FINISHED' and tags.arm = 'control'")
    assert run.data.tags["cell_id"] == good.cell_id


def test_of_two_runs_of_a_cell_the_complete_one_stays_else_the_oldest(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    made = cells.make(2)
    complete, begun = made
    tracker = open_tracker()
    tracker.record(complete, made[complete])
    done(tracker)
    client = MlflowClient(uri)
    (kept,) = find_runs(uri, f"tags.cell_id = '{complete}'")
    experiment = kept.info.experiment_id
    client.create_run(experiment, start_time=1, tags={"study": "a-study", "cell_id": complete})
    ours = {"study": "a-study", "cell_id": begun}
    first, *_ = [client.create_run(experiment, start_time=at, tags=ours).info.run_id for at in (5, 6, 7)]
    client.log_batch(first, params=[Param("arm", "control")])
    client.create_run(experiment, tags={"study": "a-study", "role": "study"})
    foreign = [client.create_run(experiment, tags={"mine": "yes"}).info.run_id for _ in range(2)]

    again = open_tracker()
    again.catch_up(made)
    assert done(again).uploaded == 1
    by_cell = {run.data.tags["cell_id"]: run for run in find_runs(uri, "tags.arm = 'control'")}
    assert by_cell[complete].info.run_id == kept.info.run_id
    assert by_cell[begun].info.run_id == first
    assert len(find_runs(uri, "tags.study = 'a-study'")) == 3
    assert {run.info.run_id for run in find_runs(uri, "tags.mine = 'yes'")} == set(foreign)


@pytest.mark.slow
def test_a_run_deleted_while_the_study_runs_is_made_again(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    result = cells.result()
    folder, tracker = cells.save(result), open_tracker()
    Spool(folder).append(0, {"loss": 1.0})
    tracker.report(result.spec, folder)
    while tracker.pending():
        time.sleep(0.01)
    (run,) = find_runs(uri, "tags.arm = 'control'")
    MlflowClient(uri).delete_run(run.info.run_id)
    tracker.record(result.cell_id, folder)
    done(tracker)
    (again,) = find_runs(uri, "tags.arm = 'control'")
    assert again.info.run_id != run.info.run_id
    assert again.data.metrics["loss"] == 1.0


def test_a_deleted_experiment_is_restored(
    uri: str, open_tracker: Callable[[], Tracker], cells: Any, find_runs: Find
) -> None:
    made = cells.make(1)
    for _ in range(2):
        tracker = open_tracker()
        tracker.catch_up(made)
        done(tracker)
        experiment = MlflowClient(uri).get_experiment_by_name("a-study")
        assert len(find_runs(uri)) == 2
        MlflowClient(uri).delete_experiment(experiment.experiment_id)


def test_nothing_under_it_and_there_is_no_parent(
    uri: str, open_tracker: Callable[[], Tracker], find_runs: Find
) -> None:
    done(open_tracker())
    assert find_runs(uri) == []


def test_where_mlflow_cannot_be_is_a_line_and_no_error(cells: Any, tmp_path: Path) -> None:
    started = time.monotonic()
    tracker = Tracker("nonsense://nowhere", "a-study", "", tmp_path, {})
    for cell_id, folder in cells.make(2).items():
        tracker.record(cell_id, folder)
    assert time.monotonic() - started < 2
    tracker.finish([], failed=False)
    (line,) = tracker.failures
    assert line.startswith("2 cells: MLflow at nonsense://nowhere does not answer (")


EXIT = """
import sys
from pathlib import Path
from sweeps.tracking.tracker import Tracker
tracker = Tracker(sys.argv[1], "a-study", "", Path(sys.argv[2]), {})
tracker.catch_up({"0123456789abcdef": Path(sys.argv[2])})
tracker._thread.join(timeout=0.5)
assert tracker._thread.is_alive()
if sys.argv[3] == "interrupted":
    raise KeyboardInterrupt
print("bye", flush=True)
"""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", ["ended", "interrupted"])
def test_the_end_of_the_process_does_not_wait_for_uploads(tmp_path: Path, way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # connects, and never answers
        uri = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-c", EXIT, uri, str(tmp_path), way], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        deaf.settimeout(120)
        connection, _ = deaf.accept()
        began = time.monotonic()
        _, said = process.communicate(timeout=60)
        took = time.monotonic() - began
        connection.close()
    assert ("KeyboardInterrupt" in said) == (way == "interrupted")
    assert "Exception ignored" not in said
    assert took < 9, "the request in hand alone would take 10 s to time out"
