"""Networks of metrics as users have them: every row of the tables that ``docs/inputs.md`` shows."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.inputs import extractors
from tests.inputs.cases import Case, check
from trainables.metrics import ExtractorRef, Extractors, MetricKey, Role
from trainables.metrics.clip_files import unfit_clip
from trainables.metrics.extractors import ClipExtractor, FrameExtractor, ImageTextExtractor
from trainables.metrics.loading import Network, load_extractor

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def load(kind: Role, source: Path) -> Network:
    return load_extractor(MetricKey("fid", "fid/x", "min", False, "", ExtractorRef(kind, kind, str(source)), 1), "cpu")


@pytest.fixture(scope="session")
def features(clip_folder: Path) -> np.ndarray[Any, Any]:
    """Features of a frame and a prompt by the unchanged CLIP."""
    return embed(clip_folder)


def embed(folder: Path) -> np.ndarray[Any, Any]:
    network = load("clip", folder)
    assert isinstance(network, ImageTextExtractor)
    frames = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32, 3)).astype(np.uint8)
    return np.stack([network.embed_frames(frames)[0, 0], network.embed_text(["a red circle"])[0]])


@extractors.CLIP.parameters
def test_clip(case: Case, clip_folder: Path, features: np.ndarray[Any, Any], tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    case.write(tmp_path)

    def read() -> list[str]:
        if message := unfit_clip(Extractors(clip=str(folder))):  # `check` says it too
            with pytest.raises(ValueError, match=re.escape(message.removeprefix(f"{folder}: "))):
                embed(folder)
        return ["the same features" if np.array_equal(embed(folder), features) else "others"]

    check(case, tmp_path, read)


@pytest.mark.parametrize("role", ["inception", "i3d"])
@extractors.TORCHSCRIPT.parameters
def test_torchscript(case: Case, role: Role, inception_file: str, i3d_file: str, clips: Pixels, tmp_path: Path) -> None:
    shutil.copy({"inception": inception_file, "i3d": i3d_file}[role], tmp_path / "network.pt")
    case.write(tmp_path)

    def read() -> list[str]:
        try:
            network = load(role, tmp_path / "network.pt")
        except ValueError as error:
            raise ValueError(str(error).replace(f"extractors.{role}", "extractors.ROLE")) from None
        assert isinstance(network, FrameExtractor | ClipExtractor)
        found = network.embed_frames(clips) if isinstance(network, FrameExtractor) else network.embed_clips(clips)
        return ["features of the published width" if found.shape[-1] in (2048, 400) else "others"]

    check(case, tmp_path, read)
