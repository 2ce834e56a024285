"""Processes are killed at random moments; the same command resumes, and ends where the undisturbed run ends.

What is killed is a process of its own, with a Ray of its own. The run that goes on has the Ray of this process: it is
the same command, and starts sooner.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from mlflow import MlflowClient

from tests.factories import ROOT, TINY_STUDY, Invoked, prove_here, sweeps, sweeps_here
from trainables.trial_spec import RESULT

KILLS_IN_A_ROUND = 7
STUDY = (
    TINY_STUDY
    + """\
seeds: 2
protocol: {{clips: 2, frames: 3, steps: 10, guidance: 2.0, height: 32, width: 32}}
ablations:
  - {{part: attention, action: REMOVE}}
  - {{part: noise, action: REMOVE}}
search:
  space: {{attention.mu: {{uniform: [0, 1]}}}}
  trials_per_arm: 2
  confirm: {{top: 1, fresh_seeds: 2}}
  repeats: 1
"""
)
TRAINED = """
ablations:
  - {part: text_decomposer, action: REMOVE}
resources: {workers: 2, zero: {stage: 2}, report_every: 5, checkpoint_every: 10}
"""
PROCESSES = {"worker": "ray::CellTrial", "rank": "ray::RayTrainWork"}
"""How Ray names the process of a trial, and that of a rank of its worker group (as much as the kernel keeps)."""
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray Train warns of old settings


def goes_on(study: Path, storage: Path) -> tuple[Invoked, float]:
    """Run to the end in this process; what was said, and the seconds it took."""
    began = time.monotonic()
    done = sweeps_here("run", study, "--storage", storage)
    return done, time.monotonic() - began


def workers(driver: psutil.Process, kind: str = "worker") -> list[psutil.Process]:
    try:
        return [child for child in driver.children(recursive=True) if child.name().startswith(PROCESSES[kind][:15])]
    except psutil.NoSuchProcess:
        return []


def await_workers(driver: psutil.Process, kind: str, seconds: float = 120) -> list[psutil.Process]:
    """The processes of a kind as soon as there are any; none where the driver ended before."""
    end = time.monotonic() + seconds
    while driver.is_running() and time.monotonic() < end:
        if found := workers(driver, kind):
            return found
        with contextlib.suppress(psutil.TimeoutExpired):
            driver.wait(0.1)
    return []


def begin(study: Path, storage: Path) -> psutil.Process:
    # A file, since a full pipe that nobody reads would stop the driver.
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "sweeps", "run", str(study), "--storage", str(storage)]
    with (storage.parent / f"{storage.name}.log").open("ab") as log:
        return psutil.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


@pytest.fixture
def wanted(request: pytest.FixtureRequest) -> int:
    """How often processes are to be killed."""
    return int(request.config.getoption("--kills"))


def kill(driver: psutil.Process, how: str, rng: random.Random, seconds: float) -> Counter[str]:
    """Kill a driver, or first its workers and then it; what was killed, which is nothing if it ended before.

    Args:
        driver: A study's run that has just begun.
        how: ``driver``, ``interrupt`` (Ctrl-C), or ``worker``.
        rng: Of the moments.
        seconds: How long an undisturbed run takes.
    """
    kills: Counter[str] = Counter()
    if how == "worker":
        await_workers(driver, "worker")
        time.sleep(rng.uniform(0, 2))
        for worker in workers(driver):
            worker.send_signal(signal.SIGKILL)
            kills["worker"] = 1
    with contextlib.suppress(psutil.TimeoutExpired):
        driver.wait(rng.uniform(0.3, 4.0 if kills else 0.7 * seconds))
        return kills
    return kills + end(driver, how)


def attempts(storage: Path) -> int:
    """How often a worker has begun a cell."""
    return sum(len(path.read_text().splitlines()) for path in storage.glob("tiny/cells/*/attempts.jsonl"))


def kill_within(driver: psutil.Process, storage: Path, rng: random.Random, seconds: float) -> Counter[str]:
    """Kill a rank and a trial of a trained study, in either order, and then its driver.

    Args:
        driver: A study's run that has just begun.
        storage: Where it runs.
        rng: Of the moments; the first kill hits a cell at work.
        seconds: How long after the start of a rank it is killed at most.
    """
    kills: Counter[str] = Counter()
    begun = attempts(storage)
    for kind in [*rng.sample(["rank", "worker"], k=2), "driver"]:
        if not await_workers(driver, "rank"):
            return kills  # it came to its end first
        while not kills and attempts(storage) == begun:
            with contextlib.suppress(psutil.TimeoutExpired):
                driver.wait(0.1)
                return kills
        time.sleep(rng.uniform(0, seconds if kills else 3))
        if kind == "driver":
            return kills + end(driver, kind)
        for process in workers(driver, kind)[:1]:
            process.send_signal(signal.SIGKILL)
            kills[kind] += 1
        time.sleep(2)  # what was killed is gone, and what comes in its place is not there yet
    return kills


def end(driver: psutil.Process, how: str) -> Counter[str]:
    """Kill or interrupt a driver, and see that its workers go with it."""
    family = driver.children(recursive=True)
    at_work = workers(driver) + workers(driver, "rank")
    driver.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGKILL)
    driver.wait(60)
    _, alive = psutil.wait_procs(at_work, timeout=30)
    assert alive == [], "a worker outlives its driver"
    for process in family:  # Ray's agents look for their raylet only now and then
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return Counter({how if how == "interrupt" else "driver": 1})


def stamps(storage: Path) -> dict[str, int]:
    """Finished cells and when they were."""
    return {path.parent.name: path.stat().st_mtime_ns for path in storage.glob(f"tiny/cells/*/{RESULT}")}


def table(study: Path, storage: Path) -> dict[str, Any]:
    done = sweeps_here("report", study, "--storage", storage, "--format", "json")
    return {arm["id"]: arm["metrics"] for arm in json.loads(done.stdout)["arms"]}


def look(study: Path, storage: Path) -> dict[str, Any]:
    """What ``status`` says of a study that another process runs."""
    done = sweeps_here("status", study, "--storage", storage, "--json")
    return cast(dict[str, Any], json.loads(done.stdout))


def assert_same(left: Any, right: Any) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=1e-4, abs=1e-9)
    else:
        assert left == right


def assert_one_run_per_cell(storage: Path) -> None:
    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    cells = Counter(run.data.tags["cell_id"] for run in runs if run.data.tags["role"] != "study")
    assert set(cells.values()) == {1}
    assert set(cells) == set(stamps(storage))
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sum(run.data.tags["role"] == "study" for run in runs) == 1
    for run in runs:
        if run.data.tags["role"] != "study":
            result = json.loads((storage / "tiny" / "cells" / run.data.tags["cell_id"] / RESULT).read_text())
            for key, score in result["scores"].items():
                assert run.data.metrics[key] == pytest.approx(score["value"])


@dataclass(frozen=True)
class Undisturbed:
    """A study that ran to its end: how long it took and what its table says. No test may change it."""

    study: Path
    storage: Path
    seconds: float
    table: dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    study, storage = folder / "study.yaml", folder / "runs"
    study.write_text(STUDY.format(base=tiny_base_folder))
    prove_here(study, storage)
    began = time.monotonic()
    done = sweeps("run", study, "--storage", storage)
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert_one_run_per_cell(storage)
    return Undisturbed(study, storage, seconds, table(study, storage))


@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(1500)
def test_killed_at_random_moments_the_table_is_the_same(
    cluster_with_dashboard: None, undisturbed: Undisturbed, tmp_path: Path, wanted: int
) -> None:
    study = undisturbed.study

    rng = random.Random(20261121)
    kills: Counter[str] = Counter()
    rounds = 0
    while kills.total() < wanted:
        storage = tmp_path / f"round{rounds}"
        rounds += 1
        prove_here(study, storage)
        for _ in range(min(KILLS_IN_A_ROUND, wanted - kills.total())):
            before = stamps(storage)
            how = rng.choice(["driver", "driver", "worker", "interrupt"])
            killed = kill(begin(study, storage), how, rng, undisturbed.seconds)
            assert before.items() <= stamps(storage).items(), "a finished cell was done again"
            kills += killed
            if not killed:
                break  # it came to its end first: nothing is left to kill
        done, _ = goes_on(study, storage)
        assert done.exit_code == 0, done.stderr
        assert_same(table(study, storage), undisturbed.table)
        assert_one_run_per_cell(storage)
    print(f"{kills.total()} kills in {rounds} rounds: {dict(kills)}")


@pytest.mark.timeout(1500)
def test_a_training_killed_at_random_moments_ends_in_the_same_table(
    cluster_with_dashboard: None, tiny_training: Callable[[int], str], tmp_path: Path, wanted: int
) -> None:
    study, undisturbed, storage = tmp_path / "study.yaml", tmp_path / "undisturbed", tmp_path / "killed"
    study.write_text(tiny_training(40) + TRAINED)
    done, seconds = goes_on(study, undisturbed)
    assert done.exit_code == 0, done.stderr
    expected = table(study, undisturbed)

    rng = random.Random(20261125)
    kills: Counter[str] = Counter()
    rounds = begun = cells = 0
    while kills.total() < wanted or kills.keys() != {"rank", "worker", "driver"}:
        storage = tmp_path / f"round{rounds}"
        rounds += 1
        prove_here(study, storage)
        for _ in range(KILLS_IN_A_ROUND):
            before = stamps(storage)
            driver = begin(study, storage)
            kills += kill_within(driver, storage, rng, min(15, seconds / 4))
            assert driver.wait(600) in (0, -signal.SIGKILL), "a killed rank or trial is an accident, no failure"
            assert before.items() <= stamps(storage).items(), "a finished cell was done again"
            if len(stamps(storage)) == 2 or kills.total() >= wanted:
                break
        done, _ = goes_on(study, storage)
        assert done.exit_code == 0, done.stderr
        assert_same(table(study, storage), expected)
        assert_one_run_per_cell(storage)
        assert not list(storage.glob("tiny/cells/*/checkpoints/*")), "a cell that ended keeps no checkpoint"
        begun += attempts(storage)
        cells += len(stamps(storage))
    print(f"{kills.total()} kills in {rounds} rounds: {dict(kills)}")
    assert begun > cells, "no kill hit a cell at work"


@pytest.mark.timeout(300)
def test_two_drivers_and_a_look_from_outside(tiny_base_folder: Path, tmp_path: Path) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    study.write_text(STUDY.format(base=tiny_base_folder).replace("seeds: 2", "seeds: 100"))  # does not end of itself
    prove_here(study, storage)
    first = begin(study, storage)
    try:
        driver = storage / "tiny" / "driver.json"
        while not (driver.exists() and json.loads(driver.read_text())["running"]):
            assert first.is_running()
            time.sleep(0.1)
        second, _ = goes_on(study, storage)
        assert second.exit_code == 2
        assert f"process {first.pid}" in second.stderr
        status = look(study, storage)
        while "running" not in status["counts"]:  # between two cells nothing runs for a moment
            assert first.is_running()
            status = look(study, storage)
        assert status["driver"]["pid"] == first.pid
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == 130
    finally:
        if first.is_running():
            first.kill()
            first.wait(30)
    assert "run the same command to resume" in (tmp_path / "runs.log").read_text()
    assert not driver.exists()


@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(600)
def test_what_a_dead_run_left_behind_is_put_in_order_and_said(
    cluster_with_dashboard: None, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    study, storage = undisturbed.study, tmp_path / "runs"
    shutil.copytree(undisturbed.storage, storage)
    folder = storage / "tiny"
    half, corrupt, *_ = sorted(folder.glob(f"cells/*/{RESULT}"))
    half.write_text(half.read_text()[:200])
    corrupt.unlink()
    (corrupt.parent / "clips.npz").write_bytes(b"PK\x03\x04 half an archive")
    (half.parent / ".clips.npz.abcd1234").write_bytes(b"")
    index = folder / "ledger.jsonl"
    index.write_text(index.read_text()[:-100])
    again, _ = goes_on(study, storage)
    assert again.exit_code == 0, again.stderr
    assert "removed 1 temporary files of an interrupted run" in again.stderr
    assert f"{half} cannot be read" in again.stderr
    assert "ledger.jsonl had 1 unreadable lines" in again.stderr
    assert_same(table(study, storage), undisturbed.table)
    assert_one_run_per_cell(storage)
    quiet, _ = goes_on(study, storage)
    assert "temporary files" not in quiet.stderr
