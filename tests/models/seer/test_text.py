"""The frame-sequential text decomposer: shapes, causality, the warm-up towards the instruction's own text."""

import pytest
import torch

from models.bases.stable_diffusion import StableDiffusion
from models.seer import Seer
from models.seer.text import FrameSequentialText, GlobalText, GroupedText, identity_loss, warm_up
from models.streams import Streams
from tests.tolerance import bound, in_float64, network_bound


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


@in_float64()
@pytest.mark.parametrize("frames", [1, 3, 4, 8, 12, 15, 16, 17, 24, 40])
def test_positions_for_other_numbers_of_frames_are_the_nearest_or_lie_between(frames: int) -> None:
    rows = torch.arange(16.0)[None, :, None, None].expand(1, 16, 5, 16)  # row i is i everywhere
    for interpolation in ("nearest", "linear"):
        model = FrameSequentialText(16, 5, num_layers=1, num_heads=2, interpolation=interpolation)
        with torch.no_grad():
            model.position.copy_(rows)
        found = model._positions(frames)
        assert found.shape == (1, frames, 5, 16)
        nearest = [i * 16 // frames for i in range(frames)]
        linear = [min(max((i + 0.5) * 16 / frames - 0.5, 0.0), 15.0) for i in range(frames)]
        expected = nearest if interpolation == "nearest" else linear
        torch.testing.assert_close(
            found[0, :, 2, 3], torch.tensor(expected, dtype=found.dtype), rtol=0, atol=bound(torch.float64, 8, size=16)
        )


@pytest.mark.parametrize("kind", ["frame_sequential", "constant", "grouped"])
def test_every_kind_of_decomposer_passes_its_interpolation_on(kind: str) -> None:
    modules = [
        Seer().edit({"text_decomposer": {"kind": kind, "num_layers": 1, **changed}}).text_decomposer.build(16, 5)
        for changed in ({}, {"position_interpolation": "linear"})
    ]
    assert [module.interpolation for module in modules] == ["nearest", "linear"]


@pytest.mark.parametrize("kind", ["frame_sequential", "constant", "grouped"])
def test_the_warm_up_of_a_model_is_over_the_studys_frames(kind: str, tiny_base: StableDiffusion) -> None:
    changes = {"text_decomposer": {"kind": kind, "num_layers": 1, "num_heads": 2, "identity_steps": 2}}
    model = Seer().edit(changes).build(tiny_base, 0)
    seen: list[int] = []
    model.network.text.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    assert model.prepare(["a red circle", "a blue cross"], 12).keys() == {"identity_loss"}
    assert seen == [12] * 3, "two steps, and the loss that is reported"


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
