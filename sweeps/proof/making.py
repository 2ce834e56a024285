"""Build control and arms, small and without weights, and look at what they are and do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from models import SYSTEMS
from models.backbones import Base, networks_on_meta
from models.bases import Protocol, find_base
from models.contracts import Clips, MetaDenoiser, TrainedModel
from models.streams import Draws, Streams
from models.system import Part, System
from sweeps.plan import Plan
from sweeps.proof import ArmProof
from sweeps.proof.tracing import traced

TINY = Protocol(clips=2, frames=4, steps=1, guidance=1.0, height=32, width=32)
_PROMPTS = ("a red circle moves right, then drops", "a blue cross")
_SEED = 0
_AWAY_FROM_ZERO = 0.05
_TRAINED_ON = (2, TINY.frames, 3, 128, 128)
"""Clips that are 2 x 2 at the deepest level: over one token, attention gives its queries and keys no gradient."""


@dataclass(frozen=True)
class Size:
    """What a tree denoises with, at the base's size: parameters by name, and operations of one pass."""

    parameters: dict[str, int] = field(default_factory=dict)
    flops: int = 0

    @property
    def num_parameters(self) -> int:
        """All of them."""
        return sum(self.parameters.values())


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


@dataclass(frozen=True)
class Seen:
    """A tree, what it is and what it did; and why not, where it could not be built on the base, or at tiny width."""

    tree: System
    size: Size
    unbuilt: str
    did: Behaviour | None
    not_run: str


def prove(plan: Plan) -> tuple[ArmProof, ...]:
    """What each arm of a plan changes, the control first."""
    family = SYSTEMS[plan.study.system].family
    networks, base = networks_on_meta(find_base(plan.study.base, family)), family.implementation().tiny()
    protocol = plan.cells[0].spec.protocol
    seen = [
        Seen(arm.system, *size_of(arm.system, networks, protocol), *behaviour_of(arm.system, base)) for arm in plan.arms
    ]
    return tuple(_proof(arm.id, seen[0], one) for arm, one in zip(plan.arms, seen, strict=True))


# --------------------------------------------------------------------------------------------- what it is, what it does


def size_of(tree: System, networks: Mapping[str, Any], protocol: Protocol) -> tuple[Size, str]:
    """Parameters and operations on the meta device; or why it cannot be built on the base.

    Args:
        tree: Built on the networks.
        networks: The base's, on the meta device.
        protocol: Frames and size of a clip.
    """
    try:
        denoiser = tree.denoiser_on_meta(networks, protocol)
        return (Size(), "") if denoiser is None else (_counted(denoiser), "")
    except ValueError as error:
        return Size(), str(error)


def _counted(denoiser: MetaDenoiser) -> Size:
    counted = {
        f"{name}.{inner}": weight.numel()
        for name, module in denoiser.modules.items()
        for inner, weight in module.named_parameters()
    }
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser.denoise_clip()
    return Size(counted, int(counter.get_total_flops()))


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


# ------------------------------------------------------------------------------------------------------------- verdicts


def _proof(arm: str, control: Seen, seen: Seen) -> ArmProof:
    """One arm's proof, from what it and the control are and do."""
    size, own, before, after = control.size, seen.size, control.did, seen.did
    problems = [f"it cannot be built on the base: {seen.unbuilt}"] if seen.unbuilt else []
    remarks: list[str] = []
    difference = None
    if before is None or after is None:
        remarks += [] if seen.unbuilt else [f"not run at tiny width: {control.not_run or seen.not_run}"]
    else:
        difference = _difference(before.video, after.video)
        other = seen.tree != control.tree
        problems += _nothing_changes(control.tree, seen.tree, before, after, difference, remarks) if other else []
        problems += _wrong_calls(control.tree, seen.tree, after, denoises=bool(own.parameters))
        new = set(after.without_gradient) - set(before.without_gradient) if other else after.without_gradient
        problems += [f"no gradient reaches {_shown(sorted(new))}, which are trained"] if new else []
    return ArmProof(
        arm=arm,
        parameters=own.num_parameters,
        flops=own.flops,
        delta_parameters=own.num_parameters - size.num_parameters,
        delta_flops=own.flops - size.flops,
        gone=_grouped(_missing(size.parameters, own.parameters)),
        added=_grouped(_missing(own.parameters, size.parameters)),
        no_more_called=tuple(sorted(before.called - after.called)) if before and after else (),
        newly_called=tuple(sorted(after.called - before.called)) if before and after else (),
        difference=difference,
        num_trained=len(after.trained) if after else 0,
        without_gradient=after.without_gradient if after else (),
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _grouped(parameters: Mapping[str, int], depth: int = 4) -> dict[str, int]:
    """Parameters by the path of what they are in, no deeper than some steps."""
    groups: dict[str, int] = {}
    for name, count in parameters.items():
        path = ".".join(name.split(".")[:-1][:depth])
        groups[path] = groups.get(path, 0) + count
    return groups


def _missing(there: Mapping[str, int], here: Mapping[str, int]) -> dict[str, int]:
    """What is there and not here, a tensor of another size included."""
    return {name: count for name, count in there.items() if here.get(name) != count}


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def _nothing_changes(
    control: System, tree: System, before: Behaviour, after: Behaviour, difference: float, remarks: list[str]
) -> list[str]:
    """That an arm does what the control does, where it is not only trained in another way."""
    if difference > 0 or before.trained != after.trained:
        return []
    if all(path.startswith("training.") or _acts_in_training(tree, path) for path in _changed(control, tree)):
        remarks.append("it changes how the model is trained, and nothing of the model")
        return []
    return ["it changes nothing: the same outputs as the control on a fixed batch, and the same tensors trained"]


def _changed(control: System, tree: System) -> list[str]:
    """The paths in which two trees differ; a slot with another kind is one."""
    here, there = control.model_dump(mode="json"), tree.model_dump(mode="json")
    paths = []
    for name, value in here.items():
        other = there[name]
        if value == other:
            continue
        same_kind = isinstance(value, dict) and value.get("kind") == other.get("kind")
        paths += [f"{name}.{key}" for key in value if value[key] != other.get(key)] if same_kind else [name]
    return paths


def _acts_in_training(tree: System, path: str) -> bool:
    slot, _, value = path.partition(".")
    part = getattr(tree, slot)
    return isinstance(part, Part) and value in part.in_training


def _wrong_calls(control: System, tree: System, after: Behaviour, *, denoises: bool) -> list[str]:
    """What runs though it was taken away, and, if anything is denoised, what is there and does not run."""
    problems = []
    others = {call for slot in tree.slots() for call in getattr(tree, slot).calls}
    for slot in control.slots():
        one, other = getattr(control, slot), getattr(tree, slot)
        if left := (set(one.calls) - others) & after.called:
            problems.append(f"{slot}={one.kind} was taken away and still runs: {_shown(sorted(left))}")
        if denoises and (idle := set(other.calls) - after.called):
            problems.append(f"{slot}={other.kind} is there and never runs: {_shown(sorted(idle))}")
    return problems


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
