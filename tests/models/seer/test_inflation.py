"""The invariants of Seer's inflated U-Net, on the tiny base: identity at first, causality, pooling, removal."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from models.backbones import Base
from models.rotary import rotate
from models.seer.inflation import FrameCount, FrameGroupNorm, InflatedUNet, PooledGroupNorm
from models.seer.temporal import FrameConcatenation, TemporalTransformer, WindowAttention
from models.seer.windows import Mask, Side, everything, fixed_side, frame_causal, scaled_side, token_causal
from tests.tolerance import bound, in_float64, network_bound

Mixer = Callable[[int], nn.Module]
KINDS: dict[str, Mixer] = {
    "scaled autoregressive window": lambda dim: attention(dim, scaled_side(8), token_causal),
    "frame-block-causal": lambda dim: attention(dim, scaled_side(8), frame_causal),
    "full window": lambda dim: attention(dim, scaled_side(8), everything),
    "fixed window": lambda dim: attention(dim, fixed_side(4), token_causal),
    "temporal only, causal": lambda dim: attention(dim, fixed_side(1), token_causal),
    "temporal only": lambda dim: attention(dim, fixed_side(1), everything),
    "concatenation": FrameConcatenation,
}
CAUSAL = [kind for kind in KINDS if kind not in ("full window", "temporal only")]


def attention(dim: int, side: Side, mask: Mask) -> WindowAttention:
    return WindowAttention(dim, side, mask, num_heads=2)


def transformer(kind: str, dim: int) -> TemporalTransformer:
    return TemporalTransformer(dim, KINDS[kind](dim), FrameGroupNorm(nn.GroupNorm(4, dim), FrameCount()))


def inflated(base: Base, kind: str | None, *, pooled: bool = False, trained: bool = False) -> InflatedUNet:
    torch.manual_seed(0)
    unet = copy.deepcopy(base.unet)
    norm = PooledGroupNorm if pooled else FrameGroupNorm
    model = InflatedUNet(unet, None if kind is None else partial(transformer, kind), norm)
    if trained:
        for parameter in model.temporal_parameters():
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


def inputs(frames: int = 3, side: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(2, frames, 4, side, side, generator=draw)
    return latents, torch.tensor([10, 500]), torch.randn(2, frames, 77, 16, generator=draw)


def frame_by_frame(base: Base, latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    frames = [base.unet(latents[:, f], time, text[:, f]).sample for f in range(latents.shape[1])]
    return torch.stack(frames, dim=1)


@torch.inference_mode()
@pytest.mark.parametrize("kind", [None, *KINDS])
def test_before_training_it_is_the_image_model(kind: str | None, float64_base: Base) -> None:
    expected, model = frame_by_frame(float64_base, *inputs()), inflated(float64_base, kind)
    rounding = network_bound(model, size=float(expected.abs().max()))
    torch.testing.assert_close(model(*inputs()), expected, rtol=0, atol=rounding)
    one = inputs(frames=1)
    pooled = inflated(float64_base, kind, pooled=True)(*one)
    torch.testing.assert_close(pooled, frame_by_frame(float64_base, *one), rtol=0, atol=rounding)


@torch.inference_mode()
def test_pooled_norms_couple_frames_also_without_temporal_parts(tiny_base: Base) -> None:
    latents, time, text = inputs()
    changed = latents.clone()
    changed[:, 0] += 1
    for pooled in (False, True):
        model = inflated(tiny_base, None, pooled=pooled)
        before, after = model(latents, time, text), model(changed, time, text)
        assert torch.equal(before[:, 1:], after[:, 1:]) != pooled
        assert not torch.equal(before[:, 0], after[:, 0])


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_a_reference_frame_reaches_the_frames_after_it(kind: str, tiny_base: Base) -> None:
    model = inflated(tiny_base, kind, trained=True)
    latents, time, text = inputs()
    changed = latents.clone()
    changed[:, 0] += 1
    assert not torch.allclose(model(latents, time, text)[:, 1], model(changed, time, text)[:, 1], atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_the_future_reaches_no_frame_where_the_kind_is_causal(kind: str, float64_base: Base) -> None:
    model = inflated(float64_base, kind, trained=True)
    latents, time, text = inputs()
    changed = latents.clone()
    changed[:, 2] += 1
    before, after = model(latents, time, text), model(changed, time, text)
    change = float((before - after)[:, :2].abs().max())
    if kind in CAUSAL:
        assert change <= network_bound(model, size=float(before.abs().max()))
    else:
        assert change > 1e-6


@torch.inference_mode()
def test_every_frame_reads_its_own_text(tiny_base: Base) -> None:
    model = inflated(tiny_base, None)
    latents, time, text = inputs()
    changed = text.clone()
    changed[:, 1] += 1
    before, after = model(latents, time, text), model(latents, time, changed)
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.equal(before[:, 1], after[:, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_temporal_parameter(kind: str, tiny_base: Base) -> None:
    model = inflated(tiny_base, kind, trained=True)
    model(*inputs()).square().mean().backward()
    assert model.temporal_parameters()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.temporal_parameters())
    assert sum(float(p.grad.abs().sum()) > 0 for p in model.temporal_parameters() if p.grad is not None) > 0


def test_what_is_added_stands_behind_every_spatial_transformer(tiny_base: Base) -> None:
    count = sum(type(module).__name__ == "Transformer2DModel" for module in tiny_base.unet.modules())
    model = inflated(tiny_base, "full window")
    assert sum(type(module).__name__ == "TemporalTransformer" for module in model.modules()) == count > 0
    added = sum(parameter.numel() for parameter in model.temporal_parameters())
    own = sum(parameter.numel() for parameter in tiny_base.unet.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == own + added
    removed = inflated(tiny_base, None)
    assert removed.temporal_parameters() == []
    assert sum(parameter.numel() for parameter in removed.parameters()) == own


@in_float64()
def test_turning_depends_on_distances_alone() -> None:
    q, k = (torch.randn(1, 2, 5, 40, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    place = torch.tensor([[[0, 3, 4, 9, 12]]])
    scores = rotate(q, place) @ rotate(k, place).mT
    # Angles of up to 19 turn by 19 u as they are rounded, both of a pair; 40 products of normal values are summed.
    rounding = bound(torch.float64, 2 * (2 * 19 + 4 + 40), size=40)
    torch.testing.assert_close(rotate(q, place + 7) @ rotate(k, place + 7).mT, scores, rtol=0, atol=rounding)
    torch.testing.assert_close(rotate(q, place).norm(dim=-1), q.norm(dim=-1), rtol=0, atol=rounding)
    assert torch.equal(rotate(q, place)[..., 32:], q[..., 32:])


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide 8 channels"):
        WindowAttention(8, fixed_side(1), everything, num_heads=3)
