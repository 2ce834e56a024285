"""Starting study for a system and a base, from their own descriptions.

Layout and fixed text are in ``new_study.yaml.j2``; this module computes what depends on the system, the base and the
study's types.
"""

import inspect
import math
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from models import SYSTEMS
from models.bases import Card, Protocol, read_card, text_files
from models.predictor import EXAMPLE
from models.system import Part, Slot, System
from models.words import allowed_in_words
from search_spaces import SPACES
from search_spaces.domains import DOMAINS
from sweeps.study import words
from sweeps.study.fields import REMOVED, as_data
from sweeps.study.suggested import nearby_values, search_domain
from sweeps.study.types import (
    GROUP,
    Ablation,
    Asha,
    Budget,
    Confirm,
    Hypothesis,
    Median,
    Resources,
    Search,
    Study,
    Tracking,
)
from trainables.data import Data, ShapesData
from trainables.data.layout import CATEGORY, ClipLayout
from trainables.files import write_atomically
from trainables.grouping import Grouping, Rule
from trainables.metrics import GROUPS, METRICS, Extractors, members, resolve, with_companions

WIDTH = 120
NUM_METRICS = 2
MOST_KINDS = 4
NO_CLIPS = {"layout": "prompts", "prompts": ["a dog runs along a beach"]}
CLIPS = {"layout": "captions", "path": "path/of/clips"}

_BLOCKS = (
    Ablation,
    Asha,
    Budget,
    Confirm,
    Extractors,
    Grouping,
    Hypothesis,
    Median,
    Protocol,
    Rule,
    Search,
    Tracking,
)
_DEFAULTS = (Asha(), Confirm(), Median(), Tracking())
_NO_BREAK = "\u00a0"
TEXT_ENCODER = "openai/clip-vit-large-patch14"
"""Text encoder of a starting study on a base without one."""
_TEMPLATE = Path(__file__).with_name("new_study.yaml.j2")
_SCHEMA = Path(__file__).parents[1] / "study.schema.json"


def starting_study(system: str, base: str = "", name: str | None = None, folder: Path = Path()) -> str:
    """Write a valid study of a system, with all other keys of a study in comments.

    The study removes each part that can be removed. Lines that begin with ``##`` explain. Other lines that begin with
    ``# `` become part of the study when these two characters are removed, and it stays valid.

    Args:
        system: Name of the system.
        base: An embedded base, a folder or a hub id; that of the system's family by default.
        name: Name of the study; derived from the system by default.
        folder: Folder of the file, so that its first line leads editors to the schema.

    Raises:
        ValueError: No such system or base, or an invalid name.
        OSError: The base's configuration files cannot be read.
    """
    if system not in SYSTEMS:
        raise ValueError(f"system: {words.not_among(system, SYSTEMS)}")
    from jinja2 import Environment, StrictUndefined

    family = SYSTEMS[system].family
    base = base or family.default_base
    ref = SYSTEMS[system].find_base(base)
    card = read_card(ref)
    head = {"name": name or f"{system}-parts", "system": system, "base": base}
    wrong = dict(words.problems(Study, {**head, "metrics": ["any"], "seeds": 1})).get(("name",))
    if wrong:
        raise ValueError(f"name: {wrong}")
    page = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    page.filters |= {"explained": _explained, "flow": flow, "table": _table}
    text = page.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        head=head,
        llava={} if card.llava or SYSTEMS[system]().predictor is None else {"llava": EXAMPLE},
        texts={"own": text_files(ref) is not None, "example": TEXT_ENCODER} if ref.reads_texts else None,
        schema=schema_from(folder),
        descriptions={block.__name__: _descriptions(block) for block in _BLOCKS},
        defaults={type(block).__name__: block.model_dump() for block in _DEFAULTS},
        domains={word: kind.arguments for word, kind in DOMAINS.items()},
        **_of_system(SYSTEMS[system], SYSTEMS[system].lengthens * card.protocol.frames),
        **_of_base(base, card, SYSTEMS[system]),
    )
    return f"{text.rstrip()}\n"


def schema_from(folder: Path) -> str:
    """Return the path from a folder to the schema of study files, for a study's first line."""
    return Path(os.path.relpath(_SCHEMA.resolve(), folder.resolve())).as_posix()


def write(text: str, path: Path) -> None:
    """Write a new file, and create its parent folders.

    Raises:
        ValueError: The file already exists.
        OSError: It cannot be written.
    """
    if path.exists():
        raise ValueError(f"{path} already exists -> another name, or delete it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


# ------------------------------------------------------------------------------------------------- base and its metrics


def _of_base(base: str, card: Card, system: type[System]) -> dict[str, Any]:
    """Return the template's values that depend on the base: data, metrics and protocol."""
    layout: TypeAdapter[Data] = TypeAdapter(Data)
    try:
        data = layout.validate_python(as_data(card.data))
        written, by_default = data.model_dump(mode="json"), True
    except ValidationError:  # the base has no data of its own
        written, by_default = NO_CLIPS if not system.continues_clips else CLIPS, False
        data = layout.validate_python(written)
    scorable = {}
    for family in METRICS.values():
        try:
            metric = resolve(family.name, card, Extractors(), base)
        except ValueError:
            continue  # it needs a network that the base does not include
        if (
            metric.least_frames <= card.protocol.frames
            and family.least_clips <= card.protocol.clips
            and not family.clips_per_feature  # more clips than any base has by default
            and (isinstance(data, ShapesData) or not family.needs_words)
            and (isinstance(data, ClipLayout) or not family.needs_references)
            and (system.continues_clips or not family.needs_continuation)
            and (family.inside is None or (family.inside in system.inside and isinstance(data, ShapesData)))
        ):
            meaning = family.meaning if family.instead is None else family.instead.meaning
            scorable[family.name] = f"{family.direction}; {meaning} ({metric.key})"
    columns = data.columns()
    return {
        "data": written,
        "column": CATEGORY if columns is None else next(iter(columns), ""),
        "data_by_default": by_default,
        "scorable": scorable | _groups(card, base, system),
        "unscorable": [name for name in METRICS if name not in scorable],
        "metrics": with_companions(list(scorable)[:NUM_METRICS])[0],
        "protocol": card.protocol.model_dump() | {"frames": system.lengthens * card.protocol.frames},
        "protocol_by_default": system.lengthens == 1,
    }


def _groups(card: Card, base: str, system: type[System]) -> dict[str, str]:
    """Describe the groups of metrics by their members on a base."""
    found = {
        group.name: members(group, card, Extractors(), base, continues=system.continues_clips)[0]
        for group in GROUPS.values()
    }
    return {name: f"{GROUPS[name].meaning}: {', '.join(families)}" for name, families in found.items() if families}


# --------------------------------------------------------------------------------------------------- slots and values


@dataclass(frozen=True)
class Place:
    """A slot, or a value of a slot's default part or of the system.

    Args:
        path: Dotted path.
        default: Default kind or value.
        ablations: Possible ablations, as in a study file.
        alternative: Another kind or value; None without one.
        allowed: Allowed values and their meaning; empty for a slot.
        kinds: Meaning of each kind of a slot; empty for a value.
        domain: Search domain of a value, as in a study file; None where it is unknown.
    """

    path: str
    default: Any
    ablations: list[dict[str, Any]]
    alternative: Any
    allowed: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)
    domain: dict[str, Any] | None = None


def _of_system(system: type[System], frames: int) -> dict[str, Any]:
    """Return the template's values that depend on the system: its possible ablations, and the active ones."""
    places = list(_places(system, frames))
    ablations = [ablation for place in places for ablation in place.ablations]
    changeable = [place for place in places if place.alternative is not None]
    return {
        "about": _first_paragraph(system),
        "places": places,
        "active": [ablation for ablation in ablations if ablation["action"] == "REMOVE"] or ablations[:1],
        "control": next(({place.path: place.alternative} for place in changeable if place.allowed), None),
        "together": {place.path: place.alternative for place in [place for place in changeable if place.kinds][:3]},
        "training": {"steps": 400} if system.is_trained else {},
        "resources": _resources(system),
        "space": {place.path: place.domain for place in places if place.domain},
        "spaces": [name for name in SPACES if name.startswith(f"{system.name}_")],
    }


def _resources(system: type[System]) -> dict[str, Any]:
    """Return the keys of ``resources`` that apply to a system, with their defaults and descriptions."""
    keys = [key for key in Resources.model_fields if system.is_trained or key not in GROUP]
    defaults, descriptions = Resources().model_dump(), _descriptions(Resources)
    return {
        "defaults": {key: defaults[key] for key in keys},
        "descriptions": {key: descriptions[key] for key in keys},
    }


def _places(system: type[System], frames: int) -> Iterator[Place]:
    """Yield the slots of a system, each followed by the values of its default part, then the system's own values.

    Changes after which the system could not sample so many frames are left out.
    """

    def fits(path: str, change: object) -> bool:
        most = system().edit({path: change}).most_frames
        return most is None or most >= frames

    slots = system.slots()
    taken: set[str] = set()
    for slot in slots.values():
        yield _slot(slot, fits, taken)
        yield from (_value(f"{slot.name}.{name}", slot.default, name, fits) for name in _values(slot.default))
    yield from (_value(name, system(), name, fits) for name in system.model_fields if name not in slots)


def _slot(slot: Slot, fits: Callable[[str, object], bool], taken: set[str]) -> Place:
    """Describe a slot and its kinds; names of arms are added to those that are taken."""
    parts = {kind: part(kind=kind) for kind, part in slot.kinds.items()}
    others = [kind for kind in parts if kind not in (slot.default.kind, REMOVED)]
    removable = REMOVED in parts and slot.default.kind != REMOVED
    ablations: list[dict[str, Any]] = [{"part": slot.name, "action": "REMOVE"}] if removable else []
    action = "ADD" if slot.default.kind == REMOVED else "REPLACE"
    edits = (edit for kind in others for edit in _edits(parts[kind]) if fits(slot.name, *edit.values()))
    if others:
        ablations.append({"part": slot.name, "action": action, "with": others[:MOST_KINDS]})
    for name, part in next(edits, {}).items():
        arm = f"{part['kind']}_{name}" if name in taken else name
        taken.add(arm)
        ablations.append({"part": slot.name, "action": action, "with": {arm: part}})
    alternative = REMOVED if removable else next(iter(others), None)
    meanings = {kind: f"{part.meaning()} {_unbroken(_values(part))}".strip() for kind, part in parts.items()}
    return Place(slot.name, slot.default.kind, ablations, alternative, kinds=meanings)


def _values(part: Part) -> dict[str, Any]:
    return part.model_dump(exclude={"kind"})


def _edits(part: Part) -> Iterator[dict[str, Any]]:
    """Yield one arm for each value of a part: its name, and the part with another value."""
    for name in _values(part):
        for value in nearby_values(part, name)[:1]:
            yield {f"{name}_{flow(value)}": {"kind": part.kind, name: value}}


def _value(path: str, holder: Part | System, name: str, fits: Callable[[str, object], bool]) -> Place:
    """Describe a value of a part or of the system."""
    nearby = [value for value in nearby_values(holder, name) if fits(path, value)]
    ablations = [{"part": path, "action": "VALUES", "values": nearby}] if nearby else []
    allowed = allowed_in_words(type(holder).model_fields[name])
    if meaning := _arguments(type(holder)).get(name):
        allowed = f"{allowed.split(': ')[0]}: {meaning}"
    return Place(
        path, getattr(holder, name), ablations, nearby[-1] if nearby else None, allowed, {}, search_domain(holder, name)
    )


# ---------------------------------------------------------------------------------------------------- words and layout


def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Describe each field of a type: from the docstring, else the field's description, else its allowed values."""
    documented = _arguments(model)
    return {
        info.alias or name: documented.get(name) or info.description or allowed_in_words(info)
        for name, info in model.model_fields.items()
    }


def _arguments(model: type[BaseModel]) -> dict[str, str]:
    """Return the entries below ``Args:`` in a type's docstring."""
    section = re.search(r"^Args:\n((?: .*\n?|\n)*)", inspect.cleandoc(model.__doc__ or ""), re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()).replace("``", "`") for name, text in entries}


def _first_paragraph(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").split("\n\n")[0]


def flow(value: object) -> str:
    """Format a value on one line of YAML."""
    # 1e3 is a string to PyYAML, and a number to the study's reader.
    style = '"' if isinstance(value, str) and value[:1].isdigit() else None
    text = yaml.safe_dump(
        value, default_style=style, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("...\n").strip()


def _unbroken(values: dict[str, Any]) -> str:
    """Format values so that they stay on one line where explanations are wrapped; empty without values."""
    text = flow(values) if values else ""
    return text.replace(" ", _NO_BREAK) if len(text) < WIDTH / 2 else text


def _explained(text: str, hang: int = 0) -> str:
    """Wrap a text into lines of explanation, all but the first indented."""
    below = "## " + " " * hang
    wrapped = textwrap.fill(
        text, WIDTH, initial_indent="## ", subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )
    return wrapped.replace(_NO_BREAK, " ")


def _table(rows: Mapping[str, str]) -> str:
    """Format names and descriptions as lines of explanation, with the second column aligned."""
    width = max(map(len, rows))
    return "\n".join(_explained(f"  {name:{width}}  {text}", hang=width + 4) for name, text in rows.items())
