import json
import os
from pathlib import Path

import pytest

from sweeps.ledger import Ledger
from trainables.trial_spec import RESULT, Result, Score, TrialSpec


def make_result(seed: int, status: str = "done") -> Result:
    spec = TrialSpec.model_validate(
        {
            "study": "s",
            "arm": "control",
            "role": "control",
            "system": "zs2",
            "tree": {},
            "base": "shapes",
            "data": {"layout": "shapes"},
            "protocol": {},
            "seed": seed,
            "metrics": ["motion_magnitude"],
        }
    )
    score = Score(value=float(seed), direction="max", surrogate=False, parameters={"frames": 8})
    return Result.model_validate(
        {
            "cell_id": spec.cell_id,
            "spec": spec,
            "status": status,
            "error": "" if status == "done" else "NaN",
            "scores": {"motion_magnitude/farneback": score},
            "finished": "now",
            "provenance": {"code_hash": "c0de"},
        }
    )


def put(ledger: Ledger, result: Result) -> None:
    folder = ledger.cell_folder(result.cell_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(result.model_dump_json())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path)
    results = [make_result(seed) for seed in range(4)]
    for result in results:
        put(ledger, result)
    ledger.append(results[:2])
    ledger.append(results[2:])
    return ledger


def test_nothing_there_is_nothing_done(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none").records() == {}


def test_records_by_cell(ledger: Ledger) -> None:
    records = ledger.records()
    assert sorted(record.seed for record in records.values()) == [0, 1, 2, 3]
    record = records[make_result(3).cell_id]
    assert record.scores == {"motion_magnitude/farneback": 3.0}
    assert record.code_hash == "c0de"


def test_a_current_index_is_not_opened_twice(ledger: Ledger) -> None:
    path = ledger.cell_folder(make_result(0).cell_id) / RESULT
    stamp = path.stat().st_mtime_ns
    path.write_text("not a result")
    os.utime(path, ns=(stamp, stamp))
    assert len(ledger.records()) == 4


@pytest.mark.parametrize("damage", ["lost", "cut", "noise", "stale"])
def test_the_index_can_be_lost_cut_or_stale(ledger: Ledger, damage: str) -> None:
    before = ledger.records()
    text = ledger.index.read_text()
    if damage == "lost":
        ledger.index.unlink()
    elif damage == "cut":
        ledger.index.write_text(text[: len(text) // 2])
    elif damage == "noise":
        ledger.index.write_bytes(b"\xff\xfe{}\n[]\nnull\n" + text.encode())
    else:
        for line in text.splitlines():
            path = ledger.cell_folder(json.loads(line)["record"]["cell_id"]) / RESULT
            os.utime(path, ns=(1, 1))
    assert Ledger(ledger.folder).records() == before


def test_a_line_cut_by_a_dead_driver_does_not_swallow_the_next(ledger: Ledger) -> None:
    ledger.index.write_text(ledger.index.read_text() + '{"stamp": 12, "rec')
    more = make_result(9)
    put(ledger, more)
    ledger.append([more])
    last = ledger.index.read_text().splitlines()[-1]
    assert json.loads(last)["record"]["cell_id"] == more.cell_id
    assert len(ledger.records()) == 5


def test_half_a_result_and_leftovers_are_no_result(ledger: Ledger) -> None:
    folder = ledger.cell_folder("0123456789abcdef")
    folder.mkdir()
    (folder / RESULT).write_text('{"cell_id": "0123')
    (ledger.cells / "empty").mkdir()
    (ledger.cells / "empty" / ".result.json.tmp").write_text("{}")
    assert len(ledger.records()) == 4
    assert ledger.result("0123456789abcdef") is None
