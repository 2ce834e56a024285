"""What a system is made of: its slots, what may fill them, and how many parameters everything has."""

from typing import Any

from models import SYSTEMS
from models.bases import find_base
from sweeps.study.words import not_among


def describe(system: str, base: str) -> dict[str, Any]:
    """A system on a base, in plain values.

    Args:
        system: Its word.
        base: An embedded base, a folder or a hub id; only configuration files are read.

    Returns:
        ``{"system", "parameters": {network or part: count}, "slots": {slot: {"default", "kinds": {kind: {"meaning",
        "parameters"}}}}}``, a slot standing among the parameters with its default part.

    Raises:
        ValueError: No such system or base.
        OSError: The base's configuration files cannot be read.
    """
    if system not in SYSTEMS:
        raise ValueError(f"system: {not_among(system, SYSTEMS)}")
    from models.backbones import networks_on_meta, num_parameters

    slots = SYSTEMS[system].slots()
    networks = networks_on_meta(find_base(base))
    counts = {name: num_parameters(network) for name, network in networks.items()}
    return {
        "system": system,
        "parameters": counts | {name: slot.default.num_parameters(networks) for name, slot in slots.items()},
        "slots": {
            name: {
                "default": slot.default.kind,
                "kinds": {
                    kind: {"meaning": part.meaning(), "parameters": part(kind=kind).num_parameters(networks)}
                    for kind, part in slot.kinds.items()
                },
            }
            for name, slot in slots.items()
        },
    }
