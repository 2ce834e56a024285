"""One study in an environment that has everything against it: it is ended by SIGTERM, moved, and completed."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.factories import ROOT, TINY_STUDY, prove_here, sweeps
from trainables.trial_spec import RESULT

STUDY = (
    TINY_STUDY
    + """\
question: "Is λ ≥ 0.5 better? ↑"
seeds: 8
protocol: {{clips: 2, frames: 3, steps: 10, guidance: 2.0, height: 32, width: 32}}
resources: {{max_concurrent: 1}}
ablations:
  - {{part: noise, action: REMOVE}}
"""
)


def hostile(tmp_path: Path) -> dict[str, str]:
    """Variables that a notebook, a batch system or a developer leaves behind."""
    temporary = tmp_path / ("long" * 20)
    temporary.mkdir()
    return {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONIOENCODING": "latin-1",
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "error",
        "TMPDIR": str(temporary),
    }


@pytest.mark.slow
@pytest.mark.xdist_group("hostile")
@pytest.mark.timeout(300)
def test_a_hostile_environment_costs_nothing(tiny_base_folder: Path, tmp_path: Path) -> None:
    study, before, after = tmp_path / "study.yaml", tmp_path / "100%20 a?b", tmp_path / "Läufe #1"
    study.write_text(STUDY.format(base=tiny_base_folder), encoding="utf-8")
    prove_here(study, before)
    variables = hostile(tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | variables
    command = [sys.executable, "-m", "sweeps", "run", str(study), "--storage", str(before)]
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 120
        while not list(before.glob("mlartifacts/tiny/*/artifacts/strip.png")):  # the first cell is uploaded
            assert driver.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(60) == 143
    finally:
        driver.kill()
        driver.wait()
    log_text = (tmp_path / "log").read_text(encoding="latin-1")
    assert log_text.count("Interrupted. Finished cells are kept; run the same command to resume") == 1
    assert f"TMPDIR={variables['TMPDIR']}: longer than the 39 bytes that Ray's sockets leave" in log_text
    assert "Traceback" not in log_text
    assert not (before / "tiny" / "driver.json").exists()
    finished = {path.parent.name: path.stat().st_mtime_ns for path in before.glob(f"tiny/cells/*/{RESULT}")}
    assert finished

    before.rename(after)
    done = sweeps("run", study, "--storage", after, encoding="latin-1", **variables)
    printed, said = done.stdout, done.stderr
    assert done.returncode == 0, said
    assert "Traceback" not in said
    assert "Warning" not in said
    assert f"{after}: was {before}; MLflow's artifact locations are corrected to {after}" in said
    assert not before.exists()
    results = {path.parent.name: path.stat().st_mtime_ns for path in after.glob(f"tiny/cells/*/{RESULT}")}
    assert len(results) == 16
    assert finished.items() <= results.items()
    assert "Is lambda >= 0.5 better? (higher is better)" in printed
    assert "Delta [95%]" in printed
    assert "±" in printed
    assert (after / "tiny" / "report" / "figures.pdf").exists()

    (line,) = [line for line in printed.splitlines() if line.startswith("MLflow runs")]
    *_, option, uri = shlex.split(line.removeprefix("MLflow runs"))
    assert option == "--backend-store-uri"
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert len(runs) == 17
    (view,) = [line.split()[-1] for line in printed.splitlines() if line.startswith("arms in MLflow")]
    experiment = client.get_experiment_by_name("tiny")
    assert view == f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=arms"
    assert "mlflow.sharedViewState.arms" in experiment.tags
    for run in runs:
        assert client.list_artifacts(run.info.run_id)
    assert len(json.loads((after / "tiny" / "report" / "report.json").read_bytes())["arms"]) == 2
