"""A cluster that RAY_ADDRESS names and that is not there is refused in seconds, with the variable named."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sweeps.plan import load
from sweeps.run import address, calibration
from sweeps.run.calibration import CalibrationError, calibrated
from tests.factories import free_port, sweeps_here

STUDY = """
name: tiny
system: zs2
base: shapes
metrics: [temporal_flickering]
seeds: 1
ablations: [{part: noise, action: REMOVE}]
"""


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which connections are taken and nothing is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def website() -> Iterator[int]:
    """A port at which a web server answers, as Ray's dashboard does."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("value", ["", "local"])
def test_without_a_cluster_ray_starts_here(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert address.cluster_address() == ""
    assert address.unreachable() == ""


@pytest.mark.parametrize(
    "value",
    ["  ", "http://127.0.0.1:8265", "127.0.0.1", "127.0.0.1:", ":6379", "head:port", "head:99999", "ray://head"],
)
def test_what_is_no_address_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert address.unreachable().startswith(f"RAY_ADDRESS={value}: not an address -> HOST:PORT")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize("kind", ["closed", "silent", "website"])
def test_a_cluster_that_is_gone_is_refused_in_seconds(
    scheme: str, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port() if kind == "closed" else request.getfixturevalue(kind)
    monkeypatch.setenv("RAY_ADDRESS", f"{scheme}127.0.0.1:{port}")
    monkeypatch.setattr(address, "PATIENCE_S", 2.0)
    began = time.monotonic()
    message = address.unreachable()
    assert message.startswith(f"RAY_ADDRESS={scheme}127.0.0.1:{port}: no Ray cluster answers there -> ")
    assert time.monotonic() - began < 2.0 + 3.0


def test_neither_a_run_nor_a_calibration_begins_anything(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, gone = write(STUDY), f"127.0.0.1:{free_port()}"
    done = sweeps_here("run", study, "--storage", tmp_path / "runs", RAY_ADDRESS=gone)
    assert done.exit_code == 2
    assert f"RAY_ADDRESS={gone}: no Ray cluster answers there" in done.stderr
    assert "ablation proof" not in done.stderr
    monkeypatch.setenv("RAY_ADDRESS", gone)
    monkeypatch.setattr(calibration, "_measure", None)
    with pytest.raises(CalibrationError, match=f"RAY_ADDRESS={gone}"):
        calibrated(load(study), tmp_path, tmp_path / "tiny")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ray's folder on a machine where no Ray runs, whatever runs on this one."""
    folder = tmp_path / "ray"
    folder.mkdir()
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", frozenset)  # reads the list of processes
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    return folder


def test_auto_without_a_cluster_is_refused(alone: Path, write: Callable[[str], Path], tmp_path: Path) -> None:
    began = time.monotonic()
    done = sweeps_here("run", write(STUDY), "--storage", tmp_path / "runs", RAY_ADDRESS="auto")
    assert done.exit_code == 2
    said = [line for line in done.stderr.splitlines() if "RAY_ADDRESS" in line]
    assert said == [
        "RAY_ADDRESS=auto: no Ray cluster runs on this machine -> start the cluster, correct RAY_ADDRESS, or unset it "
        "to run on this machine"
    ]
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 10


def test_auto_with_a_cluster_that_is_gone_is_refused(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray keeps the address of the latest cluster that was started on the machine."""
    (alone / "ray_current_cluster").write_text(f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(address, "PATIENCE_S", 2.0)
    assert address.unreachable().startswith("RAY_ADDRESS=auto: no Ray cluster answers there -> ")
