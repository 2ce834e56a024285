"""Content of a study's data: part of every cell's id, and results of other content are told, never mixed."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.plan import Plan, load
from sweeps.plan.diff import differences
from sweeps.report import build
from sweeps.results.content import (
    CONTENT,
    content_file,
    of_other_data,
    older_results,
    with_kept_content,
    with_known_content,
    with_read_content,
)
from sweeps.results.ledger import Ledger, study_folder
from tests.factories import make_record, make_result, save_result, sweeps_here
from trainables.data import _entries

HEAD = """
name: s
system: {system}
base: shapes
metrics: [motion_magnitude]
seeds: 3
"""
SEARCH = "search: {space: {attention.mu: {uniform: [0.0, 1.0]}}, trials_per_arm: 2}\n"
Study = Callable[..., Plan]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("a red circle\na blue square\n")
    return file


@pytest.fixture
def prompted(tmp_path: Path, prompts: Path) -> Study:
    """Works out a study of ZS² on the prompts of a file, as they are now."""

    def planned(more: str = "") -> Plan:
        study = tmp_path / "study.yaml"
        study.write_text(
            HEAD.format(system="zs2")
            + f"data: {{layout: prompts, prompts: {prompts}}}\nablations: [{{part: noise, action: REMOVE}}]\n{more}"
        )
        return load(study)

    return planned


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.mp4").write_bytes(f"video {number}".encode())
    lines = "".join(f"{number}.mp4,text {number}\n" for number in range(12))
    (folder / "captions.csv").write_text(f"path,text\n{lines}")
    return folder


@pytest.fixture
def shown(tmp_path: Path, clips: Path) -> Study:
    """Works out a study of Seer on clips of one's own, in a new process."""

    def planned() -> Plan:
        _entries.cache_clear()
        study = tmp_path / "study.yaml"
        study.write_text(
            HEAD.format(system="seer")
            + f"data: {{layout: captions, path: {clips}, held_out: 0.5}}\n"
            + "training: {steps: 400}\nablations: [{part: training.clips, action: VALUES, values: [2, 3]}]\n"
        )
        return load(study)

    return planned


def ids(plan: Plan) -> set[str]:
    return {cell.id for cell in plan.cells}


def test_an_edited_prompt_makes_other_cells_and_another_search(prompted: Study, prompts: Path) -> None:
    before = prompted(SEARCH)
    prompts.write_text("a red circle\na blue cross\n")
    now = prompted(SEARCH)
    assert not ids(before) & ids(now)
    assert before.search is not None
    assert now.search is not None
    assert before.search.identity != now.search.identity
    prompts.write_text("a red circle\na blue square\n")
    assert ids(prompted(SEARCH)) == ids(before)
    assert prompted(SEARCH).search.identity == before.search.identity


def test_a_change_of_the_data_is_shown_as_a_difference(prompted: Study, prompts: Path) -> None:
    before = prompted()
    prompts.write_text("a red circle\na blue cross\n")
    difference = differences(before, prompted())
    (change,) = difference.keys
    assert change.path == "data.content.prompts"
    texts = [plan.cells[0].spec.content["prompts"] for plan in (before, prompted())]
    assert [change.old, change.new] == texts
    assert "0 in both, 6 only in A, 6 only in B" in difference.text()


def test_results_of_other_data_are_in_no_table_and_told(prompted: Study, prompts: Path) -> None:
    before = prompted()
    records = {cell.id: make_record(cell, {before.metrics[0].key: 1.0}) for cell in before.cells}
    assert not of_other_data(before, records)
    prompts.write_text("a red circle\na blue cross\n")
    now = prompted()
    assert len(of_other_data(now, records)) == 6
    report = build(now, records)
    assert all(row.metrics[now.metrics[0].key].n == 0 for row in report.rows)
    (note,) = (note for note in report.notes if "other data" in note)
    assert note.startswith(f"6 results from other data not shown ({before.cells[0].spec.content['prompts']}, now 2 ")


def test_clips_on_disk_are_read_once_and_known_from_then_on(shown: Study, clips: Path, tmp_path: Path) -> None:
    planned, storage = shown(), tmp_path / "runs"
    assert planned.cells[0].spec.content == {}
    assert with_known_content(planned, storage).cells[0].spec.content == {}, "clips are not read for this"
    counted: list[int] = []
    read = with_read_content(planned, storage, lambda done, total: counted.append(done))
    assert len(counted) == 12
    assert with_known_content(shown(), storage) == read
    by_arm = {cell.arm: cell.spec.content for cell in read.one_of_each}
    training = [content["training"] for content in by_arm.values()]
    assert len(set(training)) == len(training) == 3, "as many clips as an arm trains on"
    assert len({content["references"] for content in by_arm.values()}) == 1

    path = next(entry.path for entry in read.cells[0].spec.data.entries())
    path.write_bytes(b"made anew")
    now = with_read_content(shown(), storage)
    assert not ids(now) & ids(read)
    assert [change.path for change in differences(read, now).keys] == ["data.content.references"]


def test_without_the_data_the_content_is_that_of_the_last_run(shown: Study, clips: Path, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    read = with_read_content(shown(), storage)
    folder = study_folder(storage, "s")
    folder.mkdir(parents=True)
    (folder / CONTENT).write_bytes(content_file(read))
    shutil.rmtree(clips)
    assert ids(with_known_content(shown(), storage)) == ids(read)
    assert ids(with_kept_content(shown(), folder)) == ids(read)
    shutil.rmtree(storage / "references")
    assert ids(with_known_content(shown(), storage)) == ids(read)
    (folder / CONTENT).write_text("cut")
    assert with_known_content(shown(), storage).cells[0].spec.content == {}


def test_results_of_an_earlier_version_are_told_in_one_sentence(prompted: Study, tmp_path: Path) -> None:
    planned, storage = prompted(), tmp_path / "runs"
    folder = study_folder(storage, "s")
    assert older_results({}, folder) == ""
    records = {cell.id: make_record(cell, {}) for cell in planned.cells}
    assert older_results(records, folder) == ""
    first = planned.cells[0]
    records[first.id] = replace(records[first.id], content={})
    assert f"{folder}: 1 result of an earlier version" in older_results(records, folder)

    old = first.spec.model_copy(update={"content": {}})
    result = json.loads(make_result(old, finished="2026-01-01T00:00:00+00:00").model_dump_json())
    del result["spec"]["content"]
    cell = Ledger(folder).cell_folder(old.cell_id)
    save_result(make_result(old), cell)
    (cell / "result.json").write_text(json.dumps(result))
    study = tmp_path / "study.yaml"
    for command in ("run", "plan", "status"):
        said = sweeps_here(command, study, "--storage", storage)
        assert f"{folder}: 1 result of an earlier version" in said.stdout + said.stderr
        assert said.exit_code == (2 if command == "run" else 0)
    assert list(folder.glob("cells/*")) == [cell], "nothing was computed beside it"


def test_the_status_is_that_of_the_last_run(prompted: Study, prompts: Path, tmp_path: Path) -> None:
    planned, storage = prompted(), tmp_path / "runs"
    folder = study_folder(storage, "s")
    for cell in planned.cells:
        save_result(make_result(cell.spec), Ledger(folder).cell_folder(cell.id))
    (folder / CONTENT).write_bytes(content_file(planned))
    prompts.write_text("a red circle\na blue cross\n")
    for command, states in (("status", {"rescore": 6}), ("plan", {"pending": 6})):
        said = json.loads(sweeps_here(command, tmp_path / "study.yaml", "--storage", storage, "--json").stdout)
        assert (
            Counter(cell["state"] for cell in said["cells"]) == states
            if command == "plan"
            else said["counts"] == states
        )
