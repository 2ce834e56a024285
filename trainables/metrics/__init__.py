"""The metrics a study may name: families, what fixes their extractor, and the full key under which a value is reported.

A study names a **family** (``fid``). The base or the study's ``extractors`` fixes the network that turns pixels into
features, and so the **key** (``fid/inception2015``, or ``fd/shapes_clip`` where a small network stands in): a value is
never reported under the name of a published metric unless it is that metric. Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.bases import Card
from models.words import did_you_mean

Role = Literal["clip", "inception", "i3d"]


@dataclass(frozen=True)
class Family:
    """What a study may write under ``metrics``.

    Attributes:
        name: The word in the study.
        direction: Whether larger or smaller is better.
        meaning: One sentence for tables, without the extractor's name.
        extractor: The network it needs, or None where pixels are enough.
        needs_references: Whether it compares with reference clips of the data.
        per: Whether each clip has a value (the set's is their mean) or only the set.
        companion: Family that must stand beside it, since this one alone misleads.
        least_frames: Fewest frames per clip it is defined for.
        least_clips: Fewest clips per cell it is defined for.
        aliases: What papers call it, beside its name.
    """

    name: str
    direction: Literal["max", "min"]
    meaning: str
    extractor: Role | None = None
    needs_references: bool = False
    per: Literal["clip", "set"] = "clip"
    companion: str | None = None
    least_frames: int = 1
    least_clips: int = 1
    aliases: tuple[str, ...] = ()


def _between_frames(name: str, meaning: str, extractor: Role | None = None, aliases: tuple[str, ...] = ()) -> Family:
    """A score that a frozen clip would win."""
    return Family(name, "max", meaning, extractor, companion=_MOTION, least_frames=2, aliases=aliases)


def _between_sets(name: str, extractor: Role, meaning: str, alias: str) -> Family:
    """A distance to the reference clips."""
    clips = 2 if extractor == "i3d" else 1  # a row per clip there, a row per frame elsewhere
    return Family(
        name, "min", meaning, extractor, needs_references=True, per="set", least_clips=clips, aliases=(alias,)
    )


_MOTION = "motion_magnitude"
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "clip_score",
            "max",
            "100 times the mean cosine of frames and prompt",
            "clip",
            aliases=("CLIPScore", "CLIP similarity", "CLIPSIM"),
        ),
        _between_frames("temporal_consistency", "mean cosine of consecutive frames", "clip", ("frame consistency",)),
        _between_frames("video_coherence", "mean cosine of all pairs of frames", "clip"),
        _between_frames(
            "temporal_flickering",
            "1 minus the mean change of a pixel between frames: VBench's formula, without its filter for static clips",
            aliases=("flickering", "temporal flicker"),
        ),
        Family(
            _MOTION,
            "max",
            "mean Farneback flow between frames, over the frame's diagonal: 0 when frozen; context, not a goal",
            least_frames=2,
            aliases=("optical flow magnitude", "amount of motion"),
        ),
        _between_sets(
            "fid", "inception", "Frechet distance of frames to reference frames", "Frechet inception distance"
        ),
        _between_sets(
            "kid", "inception", "unbiased cubic-kernel MMD of frames to reference frames", "kernel inception distance"
        ),
        _between_sets("fvd", "i3d", "Frechet distance of clips to reference clips", "Frechet video distance"),
        _between_sets("kvd", "i3d", "unbiased cubic-kernel MMD of clips to reference clips", "kernel video distance"),
    )
}
"""Every family a study may name, in the order tables list them."""

HOW_TO_GET: dict[Role, str] = {
    "clip": (
        "a CLIP model as a folder in transformers' layout or a hub id, such as openai/clip-vit-base-patch32: "
        "write `extractors: {clip: folder-or-hub-id}`"
    ),
    "inception": (
        "the FID Inception network as torchscript, inception-2015-12-05.pt, which StyleGAN2-ADA ships at "
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt: "
        "write `extractors: {inception: path/to/inception-2015-12-05.pt}`"
    ),
    "i3d": (
        "I3D for Kinetics-400 as torchscript, i3d_torchscript.pt, as StyleGAN-V uses it, of which "
        "https://huggingface.co/flateon/FVD-I3D-torchscript holds a copy: "
        "write `extractors: {i3d: path/to/i3d_torchscript.pt}`"
    ),
}
"""For each role: what the network is, where it comes from, and how a study names it."""

I3D_FRAMES = 9
"""Fewest frames I3D can take: its temporal stride is 8 and its last pool spans 2. Published practice is 16."""

_FILE_NAMES: dict[Role, str] = {"inception": "inception2015", "i3d": "i3d_k400"}
_PIXEL_NAMES = {"temporal_flickering": "vbench_formula", _MOTION: "farneback"}
# Role -> (entry of the base's card, tail of the stand-in's name).
_STAND_INS: dict[Role, tuple[Literal["clip", "clips"], str]] = {
    "clip": ("clip", "clip"),
    "inception": ("clip", "clip"),
    "i3d": ("clips", "r3d"),
}
_STAND_IN_HEADS = {"fid": "fd", "kid": "mmd", "fvd": "fd", "kvd": "mmd"}


class Extractors(BaseModel):
    """Networks for metrics that the user supplies; each left out falls back to the base's own, where it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str | None = Field(None, min_length=1, description="CLIP: a folder, or a hub id with an optional @revision")
    i3d: str | None = Field(None, min_length=1, description="I3D for Kinetics-400: a torchscript file")
    inception: str | None = Field(None, min_length=1, description="Inception of FID: a torchscript file")


@dataclass(frozen=True)
class ExtractorRef:
    """Which network turns pixels into features, before it is loaded.

    Attributes:
        kind: How to load it; ``classifier`` is a base's own video classifier.
        name: Its name in metric keys.
        source: A folder, a file or a hub id; the name of a base where ``subfolder`` is given.
        subfolder: Folder inside the base, or None for a network the user supplies.
    """

    kind: Literal["clip", "inception", "i3d", "classifier"]
    name: str
    source: str
    subfolder: str | None = None


@dataclass(frozen=True)
class MetricKey:
    """A family with its extractor fixed: the name and the meaning of a reported value.

    Attributes:
        family: The word in the study.
        key: Full name, ``family/extractor``.
        direction: Whether larger or smaller is better.
        surrogate: Whether a network trained for this base stands in for the published one.
        words: One sentence for tables.
        extractor: The network, or None where pixels are enough.
        least_frames: Fewest frames per clip that can be scored.
    """

    family: str
    key: str
    direction: Literal["max", "min"]
    surrogate: bool
    words: str
    extractor: ExtractorRef | None
    least_frames: int


def resolve(family: str, card: Card, extractors: Extractors, base: str) -> MetricKey:
    """Fix the extractor of a family: the user's if given, else the base's own.

    Args:
        family: The word in the study.
        card: The base's card, which names the networks the base brings along.
        extractors: The study's ``extractors``.
        base: The base as the study names it.

    Raises:
        ValueError: An unknown family, or a family whose network is neither given nor part of the base. The message
            says what to add.
    """
    known = _known(family)
    if known.extractor is None:
        key = f"{family}/{_PIXEL_NAMES[family]}"
        return MetricKey(family, key, known.direction, False, known.meaning, None, known.least_frames)
    given: str | None = getattr(extractors, known.extractor)
    if given is not None:
        return _with_given(known, known.extractor, given)
    entry, tail = _STAND_INS[known.extractor]
    if entry not in card.extractors:
        raise ValueError(
            f"{family} needs a network that base {base} does not bring along: get {HOW_TO_GET[known.extractor]} "
            f"(or take {family} off the metrics)"
        )
    kind: Literal["clip", "classifier"] = "clip" if entry == "clip" else "classifier"
    ref = ExtractorRef(kind, f"{card.name}_{tail}", base, card.extractors[entry])
    return _with_stand_in(known, ref, surrogate=card.surrogate)


def with_companions(families: Sequence[str]) -> tuple[list[str], list[str]]:
    """Put a motion measure beside every score that a frozen clip would win.

    Args:
        families: The study's metrics; the first is the objective and stays first.

    Returns:
        The families in order, each missing companion right after the score that needs it, and one note per addition.

    Raises:
        ValueError: An unknown family.
    """
    complete: list[str] = []
    notes: list[str] = []
    for name in families:
        complete.append(name)
        companion = _known(name).companion
        if companion is not None and companion not in (*families, *complete):
            complete.append(companion)
            notes.append(f"{companion} added beside {name}: a frozen clip would score best on {name} alone")
    return complete, notes


def absent(extractors: Extractors) -> dict[Role, str]:
    """The networks whose path leads nowhere on this machine: role -> what is missing, and where to get it."""
    given: dict[Role, str | None] = {"clip": extractors.clip, "inception": extractors.inception, "i3d": extractors.i3d}
    return {
        role: f"there is nothing at {source}; get {HOW_TO_GET[role]}"
        for role, source in given.items()
        if source is not None and (role != "clip" or is_path(source)) and not Path(source).expanduser().exists()
    }


def is_path(source: str) -> bool:
    """Whether a CLIP model is named by a path rather than by a hub id: by its look, or because a folder is there."""
    return source.startswith((".", "/", "~")) or Path(source).is_dir()


def _known(family: str) -> Family:
    if family in FAMILIES:
        return FAMILIES[family]
    raise ValueError(f"{family} is no metric; metrics are {', '.join(FAMILIES)}{did_you_mean(family, FAMILIES)}")


def _with_given(family: Family, role: Role, given: str) -> MetricKey:
    """The key of a family on a network the user supplies."""
    name = _FILE_NAMES.get(role) or _model_name(given)
    words = f"{family.meaning}, by {name}"
    least = I3D_FRAMES if role == "i3d" else family.least_frames
    ref = ExtractorRef(role, name, given)
    return MetricKey(family.name, f"{family.name}/{name}", family.direction, False, words, ref, least)


def _with_stand_in(family: Family, ref: ExtractorRef, *, surrogate: bool) -> MetricKey:
    """The key of a family on a network that the base brings along; distances lose their published name."""
    head = _STAND_IN_HEADS.get(family.name, family.name)
    words = f"{family.meaning}, by {ref.name}"
    if head != family.name:
        words += f", a stand-in: not {family.name.upper()}"
    if surrogate:
        words += "; surrogate: the network was trained on this base's own clips, so values compare only within it"
    surrogate = surrogate or head != family.name
    return MetricKey(family.name, f"{head}/{ref.name}", family.direction, surrogate, words, ref, family.least_frames)


def _model_name(source: str) -> str:
    """Last part of a path or hub id, without a revision, in characters that may stand in a metric's key."""
    name = Path(source).expanduser().resolve().name if is_path(source) else source.split("@")[0].split("/")[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
