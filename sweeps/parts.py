"""Description of a system: its slots, their kinds, and parameter counts."""

from collections.abc import Iterator
from typing import Any

from models import SYSTEMS
from models.system import Part, System
from models.words import allowed_in_words
from sweeps.study.words import not_among


def describe(system: str, base: str = "") -> dict[str, Any]:
    """Describe a system on a base, in plain values.

    Args:
        system: Name of the system.
        base: An embedded base, a folder or a hub id; that of the system's family by default. Only configuration files
            are read. For a base of another family, or without the text encoder that the system reads, only the
            networks are counted.

    Returns:
        ``{"system", "base", "family", "fits", "lacks", "parameters": {network or part: count}, "slots": {slot:
        {"default", "kinds": {kind: {"meaning", "parameters"}}}}, "values": {path: {"default", "allowed"}}}``;
        ``parameters`` includes each slot with its default part. The counts of parts are None where the base does not
        fit the system; ``lacks`` says why.

    Raises:
        ValueError: No such system or base.
        OSError: The base's configuration files cannot be read.
    """
    if system not in SYSTEMS:
        raise ValueError(f"system: {not_among(system, SYSTEMS)}")
    from models.backbones import networks_on_meta, num_parameters

    slots, family = SYSTEMS[system].slots(), SYSTEMS[system].family
    ref = SYSTEMS[system].find_base(base or family.default_base)
    networks = networks_on_meta(ref)
    counts = {name: num_parameters(network) for name, network in networks.items()}

    lacks = "" if ref.family == family else f"is from another family than {system} needs"
    if not lacks and ref.reads_texts and "text_encoder" not in networks:
        lacks = f"has no text encoder, and {system} reads texts"

    def of_part(part: Part) -> int | None:
        return part.num_parameters(networks) if not lacks else None

    return {
        "system": system,
        "base": str(ref),
        "family": ref.family.name,
        "fits": not lacks,
        "lacks": lacks,
        "parameters": counts | {name: of_part(slot.default) for name, slot in slots.items()},
        "slots": {
            name: {
                "default": slot.default.kind,
                "kinds": {
                    kind: {"meaning": part.meaning(), "parameters": of_part(part(kind=kind))}
                    for kind, part in slot.kinds.items()
                },
            }
            for name, slot in slots.items()
        },
        "values": dict(_values(SYSTEMS[system])),
    }


def _values(system: type[System]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the plain values of all kinds and of the system, by path; a value of several kinds once, first default."""
    slots, seen = system.slots(), set[str]()
    for slot in slots.values():
        others = (kind(kind=name) for name, kind in slot.kinds.items() if name != slot.default.kind)
        for part in (slot.default, *others):
            for name in (name for name in type(part).model_fields if name != "kind"):
                if (path := f"{slot.name}.{name}") not in seen:
                    seen.add(path)
                    yield path, _value(part, name)
    yield from ((name, _value(system(), name)) for name in system.model_fields if name not in slots)


def _value(holder: Part | System, name: str) -> dict[str, Any]:
    return {"default": getattr(holder, name), "allowed": allowed_in_words(type(holder).model_fields[name])}
