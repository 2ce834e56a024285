import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import yaml
from jsonschema import validate
from ray.cluster_utils import Cluster

from sweeps.plan import load
from sweeps.run.address import unreachable
from sweeps.run.cluster import SHORT_FOLDER, connect, disconnect, short_folder
from tests.factories import ROOT, free_port


def test_cluster_file_fits_rays_own_schema() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    validate(cluster, schema)
    types = cluster["available_node_types"]
    assert types[cluster["head_node_type"]]["resources"]["GPU"] == 0
    assert any(node["resources"]["GPU"] > 0 for node in types.values())


@pytest.fixture
def head() -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray head of two processors with token authentication; its address and the environment that may talk to it."""
    folder = tempfile.mkdtemp(prefix="head", dir="/tmp")  # sockets have room for 107 characters
    port, dashboard, agent = free_port(), free_port(), free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RAY_")},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    # Submitted jobs go to the head's agent, which has a fixed port by default: one agent per machine.
    ports = f"--port {port} --dashboard-port {dashboard} --dashboard-agent-listen-port {agent}"
    command = f"ray start --head --block --num-cpus 2 {ports} --temp-dir {folder}"
    with open(f"{folder}/head.log", "wb") as log:
        process = subprocess.Popen(
            command.split(), env=environment, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(dashboard, 60)
            yield f"http://127.0.0.1:{dashboard}", environment
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_quickstart_through_job_submit(head: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    """All its arms at its own protocol; of one seed, since others would go the same way."""
    address, environment = head
    storage, study = tmp_path / "storage", tmp_path / "quickstart.yaml"
    whole = (ROOT / "sweeps" / "quickstart.yaml").read_text()
    study.write_text(whole.replace("seeds: 3\n", "seeds: 1\n"))
    assert study.read_text() != whole
    command = ["ray", "job", "submit", "--address", address, "--working-dir", ".", "--"]
    command += ["python", "-m", "sweeps", "run", str(study), "--storage", str(storage)]
    stranger = {**environment, "RAY_AUTH_TOKEN": "0" * 64}
    refused = subprocess.run(command, cwd=ROOT, env=stranger, capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0
    assert not storage.exists()
    began = time.monotonic()
    while True:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540)
        # A head that has just started answers before its agent is there.
        if "No available agent" not in done.stdout + done.stderr or time.monotonic() - began > 60:
            break
        time.sleep(2)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "temporal_consistency/shapes_clip" in done.stdout
    results = [json.loads(path.read_bytes()) for path in storage.glob("*/cells/*/result.json")]
    assert len(results) == len(load(study).cells) == 5
    assert {result["status"] for result in results} == {"done"}


def _wait_for(port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port}")


@pytest.mark.parametrize(("variable", "other"), [("TMPDIR", ""), ("RAY_TMPDIR", "TMPDIR")])
def test_sockets_of_ray_fit_into_its_folder(
    variable: str, other: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    assert short_folder(dashboard=True) is None
    monkeypatch.setenv(variable, "/scratch/" + 30 * "x")
    if other:
        monkeypatch.setenv(other, "/scratch/" + 90 * "x")
    assert short_folder(dashboard=False) is None
    assert capsys.readouterr().err == ""
    assert short_folder(dashboard=True) == f"{SHORT_FOLDER}/ray"
    monkeypatch.setenv(variable, "/scratch/" + 16 * "ü")
    assert short_folder(dashboard=False) == f"{SHORT_FOLDER}/ray", "bytes count, not letters"
    said = capsys.readouterr().err
    assert f"{variable}=/scratch/" in said
    assert "longer than the 39 bytes that Ray's sockets leave: Ray uses /tmp -> RAY_TMPDIR=FOLDER" in said


@pytest.mark.slow
def test_without_an_address_no_cluster_is_joined_that_happens_to_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0})
    try:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        assert unreachable() == "", "it answers"
        monkeypatch.delenv("RAY_ADDRESS")
        assert connect()
        assert ray.get_runtime_context().gcs_address != cluster.address
        disconnect()
    finally:
        cluster.shutdown()
