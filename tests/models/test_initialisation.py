"""Weights of new parts: torch's law, drawn by name."""

import torch
from torch import nn

from models.initialisation import initialise
from models.streams import Streams
from tests.tolerance import STANDARD_ERRORS


def block() -> nn.Sequential:
    last = nn.Linear(64, 64)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(64, 128), nn.LayerNorm(128), nn.Conv2d(128, 64, 3), last)


def test_layers_are_drawn_from_torchs_own_law() -> None:
    drawn = block()
    initialise({"part": drawn}, Streams(0))
    for layer, bound in ((drawn[0], 64**-0.5), (drawn[2], (128 * 9) ** -0.5)):
        for values in (layer.weight, layer.bias):
            assert values.abs().max() <= bound
        # The square of a uniform value has a spread of 0.8 ** 0.5 of its mean, its root half of that.
        expected, error = bound / 3**0.5, 0.5 * (0.8 / layer.weight.numel()) ** 0.5
        assert abs(layer.weight.std().item() / expected - 1) < STANDARD_ERRORS * error
    assert not drawn[3].weight.any(), "what a part sets to zero stays zero"
    assert torch.equal(drawn[1].weight, torch.ones(128))


def test_a_draw_depends_on_seed_and_name_alone() -> None:
    one, beside, other_seed = block(), block(), block()
    initialise({"part": one}, Streams(3))
    initialise({"another": block(), "part": beside}, Streams(3))
    initialise({"part": other_seed}, Streams(4))
    assert torch.equal(one[0].weight, beside[0].weight)
    assert not torch.equal(one[0].weight, other_seed[0].weight)
