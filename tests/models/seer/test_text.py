"""The frame-sequential text decomposer: shapes, causality, the warm-up towards the instruction's own text."""

import pytest
import torch

from models.seer.text import FrameSequentialText, identity_loss, one_per


def decomposer(**changed: int) -> FrameSequentialText:
    torch.manual_seed(0)
    return FrameSequentialText(16, 5, **{"num_layers": 2, "num_heads": 2, "head_dim": 8, "max_frames": 4, **changed})


def context() -> torch.Tensor:
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [1, 3, 4, 9])
def test_one_text_per_frame_whatever_their_number(frames: int) -> None:
    assert decomposer()(context(), frames).shape == (2, frames, 5, 16)


def test_a_frames_text_depends_on_no_later_frame() -> None:
    model = decomposer()
    torch.nn.init.normal_(model.position)
    before = model(context(), 4)
    with torch.no_grad():
        model.position[:, 2] += 1
    after = model(context(), 4)
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert not torch.allclose(after[:, 2], before[:, 2])
    assert not torch.allclose(after[:, 3], before[:, 3]), "the frame after it goes on from it"


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
    model, texts = decomposer(), context()
    texts = torch.nn.functional.layer_norm(texts, (16,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    first = identity_loss(model(texts, 4), texts).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = identity_loss(model(texts, 4), texts)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 < first


def test_one_text_for_several_frames() -> None:
    states = torch.arange(5.0).reshape(1, 5, 1, 1)
    assert one_per(states, 2).flatten().tolist() == [0.5, 0.5, 2.5, 2.5, 4.0]
    assert one_per(states, 5).flatten().tolist() == [2.0] * 5
    assert torch.equal(one_per(states, 1), states)
