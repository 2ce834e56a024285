"""Parameters and FLOPs of a system at the size of its base, counted on the meta device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from models.bases import Protocol
from models.contracts import MetaDenoiser
from models.system import System


@dataclass(frozen=True)
class Counts:
    """Size of a denoiser: parameter counts by name, and FLOPs of one pass."""

    parameters: dict[str, int] = field(default_factory=dict)
    flops: int = 0

    @property
    def num_parameters(self) -> int:
        """Total number of parameters."""
        return sum(self.parameters.values())


def size_of(tree: System, networks: Mapping[str, Any], protocol: Protocol) -> tuple[Counts, str]:
    """Count parameters and FLOPs on the meta device; return the size, and the reason if it cannot be built.

    Args:
        tree: The system.
        networks: Networks of the base, on the meta device.
        protocol: Frames and size of a clip.
    """
    try:
        denoiser = tree.denoiser_on_meta(networks, protocol)
        return (Counts(), "") if denoiser is None else (_counted(denoiser), "")
    except ValueError as error:
        return Counts(), str(error)


def _counted(denoiser: MetaDenoiser) -> Counts:
    counted = {
        f"{name}.{inner}": weight.numel()
        for name, module in denoiser.modules.items()
        for inner, weight in module.named_parameters()
    }
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser.denoise_clip()
    return Counts(counted, int(counter.get_total_flops()))


def grouped(parameters: Mapping[str, int], depth: int = 4) -> dict[str, int]:
    """Sum parameter counts by module path, cut at a depth."""
    groups: dict[str, int] = {}
    for name, count in parameters.items():
        path = ".".join(name.split(".")[:-1][:depth])
        groups[path] = groups.get(path, 0) + count
    return groups


def missing(parameters: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    """Return the parameters that others lack or have in another size."""
    return {name: count for name, count in parameters.items() if others.get(name) != count}
