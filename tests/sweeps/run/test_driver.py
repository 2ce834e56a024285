"""A whole study through Ray Tune and MLflow, on a random tiny pipeline of Stable Diffusion v1.5's shape.

One study goes through a process of its own, as from a shell. The others run in this process, on one Ray.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file

from models.streams import Streams
from tests.factories import Invoked, sweeps, sweeps_here
from trainables.data import ShapesData

STUDY = """
name: tiny
question: Does it run?
system: zs2
base: {base}
data: {{layout: prompts, prompts: [a red circle, a blue square]}}
metrics: [{metrics}]
seeds: {seeds}
protocol: {{clips: 2, frames: 3, steps: 2, guidance: 2.0, height: 32, width: 32}}
resources: {{max_concurrent: 1}}
ablations:
  - {{part: attention, action: REMOVE}}
  - {{part: noise, action: REMOVE}}
"""


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def states(study: Path, storage: Path) -> list[str]:
    plan = json.loads(sweeps_here("plan", study, "--storage", storage, "--json").stdout)
    return [cell["state"] for cell in plan["cells"]]


def drawn(storage: Path) -> dict[Path, tuple[int, float]]:
    """When each cell's clips were written, and how long they took to draw."""
    return {
        path: (path.stat().st_mtime_ns, json.loads((path.parent / "result.json").read_text())["seconds"]["sample"])
        for path in storage.glob("tiny/cells/*/clips.npz")
    }


@dataclass(frozen=True)
class Grown:
    """A study that ran for its control alone, and again with an arm, a seed and a metric more; none may change it.

    Args:
        first: What the first run said.
        second: What the second said.
        between: States of the cells of the first form after the first run, and of the second form before the second.
        drawn: The first run's clips.
    """

    study: Path
    storage: Path
    base: Path
    first: Invoked
    second: Invoked
    between: tuple[list[str], list[str]]
    drawn: dict[Path, tuple[int, float]]


@pytest.fixture(scope="module")
def grown(cluster: None, tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    folder = tmp_path_factory.mktemp("grown")
    study, storage, base = folder / "study.yaml", folder / "runs", folder / "base"
    shutil.copytree(tiny_base_folder, base)
    study.write_text(STUDY.format(base=base, metrics="motion_magnitude", seeds=1))
    first = sweeps_here("run", study, "--storage", storage, "--only", "control")
    before, clips = states(study, storage), drawn(storage)
    study.write_text(STUDY.format(base=base, metrics="temporal_flickering", seeds=2))
    after = states(study, storage)
    second = sweeps_here("run", study, "--storage", storage)
    return Grown(study, storage, base, first, second, (before, after), clips)


@pytest.fixture(scope="module")
def cold(grown: Grown, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Invoked]:
    """The grown study at once, on cold workers and without a tracker: its storage, and what the run said."""
    storage = tmp_path_factory.mktemp("cold") / "runs"
    nowhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    return storage, sweeps_here("run", grown.study, "--storage", storage, "--cold", **nowhere)


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_a_study_from_file_to_table(tiny_base_folder: Path, tmp_path: Path) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    study.write_text(STUDY.format(base=tiny_base_folder, metrics="temporal_flickering", seeds=2))
    assert states(study, storage) == ["pending"] * 6

    done = sweeps("run", study, "--storage", storage)
    assert done.returncode == 0, done.stderr
    assert "cells 6/6: 6 done, 0 running, 0 failed" in done.stderr
    assert "temporal_flickering/vbench_formula" in done.stdout
    assert states(study, storage) == ["done"] * 6
    assert not (storage / "tiny" / ".tune").exists()

    report = json.loads(sweeps_here("report", study, "--storage", storage, "--format", "json").stdout)
    assert [arm["id"] for arm in report["arms"]] == ["control", "attention=removed", "noise=removed"]
    for arm in report["arms"]:
        assert set(arm["metrics"]) == {"temporal_flickering/vbench_formula", "motion_magnitude/farneback"}
        assert all({"mean", "sd", "n", "difference", "low", "high"} <= set(m) for m in arm["metrics"].values())
    flicker = [arm["metrics"]["temporal_flickering/vbench_formula"] for arm in report["arms"]]
    assert flicker[0]["difference"] is None
    assert flicker[2]["difference"] == pytest.approx(flicker[2]["mean"] - flicker[0]["mean"])
    assert flicker[2]["low"] < flicker[2]["difference"] < flicker[2]["high"]
    assert flicker[2]["n"] == 4, "prompts are drawn per clip, so clips are the units"

    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 7
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if run.data.tags["role"] == "study"]
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files >= {"study.yaml", "report", "environment.json"}
    assert sum(run.data.tags.get("mlflow.parentRunId") == parent.info.run_id for run in runs) == 6

    before = snapshot(storage)
    again = sweeps_here("run", study, "--storage", storage)
    assert again.exit_code == 0
    assert "6 done, 0 to run" in again.stderr
    assert {path for path, time in snapshot(storage).items() if before.get(path) != time} == set()


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_a_nan_fails_its_cells_and_no_others(cluster: None, tiny_base_folder: Path, tmp_path: Path) -> None:
    # The letter q is embedded as NaN, so that every cell with a square in its prompt goes NaN while sampling.
    base = tmp_path / "base"
    shutil.copytree(tiny_base_folder, base)
    (weights,) = (base / "text_encoder").glob("*.safetensors")
    tensors = load_file(weights)
    (embedding,) = [name for name in tensors if name.endswith("token_embedding.weight")]
    vocabulary = json.loads((base / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    tensors[embedding][vocabulary["q"]] = float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    seeds = 4
    fails = {seed for seed in range(seeds) if "q" in ShapesData().prompts(Streams(seed), 1)[0]}
    assert 0 < len(fails) < seeds

    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    text = STUDY.format(base=base, metrics="temporal_flickering", seeds=seeds).replace("clips: 2", "clips: 1")
    text = text.replace("max_concurrent: 1", "max_concurrent: 2")
    study.write_text("".join("data: shapes\n" if "data:" in line else line for line in text.splitlines(True)))
    failed = sweeps_here("run", study, "--storage", storage)
    assert failed.exit_code == 1, failed.stderr
    plan = json.loads(sweeps_here("plan", study, "--storage", storage, "--json").stdout)
    assert {cell["seed"] for cell in plan["cells"] if cell["state"] == "failed"} == fails
    assert {cell["state"] for cell in plan["cells"] if cell["seed"] not in fails} == {"done"}
    assert "NonFiniteError" in failed.stdout
    assert f"control ({len(fails)} diverged)" in failed.stdout
    assert sweeps_here("report", study, "--storage", storage).exit_code == 1
    again = sweeps_here("run", study, "--storage", storage)
    assert again.exit_code == 1
    assert " 0 to run" in again.stderr
    assert f"{3 * len(fails)} to run" in sweeps_here("run", study, "--storage", storage, "--retry-failed").stderr


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_a_study_grows_and_a_metric_added_later_scores_the_kept_clips(grown: Grown) -> None:
    assert grown.first.exit_code == 0, grown.first.stderr
    assert grown.between == (["done", "pending", "pending"], ["rescore"] + ["pending"] * 5)
    assert grown.second.exit_code == 0, grown.second.stderr
    assert "6 cells: 1 done, 6 to run" in grown.second.stderr
    assert states(grown.study, grown.storage) == ["done"] * 6
    now = drawn(grown.storage)
    assert {path: now[path] for path in grown.drawn} == grown.drawn, "a finished cell was drawn again"
    results = [json.loads(path.read_text()) for path in grown.storage.glob("tiny/cells/*/result.json")]
    assert all("temporal_flickering/vbench_formula" in one["scores"] for one in results)
    client = MlflowClient(f"sqlite:///{grown.storage}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], "tags.role != 'study'")
    assert len(runs) == 6
    assert all("temporal_flickering/vbench_formula" in run.data.metrics for run in runs)


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_a_changed_protocol_makes_cells_of_its_own(grown: Grown, tmp_path: Path) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    shutil.copytree(grown.storage, storage)
    study.write_text(grown.study.read_text().replace("steps: 2", "steps: 3"))
    before = set(storage.glob("tiny/cells/*"))
    changed = sweeps_here("run", study, "--storage", storage)
    assert changed.exit_code == 0, changed.stderr
    assert "protocol.steps" in changed.stderr
    assert "never mixed" in changed.stderr
    after = set(storage.glob("tiny/cells/*"))
    assert before < after
    assert len(after) == 12


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_edited_prompts_are_never_mixed_with_the_earlier_ones(
    cluster: None, tiny_base_folder: Path, tmp_path: Path
) -> None:
    study, storage, prompts = tmp_path / "study.yaml", tmp_path / "runs", tmp_path / "prompts.txt"
    prompts.write_text("a red circle\na blue square\n")
    text = STUDY.format(base=tiny_base_folder, metrics="temporal_flickering", seeds=1)
    text = text.replace("[a red circle, a blue square]", str(prompts)).replace(
        "  - {part: attention, action: REMOVE}\n", ""
    )
    study.write_text(text)
    assert sweeps_here("run", study, "--storage", storage).exit_code == 0
    prompts.write_text("a red circle\na blue cross\n")
    study.write_text(text.replace("seeds: 1", "seeds: 2"))
    again = sweeps_here("run", study, "--storage", storage)
    assert again.exit_code == 0, again.stderr
    assert "~ data.content.prompts  2 prompts, " in again.stderr
    assert "0 in both, 2 only in last run, 4 only in now" in again.stderr
    assert "4 cells: 0 done, 4 to run" in again.stderr
    report = json.loads(sweeps_here("report", study, "--storage", storage, "--format", "json").stdout)
    assert any("2 results from other data not shown (2 prompts, " in note for note in report["notes"])
    results = [json.loads(path.read_text()) for path in storage.glob("tiny/cells/*/result.json")]
    by_prompt = {
        prompt: sum(prompt in result["prompts"] for result in results) for prompt in ("a blue square", "a blue cross")
    }
    assert by_prompt == {"a blue square": 2, "a blue cross": 4}


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_cold_workers_give_the_same_table(grown: Grown, cold: tuple[Path, Invoked]) -> None:
    storage, done = cold
    assert done.exit_code == 0, done.stderr
    tables: list[dict[str, Any]] = []
    for folder in (grown.storage, storage):
        tables.append(json.loads((folder / "tiny" / "report" / "report.json").read_text()))
        for arm in tables[-1]["effort"]["efforts"]:
            assert arm.pop("worker_hours") > 0
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_a_dead_tracker_costs_no_cell_and_is_caught_up(
    grown: Grown, cold: tuple[Path, Invoked], tmp_path: Path
) -> None:
    storage = tmp_path / "runs"
    untracked, done = cold
    assert done.exit_code == 0, done.stderr
    assert "does not answer" in done.stderr
    shutil.copytree(untracked, storage)
    later = sweeps_here("run", grown.study, "--storage", storage)
    assert "6 done, 0 to run" in later.stderr
    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    assert len(client.search_runs([client.get_experiment_by_name("tiny").experiment_id])) == 7


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_results_of_other_code_are_refused_or_marked(grown: Grown, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    shutil.copytree(grown.storage, storage)
    *_, one = sorted(storage.glob("tiny/cells/*/result.json"))
    result = json.loads(one.read_text())
    result["provenance"]["code_hash"] = "0ld0ld0ld0ld0ld0"
    result["finished"] = "2000-01-01T00:00:00+00:00"
    one.write_text(json.dumps(result))
    refused = sweeps_here("run", grown.study, "--storage", storage)
    assert refused.exit_code == 2
    assert "1 result from other code (0ld0ld0ld0ld0ld0" in refused.stderr
    assert "--accept-code-change" in refused.stderr
    accepted = sweeps_here("run", grown.study, "--storage", storage, "--accept-code-change")
    assert accepted.exit_code == 0, accepted.stderr
    assert f"{result['spec']['arm']} (1 with other code)" in accepted.stdout


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_other_weights_are_refused_and_a_changed_study_renews_its_report(grown: Grown, tmp_path: Path) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    shutil.copytree(grown.storage, storage)
    table = storage / "tiny" / "report" / "table.md"
    assert "Equivalent within" not in table.read_text()
    study.write_text(grown.study.read_text() + "margins: {temporal_flickering: 0.5}\n")
    again = sweeps_here("run", study, "--storage", storage)
    assert again.exit_code == 0, again.stderr
    assert "Equivalent within" in table.read_text()
    assert "margins" in (storage / "tiny" / "study.yaml").read_text()
    assert "has changed since" not in sweeps_here("run", study, "--storage", storage).stderr
    (weights,) = (grown.base / "vae").glob("*.safetensors")
    kept = weights.read_bytes()
    tensors = load_file(weights)
    tensors["decoder.conv_out.bias"] += 1
    try:
        save_file(tensors, weights, metadata={"format": "pt"})
        refused = sweeps_here("run", study, "--storage", storage)
    finally:
        weights.write_bytes(kept)
    assert refused.exit_code == 2
    assert f"6 results from other weights of base {grown.base}" in refused.stderr


def test_storage_that_cannot_be_written_is_refused(tiny_base_folder: Path, tmp_path: Path) -> None:
    study, blocked = tmp_path / "study.yaml", tmp_path / "file"
    study.write_text(STUDY.format(base=tiny_base_folder, metrics="temporal_flickering", seeds=1))
    blocked.write_text("not a folder")
    refused = sweeps_here("run", study, "--storage", blocked / "runs")
    assert refused.exit_code == 2
    assert f"--storage {blocked / 'runs'}: cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("driver")
@pytest.mark.timeout(600)
def test_a_study_ends_by_itself_where_its_arms_are_decided(
    cluster: None, tiny_base_folder: Path, tmp_path: Path
) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    rule = "{min: 4, max: 12, stop: decided}"
    text = STUDY.format(base=tiny_base_folder, metrics="temporal_flickering", seeds=rule)
    text = text.replace("  - {part: attention, action: REMOVE}\n", "")
    study.write_text(text + "unit: {kind: seed, reason: both clips of a seed may look alike}\n")
    done = sweeps_here("run", study, "--storage", storage)
    assert done.exit_code == 0, done.stderr
    assert "Ended after 8 seeds" in done.stdout, "independent noise flickers in every clip, and 8 seeds can show it"
    assert states(study, storage) == ["done"] * 16 + ["spared"] * 8
    status = json.loads(sweeps_here("status", study, "--storage", storage, "--json").stdout)
    assert status["counts"] == {"done": 16, "spared": 8}
    report = json.loads((storage / "tiny" / "report" / "report.json").read_text())
    (arm,) = report["arms"][1:]
    assert arm["missing"] == 0
    assert arm["metrics"]["temporal_flickering/vbench_formula"]["verdict"] == "worse"

    before = snapshot(storage / "tiny" / "cells")
    assert sweeps_here("run", study, "--storage", storage).exit_code == 0
    assert snapshot(storage / "tiny" / "cells") == before, "nothing is left to do"
