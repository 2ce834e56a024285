"""Bases that a study names: located, and checked without weights."""

import json
from dataclasses import dataclass

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
    text_files,
    with_texts,
)
from models.bases.families import Family
from models.system import System
from sweeps.study.document import Key

Wrong = list[tuple[Key, str]]


@dataclass(frozen=True)
class Named:
    """A base as a study or an arm names it.

    Args:
        base: The base; empty for one that is invalid itself.
        text_encoder: Text encoder beside it, for a system that reads texts; empty for the base's own.
        place: Place of the base in the study.
        place_of_texts: Place of the text encoder.
    """

    base: str
    text_encoder: str = ""
    place: Key = ("base",)
    place_of_texts: Key = ("text_encoder",)


def locate(named: Named, system: type[System] | None, wrong: Wrong) -> tuple[BaseRef | None, Card | None]:
    """Find a base and its card; its configuration files must fit its family, and a folder must be complete.

    Args:
        named: The base.
        system: System that is built on it; None for one that is invalid itself.
        wrong: Problems are added to it.

    Returns:
        Base and card, None where they cannot be read.
    """
    name, place = named.base, named.place
    if not name:
        return None, None
    try:
        ref = system.find_base(name, named.text_encoder) if system else find_base(name)
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
    if system is not None and (texts := _wrong_texts(named, system, ref)):
        wrong += texts
        return ref, card
    if ref.where == "folder" and (missing := missing_files(ref)):
        wrong.append((place, incomplete(name, missing, ref.family)))
    wrong += [(place, f"{name}: {misfit}") for misfit in misfits(ref)]
    return ref, card


def _wrong_texts(named: Named, system: type[System], ref: BaseRef) -> Wrong:
    """Find a text encoder that is missing or not usable."""
    if not ref.reads_texts:
        return []
    name, place = named.text_encoder, named.place_of_texts
    try:
        source, files = with_texts(ref), text_files(ref)
    except ValueError as error:
        return [(place, str(error))]
    if not name:
        allowed = "text_encoder: a folder with text_encoder/ and tokenizer/, a CLIP folder of transformers, or a hub id"
        message = f"{named.base} has no text encoder, and {system.name} reads texts -> {allowed}"
        return [] if files else [(named.place, message)]
    if files is None:
        lacks = "has neither text_encoder/config.json nor the config.json of a CLIP model"
        message = f"{name} {lacks} -> a folder with a text encoder and its tokenizer"
        return [] if source.where == "hub" else [(place, message)]
    found: Wrong = [(place, f"{name}: {misfit}") for misfit in files.misfits()]
    if source.where == "folder" and (missing := files.missing()):
        found.append((place, f"{name} lacks {', '.join(missing)} -> a complete text encoder"))
    return found


def unread(system: type[System]) -> str:
    """Word the message for a text encoder that a system does not read."""
    return f"{system.name} reads no text encoder beside its base -> remove this key"


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
