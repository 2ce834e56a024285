"""The frame-sequential text decomposer: shapes, causality, the warm-up towards the instruction's own text."""

import pytest
import torch

from models.seer.text import FrameSequentialText, GlobalText, GroupedText, identity_loss, warm_up
from models.streams import Streams
from tests.tolerance import in_float64, network_bound


def decomposer(**changed: int) -> FrameSequentialText:
    torch.manual_seed(0)
    return FrameSequentialText(16, 5, **{"num_layers": 2, "num_heads": 2, "max_frames": 4, **changed})


def context() -> torch.Tensor:
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [1, 3, 4, 9])
def test_one_text_per_frame_whatever_their_number(frames: int) -> None:
    assert decomposer()(context(), frames).shape == (2, frames, 5, 16)


@in_float64()
def test_a_frames_text_depends_on_no_later_frame() -> None:
    model = decomposer()
    torch.nn.init.normal_(model.position)
    before = model(context(), 4)
    with torch.no_grad():
        model.position[:, 2].neg_()  # not the same to all channels, which layer norms take out
    after = model(context(), 4)
    rounding = network_bound(model, size=float(before.detach().abs().max()))
    torch.testing.assert_close(after[:, :2], before[:, :2], rtol=0, atol=rounding)
    assert (after[:, 2] - before[:, 2]).abs().max() > 1e-3
    assert (after[:, 3] - before[:, 3]).abs().max() > 1e-3, "the frame after it goes on from it"


def test_at_first_query_and_positions_are_zero_and_gradients_reach_them() -> None:
    model = decomposer()
    assert not model.query.any()
    assert not model.position.any()
    model(context(), 4).square().sum().backward()
    unreached = [name for name, p in model.named_parameters() if p.grad is None]
    assert unreached == []
    assert model.position.grad is not None
    assert model.position.grad.any()


def test_the_warm_up_brings_the_mean_text_to_the_instructions() -> None:
    model = decomposer()
    texts = torch.nn.functional.layer_norm(torch.randn(20, 5, 16, generator=torch.Generator().manual_seed(1)), (16,))
    first = identity_loss(model(texts, 4), texts).item()
    last = warm_up(model, texts, Streams(3), steps=400, lr=5e-3, frames=4)
    assert last < 0.1 * first
    assert all(parameter.grad is None for parameter in model.parameters()), "the next training starts clean"
    few, again = (warm_up(decomposer(), texts, Streams(3), steps=20, lr=5e-3, frames=4) for _ in range(2))
    assert few == again, "the same seed, the same weights"


@in_float64()
@pytest.mark.parametrize(("every", "groups"), [(1, [0, 1, 2, 3, 4]), (2, [0, 0, 1, 1, 2]), (None, [0] * 5)])
def test_one_text_for_several_frames_is_the_mean_of_theirs(every: int | None, groups: list[int]) -> None:
    torch.manual_seed(0)
    grouped = GroupedText(16, 5, every=every, num_layers=1, num_heads=2)
    torch.nn.init.normal_(grouped.position)
    own = FrameSequentialText.forward(grouped, context(), 5)
    states = grouped(context(), 5)
    rounding = network_bound(grouped, size=float(own.detach().abs().max()))
    for frame, group in enumerate(groups):
        members = [k for k, other in enumerate(groups) if other == group]
        torch.testing.assert_close(states[:, frame], own[:, members].mean(dim=1), rtol=0, atol=rounding)


def test_without_a_decomposer_every_frame_reads_the_instruction() -> None:
    assert torch.equal(GlobalText()(context(), 3)[:, 2], context())


def test_heads_that_do_not_divide_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide 16 channels"):
        decomposer(num_heads=3)
