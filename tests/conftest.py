"""Shared fixtures: a random, tiny base in the shape of Stable Diffusion v1.5, cells as workers leave them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlflow.entities import Run

    from models.backbones import Base
    from trainables.trial_spec import Result, TrialSpec


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update`` renews the golden files; the difference is then read like any other change."""
    parser.addoption("--update", action="store_true", help="renew golden files instead of comparing with them")
    parser.addoption("--kills", type=int, default=2, help="how often each fault test kills a process (make soak: 20)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that may take longest begin, so that workers beside each other end at about the same time."""
    longest: dict[Path, float] = {}
    for item in items:
        limits = [float(marker.args[0]) for marker in item.iter_markers("timeout")]
        longest[item.path] = max([longest.get(item.path, 0.0), *limits])
    items.sort(key=lambda item: -longest[item.path])


def save_tiny_pipeline(folder: Path, *, seed: int = 0) -> Path:
    """Save the tiny random base of the family Stable Diffusion."""
    from models.bases.stable_diffusion import StableDiffusion

    StableDiffusion.tiny(seed).save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny random pipeline; clips of 32 x 32 pixels have latents of 4 x 4."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def tiny_base(tiny_base_folder: Path) -> "Base":
    """The tiny random pipeline, loaded for the CPU in float32. Shared by all tests: none may change it."""
    from models.backbones import load_base
    from models.bases import find_base

    return load_base(find_base(str(tiny_base_folder)), device="cpu")


@pytest.fixture
def float64_base(tiny_base: "Base") -> Iterator["Base"]:
    """The tiny random pipeline in float64; while a test has it, all that it runs computes in float64."""
    from tests.tolerance import in_float64, widened

    with in_float64():
        yield widened(tiny_base)


@pytest.fixture
def hub_cache(tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache that holds the tiny base as ``org/tiny``, as a download leaves it; the hub is not asked."""
    import huggingface_hub

    commit, cache = "0" * 40, tmp_path / "hub"
    repository = cache / "models--org--tiny"
    shutil.copytree(tiny_base_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return cache


class Cells:
    """Makes specifications and results, and the folders that hold them."""

    def __init__(self, root: Path, pictures: Path) -> None:
        self.root = root
        self._pictures = pictures

    def spec(self, seed: int = 0, arm: str = "control", **more: Any) -> "TrialSpec":
        from tests.factories import make_spec

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
        return make_spec(**{**fields, **more})

    def result(self, seed: int = 0, arm: str = "control", *, spec: "TrialSpec | None" = None, **more: Any) -> "Result":
        from tests.factories import make_result
        from trainables.trial_spec import Score

        spec = spec or self.spec(seed, arm)
        failed = more.get("status") == "failed"
        score = Score(
            value=31.5 + spec.seed, per_clip=[31.0, 32.0], direction="max", surrogate=True, parameters={"frames": 3}
        )
        fields = {
            "prompts": ["a red circle moves right", "a blue cross drops"],
            "scores": {} if failed else {"clip_score/shapes_clip": score},
            "statistics": {"correlation": 0.9},
            "seconds": {"load": 0.5, "sample": 1.5},
            "finished": "2026-11-21T00:00:00+00:00",
            "provenance": {"code_hash": "c0de", "base_hash": "ba5e", "commit": "abc"},
        }
        return make_result(spec, **{**fields, **more})

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
