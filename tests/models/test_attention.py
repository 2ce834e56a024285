from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import CrossFrameAttnProcessor

from models.attention import FrameMixProcessor, first_frame, moving_average, previous_frame, self_attention_layers
from models.backbones import attached
from tests.tolerance import bound, in_float64, network_bound

FRAMES = 5
WIDTH = 16
ROUNDING = bound(torch.float64, 2 * 5 * WIDTH, size=WIDTH)
"""Rounding of one layer, computed twice: four projections and a mix of frames, each a sum of at most WIDTH products."""


def tokens(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def layer(**options: Any) -> Attention:
    torch.manual_seed(0)
    return Attention(query_dim=16, heads=4, dim_head=4, **options).eval().requires_grad_(False)


# ---------------------------------------------------------------------------------------------------------- matrices


@pytest.mark.parametrize("mu", [0.0, 0.3, 0.6, 0.98, 1.0])
@pytest.mark.parametrize("num_frames", [1, 2, 8, 128])
def test_rows_sum_to_one_and_look_at_no_later_frame(mu: float, num_frames: int) -> None:
    for mix in (moving_average(num_frames, mu), previous_frame(num_frames, mu), first_frame(num_frames)):
        assert mix.shape == (num_frames, num_frames)
        assert mix.dtype == torch.float32
        # The weights are rounded to float32 once, that of the previous frames twice; sums are in float64.
        total = torch.ones(num_frames, dtype=torch.float64)
        torch.testing.assert_close(mix.double().sum(dim=1), total, rtol=0, atol=bound(torch.float32, 2))
        assert torch.equal(mix, mix.tril())
        assert (mix >= 0).all()
        assert mix[0, 0] == 1


@pytest.mark.parametrize("mu", [0.0, 0.3, 0.98, 1.0])
@in_float64()
def test_the_matrix_is_the_moving_average_frame_by_frame(mu: float) -> None:
    keys = tokens(8, 7)
    averages = [keys[0]]
    for key in keys[1:]:
        averages.append(mu * averages[-1] + (1 - mu) * key)
    torch.testing.assert_close(moving_average(8, mu) @ keys, torch.stack(averages), rtol=0, atol=ROUNDING)


def test_the_ends_of_momentum_are_exact() -> None:
    assert torch.equal(moving_average(8, 0.0), torch.eye(8))
    assert torch.equal(moving_average(8, 1.0), first_frame(8))
    assert torch.equal(previous_frame(8, 0.0), torch.eye(8))
    assert torch.equal(previous_frame(8, 1.0), torch.eye(8)[[0, *range(7)]])


def test_the_weight_of_the_first_frame_is_the_papers() -> None:
    mix = moving_average(16, 0.98)
    torch.testing.assert_close(
        mix[[1, 3, 7, 15], 0], torch.tensor([0.98, 0.94, 0.87, 0.74]), rtol=0, atol=5e-3
    )  # two digits


# ---------------------------------------------------------------------------------------------------------- processor


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (10, 6, 16)),
        ({"bias": True, "out_bias": False}, (10, 6, 16)),
        ({"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 1.7}, (10, 6, 16)),
        ({"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 0.5}, (10, 16, 2, 3)),
        ({"qk_norm": "layer_norm"}, (10, 6, 16)),
    ],
)
@in_float64()
def test_with_the_identity_it_is_diffusers_own_attention(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    attention, states = layer(**options), tokens(*shape)
    mask = torch.zeros(10, 1, 6).masked_fill(tokens(10, 1, 6) > 1, -1e4)
    for given in (None, mask):
        attention.set_processor(AttnProcessor2_0())
        expected = attention(states, attention_mask=given)
        attention.set_processor(FrameMixProcessor(torch.eye(FRAMES)))
        torch.testing.assert_close(attention(states, attention_mask=given), expected, rtol=0, atol=ROUNDING)


@in_float64()
def test_first_frame_attention_is_diffusers_own_cross_frame_attention() -> None:
    attention, states = layer(), tokens(2 * FRAMES, 6, 16)
    attention.set_processor(CrossFrameAttnProcessor(batch_size=2))
    expected = attention(states)
    for mix in (first_frame(FRAMES), moving_average(FRAMES, 1.0)):
        attention.set_processor(FrameMixProcessor(mix))
        torch.testing.assert_close(attention(states), expected, rtol=0, atol=ROUNDING)


@in_float64()
def test_it_is_the_formula_written_out_clip_by_clip_and_frame_by_frame() -> None:
    attention, states, mu = layer(), tokens(2 * FRAMES, 6, 16), 0.7
    attention.set_processor(FrameMixProcessor(moving_average(FRAMES, mu)))
    expected = []
    for clip in states.split(FRAMES):
        key, value = attention.to_k(clip[0]), attention.to_v(clip[0])
        for frame in clip:
            key = mu * key + (1 - mu) * attention.to_k(frame)
            value = mu * value + (1 - mu) * attention.to_v(frame)
            q, k, v = (part.unflatten(-1, (4, 4)).transpose(0, 1) for part in (attention.to_q(frame), key, value))
            heads = (q @ k.transpose(1, 2) / 4**0.5).softmax(dim=-1) @ v
            expected.append(attention.to_out[0](heads.transpose(0, 1).flatten(1)))
    torch.testing.assert_close(attention(states), torch.stack(expected), rtol=0, atol=ROUNDING)


def test_clips_do_not_mix_and_frame_0_sees_no_other_frame() -> None:
    attention, states = layer(), tokens(2, FRAMES, 6, 16)
    attention.set_processor(FrameMixProcessor(moving_average(FRAMES, 0.9)))
    before = attention(states.flatten(0, 1)).unflatten(0, (2, FRAMES))
    states[0, 1:] += 1
    after = attention(states.flatten(0, 1)).unflatten(0, (2, FRAMES))
    assert torch.equal(after[1], before[1])
    assert torch.equal(after[0, 0], before[0, 0])
    assert (after[0, 1:] - before[0, 1:]).abs().amax(dim=(1, 2)).min() > 1e-3


def test_half_precision_keeps_rows_that_sum_to_one() -> None:
    attention, states = layer().to(torch.bfloat16), torch.ones(32, 6, 16, dtype=torch.bfloat16)
    attention.set_processor(AttnProcessor2_0())
    expected = attention(states)
    attention.set_processor(FrameMixProcessor(moving_average(32, 0.98)))
    assert torch.equal(attention(states), expected)


# ------------------------------------------------------------------------------------------------------- any U-Net

SMALL: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 8,
    "attention_head_dim": 2,
}
UNETS: dict[str, dict[str, Any]] = {
    "sd": {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    },
    "linear projections": {
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
        "use_linear_projection": True,
        "transformer_layers_per_block": 2,
        "upcast_attention": True,
    },
    "bare attention": {
        "down_block_types": ("AttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "AttnUpBlock2D"),
    },
}


@in_float64()
@pytest.mark.parametrize("name", UNETS)
def test_it_fits_any_unet(name: str) -> None:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**SMALL, **UNETS[name]).eval().requires_grad_(False)
    call = (tokens(2 * FRAMES, 4, 8, 8), torch.tensor(7), tokens(2 * FRAMES, 3, 8))
    expected = unet(*call).sample.unflatten(0, (2, FRAMES))
    layers, rounding = self_attention_layers(unet), network_bound(unet)
    assert layers
    assert layers.keys() <= unet.attn_processors.keys()
    assert not any(module.is_cross_attention for module in layers.values())

    with attached(unet, dict.fromkeys(layers, FrameMixProcessor(moving_average(FRAMES, 0.0)))):
        torch.testing.assert_close(unet(*call).sample.unflatten(0, (2, FRAMES)), expected, rtol=0, atol=rounding)
    with attached(unet, dict.fromkeys(layers, FrameMixProcessor(first_frame(FRAMES)))):
        mixed = unet(*call).sample.unflatten(0, (2, FRAMES))
    torch.testing.assert_close(mixed[:, 0], expected[:, 0], rtol=0, atol=rounding)
    assert (mixed[:, 1:] - expected[:, 1:]).abs().amax(dim=(2, 3, 4)).min() > 1e-5
    assert torch.equal(unet(*call).sample.unflatten(0, (2, FRAMES)), expected)


def test_attached_parts_go_even_when_something_fails() -> None:
    unet = UNet2DConditionModel(**SMALL, **UNETS["sd"])
    before = unet.attn_processors
    mixing = dict.fromkeys(self_attention_layers(unet), FrameMixProcessor(first_frame(FRAMES)))
    with pytest.raises(RuntimeError, match="to have 4 channels"), attached(unet, mixing):
        unet(tokens(FRAMES, 5, 8, 8), 7, tokens(FRAMES, 3, 8))
    assert all(processor is before[name] for name, processor in unet.attn_processors.items())
    with pytest.raises(AssertionError, match="no such attention layers"), attached(unet, {"nowhere": None}):
        pass
