"""Cache: entries are computed once, written atomically, bounded in size, and equal to recomputed ones."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from trainables.cache import Cache


def entry(number: int, size: int = 10) -> dict[str, np.ndarray]:
    return {"rows": np.full(size, float(number)), "shape": np.array([number, size])}


def never() -> dict[str, np.ndarray]:
    raise AssertionError("computed though it was there")


def test_an_entry_is_computed_once_for_what_it_depends_on(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = cache.arrays({"clips": [1, "a"], "code": "x"}, lambda: entry(1))
    again = Cache(tmp_path / "cache").arrays({"code": "x", "clips": [1, "a"]}, never)
    assert again.keys() == first.keys()
    for name in first:
        np.testing.assert_array_equal(again[name], first[name])
        assert again[name].dtype == first[name].dtype
    other = cache.arrays({"clips": [1, "a"], "code": "y"}, lambda: entry(2))
    assert other["rows"][0] == 2


def test_what_cannot_be_read_is_computed_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.arrays({"a": 1}, lambda: entry(1))
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert cache.arrays({"a": 1}, lambda: entry(1))["rows"][0] == 1
    assert cache.arrays({"a": 1}, never)["rows"][0] == 1


def test_the_bound_takes_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=3 * 10_000)
    for number in range(3):
        cache.arrays({"number": number}, lambda number=number: entry(number, 1000))
        for file in tmp_path.glob("*.npz"):  # the clocks of files are coarse: make the older ones older
            os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns - 10**9))
    cache.arrays({"number": 0}, never)
    cache.arrays({"number": 3}, lambda: entry(3, 1000))
    assert len(list(tmp_path.glob("*.npz"))) == 3
    cache.arrays({"number": 0}, never)
    assert cache.arrays({"number": 1}, lambda: entry(-1))["rows"][0] == -1, "the oldest one went"
    assert sum(file.stat().st_size for file in tmp_path.glob("*.npz")) <= cache.max_bytes


def test_an_entry_above_the_bound_is_handed_out_and_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=1000)
    assert len(cache.arrays({"a": 1}, lambda: entry(1, 5000))["rows"]) == 5000
    assert list(tmp_path.glob("*.npz")) == []


def test_what_a_killed_writer_left_goes_in_time(tmp_path: Path) -> None:
    fresh, old = tmp_path / ".a.npz.abcd1234", tmp_path / ".b.npz.abcd1234"
    for file in (fresh, old):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    Cache(tmp_path).arrays({"a": 1}, lambda: entry(1))
    assert fresh.exists()
    assert not old.exists()


def _slow_writer(folder: Path, began: "multiprocessing.Queue[int]", seconds: float) -> None:
    def compute() -> dict[str, np.ndarray]:
        began.put(os.getpid())
        time.sleep(seconds)
        return entry(7)

    assert Cache(folder).arrays({"shared": True}, compute)["rows"][0] == 7


@pytest.mark.timeout(60)
def test_of_several_workers_one_computes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    began: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_slow_writer, args=(tmp_path, began, 0.5)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    began.get(timeout=5)
    assert began.empty()


@pytest.mark.timeout(60)
def test_a_killed_worker_holds_nobody_up_and_leaves_no_half_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    began: multiprocessing.Queue[int] = context.Queue()
    worker = context.Process(target=_slow_writer, args=(tmp_path, began, 60.0))
    worker.start()
    os.kill(began.get(timeout=10), signal.SIGKILL)
    worker.join(10)
    assert list(tmp_path.glob("*.npz")) == []
    started = time.monotonic()
    assert Cache(tmp_path).arrays({"shared": True}, lambda: entry(7))["rows"][0] == 7
    assert time.monotonic() - started < 5
