"""A storage that cannot be written any more ends a run with one sentence, and loses nothing.

Writes fail for real: by a limit on the size of files, and by ``/dev/full``.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.plan import Plan, load
from sweeps.proof import proved
from sweeps.results.ledger import Ledger, study_folder
from sweeps.run import driver
from sweeps.run.lock import StudyLock
from sweeps.run.progress import Progress
from sweeps.run.queue import Exhausted, Queue
from sweeps.run.recorder import Recorder
from sweeps.run.tune import CellSearcher
from sweeps.tracking.tracker import Tracker
from tests.factories import TINY_STUDY, full_disk, make_result, make_scores, save_result, sweeps_here
from trainables.cell_files import ATTEMPTS
from trainables.provenance import code_hash
from trainables.trial_spec import RESULT

NOWHERE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
STUDY = (
    TINY_STUDY
    + """\
seeds: 2
protocol: {{clips: 2, frames: 3, steps: 2, guidance: 2.0, height: 32, width: 32}}
resources: {{max_concurrent: 1}}
ablations:
  - {{part: noise, action: REMOVE}}
"""
)


@pytest.fixture
def plan(write: Callable[[str], Path], tiny_base_folder: Path) -> Plan:
    return load(write(STUDY.format(base=tiny_base_folder)))


def finish_cells(plan: Plan, storage: Path) -> Ledger:
    """Leave the result of every cell, as workers do."""
    ledger = Ledger(study_folder(storage, plan.study.name))
    for number, cell in enumerate(plan.cells):
        scores = make_scores(plan.metrics, 1.0 + number)
        code = {"code_hash": code_hash(plan.study.system)}
        save_result(make_result(cell.spec, scores=scores, provenance=code), ledger.cell_folder(cell.id))
    return ledger


def temporary(storage: Path) -> list[str]:
    return [path.name for path in storage.rglob(".*") if path.is_file() and path.name != ".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("free", [0, 100, 1500])
def test_a_report_that_cannot_be_written_is_written_by_the_next_run(
    free: int, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    ledger = finish_cells(plan, tmp_path)
    with full_disk(free):
        assert driver.run(plan, tmp_path) == 1
    lines = capsys.readouterr().err.splitlines()
    (said,) = [line for line in lines if "cannot be written" in line]
    assert said.startswith("tiny: cannot be written (File too large: ")
    assert said.endswith("-> free space, or correct permissions; finished cells are kept, the same command resumes")
    assert temporary(tmp_path) == []
    assert driver.run(plan, tmp_path) == 0
    assert (ledger.folder / "report" / "report.html").stat().st_size > free
    assert len(ledger.records()) == len(plan.cells)


@pytest.mark.slow
def test_a_proof_that_cannot_be_written_is_no_fault_of_the_base(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    with full_disk(500):
        assert driver.run(plan, tmp_path) == 1
    said = capsys.readouterr().err
    assert f"tiny: cannot be written (File too large: {tmp_path / 'tiny' / 'proof.json'})" in said
    assert "cannot read" not in said


def test_a_report_elsewhere_is_refused(plan: Plan, write: Callable[[str], Path], tmp_path: Path) -> None:
    finish_cells(plan, tmp_path)
    study = tmp_path / "study.yaml"
    (tmp_path / "file").write_text("")
    for folder, reason in ((tmp_path / "file" / "report", "Not a directory"), (tmp_path / "file", "File exists")):
        refused = sweeps_here("report", study, "--storage", tmp_path, "--save", folder)
        assert refused.exit_code == 2
        assert f"--save {folder}: cannot be written ({reason}" in refused.stderr
    with full_disk(1000):
        refused = sweeps_here("report", study, "--storage", tmp_path, "--save", tmp_path / "report")
    assert refused.exit_code == 1
    assert f"report: cannot be written (File too large: {tmp_path / 'report'}/" in refused.stderr


def test_a_full_disk_stops_the_queue_and_is_said_once(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, queue = Ledger(tmp_path / "tiny"), Queue(plan, {})
    ledger.cells.mkdir(parents=True)
    tracker = Tracker(NOWHERE["MLFLOW_TRACKING_URI"], "tiny", "", tmp_path, {})
    with StudyLock(ledger.folder) as lock, Progress(4) as progress:
        recorder = Recorder(ledger, tracker, progress, lock)
        searcher = CellSearcher(queue, recorder, lambda cell: {"cell_id": cell.id})
        for cell in plan.cells[:3]:
            assert searcher.suggest(cell.id) == {"cell_id": cell.id}
            recorder.started(cell.id)
        ledger.index = Path("/dev/full")
        for cell in plan.cells[:2]:
            save_result(make_result(cell.spec, scores=make_scores(plan.metrics, 1.0)), ledger.cell_folder(cell.id))
            searcher.on_trial_complete(cell.id, {"status": "done", "error": ""})
            assert searcher.suggest("another") == "FINISHED"
        error = "OSError: [Errno 28] No space left on device: 'result.json'"
        searcher.on_trial_complete(plan.cells[2].id, {"status": "failed", "failure": "disk full", "error": error})
        with pytest.raises(Exhausted):
            queue.next()
    assert capsys.readouterr().err.count("cannot be written (No space left on device) -> free space") == 1
    assert len(Ledger(tmp_path / "tiny").records()) == 2, "the results themselves were written"


def test_a_report_of_progress_that_cannot_be_written_ends_no_cell(tmp_path: Path) -> None:
    with StudyLock(tmp_path / "tiny") as lock:
        with full_disk(10):
            lock.update(force=True, ended=3)
        lock.update(force=True, ended=4)
        assert json.loads((tmp_path / "tiny" / "driver.json").read_text())["ended"] == 4


@pytest.mark.slow
@pytest.mark.xdist_group("disk")
@pytest.mark.timeout(300)
def test_a_worker_without_space_ends_the_run_and_the_next_run_resumes(
    cluster: None, plan: Plan, tmp_path: Path
) -> None:
    study, storage = tmp_path / "study.yaml", tmp_path / "runs"
    ledger = Ledger(study_folder(storage, "tiny"))
    proved(plan, ledger.folder)
    blocked = ledger.cell_folder(plan.cells[1].id)
    blocked.mkdir(parents=True)
    (blocked / ATTEMPTS).symlink_to("/dev/full")
    ended = sweeps_here("run", study, "--storage", storage, **NOWHERE)
    assert ended.exit_code == 1
    assert ended.stderr.count("cannot be written") == 1
    assert "No space left on device" in ended.stderr
    assert "the same command resumes" in ended.stderr
    assert "Traceback" not in ended.stderr
    finished = ledger.cell_folder(plan.cells[0].id) / RESULT
    before = finished.stat().st_mtime_ns
    assert not any(ledger.cell_folder(cell.id).exists() for cell in plan.cells[2:])
    (blocked / ATTEMPTS).unlink()
    resumed = sweeps_here("run", study, "--storage", storage, **NOWHERE)
    assert resumed.exit_code == 0, resumed.stderr
    assert finished.stat().st_mtime_ns == before
    assert {record.status for record in ledger.records().values()} == {"done"}
