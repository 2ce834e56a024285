import json
import os
from pathlib import Path

import pytest

from sweeps.results.ledger import UNREADABLE, Ledger
from sweeps.results.record import Record
from tests.factories import make_result, make_spec, save_result
from trainables.trial_spec import RESULT, Result, Score


def result_of(seed: int, status: str = "done") -> Result:
    score = Score(value=float(seed), direction="max", surrogate=False, parameters={"frames": 8})
    return make_result(
        make_spec(seed=seed),
        status=status,
        error="" if status == "done" else "NaN",
        scores={"motion_magnitude/farneback": score},
        finished="now",
        provenance={"code_hash": "c0de"},
    )


def put(ledger: Ledger, result: Result) -> None:
    save_result(result, ledger.cell_folder(result.cell_id))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path)
    results = [result_of(seed) for seed in range(4)]
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
    record = records[result_of(3).cell_id]
    assert record.scores == {"motion_magnitude/farneback": 3.0}
    assert record.code_hash == "c0de"


def test_a_current_index_is_not_opened_twice(ledger: Ledger) -> None:
    path = ledger.cell_folder(result_of(0).cell_id) / RESULT
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


def test_an_index_that_is_cut_or_behind_is_written_anew(ledger: Ledger) -> None:
    before = ledger.records()
    for damage, said in (
        ("cut", "had 1 unreadable lines"),
        ("lost", "was out of date"),
        ("stranger", "was out of date"),
    ):
        text = ledger.index.read_text()
        if damage == "cut":
            ledger.index.write_text(text[:-40])
        elif damage == "lost":
            ledger.index.unlink()
        else:
            gone = result_of(7)
            put(ledger, gone)
            ledger.append([gone])
            (ledger.cell_folder(gone.cell_id) / RESULT).unlink()
        (sentence,) = ledger.recover()
        assert said in sentence
        assert ledger.records() == before
        assert len(ledger.index.read_text().splitlines()) == 4
        assert ledger.recover() == []


def test_recovery_is_thorough_and_loses_nothing(ledger: Ledger) -> None:
    before = ledger.records()
    half = ledger.cell_folder("0123456789abcdef")
    half.mkdir()
    (half / RESULT).write_text('{"cell_id": "0123')
    (half / ".result.json.a1b2c3d4").write_text("{}")
    (half / "clips.npz").write_bytes(b"kept")
    (ledger.folder / ".ledger.jsonl.zzzzzzzz").write_text("half a line")
    (ledger.folder / ".lock").write_text("")
    (ledger.folder / "notes.txt").write_text("a person's")
    said = " / ".join(ledger.recover())
    assert "removed 2 temporary files of an interrupted run" in said
    assert "the cell is rerun" in said
    assert ledger.records() == before
    assert sorted(path.name for path in half.iterdir()) == ["clips.npz", UNREADABLE]
    assert (half / UNREADABLE).read_text() == '{"cell_id": "0123'
    assert (ledger.folder / ".lock").exists()
    assert (ledger.folder / "notes.txt").exists()
    assert ledger.recover() == []


def test_a_sound_folder_is_left_as_it_is(ledger: Ledger) -> None:
    before = {path: path.stat().st_mtime_ns for path in ledger.folder.rglob("*")}
    assert ledger.recover() == []
    assert {path: path.stat().st_mtime_ns for path in ledger.folder.rglob("*")} == before


def test_half_a_result_and_leftovers_are_no_result(ledger: Ledger) -> None:
    folder = ledger.cell_folder("0123456789abcdef")
    folder.mkdir()
    (folder / RESULT).write_text('{"cell_id": "0123')
    (ledger.cells / "empty").mkdir()
    (ledger.cells / "empty" / ".result.json.tmp").write_text("{}")
    assert len(ledger.records()) == 4
    assert ledger.result("0123456789abcdef") is None


def test_scores_compare_where_extractor_and_numbers_agree_whatever_the_libraries() -> None:
    def record(**parameters: object) -> Record:
        result = result_of(0)
        score = result.scores["motion_magnitude/farneback"].model_copy(update={"parameters": parameters})
        return Record.of(result.model_copy(update={"scores": {"motion_magnitude/farneback": score}}))

    first = record(n_fake=8, frames=8, libraries={"torch": "2.13"})
    assert first.settings == record(n_fake=8, frames=8, libraries={"torch": "2.14"}).settings
    assert first.settings == record(n_fake=8, frames=8, libraries={"torch": "2.13"}, chance=0.2).settings
    assert first.settings != record(n_fake=9, frames=8, libraries={"torch": "2.13"}).settings
    assert first.settings != record(n_fake=8, frames=9, libraries={"torch": "2.13"}).settings
