"""What a tree does at tiny width: the clips it draws from fixed streams, its loss, and which tensors learn."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch

from models.backbones import Base
from models.bases import Protocol
from models.contracts import Clips, TrainedModel
from models.streams import Draws, Streams
from models.system import System
from sweeps.proof.calls import traced

TINY = Protocol(clips=2, frames=4, steps=1, guidance=1.0, height=32, width=32)
_PROMPTS = ("a red circle moves right, then drops", "a blue cross")
_SEED = 0
_AWAY_FROM_ZERO = 0.05
_TRAINED_ON = (2, TINY.frames, 3, 128, 128)
"""Clips that are 2 x 2 at the deepest level: over one token, attention gives its queries and keys no gradient."""


@dataclass(frozen=True)
class Behaviour:
    """What a tree did at tiny width.

    Args:
        video: Clips drawn for fixed prompts from fixed streams.
        loss: Of a fixed batch, for a system that is trained.
        called: Functions of ``models`` that ran.
        trained: Names of trained tensors.
        without_gradient: Of these, those that no gradient reached.
    """

    video: torch.Tensor
    loss: float | None
    called: frozenset[str]
    trained: frozenset[str]
    without_gradient: tuple[str, ...]


def behaviour_of(tree: System, base: Base) -> tuple[Behaviour | None, str]:
    """What a tree does on a tiny base; or why it cannot be built there.

    What starts at zero so as to change nothing before it is trained is moved away from it, by the same draws in every
    arm: else parts that are wholly there would look as if they were not.
    """
    try:
        with _one_thread(), traced() as called:
            model = tree.build(base, _SEED)
            network = cast(TrainedModel, model).network if tree.is_trained else None
            if network is not None:
                _move_away_from_zero(network)
            loss, unreached = (None, ()) if network is None else _gradients(cast(TrainedModel, model))
            video = model.sample(_PROMPTS, Streams(_SEED), TINY, _given(tree)).video
    except ValueError as error:
        return None, str(error)
    trained = () if network is None else (name for name, weight in network.named_parameters() if weight.requires_grad)
    return Behaviour(video, loss, frozenset(called), frozenset(trained), unreached), ""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that what is the same comes out the same to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _given(tree: System) -> torch.Tensor | None:
    if not tree.continues_clips:
        return None
    shape = (TINY.clips, tree.given_frames, 3, TINY.height, TINY.width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(_SEED)) * 2 - 1


@torch.no_grad()
def _move_away_from_zero(network: torch.nn.Module) -> None:
    streams = Streams(_SEED)
    for name, weight in network.named_parameters():
        if not weight.any():
            draws = streams.generator(f"proof/{name}").normal(0.0, _AWAY_FROM_ZERO, weight.shape)
            weight.copy_(torch.from_numpy(draws))


def _gradients(model: TrainedModel) -> tuple[float | None, tuple[str, ...]]:
    """The loss of a fixed batch, and the trained tensors that its gradient does not reach."""
    network = model.network
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    if not any(True for _ in network.parameters()):
        return None, ()
    video = torch.rand(_TRAINED_ON, generator=torch.Generator().manual_seed(_SEED)) * 2 - 1
    batch = model.batch(model.encode(Clips(video, _PROMPTS)), Draws(Streams(_SEED), range(len(video))))
    with torch.set_grad_enabled(bool(trained)):
        loss = network(**batch)
    if trained:
        loss.backward()
    return float(loss.detach()), tuple(
        name for name, weight in trained.items() if weight.grad is None or not weight.grad.any()
    )


def difference_of(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference of two outputs."""
    return float((one - other).abs().max())
