"""What a tree is made of at its base's size: parameters and operations, counted on the meta device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from models.bases import Protocol
from models.contracts import MetaDenoiser
from models.system import System


@dataclass(frozen=True)
class Size:
    """What a tree denoises with, at the base's size: parameters by name, and operations of one pass."""

    parameters: dict[str, int] = field(default_factory=dict)
    flops: int = 0

    @property
    def num_parameters(self) -> int:
        """All of them."""
        return sum(self.parameters.values())


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


def grouped(parameters: Mapping[str, int], depth: int = 4) -> dict[str, int]:
    """Parameters by the path of what they are in, no deeper than some steps."""
    groups: dict[str, int] = {}
    for name, count in parameters.items():
        path = ".".join(name.split(".")[:-1][:depth])
        groups[path] = groups.get(path, 0) + count
    return groups


def missing(there: Mapping[str, int], here: Mapping[str, int]) -> dict[str, int]:
    """What is there and not here, a tensor of another size included."""
    return {name: count for name, count in there.items() if here.get(name) != count}
