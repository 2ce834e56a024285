"""Convolution over a clip's feature maps: identity at first, borders, the place where it is inserted."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from einops import rearrange

from models.exvideo.convolution import ClipConvolution, PositionalConvolution


def video(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5


@pytest.mark.parametrize(
    "form",
    [{}, {"kernel": (3, 1, 1)}, {"depthwise": True}, {"start": "zero", "residual": True}, {"padding": "zeros"}],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 4, 5, 4, 6), (1, 4, 1, 4, 4), (1, 4, 3, 1, 2)])
def test_it_starts_as_the_identity_exactly(form: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    x = video(*shape)
    assert torch.equal(ClipConvolution(4, **form).double()(x), x)


def test_a_random_start_is_none() -> None:
    convolution = ClipConvolution(4, start="random")
    assert convolution.drawn
    assert not ClipConvolution(4).drawn
    assert not torch.allclose(convolution.double()(video(1, 4, 3, 4, 4)), video(1, 4, 3, 4, 4))


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_it_is_a_convolution_with_its_borders(padding: str) -> None:
    convolution = ClipConvolution(2, start="random", padding=padding).double()  # type: ignore[arg-type]
    x = video(1, 2, 4, 5, 3)
    weight, bias = convolution.conv.weight, convolution.conv.bias
    out = convolution(x)

    def inside(index: int, length: int) -> int | None:
        if 0 <= index < length:
            return index
        return None if padding == "zeros" else (-index if index < 0 else 2 * (length - 1) - index)

    for t, h, w in itertools.product(range(4), range(5), range(3)):
        expected = bias.clone()
        for taps in itertools.product(range(3), repeat=3):
            places = [inside(at + tap - 1, n) for at, tap, n in zip((t, h, w), taps, (4, 5, 3), strict=True)]
            if None not in places:
                expected = expected + weight[:, :, *taps] @ x[0, :, *places]
        torch.testing.assert_close(out[0, :, t, h, w], expected)


def test_an_axis_of_one_is_repeated() -> None:
    convolution = ClipConvolution(1, (3, 1, 1), start="random").double()
    x = video(1, 1, 1, 2, 2)
    weight = convolution.conv.weight.flatten()
    torch.testing.assert_close(convolution(x), x * weight.sum() + convolution.conv.bias)


def test_it_stands_between_position_and_temporal_block() -> None:
    torch.manual_seed(0)
    transformer = TransformerSpatioTemporalModel(2, 16, in_channels=32, cross_attention_dim=8).double().eval()
    maps, context = video(6, 32, 4, 2), video(6, 1, 8)
    indicator = torch.zeros(2, 3)
    before = transformer(maps, context, indicator, return_dict=False)[0]
    convolution = ClipConvolution(32).double()
    transformer.position_conv = PositionalConvolution(convolution, transformer)
    assert torch.equal(transformer(maps, context, indicator, return_dict=False)[0], before), (
        "an identity changes nothing"
    )

    seen: list[torch.Tensor] = []
    convolution.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0]))
    (spatial,), got = transformer.transformer_blocks, []
    spatial.register_forward_hook(lambda module, inputs, out: got.append(out))
    transformer(hidden_states=maps, encoder_hidden_states=context, image_only_indicator=indicator, return_dict=False)
    places = transformer.time_pos_embed(transformer.time_proj(torch.arange(3)).double())
    expected = rearrange(got[0], "(b f) (h w) c -> b c f h w", f=3, h=4) + places.T[None, :, :, None, None]
    torch.testing.assert_close(seen[0], expected)

    torch.nn.init.normal_(convolution.conv.weight)
    assert not torch.allclose(transformer(maps, context, indicator, return_dict=False)[0], before)
