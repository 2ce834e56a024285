import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.results.driver import DRIVER, read_driver
from sweeps.run.lock import Locked, StudyLock

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from pathlib import Path
from sweeps.run.lock import StudyLock
with StudyLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_driver_is_refused_and_told_of_the_first(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Locked, match=rf"process {holder.pid} on {socket.gethostname()}"), StudyLock(tmp_path):
        pass
    driver = read_driver(tmp_path)
    assert driver is not None
    assert driver.pid == holder.pid, "the refused one left the holder's word alone"
    assert driver.alive


def test_a_killed_drivers_lock_does_not_block(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    left = read_driver(tmp_path)
    assert left is not None
    assert left.alive is False
    with StudyLock(tmp_path) as lock:
        assert lock.driver.pid == os.getpid()
    assert read_driver(tmp_path) is None


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="halfway"), StudyLock(tmp_path):
        raise RuntimeError("halfway")
    with StudyLock(tmp_path):
        pass


def test_progress_is_written_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with StudyLock(tmp_path) as lock:
        for ended in range(50):
            lock.update(ended=ended, total=50)
        first = read_driver(tmp_path)
        now += 1.5
        lock.update(running=({"cell_id": "a", "arm": "control", "seed": 0, "since": "now"},))
        second = read_driver(tmp_path)
    assert first is not None
    assert second is not None
    assert (first.ended, second.ended, second.total) == (0, 49, 50)
    assert second.running[0]["arm"] == "control"


def test_progress_that_was_held_back_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with StudyLock(tmp_path) as lock:
        lock.update(ended=1)
        lock.update(ended=2)
        lock.tick()
        early = read_driver(tmp_path)
        now += 1.5
        lock.tick()
        late = read_driver(tmp_path)
    assert early is not None
    assert late is not None
    assert (early.ended, late.ended) == (1, 2)


def test_a_driver_elsewhere_cannot_be_seen_from_here(tmp_path: Path) -> None:
    with StudyLock(tmp_path):
        written = json.loads((tmp_path / DRIVER).read_text())
    (tmp_path / DRIVER).write_text(json.dumps(written | {"host": "another.example"}))
    driver = read_driver(tmp_path)
    assert driver is not None
    assert driver.alive is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}'])
def test_a_word_that_is_cut_is_no_word(tmp_path: Path, text: str) -> None:
    (tmp_path / DRIVER).write_text(text)
    assert read_driver(tmp_path) is None
