import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables import spool as module
from trainables.spool import SPOOL, Point, Spool, Uploads

if TYPE_CHECKING:
    from trainables.trial_spec import TrialSpec


def test_points_come_back_as_they_were_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "cell")
    assert list(spool.points()) == []
    spool.append(0, {"loss": 1.5, "lr": 1e-3}, time_ms=17)
    spool.append(10, {"loss": 1})
    first, second = spool.points()
    assert first == Point(0, 0, 17, {"loss": 1.5, "lr": 1e-3})
    assert (second.line, second.step, second.metrics) == (1, 10, {"loss": 1.0})
    assert abs(second.time - time.time() * 1000) < 60_000
    assert list(spool.points(start=1)) == [second]
    assert list(spool.points(start=2)) == []


def test_values_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    Spool(tmp_path).append(3, {"nan": math.nan, "inf": math.inf, "down": -math.inf})
    (point,) = Spool(tmp_path).points()
    assert math.isnan(point.metrics["nan"])
    assert (point.metrics["inf"], point.metrics["down"]) == (math.inf, -math.inf)


@given(cuts=st.lists(st.integers(0, 60), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_killed_writer_costs_its_own_line_at_most(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    """After each point the writer is killed within the next line, of which ``cut`` bytes were written."""
    folder = tmp_path_factory.mktemp("cell")
    written = []
    for step, cut in enumerate(cuts):
        Spool(folder).append(step, {"loss": float(step)}, time_ms=step)
        written.append(step)
        with (folder / SPOOL).open("ab") as file:
            file.write(json.dumps({"step": -1, "time": 0, "metrics": {"loss": 0.0}}).encode()[:cut])
    Spool(folder).append(len(cuts), {"loss": 0.0}, time_ms=0)
    points = list(Spool(folder).points())
    # A line whole but for its newline is a point: nothing of it was lost.
    assert [point.step for point in points if point.step >= 0] == [*written, len(cuts)]
    for start in range(len(points)):
        assert list(Spool(folder).points(points[start].line)) == points[start:]


def test_a_cut_line_is_no_point_yet(tmp_path: Path) -> None:
    Spool(tmp_path).append(0, {"loss": 1.0})
    with (tmp_path / SPOOL).open("ab") as file:
        file.write(b'{"step": 1, "time": 0, "metrics": {"loss": 2.0}}')
    assert [point.step for point in Spool(tmp_path).points()] == [0]


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"step": 1}', b'{"step":1,"time":0,"metrics":{"a":"b"}}', b"\xff\xfe"]
)
def test_what_is_no_point_is_passed_over(tmp_path: Path, line: bytes) -> None:
    (tmp_path / SPOOL).write_bytes(line + b"\n")
    Spool(tmp_path).append(7, {"loss": 1.0})
    assert [(point.line, point.step) for point in Spool(tmp_path).points()] == [(1, 7)]


class Shelf:
    """A destination in memory that fails when it is told to."""

    def __init__(self) -> None:
        self.progress = time.monotonic()
        self.fault: Callable[[str, str], Exception | None] = lambda call, cell_id: None
        self.calls: list[tuple[str, str, float]] = []
        self.holds: set[str] = set()
        self.closed: tuple[list[Path], bool] | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def _call(self, call: str, cell_id: str = "") -> None:
        self.calls.append((call, cell_id, time.monotonic()))
        if (error := self.fault(call, cell_id)) is not None:
            raise error
        self.go_on.wait(30)
        self.progress = time.monotonic()

    def open(self) -> None:
        self._call("open")

    def hold(self, cell_id: str, folder: Path) -> bool:
        return cell_id in self.holds

    def record(self, cell_id: str, folder: Path) -> bool:
        self._call("record", cell_id)
        self.holds.add(cell_id)
        return True

    def report(self, spec: "TrialSpec", folder: Path) -> None:
        self._call("report", spec.cell_id)

    def doubt(self, cell_id: str) -> None:
        self.calls.append(("doubt", cell_id, time.monotonic()))

    def refuses(self, error: Exception) -> bool:
        return isinstance(error, ValueError)

    def close(self, files: Any, failed: bool) -> None:
        self._call("close")
        self.closed = (list(files), failed)

    def recorded(self) -> list[str]:
        return [cell_id for call, cell_id, _ in self.calls if call == "record"]


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def test_uploads_go_in_order_and_the_study_is_closed_last(tmp_path: Path) -> None:
    shelf = Shelf()
    uploads = Uploads(shelf, "a shelf")
    for name in "cab":
        uploads.record(name, tmp_path)
    uploads.finish([tmp_path / "study.yaml"], failed=True)
    assert shelf.recorded() == ["c", "a", "b"]
    assert shelf.closed == ([tmp_path / "study.yaml"], True)
    assert (uploads.pending(), uploads.uploaded, uploads.failures) == (0, 3, [])


def test_only_what_is_not_there_is_caught_up_with(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.holds = {"b"}
    shelf.go_on.clear()
    uploads = Uploads(shelf, "a shelf")
    uploads.catch_up(dict.fromkeys("abc", tmp_path))
    assert uploads.pending() == 3
    shelf.go_on.set()
    uploads.finish([], failed=False)
    assert shelf.recorded() == ["a", "c"]
    assert uploads.uploaded == 2


def test_reports_that_wait_become_one_and_a_result_takes_their_place(tmp_path: Path, cells: Any) -> None:
    shelf, one, other = Shelf(), cells.spec(0), cells.spec(1)
    shelf.go_on.clear()
    uploads = Uploads(shelf, "a shelf")
    for _ in range(5):
        uploads.report(one, tmp_path)
        uploads.report(other, tmp_path)
    uploads.record(other.cell_id, tmp_path)
    uploads.report(other, tmp_path)
    assert uploads.pending() == 2
    shelf.go_on.set()
    uploads.finish([], failed=False)
    done = [(call, cell_id) for call, cell_id, _ in shelf.calls if call in ("report", "record")]
    assert done == [("report", one.cell_id), ("record", other.cell_id)]


def test_a_refused_upload_is_dropped_and_each_reason_said_once(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.fault = lambda call, cell_id: (
        ValueError(f"no metric: cell {int(cell_id):020x}") if call == "record" and int(cell_id) % 2 else None
    )
    uploads = Uploads(shelf, "a shelf")
    for number in range(7):
        uploads.record(str(number), tmp_path)
    uploads.finish([], failed=False)
    assert uploads.failures == ["3 cells: no metric: cell ..."]
    assert shelf.recorded() == [*"0123456", *"135"]
    assert (uploads.uploaded, uploads.pending()) == (4, 0)


def test_an_upload_that_fails_again_and_again_is_given_up_after_the_others(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.fault = lambda call, cell_id: OSError("disk full") if cell_id == "bad" and call == "record" else None
    uploads = Uploads(shelf, "a shelf")
    uploads.record("bad", tmp_path)
    uploads.record("good", tmp_path)
    wait_until(lambda: bool(uploads.failures))
    uploads.finish([], failed=False)
    assert shelf.recorded() == ["bad", "good", "bad", "bad"]
    assert uploads.failures == ["1 cell: disk full"]
    assert [call for call, *_ in shelf.calls].count("doubt") == 3


@pytest.mark.slow
def test_a_pause_after_three_failures_grows_and_a_success_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.3)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.7)
    shelf = Shelf()
    shelf.fault = lambda call, cell_id: ConnectionError("refused") if call == "open" else None
    uploads = Uploads(shelf, "a shelf")
    uploads.record("a", tmp_path)
    wait_until(lambda: len(shelf.calls) >= 6)
    assert uploads.failures == ["1 cell: a shelf does not answer (refused)"]
    assert uploads.pending() == 1
    times = [at for *_, at in shelf.calls]
    waits = [later - sooner for sooner, later in zip(times, times[1:], strict=False)]
    assert [waits[2] >= 0.3, waits[3] >= 0.6, waits[4] >= 0.7] == [True] * 3
    assert sum(waits) < 3
    shelf.fault = lambda call, cell_id: None
    wait_until(lambda: uploads.uploaded == 1)
    assert uploads.failures == []
    uploads.finish([], failed=False)


def test_what_failed_before_a_silence_is_not_held_against_an_upload(tmp_path: Path) -> None:
    """Each attempt fails as the tracker falls silent for a moment, more often than an upload may fail by itself."""
    shelf, falls = Shelf(), iter(range(2 * module.ATTEMPTS))

    def fall(call: str, cell_id: str) -> Exception | None:
        silent = call == "open" and shelf.calls[-2:-1] and shelf.calls[-2][0] == "doubt"
        return ConnectionError("gone") if silent or (call == "record" and next(falls, None) is not None) else None

    shelf.fault = fall
    uploads = Uploads(shelf, "a shelf")
    uploads._pause = lambda: None  # type: ignore[method-assign]
    uploads.record("a", tmp_path)
    wait_until(lambda: uploads.uploaded == 1)
    assert uploads.failures == []


def test_a_silent_tracker_is_asked_once_more_at_the_end(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.fault = lambda call, cell_id: ConnectionError("refused")
    uploads = Uploads(shelf, "a shelf")
    for number in range(100):
        uploads.record(str(number), tmp_path)
    wait_until(lambda: len(shelf.calls) == 4)
    started = time.monotonic()
    uploads.finish([], failed=False)
    assert time.monotonic() - started < 1.5
    assert len(shelf.calls) == 5
    assert uploads.failures == ["100 cells: a shelf does not answer (refused)"]
    assert shelf.closed is None


def test_the_end_gives_up_where_all_fails_and_says_so(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.fault = lambda call, cell_id: OSError("no space") if call == "record" else None
    shelf.go_on.clear()
    uploads = Uploads(shelf, "a shelf")
    for number in range(100):
        uploads.record(str(number), tmp_path)
    wait_until(lambda: bool(shelf.calls))
    threading.Timer(0.2, shelf.go_on.set).start()
    uploads.finish([], failed=False)
    assert len(shelf.recorded()) == 3
    assert uploads.failures == ["100 cells: no space"]


@pytest.mark.slow
def test_the_end_does_not_wait_for_a_tracker_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL", 1.5)
    shelf = Shelf()
    shelf.go_on.clear()
    uploads = Uploads(shelf, "a shelf")
    uploads.record("a", tmp_path)
    shown: list[int] = []
    started = time.monotonic()
    uploads.finish([], failed=False, show=shown.append)
    assert 1.4 < time.monotonic() - started < 10
    assert set(shown) == {1}
    assert uploads.failures == ["1 cell: a shelf accepted nothing for 2 s"]
    shelf.go_on.set()


@pytest.mark.slow
def test_the_end_shows_what_is_left_once_a_second(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.fault = lambda call, cell_id: time.sleep(0.4) if call == "record" else None
    uploads = Uploads(shelf, "a shelf")
    for number in range(8):
        uploads.record(str(number), tmp_path)
    shown: list[int] = []
    uploads.finish([], failed=False, show=shown.append)
    assert shown
    assert shown == sorted(shown, reverse=True)
    assert len(shown) <= 5
    assert shelf.closed is not None


def test_points_go_to_disk_fast_while_the_tracker_is_dead(tmp_path: Path, cells: Any) -> None:
    shelf, spec = Shelf(), cells.spec()
    shelf.fault = lambda call, cell_id: ConnectionError("refused")
    uploads = Uploads(shelf, "a shelf")
    spool, metrics = Spool(tmp_path), {f"loss/{name}": 0.5 for name in range(5)}
    started = time.perf_counter()
    for step in range(2000):
        spool.append(step, metrics)
        uploads.report(spec, tmp_path)
    rate = 2000 / (time.perf_counter() - started)
    print(f"{rate:,.0f} points a second, spooled and reported")
    assert rate > 500
    assert sum(1 for _ in spool.points()) == 2000
