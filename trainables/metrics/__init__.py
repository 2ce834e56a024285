"""Metric families, their extractors, and the full keys of reported values.

A study names a **family** (``fid``). The base or the study's ``extractors`` determines the network that maps pixels to
features, and so the **key** (``fid/inception2015``, or ``fd/shapes_clip`` for a small stand-in network): only the
published metric is reported under its published name. Imports no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.bases import Card, find_base
from models.words import did_you_mean
from trainables.metrics.families import (
    AESTHETIC_CLIP,
    GROUPS,
    HOW_TO_GET,
    I3D_FRAMES,
    METRICS,
    PYIQA,
    MetricFamily,
    MetricGroup,
    Role,
)

__all__ = [
    "AESTHETIC_CLIP",
    "GROUPS",
    "HOW_TO_GET",
    "I3D_FRAMES",
    "METRICS",
    "NAMES",
    "PYIQA",
    "ExtractorRef",
    "Extractors",
    "MetricFamily",
    "MetricGroup",
    "MetricKey",
    "Role",
    "absent",
    "is_path",
    "members",
    "resolve",
    "width_of",
    "is_context",
    "with_companions",
]

NAMES = (*METRICS, *GROUPS)
"""Everything that a study may name under ``metrics``."""

_FILE_NAMES: dict[Role, str] = {
    "inception": "inception2015",
    "i3d": "i3d_k400",
    "musiq": "musiq_spaq",
    "aesthetic": "laion_l14",
    "amt": "vbench_amt_s",
    "vjepa": "vjepa_h16_ssv2",
    "raft": "vbench_raft_things",
}
_HUB_ROLES: tuple[Role, ...] = ("clip", "dino", "aesthetic_clip")
_PIXEL_NAMES = {
    "temporal_flickering": "vbench_formula",
    "motion_magnitude": "farneback",
    "warp_error": "farneback",
    "psnr": "vs_truth",
    "ssim": "vs_truth",
}
_INSIDE_NAMES = {"states": "oracle", "condition": "linear_probe"}
# Role -> (entry of the base's card, tail of the stand-in's name).
_STAND_INS: dict[Role, tuple[Literal["clip", "clips"], str]] = {
    "clip": ("clip", "clip"),
    "inception": ("clip", "clip"),
    "i3d": ("clips", "r3d"),
    "dino": ("clip", "clip"),
    "classifier": ("clips", "r3d"),
}
_STAND_IN_HEADS = {
    "fid": "fd",
    "kid": "mmd",
    "fvd": "fd",
    "fvd_infinity": "fd_infinity",
    "kvd": "mmd",
    "cmmd": "mmd_gaussian",
}
_WIDTHS: dict[Role, int] = {"i3d": 400}


class Extractors(BaseModel):
    """Networks for metrics; an omitted one is taken from the base, if it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str | None = Field(None, min_length=1, description="CLIP: a folder, or a hub id with an optional @revision")
    i3d: str | None = Field(None, min_length=1, description="I3D for Kinetics-400: a torchscript file")
    inception: str | None = Field(None, min_length=1, description="FID's Inception: a torchscript file")
    dino: str | None = Field(None, min_length=1, description="DINO ViT: a folder, or a hub id")
    musiq: str | None = Field(None, min_length=1, description="MUSIQ for SPAQ: a file of weights; needs pyiqa")
    aesthetic: str | None = Field(None, min_length=1, description="LAION's aesthetic head: a file of weights")
    aesthetic_clip: str | None = Field(
        None, min_length=1, description=f"CLIP ViT-L/14 of the aesthetic head; {AESTHETIC_CLIP} by default"
    )
    amt: str | None = Field(None, min_length=1, description="AMT-S: a torchscript file")
    vjepa: str | None = Field(None, min_length=1, description="V-JEPA ViT-H/16 with its SSv2 probe: a torchscript file")
    raft: str | None = Field(None, min_length=1, description="RAFT: a torchscript file")


@dataclass(frozen=True)
class ExtractorRef:
    """Reference to a feature extractor that is not loaded yet.

    Attributes:
        kind: Type of the network; ``classifier`` is a base's own video classifier.
        name: Name in metric keys.
        source: Folder, file or hub id; with ``subfolder``, the name of a base.
        subfolder: Folder inside the base; None for a network from ``extractors``.
        clip: CLIP model whose embeddings the network takes; None for a network on pixels.
    """

    kind: Role
    name: str
    source: str
    subfolder: str | None = None
    clip: str | None = None


@dataclass(frozen=True)
class MetricKey:
    """Metric family with a resolved extractor: name and meaning of a reported value.

    Attributes:
        family: Name in the study.
        key: Full name, ``family/extractor``.
        direction: Whether larger or smaller is better.
        surrogate: Whether a network trained for this base replaces the published one.
        words: Description for tables.
        extractor: The network; None for metrics on pixels.
        least_frames: Fewest frames per clip.
    """

    family: str
    key: str
    direction: Literal["max", "min"]
    surrogate: bool
    words: str
    extractor: ExtractorRef | None
    least_frames: int


def resolve(family: str, card: Card, extractors: Extractors, base: str) -> MetricKey:
    """Resolve the extractor of a family: the study's if given, else the base's.

    Args:
        family: Name in the study.
        card: Card of the base, which lists its extractors.
        extractors: The study's ``extractors``.
        base: Name of the base in the study.

    Raises:
        ValueError: Unknown family, or its network is neither given nor part of the base.
    """
    known = _known(family)
    if known.extractor is None:
        key = f"{family}/{_INSIDE_NAMES[known.inside] if known.inside else _PIXEL_NAMES[family]}"
        return MetricKey(family, key, known.direction, False, known.meaning, None, known.least_frames)
    given: str | None = getattr(extractors, known.extractor, None)
    if given is not None:
        clip = (extractors.aesthetic_clip or AESTHETIC_CLIP) if known.extractor == "aesthetic" else None
        return _with_given(known, known.extractor, given, clip)
    if (instead := known.instead) is not None:
        return MetricKey(family, instead.key, known.direction, False, instead.meaning, None, known.least_frames)
    entry, tail = _STAND_INS.get(known.extractor, (None, ""))
    if entry is None or entry not in card.extractors:
        remedy = f"get {HOW_TO_GET[known.extractor]}" if known.extractor in HOW_TO_GET else "base: shapes, shapes_video"
        raise ValueError(
            f"{family} needs a network that base {base} does not include -> {remedy}, or remove {family} from the "
            "metrics"
        )
    kind: Literal["clip", "classifier"] = "clip" if entry == "clip" else "classifier"
    ref = ExtractorRef(kind, f"{card.name}_{tail}", base, card.extractors[entry])
    return _with_stand_in(known, ref, surrogate=card.surrogate)


def is_context(metric: MetricKey) -> bool:
    """Whether a metric only gives context to another one and is no objective itself."""
    return metric.family in {family.companion for family in METRICS.values()}


def with_companions(families: Sequence[str]) -> tuple[list[str], list[str]]:
    """Add a motion measure to every score that is best for a frozen clip.

    Args:
        families: The study's metrics; the first is the objective and stays first.

    Returns:
        The families in order, each missing companion right after the score that needs it, and one note per addition.

    Raises:
        ValueError: Unknown family.
    """
    complete: list[str] = []
    notes: list[str] = []
    for name in families:
        complete.append(name)
        companion = _known(name).companion
        if companion is not None and companion not in (*families, *complete):
            complete.append(companion)
            notes.append(f"{companion} added: a frozen clip would score best on {name} alone")
    return complete, notes


def members(
    group: MetricGroup, card: Card, extractors: Extractors, base: str, *, continues: bool
) -> tuple[list[str], dict[str, str]]:
    """Find the members of a group that can be measured; a network that two members would share counts once.

    Args:
        group: The group.
        card: Card of the base, which lists its extractors.
        extractors: The study's ``extractors``.
        base: Name of the base in the study.
        continues: Whether the system continues clips, so that there is a true continuation.

    Returns:
        The families, and for each other member the reason why it is left out.
    """
    found: list[str] = []
    left_out: dict[str, str] = {}
    stand_ins: set[ExtractorRef] = set()
    for name in group.members:
        family = METRICS[name]
        if family.needs_continuation and not continues:
            left_out[name] = "no true continuation"
            continue
        try:
            key = resolve(name, card, extractors, base)
        except ValueError:
            left_out[name] = f"without extractors.{family.extractor}"
            continue
        if key.surrogate and key.extractor in stand_ins:
            left_out[name] = "the stand-in network gives the same number"
            continue
        if key.surrogate and key.extractor is not None:
            stand_ins.add(key.extractor)
        found.append(name)
    return found, left_out


def absent(extractors: Extractors) -> dict[Role, str]:
    """Find networks missing on this machine: role -> missing path and remedy."""
    given: dict[Role, str | None] = {role: getattr(extractors, role, None) for role in HOW_TO_GET}
    missing = {
        role: f"{source} does not exist -> get {HOW_TO_GET[role]}"
        for role, source in given.items()
        if source is not None and (role not in _HUB_ROLES or is_path(source)) and not Path(source).expanduser().exists()
    }
    if extractors.musiq is not None and "musiq" not in missing and find_spec("pyiqa") is None:
        missing["musiq"] = f"{extractors.musiq} -> {PYIQA}"
    return missing


def width_of(extractor: ExtractorRef) -> int | None:
    """Return the number of features of a network that sees whole clips; None if files do not tell it here."""
    if extractor.kind != "classifier":
        return _WIDTHS.get(extractor.kind)
    base = find_base(extractor.source)
    if base.path is None or extractor.subfolder is None:
        return None
    try:
        width: int = json.loads((base.path / extractor.subfolder / "config.json").read_bytes())["num_features"]
    except (OSError, ValueError, KeyError):
        return None
    return width


def is_path(source: str) -> bool:
    """Whether a model is given by a path rather than a hub id: by its first character, or if it exists."""
    return source.startswith((".", "/", "~")) or Path(source).exists()


def _known(family: str) -> MetricFamily:
    if family in METRICS:
        return METRICS[family]
    raise ValueError(f"unknown metric {family} -> {', '.join(METRICS)}{did_you_mean(family, METRICS)}")


def _with_given(family: MetricFamily, role: Role, given: str, clip: str | None) -> MetricKey:
    """Make the key of a family for a network from ``extractors``."""
    name = _FILE_NAMES.get(role) or _model_name(given)
    words = f"{family.meaning}, by {name}"
    least = I3D_FRAMES if role == "i3d" else family.least_frames
    ref = ExtractorRef(role, name, given, clip=clip)
    return MetricKey(family.name, f"{family.name}/{name}", family.direction, False, words, ref, least)


def _with_stand_in(family: MetricFamily, ref: ExtractorRef, *, surrogate: bool) -> MetricKey:
    """Make the key of a family for a network of the base; distances lose their published name."""
    head = _STAND_IN_HEADS.get(family.name, family.name)
    words = f"{family.meaning}, by {ref.name}"
    if head != family.name:
        words += f", a stand-in: not {family.name.upper()}"
    if is_other := family.extractor == "dino":
        words += ", a stand-in for DINO"
    if surrogate:
        words += "; surrogate: the network was trained on this base's clips, so compare values only within this base"
    surrogate = surrogate or is_other or head != family.name
    return MetricKey(family.name, f"{head}/{ref.name}", family.direction, surrogate, words, ref, family.least_frames)


def _model_name(source: str) -> str:
    """Return the last part of a path or hub id, without a revision, in characters allowed in metric keys."""
    name = Path(source).expanduser().resolve().name if is_path(source) else source.split("@")[0].split("/")[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
