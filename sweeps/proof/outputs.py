"""Behaviour of a system on a small base: clips sampled from fixed streams, loss, and tensors that get gradients."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch

from models.backbones import Base
from models.bases import Protocol
from models.contracts import Clips, FurtherReader, TrainedModel, VideoModel
from models.predictor import PREDICTED
from models.streams import Draws, Streams
from models.system import System
from sweeps.proof.calls import traced
from trainables.files import json_hash

TINY = Protocol(clips=2, frames=4, steps=1, guidance=1.0, height=32, width=32)
_PROMPTS = ("a red circle moves right, then drops", "a blue cross")
_SEED = 0
_AWAY_FROM_ZERO = 0.05
_TRAINED_ON = (2, TINY.frames, 3, 128, 128)
"""Shape of clips that are 2 x 2 at the deepest level: with a single token, queries and keys get no gradient."""


@dataclass(frozen=True)
class Behaviour:
    """Behaviour of a system on a small base.

    Args:
        video: Clips sampled for fixed prompts from fixed streams.
        loss: Loss on a fixed batch; None for systems without training.
        called: Functions of ``models`` that ran.
        trained: Names of trained tensors.
        without_gradient: Names of trained tensors that no gradient reached.
    """

    video: torch.Tensor
    loss: float | None
    called: frozenset[str]
    trained: frozenset[str]
    without_gradient: tuple[str, ...]


def behaviour_of(tree: System, base: Base) -> tuple[Behaviour | None, str]:
    """Run a system on a small base; return its behaviour, or None and the reason why it cannot be built.

    Zero-initialised weights, with which a new part changes nothing before training, are set to small random values, the
    same in every arm: otherwise such parts would seem to have no effect.
    """
    try:
        with _one_thread(), traced() as called:
            further = tree.arranged({name: _further(_named(name, tree)) for name in tree.further_texts})
            model = tree.build(base, _SEED)
            network = cast(TrainedModel, model).network if tree.is_trained else None
            if network is not None:
                _move_away_from_zero(network)
            loss, unreached = (None, ()) if network is None else _gradients(cast(TrainedModel, model), further)
            video = _sampled(tree, model, further)
    except ValueError as error:
        return None, str(error)
    trained = () if network is None else (name for name, weight in network.named_parameters() if weight.requires_grad)
    return Behaviour(video, loss, frozenset(called), frozenset(trained), unreached), ""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, so that sums have a fixed order and equal models give bitwise equal outputs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _named(name: str, tree: System) -> str:
    """Name a further text; a predicted one by who predicts it, since the predictor itself does not run in the proof."""
    return f"by {json_hash(repr(tree.predictor), 6)}" if name == PREDICTED else name


def _further(name: str) -> list[str]:
    """Make a further text of each clip that differs from its prompt and by its name."""
    return [f"{name}: {prompt}; {prompt} at last" for prompt in _PROMPTS]


def _sampled(tree: System, model: VideoModel, further: Mapping[str, Sequence[str]]) -> torch.Tensor:
    if tree.further_texts:
        return cast(FurtherReader, model).sample(_PROMPTS, Streams(_SEED), TINY, _given(tree), further).video
    return model.sample(_PROMPTS, Streams(_SEED), TINY, _given(tree)).video


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


def _gradients(model: TrainedModel, further: Mapping[str, Sequence[str]]) -> tuple[float | None, tuple[str, ...]]:
    """Return the loss on a fixed batch, and the names of trained tensors without gradient."""
    network = model.network
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    if not any(True for _ in network.parameters()):
        return None, ()
    video = torch.rand(_TRAINED_ON, generator=torch.Generator().manual_seed(_SEED)) * 2 - 1
    batch = model.batch(model.encode(Clips(video, _PROMPTS, further)), Draws(Streams(_SEED), range(len(video))))
    with torch.set_grad_enabled(bool(trained)):
        loss = network(**batch)
    if trained:
        loss.backward()
    return float(loss.detach()), tuple(
        name for name, weight in trained.items() if weight.grad is None or not weight.grad.any()
    )


def difference_of(output: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest absolute difference of two outputs."""
    return float((output - other).abs().max())
