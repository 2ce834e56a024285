"""Bases that a study names: located, and checked without weights."""

import json

from pydantic import ValidationError

from models.bases import (
    BaseRef,
    Card,
    Protocol,
    bases_of,
    find_base,
    misfits,
    missing_files,
    pixels_per_latent,
    read_card,
)
from models.bases.families import STABLE_DIFFUSION, Family
from models.system import System
from sweeps.study.document import Key

Wrong = list[tuple[Key, str]]


def locate(name: str, system: type[System] | None, place: Key, wrong: Wrong) -> tuple[BaseRef | None, Card | None]:
    """Find a base and its card; its configuration files must fit its family, and a folder must be complete.

    Args:
        name: The base as the study writes it; empty for one that is invalid itself.
        system: System that is built on it; None for one that is invalid itself.
        place: Place of the base in the study.
        wrong: Problems are added to it.

    Returns:
        Base and card, None where they cannot be read.
    """
    if not name:
        return None, None
    try:
        ref = find_base(name, system.family if system else STABLE_DIFFUSION)
        card = read_card(ref)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, details["loc"])) for details in error.errors())
        wrong.append((place, f"{name}: card.json is invalid at {places} -> the fields of a card"))
        return None, None
    except json.JSONDecodeError as error:
        wrong.append((place, f"{name} has a configuration file that is not JSON ({error}) -> a complete base"))
        return None, None
    except (ValueError, OSError) as error:
        wrong.append((place, str(error)))
        return None, None
    if system is not None and ref.family != system.family:
        wrong.append((place, _of_another_family(name, ref, system)))
        return ref, card
    if ref.where == "folder" and (missing := missing_files(ref)):
        wrong.append((place, incomplete(name, missing, ref.family)))
    wrong += [(place, f"{name}: {misfit}") for misfit in misfits(ref)]
    return ref, card


def incomplete(name: str, missing: list[str], family: Family) -> str:
    """Word the message for a base with missing files."""
    return f"{name} lacks {', '.join(missing)} -> a complete base in {family.title} layout"


def off_the_grid(name: str, ref: BaseRef, protocol: Protocol) -> dict[str, str]:
    """Find sizes that are not a multiple of the base's latent cell: key of the protocol -> message."""
    cell = pixels_per_latent(ref)
    sizes = {"height": protocol.height, "width": protocol.width}
    return {key: f"{size} -> a multiple of {cell} on base {name}" for key, size in sizes.items() if size % cell}


def _of_another_family(name: str, ref: BaseRef, system: type[System]) -> str:
    """Word the message for a base of another family than the system needs."""
    fitting = ", ".join(bases_of(system.family))
    return (
        f"{name} is a {ref.family.title} base, and {system.name} needs {system.family.title} -> {fitting}, or a "
        f"folder or hub id whose model_index.json names {system.family.pipeline}"
    )
