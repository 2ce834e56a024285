"""Inputs of a cell's model: prompts and, for systems that continue clips, the given first frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import SYSTEMS
from models.streams import Streams
from models.system import System
from trainables.data.content import Content, changes
from trainables.data.layout import ClipLayout, ClipSet, ClipSize, continued
from trainables.data.manifest import Manifest
from trainables.trial_spec import TrialSpec


class ChangedDataError(ValueError):
    """The data differ from those that a cell's id stands for."""


def size(spec: TrialSpec) -> ClipSize:
    """Frames, height and width of a cell's clips."""
    return ClipSize(spec.protocol.frames, spec.protocol.height, spec.protocol.width)


def clips_of(spec: TrialSpec) -> ClipLayout:
    """Return the cell's data as a layout with clips.

    Raises:
        ValueError: The layout has only prompts.
    """
    if not isinstance(spec.data, ClipLayout):
        raise ValueError(f"data layout {spec.data.layout} has no clips -> data: shapes, or a layout with clips")
    return spec.data


def content(spec: TrialSpec, manifest: Manifest) -> Content:
    """Return hashes of the data that a cell is asked and shown.

    Args:
        spec: The cell.
        manifest: Gives the hashes of clips.

    Raises:
        ValueError: Prompts or annotations cannot be read.
        UnreadError: The manifest would have to read a clip, and may not.
    """
    found = spec.data.content(manifest, spec.training.clips if spec.training is not None else None)
    return found | (spec.data.label_content(spec.by.columns) if spec.by else {})


def check_content(spec: TrialSpec, folder: Path) -> None:
    """Check that the data are still those of the cell's id.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.

    Raises:
        ChangedDataError: Prompts, annotations or clips have changed since the plan was made.
    """
    now = content(spec, Manifest(folder)) if spec.content else {}
    if changed := changes(spec.content, now):
        raise ChangedDataError(f"the data changed while the study ran ({changed}) -> run it again")


def prompts(spec: TrialSpec, folder: Path) -> list[str]:
    """One prompt per clip, the same in every arm of a seed.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.

    Raises:
        ValueError: Prompts or annotations cannot be read, or too many clips cannot be decoded.
    """
    if not SYSTEMS[spec.system].continues_clips:
        return spec.data.prompts(Streams(spec.seed), spec.protocol.clips)
    return list(_continued(spec, folder).texts)


def further_texts(spec: TrialSpec, folder: Path) -> dict[str, list[str]]:
    """Further texts of the continued clips, by name, that the cell's system reads; one per clip.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.
    """
    names = tree_of(spec).further_texts
    if not names:
        return {}
    further = _continued(spec, folder).further
    return {name: list(further[name]) for name in names if name in further}


def tree_of(spec: TrialSpec) -> System:
    """Return the cell's system."""
    return SYSTEMS[spec.system].model_validate(spec.tree)


def reference_clips(spec: TrialSpec, folder: Path) -> ClipSet:
    """Return the reference clips, with their further texts as the cell's system reads them.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.
    """
    return _arranged(spec, clips_of(spec).reference_clips(size(spec), folder))


def training_clips(spec: TrialSpec, folder: Path) -> ClipSet:
    """Return the training clips, with their further texts as the cell's system reads them.

    Args:
        spec: The cell, of a trained system.
        folder: Folder for files derived from the data.
    """
    assert spec.training is not None
    return _arranged(spec, clips_of(spec).training_clips(size(spec), spec.training.clips or None, folder))


def _arranged(spec: TrialSpec, clips: ClipSet) -> ClipSet:
    """Leave a list of clips the further texts that the system reads, arranged as it reads them."""
    tree = tree_of(spec)
    read = {name: clips.further[name] for name in tree.further_texts if name in clips.further}
    return replace(clips, further=tree.arranged(read))


def real_clips(spec: TrialSpec, folder: Path) -> NDArray[np.uint8] | None:
    """Full clips whose first frames are given to the model; None for a system that continues no clips.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.

    Shape:
        (b f h w 3) uint8.
    """
    return _continued(spec, folder).all() if SYSTEMS[spec.system].continues_clips else None


def _continued(spec: TrialSpec, folder: Path) -> ClipSet:
    return continued(reference_clips(spec, folder), Streams(spec.seed), spec.protocol.clips)
