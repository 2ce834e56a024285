"""A real MLflow server behind a proxy that delays, refuses and swallows: no cell and no point is lost."""

import contextlib
import http.client
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import pytest
from mlflow import MlflowClient

from sweeps.tracking.tracker import Tracker
from tests.factories import FORKS, free_port
from trainables.spool import Spool
from trainables.trial_spec import RESULT, Result

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tracker"), pytest.mark.timeout(600)]

Find = Callable[..., list[Any]]
Fault = Literal["pass", "error", "swallow", "refuse"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with one worker, which ends with this module or after a quarter of an hour."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", f"{folder}/artifacts"]
    with (folder / "log").open("w") as log:
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(
            ["timeout", "900", *command], env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        end = time.monotonic() + 300
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            assert time.monotonic() < end, (folder / "log").read_text()
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class Proxy:
    """Passes requests to the server, each as ``rule(method, path)`` says; a rule may take its time."""

    def __init__(self, server: str) -> None:
        self.rule: Callable[[str, str], Fault] = lambda method, path: "pass"
        proxy, host = self, server.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy.rule(self.command, self.path)
                if fault == "refuse":
                    self.close_connection = True
                    return
                if fault == "error":
                    status, headers, answer = 500, {}, b"out of order"
                else:
                    status, headers, answer = self.forward(body)
                if fault == "swallow":
                    self.close_connection = True
                    return
                with contextlib.suppress(OSError):  # whoever asked may not be there any more
                    self.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer)

            def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
                connection = http.client.HTTPConnection(host, timeout=60)
                with contextlib.closing(connection):
                    connection.request(self.command, self.path, body, {**self.headers, "Connection": "close"})
                    answer = connection.getresponse()
                    kept = {name: value for name, value in answer.getheaders() if name.lower() == "content-type"}
                    return answer.status, kept, answer.read()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.stop()


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test: all share a server."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())


@pytest.fixture
def made(cells: Any, study: str) -> dict[str, Any]:
    """Six finished cells by id, each with twenty points in its spool."""
    results = {}
    for seed in range(6):
        result = cells.result(spec=cells.spec(seed, study=study))
        spool = Spool(cells.save(result))
        for step in range(20):
            spool.append(step, {"loss": 1 / (1 + step), "seed": seed}, time_ms=1000 + step)
        results[result.cell_id] = result
    return results


def open_tracker(uri: str, study: str, tmp_path: Path) -> Tracker:
    return Tracker(uri, study, "why?", tmp_path / "artifacts", {})


def run_all(tracker: Tracker, made: dict[str, Any], cells: Any) -> None:
    """What a driver does for cells that report on their way and end."""
    for cell_id, result in made.items():
        tracker.report(result.spec, cells.root / cell_id)
        tracker.record(cell_id, cells.root / cell_id)


def assert_all_there(server: str, study: str, made: dict[str, Any], cells: Any, find_runs: Find) -> None:
    """Exactly one finished run for each cell, under one parent, with every point and every file."""
    runs = find_runs(server, "tags.arm = 'control'", study)
    assert sorted(run.data.tags["cell_id"] for run in runs) == sorted(made)
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = find_runs(server, "tags.role = 'study'", study)
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    client = MlflowClient(server)
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "loss")
        assert sorted((point.step, point.timestamp) for point in history) == [(n, 1000 + n) for n in range(20)]
        assert run.data.metrics["clip_score/shapes_clip"] == 31.5 + float(run.data.params["seed"])
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files == {"strip.png", "clip_0.mp4", "clip_1.mp4", "result.json", "per_clip.json"}
        for name in files - {"per_clip.json"}:
            uploaded = Path(client.download_artifacts(run.info.run_id, name, str(cells.root.parent))).read_bytes()
            assert uploaded == (cells.root / run.data.tags["cell_id"] / name).read_bytes()


@pytest.mark.alone
def test_a_server_of_ours_takes_a_run_quickly(
    server: str, study: str, cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    made = {(result := cells.result(spec=cells.spec(seed, study=study))).cell_id: result for seed in range(21)}
    first, *others = [(cell_id, cells.save(result)) for cell_id, result in made.items()]
    tracker = open_tracker(server, study, tmp_path)
    tracker.record(*first)
    while tracker.pending():
        time.sleep(0.01)
    started = time.perf_counter()
    for cell in others:
        tracker.record(*cell)
    tracker.finish([], failed=False)
    each = (time.perf_counter() - started) / len(others)
    print(f"{1000 * each:.0f} ms a run")
    assert tracker.failures == []
    assert len(find_runs(server, "tags.arm = 'control'", study)) == 21
    assert each < 1.5, "ten times what it takes on a machine that does nothing else"


@pytest.mark.alone
def test_a_slow_tracker_delays_nobody(
    proxy: Proxy, server: str, study: str, made: dict[str, Any], cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    def slow(method: str, path: str) -> Fault:
        time.sleep(0.15)
        return "pass"

    proxy.rule = slow
    waits = []
    started = time.perf_counter()
    tracker = open_tracker(proxy.uri, study, tmp_path)
    waits.append(time.perf_counter() - started)
    for cell_id, result in made.items():
        started = time.perf_counter()
        tracker.report(result.spec, cells.root / cell_id)
        tracker.record(cell_id, cells.root / cell_id)
        waits.append(time.perf_counter() - started)
        time.sleep(0.05)
    assert max(waits) < 0.05
    assert tracker.pending() >= 5
    tracker.finish([], failed=False)
    assert tracker.failures == []
    assert_all_there(server, study, made, cells, find_runs)


@pytest.mark.parametrize("fault", ["error", "refuse"])
def test_a_tracker_that_fails_for_a_while_catches_up_in_the_same_run(
    fault: Fault,
    proxy: Proxy,
    server: str,
    study: str,
    made: dict[str, Any],
    cells: Any,
    find_runs: Find,
    tmp_path: Path,
) -> None:
    requests = []

    def fail_for_a_while(method: str, path: str) -> Fault:
        requests.append(path)
        return fault if 15 <= len(requests) < 20 else "pass"

    proxy.rule = fail_for_a_while
    tracker = open_tracker(proxy.uri, study, tmp_path)
    run_all(tracker, made, cells)
    while tracker.uploaded < len(made):
        assert tracker.pending()
        time.sleep(0.01)
    tracker.finish([], failed=False)
    assert len(requests) > 20
    assert tracker.failures == []
    assert_all_there(server, study, made, cells, find_runs)


def test_a_tracker_down_for_the_whole_study_costs_a_line(
    server: str, study: str, made: dict[str, Any], cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    tracker = open_tracker(f"http://127.0.0.1:{free_port()}", study, tmp_path)
    began = time.monotonic()
    run_all(tracker, made, cells)
    tracker.finish([], failed=False)
    assert time.monotonic() - began < 10
    (line,) = tracker.failures
    assert line.startswith("6 cells: MLflow at http://127.0.0.1:")
    assert line.endswith("does not answer ([Errno 111] Connection refused)")

    later = open_tracker(server, study, tmp_path)
    later.catch_up({cell_id: cells.root / cell_id for cell_id in made})
    later.finish([], failed=False)
    assert (later.uploaded, later.failures) == (6, [])
    assert_all_there(server, study, made, cells, find_runs)


def test_an_answer_that_is_lost_makes_no_second_run(
    proxy: Proxy, server: str, study: str, made: dict[str, Any], cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    """Of any request the server may have done all while its answer never came: creating a run, above all."""
    draw = random.Random(0)

    def swallow(method: str, path: str) -> Fault:
        swallowed.append(draw.random() < (0.5 if path.endswith("runs/create") else 0.05))
        return "swallow" if swallowed[-1] else "pass"

    swallowed: list[bool] = []
    proxy.rule = swallow
    tracker = open_tracker(proxy.uri, study, tmp_path)
    run_all(tracker, made, cells)
    while tracker.pending():  # a cell whose answer is lost three times waits for the next run
        time.sleep(0.01)
    proxy.rule = lambda method, path: "pass"
    tracker.finish([], failed=False)
    assert sum(swallowed) >= 4
    again = open_tracker(proxy.uri, study, tmp_path)
    again.catch_up({cell_id: cells.root / cell_id for cell_id in made})
    again.finish([], failed=False)
    assert again.failures == []
    assert_all_there(server, study, made, cells, find_runs)


def test_runs_that_were_not_found_at_first_are_not_made_twice(
    proxy: Proxy, server: str, study: str, made: dict[str, Any], cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    first = open_tracker(server, study, tmp_path)
    run_all(first, made, cells)
    first.finish([], failed=False)
    requests = itertools.count(1)
    proxy.rule = lambda method, path: "error" if next(requests) == 2 else "pass"  # the one that lists the runs
    tracker = open_tracker(proxy.uri, study, tmp_path)
    tracker.catch_up({cell_id: cells.root / cell_id for cell_id in made})
    while tracker.pending():
        time.sleep(0.01)
    tracker.finish([], failed=False)
    assert_all_there(server, study, made, cells, find_runs)


def test_a_run_that_the_server_makes_late_is_removed(
    proxy: Proxy,
    server: str,
    study: str,
    made: dict[str, Any],
    cells: Any,
    find_runs: Find,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request to create a run lies in a queue until long after its sender has given up and made another."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    late, creates = threading.Event(), []

    def hold_back(method: str, path: str) -> Fault:
        if path.endswith("runs/create"):
            creates.append(path)
            if len(creates) in (1, 4):  # the parent's, and a cell's
                late.wait(120)
        return "pass"

    proxy.rule = hold_back
    tracker = open_tracker(proxy.uri, study, tmp_path)
    run_all(tracker, made, cells)
    while tracker.uploaded < len(made):
        assert tracker.pending()
        time.sleep(0.01)
    late.set()
    while len(find_runs(server, "", study)) < len(made) + 3:
        time.sleep(0.05)
    tracker.finish([], failed=False)
    assert tracker.failures == []
    assert_all_there(server, study, made, cells, find_runs)


def drive(uri: str, study: str, root: str, way: str) -> None:
    """What a driver does for cells that lie there, and, where it is to work, for cells that report and end."""
    tracker = Tracker(uri, study, "why?", Path(root), {})
    cells = {folder.name: folder for folder in sorted(Path(root).iterdir())}
    tracker.catch_up(cells)
    for folder in cells.values() if way == "work" else ():
        tracker.report(Result.model_validate_json((folder / RESULT).read_bytes()).spec, folder)
        tracker.record(folder.name, folder)
    tracker.finish([], failed=False)


def kill_at(last: int, victim: BaseProcess, fault: Fault) -> Callable[[str, str], Fault]:
    """A rule under which a process dies at its request number ``last``, of which becomes what ``fault`` says."""
    requests = itertools.count(1)

    def rule(method: str, path: str) -> Fault:
        if next(requests) != last:
            return "pass"
        victim.kill()
        wait([victim.sentinel])
        return fault

    return rule


def test_a_killed_driver_leaves_nothing_that_the_next_cannot_complete(
    proxy: Proxy, server: str, study: str, made: dict[str, Any], cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    """Drivers die by SIGKILL at one request after another, before the server sees it and after; the last one lives."""

    def kill_drivers(way: str, moments: tuple[int, ...]) -> None:
        for number, last in enumerate(moments):
            victim = FORKS.Process(target=drive, args=(proxy.uri, study, str(cells.root), way), daemon=True)
            proxy.rule = kill_at(last, victim, "pass" if number % 2 else "refuse")
            victim.start()
            victim.join(200)
            assert victim.exitcode == -signal.SIGKILL

    def complete() -> None:
        tracker = open_tracker(server, study, tmp_path)
        tracker.catch_up({cell_id: cells.root / cell_id for cell_id in made})
        tracker.finish([], failed=False)
        assert tracker.failures == []
        assert_all_there(server, study, made, cells, find_runs)
        assert {run.info.status for run in find_runs(server, "", study)} == {"FINISHED"}

    # The first makes the experiment, its parent and a run; each later one finds what is there in two requests.
    kill_drivers("work", (3, 5, 8, 9, 12, 14, 17, 20))
    complete()
    for result in made.values():
        (cells.save(result.model_copy(update={"error": "scored anew"})) / "strip.png").write_bytes(b"drawn anew")
    kill_drivers("catch up", (8, 10, 11, 12))
    complete()
