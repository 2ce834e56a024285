import typing

import pytest
import torch

from models.guidance import CONDITIONAL, UNCONDITIONAL, ClassifierFree, Guidance, NoGuidance, RisingGuidance

KINDS = typing.get_args(typing.get_args(Guidance)[0])


@pytest.fixture
def predictions() -> torch.Tensor:
    return torch.randn(2, 3, 4, 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_of_1_asks_for_one_branch(kind: type[ClassifierFree], predictions: torch.Tensor) -> None:
    guide = kind().build(1.0, 4)
    assert guide.branches == (CONDITIONAL,)
    assert torch.equal(guide.combine(predictions[1:]), predictions[1])


def test_classifier_free_guidance_moves_away_from_the_unconditional_prediction(predictions: torch.Tensor) -> None:
    guide = ClassifierFree().build(3.0, 4)
    assert guide.branches == (UNCONDITIONAL, CONDITIONAL)
    without, under = predictions
    torch.testing.assert_close(guide.combine(predictions), 3 * under - 2 * without)
    torch.testing.assert_close(guide.combine(torch.stack([under, under])), under)


def test_rising_guidance_is_classifier_free_frame_by_frame(predictions: torch.Tensor) -> None:
    guide = RisingGuidance(first=1.0).build(4.0, 4)
    actual = guide.combine(predictions)
    for frame, scale in enumerate((1.0, 2.0, 3.0, 4.0)):
        expected = ClassifierFree().build(scale, 4).combine(predictions if scale > 1 else predictions[1:])
        torch.testing.assert_close(actual[:, frame], expected[:, frame])
    same = RisingGuidance(first=4.0).build(4.0, 4).combine(predictions)
    torch.testing.assert_close(same, ClassifierFree().build(4.0, 4).combine(predictions))


def test_without_guidance_the_scale_is_nothing(predictions: torch.Tensor) -> None:
    guide = NoGuidance().build(7.5, 4)
    assert guide.branches == (CONDITIONAL,)
    assert torch.equal(guide.combine(predictions[1:]), predictions[1])
