"""Cells on disk as workers leave them, and MLflow's own client to see what came of them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlflow.entities import Run

    from trainables.trial_spec import Result, TrialSpec


class Cells:
    """Makes specifications and results, and the folders that hold them."""

    def __init__(self, root: Path, pictures: Path) -> None:
        self.root = root
        self._pictures = pictures

    def spec(self, seed: int = 0, arm: str = "control", **more: Any) -> "TrialSpec":
        from trainables.trial_spec import TrialSpec

        tree = {"noise": {"kind": "two_stage", "threshold": 0.1}, "attention": {"kind": "momentum", "mu": 0.98}}
        if arm != "control":
            tree["noise"] = {"kind": "removed"}
        fields = {
            "study": "a-study",
            "arm": arm,
            "role": "control" if arm == "control" else "arm",
            "part": "" if arm == "control" else "noise",
            "action": "" if arm == "control" else "REMOVE",
            "system": "zs2",
            "tree": tree,
            "base": "shapes",
            "data": {"layout": "shapes"},
            "protocol": {"clips": 2, "frames": 3, "steps": 2, "guidance": 4.0, "height": 8, "width": 8},
            "seed": seed,
            "metrics": ["clip_score"],
        }
        return TrialSpec.model_validate({**fields, **more})

    def result(self, seed: int = 0, arm: str = "control", *, spec: "TrialSpec | None" = None, **more: Any) -> "Result":
        from trainables.trial_spec import Result, Score

        spec = spec or self.spec(seed, arm)
        failed = more.get("status") == "failed"
        score = Score(
            value=31.5 + spec.seed, per_clip=[31.0, 32.0], direction="max", surrogate=True, parameters={"frames": 3}
        )
        fields = {
            "cell_id": spec.cell_id,
            "spec": spec,
            "status": "done",
            "prompts": ["a red circle moves right", "a blue cross drops"],
            "scores": {} if failed else {"clip_score/shapes_clip": score},
            "statistics": {"correlation": 0.9},
            "seconds": {"load": 0.5, "sample": 1.5},
            "finished": "2026-11-21T00:00:00+00:00",
            "provenance": {"code_hash": "c0de", "base_hash": "ba5e", "commit": "abc"},
        }
        return Result.model_validate({**fields, **more})

    def save(self, result: "Result") -> Path:
        """The cell's folder, with this result in it."""
        from trainables.trial_spec import RESULT

        folder = self.root / result.cell_id
        if not folder.exists():
            shutil.copytree(self._pictures, folder)
        (folder / RESULT).write_text(result.model_dump_json())
        return folder

    def make(self, count: int) -> dict[str, Path]:
        """That many finished cells of the control, by id."""
        return {(result := self.result(seed)).cell_id: self.save(result) for seed in range(count)}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np

    from trainables.cell_files import Drawn, save_clips

    folder = tmp_path_factory.mktemp("pictures")
    clips = np.random.default_rng(0).integers(0, 255, (2, 3, 8, 8, 3), np.uint8)
    save_clips(Drawn(clips, {}, "c0de", ("a red circle moves right", "a blue cross drops")), folder)
    return folder


@pytest.fixture
def cells(tmp_path: Path, pictures: Path) -> Cells:
    return Cells(tmp_path / "cells", pictures)


@pytest.fixture
def find_runs() -> Iterator[Callable[..., "list[Run]"]]:
    """``find_runs(uri, filter)``: a study's runs, as MLflow's own search has them."""
    import mlflow

    before = mlflow.get_tracking_uri()

    def find(uri: str, filter_string: str = "", study: str = "a-study") -> "list[Run]":
        mlflow.set_tracking_uri(uri)
        runs = mlflow.search_runs(experiment_names=[study], filter_string=filter_string, output_format="list")
        assert isinstance(runs, list)
        return runs

    yield find
    mlflow.set_tracking_uri(before)
