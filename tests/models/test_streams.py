import numpy as np
import torch

from models.streams import Streams
from tests.tolerance import STANDARD_ERRORS, bound


def test_a_draw_depends_on_its_key_alone() -> None:
    streams = Streams(7)
    alone = streams.normal("noise", 3, 5, 1, shape=(4, 8, 8))
    streams.normal("noise", 0, 0, 0, shape=(64,))
    np.testing.assert_array_equal(streams.normal("noise", 3, 5, 1, shape=(4, 8, 8)), alone)
    np.testing.assert_array_equal(Streams(7).normal("noise", 3, 5, 1, shape=(4, 8, 8)), alone)


def test_every_part_of_the_key_counts() -> None:
    draws = [
        Streams(seed).normal(stream, *key, shape=(8,)).tobytes()
        for seed in (0, 1, 2**32, 2**32 + 1)
        for stream in ("noise", "prompt")
        for key in ((), (0,), (1,), (0, 1), (1, 0), (10,))
    ]
    assert len(set(draws)) == len(draws)


def test_draws_have_the_law_they_claim() -> None:
    streams = Streams(0)
    values = streams.normal("law", shape=(200_000,))
    assert values.dtype == np.float32
    assert abs(values.mean()) < STANDARD_ERRORS / len(values) ** 0.5
    assert abs(values.std() - 1) < STANDARD_ERRORS / (2 * len(values)) ** 0.5
    assert {streams.integers("law", k, high=3) for k in range(40)} == {0, 1, 2}
    uniform = [streams.uniform("law", k, low=2, high=3) for k in range(200)]
    assert all(2 <= value < 3 for value in uniform)
    assert abs(np.mean(uniform) - 2.5) < STANDARD_ERRORS / (12 * len(uniform)) ** 0.5


def test_draws_are_those_that_stored_results_were_sampled_from() -> None:
    values = Streams(0).normal("noise", 0, 0, 0, shape=(3,))
    printed = 0.5e-7  # half a unit of the last digit
    atol = printed + bound(torch.float32, 1, size=1.2)
    np.testing.assert_allclose(values, [-0.9124732, -0.0423325, 1.1904154], rtol=0, atol=atol)
