"""Builds control and arms, on the meta device and on a small base, and compares them."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.backbones import Base, networks_on_meta
from models.system import Part, System
from sweeps.plan import Plan
from sweeps.plan.arms import Arm
from sweeps.proof.calls import shown, wrong_calls
from sweeps.proof.outputs import Behaviour, behaviour_of, difference_of
from sweeps.proof.parameters import Counts, grouped, missing, size_of
from sweeps.proof.types import ArmProof


@dataclass(frozen=True)
class Examined:
    """A system with its size and behaviour, and the reasons if it cannot be built on the base or on the small base.

    Args:
        tree: The system.
        size: Size on the base.
        build_error: Reason why it cannot be built on the base; empty if it can.
        behaviour: Behaviour on the small base; None if it did not run.
        run_error: Reason why it did not run; empty if it did.
    """

    tree: System
    size: Counts
    build_error: str
    behaviour: Behaviour | None
    run_error: str


def prove(plan: Plan) -> tuple[ArmProof, ...]:
    """Make the proofs of a plan's arms, the control first."""
    protocol = plan.cells[0].spec.protocol

    @functools.cache
    def networks_of(system: type[System], base: str, text_encoder: str) -> Mapping[str, Any]:
        return networks_on_meta(system.find_base(base, text_encoder))

    @functools.cache
    def tiny(system: type[System]) -> Base:
        return system.family.implementation().tiny()

    def examine(arm: Arm) -> Examined:
        system = type(arm.system)
        size = size_of(arm.system, networks_of(system, arm.base, arm.text_encoder), protocol)
        return Examined(arm.system, *size, *behaviour_of(arm.system, tiny(system)))

    examined = [examine(arm) for arm in plan.arms]
    return tuple(_proof(arm.id, examined[0], variant) for arm, variant in zip(plan.arms, examined, strict=True))


def _proof(arm: str, control: Examined, variant: Examined) -> ArmProof:
    """Compare an arm with the control; parts and tensors of another system are compared with none of the control's."""
    size, own, before, after = control.size, variant.size, control.behaviour, variant.behaviour
    problems = [f"cannot be built on the base: {variant.build_error}"] if variant.build_error else []
    remarks: list[str] = []
    difference, comparable = None, type(variant.tree) is type(control.tree)
    if before is None or after is None:
        error = control.run_error or variant.run_error
        remarks += [] if variant.build_error else [f"not run on the small base: {error}"]
    else:
        difference = difference_of(before.video, after.video)
        origin = control.tree if comparable else variant.tree
        differs = variant.tree != origin
        problems += _no_change(origin, variant.tree, before, after, difference, remarks) if differs else []
        problems += wrong_calls(origin, variant.tree, after.called, denoises=bool(own.parameters))
        new = set(after.without_gradient) - set(before.without_gradient) if differs else after.without_gradient
        problems += [f"no gradient reaches trained tensors: {shown(sorted(new))}"] if new else []
    return ArmProof(
        arm=arm,
        parameters=own.num_parameters,
        flops=own.flops,
        delta_parameters=own.num_parameters - size.num_parameters,
        delta_flops=own.flops - size.flops,
        gone=grouped(missing(size.parameters, own.parameters)) if comparable else {},
        added=grouped(missing(own.parameters, size.parameters)) if comparable else {},
        no_more_called=tuple(sorted(before.called - after.called)) if before and after and comparable else (),
        newly_called=tuple(sorted(after.called - before.called)) if before and after and comparable else (),
        difference=difference,
        num_trained=len(after.trained) if after else 0,
        without_gradient=after.without_gradient if after else (),
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _no_change(
    control: System, tree: System, before: Behaviour, after: Behaviour, difference: float, remarks: list[str]
) -> list[str]:
    """Word the problem of an arm without effect; a change of the training alone gives a remark instead."""
    if difference > 0 or before.trained != after.trained:
        return []
    if all(_acts_in_training(tree, path) for path in _changed(control, tree)):
        remarks.append("changes the training only, not the model")
        return []
    return ["changes nothing: same outputs on a fixed batch and same trained tensors as the control"]


def _changed(control: System, tree: System) -> list[str]:
    """Return the dotted paths in which two systems differ; a slot with another kind counts as one path."""
    values, others = control.model_dump(mode="json"), tree.model_dump(mode="json")
    paths = []
    for name, value in values.items():
        other = others[name]
        if value == other:
            continue
        same_kind = isinstance(value, dict) and value.get("kind") == other.get("kind")
        paths += [f"{name}.{key}" for key in value if value[key] != other.get(key)] if same_kind else [name]
    return paths


def _acts_in_training(tree: System, path: str) -> bool:
    slot, _, value = path.partition(".")
    part = getattr(tree, slot)
    return slot in tree.in_training or (isinstance(part, Part) and value in part.in_training)
