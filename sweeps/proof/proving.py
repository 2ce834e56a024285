"""Build control and arms, small and without weights, and look at what they are and do."""

from dataclasses import dataclass

from models import SYSTEMS
from models.backbones import networks_on_meta
from models.bases import find_base
from models.system import Part, System
from sweeps.plan import Plan
from sweeps.proof.calls import shown, wrong_calls
from sweeps.proof.outputs import Behaviour, behaviour_of, difference_of
from sweeps.proof.parameters import Size, grouped, missing, size_of
from sweeps.proof.types import ArmProof


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
    return tuple(_proof(arm.id, seen[0], tree_seen) for arm, tree_seen in zip(plan.arms, seen, strict=True))


def _proof(arm: str, control: Seen, seen: Seen) -> ArmProof:
    """One arm's proof, from what it and the control are and do."""
    size, own, before, after = control.size, seen.size, control.did, seen.did
    problems = [f"it cannot be built on the base: {seen.unbuilt}"] if seen.unbuilt else []
    remarks: list[str] = []
    difference = None
    if before is None or after is None:
        remarks += [] if seen.unbuilt else [f"not run at tiny width: {control.not_run or seen.not_run}"]
    else:
        difference = difference_of(before.video, after.video)
        other = seen.tree != control.tree
        problems += _nothing_changes(control.tree, seen.tree, before, after, difference, remarks) if other else []
        problems += wrong_calls(control.tree, seen.tree, after.called, denoises=bool(own.parameters))
        new = set(after.without_gradient) - set(before.without_gradient) if other else after.without_gradient
        problems += [f"no gradient reaches {shown(sorted(new))}, which are trained"] if new else []
    return ArmProof(
        arm=arm,
        parameters=own.num_parameters,
        flops=own.flops,
        delta_parameters=own.num_parameters - size.num_parameters,
        delta_flops=own.flops - size.flops,
        gone=grouped(missing(size.parameters, own.parameters)),
        added=grouped(missing(own.parameters, size.parameters)),
        no_more_called=tuple(sorted(before.called - after.called)) if before and after else (),
        newly_called=tuple(sorted(after.called - before.called)) if before and after else (),
        difference=difference,
        num_trained=len(after.trained) if after else 0,
        without_gradient=after.without_gradient if after else (),
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


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
