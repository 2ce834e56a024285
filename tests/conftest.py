"""Shared fixtures: a random, tiny base in the shape of Stable Diffusion v1.5."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from models.backbones import Base


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update`` renews the golden files; the difference is then read like any other change."""
    parser.addoption("--update", action="store_true", help="renew golden files instead of comparing with them")
    parser.addoption("--kills", type=int, default=3, help="how often each fault test kills a process (make soak: 20)")


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
