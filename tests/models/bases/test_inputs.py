"""Bases as users have them: every row of the tables that ``docs/inputs.md`` shows."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.backbones import load_base
from models.bases import find_base
from tests.inputs import bases, weights
from tests.inputs.base_folders import read_settings, read_weights
from tests.inputs.cases import Case, check

if TYPE_CHECKING:
    from models.backbones import Base


@pytest.fixture(scope="session")
def video_base(video_folder: Path) -> "Base":
    return load_base(find_base(str(video_folder)), device="cpu")


@pytest.fixture
def copied(tiny_base_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_base_folder, tmp_path / "base")
    return tmp_path


@bases.STABLE_DIFFUSION.parameters
def test_stable_diffusion(case: Case, tiny_base: "Base", copied: Path) -> None:
    case.write(copied)
    check(case, copied, lambda: read_settings(copied, tiny_base))


@weights.TOKENIZER_FILES.parameters
def test_tokenizers(case: Case, tiny_base: "Base", copied: Path) -> None:
    case.write(copied)
    check(case, copied, lambda: read_settings(copied, tiny_base))


@weights.WEIGHT_FILES.parameters
def test_weights(case: Case, tiny_base: "Base", copied: Path) -> None:
    case.write(copied)
    check(case, copied, lambda: read_weights(copied, tiny_base))


@bases.STABLE_VIDEO_DIFFUSION.parameters
def test_stable_video_diffusion(case: Case, video_base: "Base", video_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(video_folder, tmp_path / "base")
    case.write(tmp_path)
    check(case, tmp_path, lambda: read_settings(tmp_path, video_base))
