"""Forms of a study file: its profiles and its blocks are maps of keys that are laid over the rest of it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sweeps.study import words
from sweeps.study.document import Document, Key, Problem, SpecError
from sweeps.study.reader import read

PROFILES = "profiles"
BLOCKS = "blocks"
OVERLAYS = (PROFILES, BLOCKS)
FROM = "from"
WHOLE = ""
"""Block of a study without blocks."""

_NOUN = {PROFILES: "a profile", BLOCKS: "a block"}
_FIXED = {PROFILES: ("name", PROFILES), BLOCKS: ("name", PROFILES, BLOCKS)}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


class Form(NamedTuple):
    """A study file with one profile (or None) and one block (or ``WHOLE``) applied."""

    profile: str | None
    block: str
    document: Document


def forms(document: Document) -> tuple[list[Form], list[Problem]]:
    """Apply every profile to a study, and to each result every block; list the problems of these maps.

    The study of a block is named ``study.block``.
    """
    profiles, problems = _overlaid(document, PROFILES)
    found = []
    for profile, profiled in [(None, document.without([(PROFILES,)])), *profiles.items()]:
        blocks, of_blocks = _overlaid(profiled, BLOCKS)
        problems += of_blocks + _misnamed(profiled, blocks) + _equal(profiled, blocks)
        if not blocks:
            found.append(Form(profile, WHOLE, profiled.without([(BLOCKS,)])))
        named = [(block, blocked) for block, blocked in blocks.items() if _NAME.fullmatch(block)]
        found += [Form(profile, block, _renamed(blocked, block)) for block, blocked in named]
    return found, problems


def _overlaid(document: Document, key: str) -> tuple[dict[str, Document], list[Problem]]:
    """Lay each map under a key over the study; return these studies, without the key, and problems of the maps."""
    written = document.value.get(key)
    if written is None:
        return {}, []
    if not isinstance(written, dict):
        return {}, [document.problem((key,), f"{words.written(written)} -> a map of {key}")]
    by_name: dict[str, Document] = {}
    problems = [] if written else [document.problem((key,), f"no {key} -> at least one, or remove the key")]
    for name, overlay in written.items():
        place: Key = (key, name)
        if not isinstance(overlay, dict):
            problems.append(document.problem(place, f"{words.written(overlay)} -> a map of keys of the study"))
            continue
        shared, of_file = _shared(document, (*place, FROM)) if FROM in overlay else ([], [])
        problems += of_file
        result = document
        for layer, source in [*((layer, ()) for layer in shared), (document, place)]:
            barred = [(*source, fixed) for fixed in _FIXED[key] if (*source, fixed) in layer.marks]
            problems += [layer.problem(path, f"{_NOUN[key]} cannot change {path[-1]} -> remove it") for path in barred]
            result = result.overlaid(layer.without([*barred, (*place, FROM)]), source)
        by_name[name] = result.without([(key,)])
    return by_name, problems


def _shared(document: Document, place: Key) -> tuple[list[Document], list[Problem]]:
    """Read the file that a profile or block names, relative to the study; no document if that fails."""
    written = document.at(place)
    file = Path(document.file).parent / str(written)
    if not isinstance(written, str) or not file.is_file():
        message = f"{words.written(written)} -> a file with keys of a study, relative to this one"
        return [], [document.problem(place, message)]
    try:
        return [read(file)], []
    except SpecError as error:
        return [], error.problems


def _renamed(document: Document, block: str) -> Document:
    """Append the block to the study's name, unless that is no string."""
    name = document.value.get("name")
    if not isinstance(name, str):
        return document
    return replace(document, value={**document.value, "name": f"{name}.{block}"})


def _misnamed(document: Document, blocks: dict[str, Document]) -> list[Problem]:
    return [
        document.problem((BLOCKS, block), f"{words.written(block)} -> a short name: a-z 0-9 . _ -")
        for block in blocks
        if not _NAME.fullmatch(block)
    ]


def _equal(document: Document, blocks: dict[str, Document]) -> list[Problem]:
    """Find blocks that are equal to an earlier one."""
    first: dict[str, str] = {}
    problems = []
    for block, blocked in blocks.items():
        earlier = first.setdefault(json.dumps(blocked.value, sort_keys=True), block)
        if earlier != block:
            message = f"equal to the block {earlier} -> keys that differ from it"
            problems.append(document.problem((BLOCKS, block), message))
    return problems
