"""Metric families, their extractors, and the full keys of reported values.

A study names a **family** (``fid``). The base or the study's ``extractors`` determines the network that maps pixels to
features, and so the **key** (``fid/inception2015``, or ``fd/shapes_clip`` for a small stand-in network): only the
published metric is reported under its published name. Imports no torch.
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
class MetricFamily:
    """Metric family, as a study names it under ``metrics``.

    Attributes:
        name: Name in the study.
        direction: Whether larger or smaller is better.
        meaning: Description for tables, without the extractor's name.
        extractor: Required network; None for metrics on pixels.
        needs_references: Whether it compares with reference clips of the data.
        per: Whether each clip has a value (averaged over the set) or only the set.
        companion: Family that must be reported with it, since this one alone is misleading.
        least_frames: Fewest frames per clip.
        least_clips: Fewest clips per cell.
        aliases: Other names in papers.
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


def _between_frames(
    name: str, meaning: str, extractor: Role | None = None, aliases: tuple[str, ...] = ()
) -> MetricFamily:
    """Make a score that is best for a frozen clip."""
    return MetricFamily(name, "max", meaning, extractor, companion=_MOTION, least_frames=2, aliases=aliases)


def _between_sets(name: str, extractor: Role, meaning: str, alias: str) -> MetricFamily:
    """Make a distance to the reference clips."""
    clips = 2 if extractor == "i3d" else 1  # one row per clip for I3D, else one per frame
    return MetricFamily(
        name, "min", meaning, extractor, needs_references=True, per="set", least_clips=clips, aliases=(alias,)
    )


_MOTION = "motion_magnitude"
METRICS: dict[str, MetricFamily] = {
    family.name: family
    for family in (
        MetricFamily(
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
        MetricFamily(
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
"""All metric families, in the order of tables."""

HOW_TO_GET: dict[Role, str] = {
    "clip": (
        "a CLIP model (folder in transformers' layout, or hub id such as openai/clip-vit-base-patch32): "
        "set `extractors: {clip: folder-or-hub-id}`"
    ),
    "inception": (
        "FID's Inception network as torchscript, from StyleGAN2-ADA: "
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt, "
        "and set `extractors: {inception: path/to/inception-2015-12-05.pt}`"
    ),
    "i3d": (
        "I3D for Kinetics-400 as torchscript (i3d_torchscript.pt, as in StyleGAN-V), copy at "
        "https://huggingface.co/flateon/FVD-I3D-torchscript, "
        "and set `extractors: {i3d: path/to/i3d_torchscript.pt}`"
    ),
}
"""Role -> network, its source, and its key in a study."""

I3D_FRAMES = 9
"""Fewest frames for I3D: its temporal stride is 8 and its last pool spans 2. Published values use 16."""

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
    """Networks for metrics; an omitted one is taken from the base, if it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str | None = Field(None, min_length=1, description="CLIP: a folder, or a hub id with an optional @revision")
    i3d: str | None = Field(None, min_length=1, description="I3D for Kinetics-400: a torchscript file")
    inception: str | None = Field(None, min_length=1, description="FID's Inception: a torchscript file")


@dataclass(frozen=True)
class ExtractorRef:
    """Reference to a feature extractor that is not loaded yet.

    Attributes:
        kind: Type of the network; ``classifier`` is a base's own video classifier.
        name: Name in metric keys.
        source: Folder, file or hub id; with ``subfolder``, the name of a base.
        subfolder: Folder inside the base; None for a network from ``extractors``.
    """

    kind: Literal["clip", "inception", "i3d", "classifier"]
    name: str
    source: str
    subfolder: str | None = None


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
        key = f"{family}/{_PIXEL_NAMES[family]}"
        return MetricKey(family, key, known.direction, False, known.meaning, None, known.least_frames)
    given: str | None = getattr(extractors, known.extractor)
    if given is not None:
        return _with_given(known, known.extractor, given)
    entry, tail = _STAND_INS[known.extractor]
    if entry not in card.extractors:
        raise ValueError(
            f"{family} needs a network that base {base} does not include -> get {HOW_TO_GET[known.extractor]}, "
            f"or remove {family} from the metrics"
        )
    kind: Literal["clip", "classifier"] = "clip" if entry == "clip" else "classifier"
    ref = ExtractorRef(kind, f"{card.name}_{tail}", base, card.extractors[entry])
    return _with_stand_in(known, ref, surrogate=card.surrogate)


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


def absent(extractors: Extractors) -> dict[Role, str]:
    """Find networks missing on this machine: role -> missing path and remedy."""
    given: dict[Role, str | None] = {"clip": extractors.clip, "inception": extractors.inception, "i3d": extractors.i3d}
    return {
        role: f"{source} does not exist -> get {HOW_TO_GET[role]}"
        for role, source in given.items()
        if source is not None and (role != "clip" or is_path(source)) and not Path(source).expanduser().exists()
    }


def is_path(source: str) -> bool:
    """Whether a CLIP model is given by a path rather than a hub id: by its first character, or if it exists."""
    return source.startswith((".", "/", "~")) or Path(source).exists()


def _known(family: str) -> MetricFamily:
    if family in METRICS:
        return METRICS[family]
    raise ValueError(f"unknown metric {family} -> {', '.join(METRICS)}{did_you_mean(family, METRICS)}")


def _with_given(family: MetricFamily, role: Role, given: str) -> MetricKey:
    """Make the key of a family for a network from ``extractors``."""
    name = _FILE_NAMES.get(role) or _model_name(given)
    words = f"{family.meaning}, by {name}"
    least = I3D_FRAMES if role == "i3d" else family.least_frames
    ref = ExtractorRef(role, name, given)
    return MetricKey(family.name, f"{family.name}/{name}", family.direction, False, words, ref, least)


def _with_stand_in(family: MetricFamily, ref: ExtractorRef, *, surrogate: bool) -> MetricKey:
    """Make the key of a family for a network of the base; distances lose their published name."""
    head = _STAND_IN_HEADS.get(family.name, family.name)
    words = f"{family.meaning}, by {ref.name}"
    if head != family.name:
        words += f", a stand-in: not {family.name.upper()}"
    if surrogate:
        words += "; surrogate: the network was trained on this base's clips, so compare values only within this base"
    surrogate = surrogate or head != family.name
    return MetricKey(family.name, f"{head}/{ref.name}", family.direction, surrogate, words, ref, family.least_frames)


def _model_name(source: str) -> str:
    """Return the last part of a path or hub id, without a revision, in characters allowed in metric keys."""
    name = Path(source).expanduser().resolve().name if is_path(source) else source.split("@")[0].split("/")[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
