"""The clip classifier: shapes of its outputs, any number of frames, order of the halves, saving."""

from pathlib import Path

import pytest
import torch

from models.video_classifier import VideoClassifier
from tests.tolerance import in_float64, network_bound


@pytest.fixture
def tiny() -> VideoClassifier:
    torch.manual_seed(0)
    return VideoClassifier(block_out_channels=(8, 8, 8, 8), num_features=16, norm_num_groups=2).eval()


@pytest.mark.parametrize("frames", [1, 2, 8, 13])
def test_outputs_fit_any_number_of_frames(tiny: VideoClassifier, frames: int) -> None:
    prediction = tiny(torch.rand(3, frames, 3, 32, 32) * 2 - 1)
    assert prediction.features.shape == (3, 16)
    assert (prediction.shape.shape, prediction.colour.shape, prediction.motion.shape) == ((3, 4), (3, 6), (3, 2, 8))


@in_float64()
def test_clips_of_a_batch_do_not_mix(tiny: VideoClassifier) -> None:
    video = torch.rand(3, 8, 3, 32, 32)
    together, alone = tiny.double()(video).features[1], tiny(video[1:2]).features[0]
    rounding = network_bound(tiny, size=float(alone.detach().abs().max()))
    torch.testing.assert_close(together, alone, rtol=0, atol=rounding)


def test_the_order_of_frames_matters(tiny: VideoClassifier) -> None:
    video = torch.rand(1, 8, 3, 32, 32)
    assert not torch.allclose(tiny(video).features, tiny(video.flip(1)).features, atol=1e-4)


def test_it_learns_and_every_weight_takes_part(tiny: VideoClassifier) -> None:
    prediction = tiny(torch.rand(2, 8, 3, 32, 32))
    (prediction.shape.sum() + prediction.colour.sum() + prediction.motion.square().sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tiny.parameters())


def test_it_is_saved_and_loaded(tiny: VideoClassifier, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path)
    video = torch.rand(1, 8, 3, 32, 32)
    again = VideoClassifier.from_pretrained(tmp_path).eval()
    assert torch.equal(again(video).features, tiny(video).features)
