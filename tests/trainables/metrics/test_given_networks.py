"""RAFT and V-JEPA as files: what they are given, and the values that VBench's and JEDi's formulas give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.bases import Card
from tests.trainables.metrics.conftest import save_torchscript
from trainables.metrics import Extractors, MetricKey, resolve
from trainables.metrics.clips import Pixels
from trainables.metrics.kernels import cmmd, jedi_mmd
from trainables.metrics.loading import load_extractor
from trainables.metrics.raft import Raft, dynamic_degree
from trainables.metrics.score import Scorer
from trainables.metrics.vjepa import VJepaExtractor

BARE = Card(name="org/none")


def key_of(family: str, **given: str) -> MetricKey:
    return resolve(family, BARE, Extractors(**given), "org/none")


def brighter(steps: list[int], side: int = 64) -> Pixels:
    """A clip in which the largest 5 % of the pixels, and no others, become brighter by so many levels in each step."""
    frames = np.zeros((len(steps) + 1, side * side, 3), np.uint8)
    frames[1:, : int(0.05 * side * side)] = np.cumsum(steps)[:, None, None]
    return frames.reshape(-1, side, side, 3)


# At 64 px the threshold is 6 * 64 / 256 = 1.5 px per frame; of 8 frames at least 2 must be above it.
@pytest.mark.parametrize(
    ("steps", "is_dynamic"),
    [([2, 2, 0, 0, 0, 0, 0], 1), ([2, 0, 0, 0, 0, 0, 0], 0), ([1] * 7, 0), ([0, 0, 2, 0, 0, 0, 9], 1)],
)
def test_a_clip_is_dynamic_by_its_largest_motions(steps: list[int], is_dynamic: int, raft_file: str) -> None:
    key = key_of("dynamic_degree", raft=raft_file)
    clips = np.stack([brighter(steps)])
    score = Scorer([key], None, "cpu").score(clips, [""])["dynamic_degree/vbench_raft_things"]
    assert score.value == is_dynamic
    assert score.parameters["extractor"]["pixels"] == 6


def test_frames_are_padded_to_whole_cells_of_raft(raft_file: str) -> None:
    raft = load_extractor(key_of("dynamic_degree", raft=raft_file), "cpu")
    assert isinstance(raft, Raft)
    earlier, later = np.zeros((2, 13, 20, 3), np.uint8)
    later[:] = 7
    flow = raft.flow(earlier, later)
    assert flow.shape == (16, 24, 2)
    assert np.unique(flow[..., 0]).tolist() == [7]
    with pytest.raises(ValueError, match="at least 3"):
        dynamic_degree(np.zeros((1, 2, 13, 20, 3), np.uint8), raft.flow)


def test_another_network_is_refused(tmp_path: Path) -> None:
    class Other(torch.nn.Module):
        def forward(self, image1: torch.Tensor, image2: torch.Tensor) -> torch.Tensor:
            return image1 - image2

    file = save_torchscript(Other(), tmp_path / "other.pt")
    scorer = Scorer([key_of("dynamic_degree", raft=file)], None, "cpu")
    with pytest.raises(ValueError, match="the file has another network -> get RAFT"):
        scorer.score(np.zeros((1, 3, 16, 16, 3), np.uint8), [""])
    with pytest.raises(ValueError, match="without the argument videos -> get V-JEPA"):
        Scorer([key_of("jedi", vjepa=file)], lambda: np.zeros((4, 3, 16, 16, 3), np.uint8), "cpu")


def test_v_jepa_sees_resized_and_normalised_clips(vjepa_file: str) -> None:
    network = load_extractor(key_of("jedi", vjepa=vjepa_file), "cpu")
    assert isinstance(network, VJepaExtractor)
    clips = np.zeros((2, 4, 20, 30, 3), np.uint8)
    clips[1] = (255, 0, 51)
    features = network.embed_clips(clips)
    assert features.shape == (2, 1280)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    # Means of 4 * 224 * 224 equal values in float32.
    expected = (np.array([[0, 0, 0], [1, 0, 0.2]]) - mean) / std
    np.testing.assert_allclose(features[:, :3], expected, rtol=0, atol=1e-3)


def test_kernels_of_jedi_and_cmmd_are_the_published_ones() -> None:
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(7, 4)), draws.normal(0.5, 1, size=(5, 4))

    def unbiased(k_xx: np.ndarray, k_yy: np.ndarray, k_xy: np.ndarray) -> float:  # type: ignore[type-arg]
        n, m = k_xy.shape
        within = (k_xx.sum() - np.trace(k_xx)) / (n * (n - 1)) + (k_yy.sum() - np.trace(k_yy)) / (m * (m - 1))
        return float(within - 2 * k_xy.mean())

    quadratic = [(a @ b.T / 4) ** 2 for a, b in ((x, x), (y, y), (x, y))]
    assert jedi_mmd(x, y) == pytest.approx(100 * unbiased(*quadratic), rel=1e-10)
    u, v = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    gaussian = [
        np.exp(-np.square(a[:, None] - b[None]).sum(axis=-1) / (2 * 10**2)) for a, b in ((u, u), (v, v), (u, v))
    ]
    assert cmmd(x, y) == pytest.approx(1000 * unbiased(*gaussian), rel=1e-9)
    with pytest.raises(ValueError, match="zeros has no direction"):
        cmmd(np.zeros((3, 4)), y)
