"""A tiny base of the family Stable Video Diffusion."""

from pathlib import Path

import pytest

from models.bases.families import STABLE_VIDEO_DIFFUSION


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video") / "tiny"
    STABLE_VIDEO_DIFFUSION.implementation().tiny().save(folder)
    return folder
