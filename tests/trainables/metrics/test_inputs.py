"""Networks of metrics as users have them: every row of the tables that ``docs/inputs.md`` shows."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.inputs import extractors
from tests.inputs.cases import Case, check
from tests.tolerance import bound
from trainables.metrics import ExtractorRef, Extractors, MetricKey, Role
from trainables.metrics.clip_files import unfit_clip, unfit_networks
from trainables.metrics.extractors import FrameExtractor, ImageTextExtractor
from trainables.metrics.interpolation import Interpolator
from trainables.metrics.loading import Network, load_extractor

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def load(kind: Role, source: Path, clip: str | None = None) -> Network:
    ref = ExtractorRef(kind, kind, str(source), clip=clip)
    return load_extractor(MetricKey("fid", "fid/x", "min", False, "", ref, 1), "cpu")


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
        found = embed(folder)
        return ["the same features" if np.abs(found - features).max() <= rounding else "others"]

    weights = load_file(clip_folder / "model.safetensors").values()
    # Sums depend on where weights lie in memory: a chain as long as the columns of all matrices together.
    rounding = bound(torch.float32, sum(w.shape[1] for w in weights if w.ndim == 2), float(np.abs(features).max()))
    check(case, tmp_path, read)


@extractors.DINO.parameters
def test_dino(case: Case, dino_folder: Path, clips: Pixels, tmp_path: Path) -> None:
    folder = tmp_path / "dino"
    shutil.copytree(dino_folder, folder)
    case.write(tmp_path)

    def read() -> list[str]:
        if message := unfit_networks(Extractors(dino=str(folder))).get("dino"):  # `check` says it too
            with pytest.raises(ValueError, match=re.escape(message.removeprefix(f"{folder}: "))):
                load("dino", folder)
        found, expected = load("dino", folder), load("dino", dino_folder)
        assert isinstance(found, FrameExtractor)
        assert isinstance(expected, FrameExtractor)
        same = np.array_equal(found.embed_frames(clips[:1, :1]), expected.embed_frames(clips[:1, :1]))
        return ["the same features" if same else "others"]

    check(case, tmp_path, read)


@pytest.fixture
def files(inception_file: str, i3d_file: str, amt_file: str) -> dict[str, str]:
    return {"inception": inception_file, "i3d": i3d_file, "amt": amt_file}


@pytest.mark.parametrize("role", ["inception", "i3d", "amt"])
@extractors.TORCHSCRIPT.parameters
def test_torchscript(case: Case, role: Role, files: dict[str, str], clips: Pixels, tmp_path: Path) -> None:
    shutil.copy(files[role], tmp_path / "network.pt")
    case.write(tmp_path)

    def read() -> list[str]:
        try:
            network = load(role, tmp_path / "network.pt")
        except ValueError as error:
            raise ValueError(str(error).replace(f"extractors.{role}", "extractors.ROLE")) from None
        if isinstance(network, Interpolator):
            right = network.middle(clips[0, 0], clips[0, 2]).shape == clips.shape[2:]
        else:
            found = network.embed_frames(clips) if isinstance(network, FrameExtractor) else network.embed_clips(clips)
            right = found.shape[-1] in (2048, 400)
        return ["what the metric needs" if right else "something else"]

    check(case, tmp_path, read)


@extractors.AESTHETIC.parameters
def test_aesthetic(case: Case, clip_folder: Path, head_file: Path, clips: Pixels, tmp_path: Path) -> None:
    shutil.copytree(clip_folder, tmp_path / "clip")
    shutil.copy(head_file, tmp_path / "head.pth")
    case.write(tmp_path)

    def read() -> list[str]:
        network = load("aesthetic", tmp_path / "head.pth", clip=str(tmp_path / "clip"))
        assert isinstance(network, FrameExtractor)
        return ["the same features" if network.embed_frames(clips).shape == (3, 9, 1) else "others"]

    check(case, tmp_path, read)
