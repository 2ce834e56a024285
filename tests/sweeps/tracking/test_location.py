"""Where MLflow's data are: paths that a URI must quote, and storage folders that were moved."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from sweeps.tracking.location import artifacts_folder, database_file, database_uri, follow_move, tracking_uri
from sweeps.tracking.tracker import Tracker

NAMES = ("plain", "a?b&c=1", "100%20 #1", "Läufe 中", 'it\'s "$HOME";[x]*+@:')


@pytest.fixture
def storage(request: pytest.FixtureRequest, empty_database: Path, tmp_path: Path) -> Path:
    """A storage folder of this name, with an empty database."""
    folder = tmp_path / str(getattr(request, "param", "runs"))
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


def upload(storage: Path, cells: Any, seed: int, uri: str = "", study: str = "a-study") -> None:
    """Upload the result of a cell, as a driver does that runs with this storage folder."""
    result = cells.result(seed)
    tracker = Tracker(uri or tracking_uri(storage, None), study, "", artifacts_folder(storage, study), {})
    tracker.record(result.cell_id, cells.save(result))
    tracker.finish((), failed=False)
    assert tracker.failures == []


def pictures(storage: Path) -> list[Path]:
    return sorted(storage.rglob("strip.png"))


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_where_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri(tmp_path, None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri(tmp_path, None) == "http://127.0.0.1:5000"
    assert tracking_uri(tmp_path, "http://127.0.0.1:6000") == "http://127.0.0.1:6000"


@pytest.mark.parametrize("name", NAMES)
def test_a_uri_leads_back_to_its_file(name: str) -> None:
    path = Path("/storage") / name / "mlflow.db"
    assert database_file(database_uri(path)) == path


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////runs/mlflow.db?timeout=5", Path("/runs/mlflow.db")),
        ("sqlite:///file:/runs/a%253Fb.db?uri=true", Path("/runs/a?b.db")),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("postgresql://host/runs", None),
        ("http://127.0.0.1:5000", None),
        ("databricks", None),
    ],
)
def test_the_file_of_a_users_own_uri(uri: str, file: Path | None) -> None:
    assert database_file(uri) == file


@pytest.mark.parametrize("storage", NAMES, indirect=True)
def test_after_a_move_artifacts_are_in_the_new_folder_alone(storage: Path, cells: Any) -> None:
    upload(storage, cells, 0)
    assert len(pictures(storage)) == 1
    moved = storage.with_name(f"{storage.name} moved")
    storage.rename(moved)
    uri = tracking_uri(moved, None)
    assert follow_move(uri, moved, "a-study") == (
        f"{moved}: was {storage}; MLflow's artifact locations are corrected to {moved}"
    )
    assert follow_move(uri, moved, "a-study") == "", "it is said once"
    upload(moved, cells, 1)
    assert not storage.exists()
    assert len(pictures(moved)) == 2
    assert sorted(path.name for path in moved.parent.iterdir() if path.name.startswith(storage.name)) == [moved.name]
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("a-study")
    runs = client.search_runs([experiment.experiment_id], "tags.arm = 'control'")
    assert len(runs) == 2
    for run in runs:
        assert "strip.png" in {file.path for file in client.list_artifacts(run.info.run_id)}


def test_all_studies_of_a_storage_move_with_it(storage: Path) -> None:
    client = MlflowClient(tracking_uri(storage, None))
    for study in ("first", "second one", "elsewhere"):
        root = storage if study != "elsewhere" else storage.parent / "other"
        client.create_experiment(study, artifact_location=artifacts_folder(root, study).as_uri())
    moved = storage.rename(storage.with_name("new"))
    uri = tracking_uri(moved, None)
    assert f"was {storage.parent / 'other'}, {storage};" in follow_move(uri, moved, "first")
    locations = {experiment.name: experiment.artifact_location for experiment in MlflowClient(uri).search_experiments()}
    for study in ("first", "second one", "elsewhere"):
        assert locations[study] == artifacts_folder(moved, study).as_uri()
    assert "mlartifacts" not in locations["Default"]


def test_a_database_of_several_storages_follows_only_a_folder_that_is_gone(storage: Path, tmp_path: Path) -> None:
    uri = database_uri(storage / "mlflow.db")
    first, second = tmp_path / "first", tmp_path / "second"
    folder = artifacts_folder(first, "a-study")
    folder.mkdir(parents=True)
    MlflowClient(uri).create_experiment("a-study", artifact_location=folder.as_uri())
    artifacts_folder(second, "a-study").mkdir(parents=True)
    assert follow_move(uri, second, "a-study") == "", "another storage folder of the same study"
    shutil.rmtree(second)
    first.rename(second)
    assert f"was {first};" in follow_move(uri, second, "a-study")


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_without_a_readable_database_nothing_is_said(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "mlflow.db").write_bytes(content)
    assert follow_move(tracking_uri(tmp_path, None), tmp_path, "a-study") == ""
    assert follow_move("http://127.0.0.1:9", tmp_path, "a-study") == ""
