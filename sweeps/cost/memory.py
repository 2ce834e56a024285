"""Memory of a plan's trainings: model state per worker, and memory of its device."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from models.backbones import networks_on_meta, num_parameters
from models.system import System
from models.training import TrainedSystem
from sweeps.plan import Plan
from trainables.memory import ModelState, model_state

GIB = 2**30


@dataclass(frozen=True)
class ArmMemory:
    """Model state of an arm on one worker.

    Args:
        arm: Id of the arm.
        parameters: Parameters of the network.
        trained: Trained parameters.
        state: Model state on one worker.
    """

    arm: str
    parameters: int
    trained: int
    state: ModelState


def arm_memories(plan: Plan, *, gpu: bool) -> list[ArmMemory]:
    """Compute the model state of every trained arm, from configuration files alone.

    Args:
        plan: The plan.
        gpu: Whether workers have a GPU.

    Raises:
        OSError: The base's configuration files cannot be read.
    """
    memories = []

    @functools.cache
    def networks_of(system: type[System], base: str, text_encoder: str) -> Mapping[str, Any]:
        return networks_on_meta(system.find_base(base, text_encoder))

    for arm in plan.arms:
        if isinstance(arm.system, TrainedSystem):
            networks = networks_of(type(arm.system), arm.base, arm.text_encoder)
            memories.append(_of_arm(plan, arm.id, arm.system, networks, gpu))
    return memories


def _of_arm(plan: Plan, arm: str, system: TrainedSystem, networks: Mapping[str, Any], gpu: bool) -> ArmMemory:
    denoiser = system.family.networks[0]
    frozen = sum(num_parameters(network) for name, network in networks.items() if name != denoiser)
    weights = list(system.network_on_meta(networks).parameters())
    total, trained = (sum(w.numel() for w in weights if w.requires_grad or not only) for only in (False, True))
    resources = plan.study.resources
    state = model_state(total, trained, frozen, resources.scaling, resources.precision, gpu=gpu)
    return ArmMemory(arm, total, trained, state)


@dataclass(frozen=True)
class Device:
    """Device that holds a worker's model state.

    Args:
        name: Name of the device.
        gpu: Whether it is a GPU.
        size: Memory in bytes; None if unknown.
        workers: Number of workers that share it.
    """

    name: str
    gpu: bool
    size: int | None
    workers: float

    @classmethod
    def of(cls, plan: Plan, gpu_gib: float | None) -> Self:
        """Return the device of a plan's workers: a GPU of a given size, this machine's GPU, or its main memory."""
        import psutil
        import torch

        resources = plan.study.resources
        sharing = 1 / min(resources.gpus_per_worker or 1, 1)
        if gpu_gib is not None:
            return cls(f"a GPU of {gpu_gib:g} GiB", True, int(gpu_gib * GIB), sharing)
        if torch.cuda.is_available() and resources.gpus_per_worker != 0:
            properties = torch.cuda.get_device_properties(0)
            return cls(str(properties.name), True, int(properties.total_memory), sharing)
        if resources.gpus_per_worker:
            return cls("a GPU", True, None, sharing)
        return cls("this machine", False, int(psutil.virtual_memory().total), resources.workers)
