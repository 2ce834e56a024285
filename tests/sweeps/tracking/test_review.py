"""What MLflow's pages need of a study's runs: its views, the mark of its cells, images of clips, and datasets."""

import contextlib
import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from PIL import Image

from sweeps.tracking.inputs import dataset_digest, dataset_inputs
from sweeps.tracking.tracker import Tracker
from sweeps.tracking.views import Review, view_tags
from trainables.spool import Spool

Find = Callable[..., list[Any]]


@pytest.fixture
def upload(uri: str, tmp_path: Path) -> Callable[..., Tracker]:
    """Upload cells as the driver of a study does that has these views."""

    def put(made: dict[str, Path], review: Review) -> Tracker:
        tracker = Tracker(uri, "a-study", "why?", tmp_path / "mlartifacts" / "a-study", {}, review)
        tracker.catch_up(made)
        tracker.finish([], failed=False)
        assert tracker.pending() == 0
        return tracker

    return put


def review_with(made: dict[str, Path], **fields: Any) -> Review:
    return Review(**{"metrics": ("clip_score/shapes_clip",), "arms": ("control",), "cells": frozenset(made), **fields})


def test_views_are_made_at_the_start_and_follow_the_study(uri: str, upload: Any, cells: Any) -> None:
    made = cells.make(1)
    for review in (review_with(made), review_with(made, metrics=("clip_score/shapes_clip", "fd/a"))):
        assert upload(made, review).failures == []
        tags = MlflowClient(uri).get_experiment_by_name("a-study").tags
        assert tags.items() >= view_tags(review).items()
    MlflowClient(uri).set_experiment_tag("1", "mlflow.sharedViewState.mine", "kept")
    upload(made, review_with(made))
    assert MlflowClient(uri).get_experiment("1").tags["mlflow.sharedViewState.mine"] == "kept"


def test_cells_that_the_study_has_no_more_are_marked(uri: str, upload: Any, cells: Any, find_runs: Find) -> None:
    made = cells.make(2)
    trial = cells.spec(stage="search", trial=0, search="5ea4c4", sampled={"attention.mu": 0.25})
    made[trial.cell_id] = cells.save(cells.result(spec=trial))
    first, second, _ = made

    def current() -> set[str]:
        return {run.data.tags["cell_id"] for run in find_runs(uri, "tags.current = 'true'")}

    upload(made, Review())  # by a version without views
    upload(made, review_with({first: made[first]}, search="5ea4c4", objectives=("clip_score/shapes_clip",)))
    assert current() == {first, trial.cell_id}
    upload(made, review_with({second: made[second]}, search="other", objectives=("clip_score/shapes_clip",)))
    assert current() == {second}
    assert len(find_runs(uri)) == 4


def test_clips_of_the_first_seed_are_an_image(
    uri: str, upload: Any, cells: Any, find_runs: Find, tmp_path: Path
) -> None:
    made = cells.make(2)
    upload(made, review_with(made))
    client = MlflowClient(uri)
    first, other = (find_runs(uri, f"tags.seed = '{seed}'")[0] for seed in (0, 1))
    assert other.data.tags.keys() & {"mlflow.loggedImages"} == set()
    assert first.data.tags["mlflow.loggedImages"] == "True"
    name = f"images/clips+step+0+timestamp+0+{first.data.tags['cell_id']}"
    files = {file.path for file in client.list_artifacts(first.info.run_id, "images")}
    assert files == {f"{name}.webp", f"{name}+compressed.webp"}
    whole, small = (client.download_artifacts(first.info.run_id, file, str(tmp_path)) for file in sorted(files)[::-1])
    assert Path(whole).stat().st_size + Path(small).stat().st_size < 100_000
    with Image.open(whole) as picture, Image.open(small) as thumbnail:
        assert max(picture.size) <= 1024
        assert max(thumbnail.size) <= 300


def test_the_data_of_a_cell_is_a_dataset(uri: str, upload: Any, cells: Any, find_runs: Find) -> None:
    specs = [cells.spec(seed, content={"prompts": "2 prompts, 0a1b"}) for seed in (0, 1)]
    made = {spec.cell_id: cells.save(cells.result(spec=spec)) for spec in (*specs, cells.spec(2))}
    for _ in range(2):
        assert upload(made, review_with(made)).failures == []
    for spec in specs:
        (run,) = find_runs(uri, f"tags.cell_id = '{spec.cell_id}'")
        (entry,) = run.inputs.dataset_inputs
        assert (entry.dataset.name, entry.dataset.digest) == ("shapes", dataset_digest(spec))
        assert json.loads(entry.dataset.profile) == spec.content
        assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "evaluation")]
    (unknown,) = find_runs(uri, "tags.seed = '2'")
    assert unknown.inputs.dataset_inputs == []


def test_cells_of_an_earlier_version_get_their_image_and_their_dataset(
    uri: str, upload: Any, cells: Any, find_runs: Find
) -> None:
    """Cells that were uploaded before the study had views, and a study whose first seed has changed since."""
    specs = [cells.spec(seed, content={"prompts": "2 prompts, 0a1b"}) for seed in (0, 1)]
    made = {spec.cell_id: cells.save(cells.result(spec=spec)) for spec in specs}
    client, before = MlflowClient(uri), {}
    for spec in specs:
        Spool(made[spec.cell_id]).append(0, {"loss": 1.0})
    upload(made, Review())
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database, database:
        database.execute("DELETE FROM inputs")  # as a version before datasets left them
    before = {run.info.run_id: client.get_metric_history(run.info.run_id, "loss") for run in find_runs(uri)}
    for seed, uploaded in ((0, 2), (1, 1), (1, 0)):
        assert upload(made, review_with(made, seed=seed)).uploaded == uploaded
        (run,) = find_runs(uri, f"tags.seed = '{seed}'")
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.loggedImages"] == "True"
        assert len(client.list_artifacts(run.info.run_id, "images")) == 2
    for run in find_runs(uri, "tags.role = 'control'"):
        assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["shapes"]
        assert client.get_metric_history(run.info.run_id, "loss") == before[run.info.run_id], "no point is sent twice"


@pytest.mark.parametrize(
    ("path", "name"),
    [("/home/someone/clips", "ssv2/clips"), ("data/clips", "ssv2/data/clips"), (".", "ssv2")],
)
def test_a_dataset_names_no_folder_above_its_own(path: str, name: str, cells: Any) -> None:
    spec = cells.spec(data={"layout": "ssv2", "path": path, "split": "train"}, content={"clips": "3 clips, 0a1b"})
    (entry,) = dataset_inputs(spec)
    assert entry.dataset.name == name
    assert json.loads(entry.dataset.source) == {"uri": name, "layout": "ssv2", "split": "train"}
    assert "someone" not in str(entry.to_dictionary())


def test_what_a_server_refuses_is_said_once_and_costs_nothing_else(
    uri: str, upload: Any, cells: Any, find_runs: Find
) -> None:
    """MLflow refuses a view of more than 20,000 characters, here of a search, and a dataset's name of more than 500."""
    spec = cells.spec(data={"layout": "ssv2", "path": "p" * 501}, content={"clips": "3 clips, 0a1b"})
    made = cells.make(2) | {spec.cell_id: cells.save(cells.result(spec=spec))}
    draw = random.Random(0)
    paths = tuple(f"part.{draw.getrandbits(400):x}" for _ in range(400))
    review = review_with(made, search="5ea4c4", objectives=("clip_score/shapes_clip",), searched=paths)
    tracker = upload(made, review)
    assert tracker.failures == [], "the next run will fare no better"
    datasets, view = sorted(tracker.refusals)
    assert view.startswith("saved view search: ")
    assert "20000" in view
    assert datasets.startswith("datasets: ")
    assert "500" in datasets
    assert tracker.link.endswith("viewStateShareKey=arms")
    tags = MlflowClient(uri).get_experiment_by_name("a-study").tags
    saved = [name for name in ("arms", "seeds", "search", "clips") if f"mlflow.sharedViewState.{name}" in tags]
    assert saved == ["arms", "seeds", "clips"]
    assert tracker.uploaded == 3
    assert len(find_runs(uri, "attributes.status = 'FINISHED' and tags.current = 'true'")) == 3
