"""A cell's model, and its inputs: prompts and, for systems that continue clips, the given first frames."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models import SYSTEMS
from models.backbones import Base
from models.contracts import TrainedModel, VideoModel
from models.predictor import PREDICTED, Predictor
from models.streams import Streams
from models.system import System
from trainables.data.content import Content, changes
from trainables.data.layout import ClipLayout, ClipSet, ClipSize, continued
from trainables.data.manifest import Manifest
from trainables.predictions import Prediction
from trainables.trial_spec import TrialSpec

Predict = Callable[[Predictor, ClipSet], Sequence[Prediction]]

REPAIRED = "repaired"
"""Label of a clip: whether the answer of its predictor had another number of states than asked for."""


def none_predicted(predictor: Predictor, clips: ClipSet) -> Sequence[Prediction]:
    """Refuse to predict: where no system with a predictor is expected."""
    raise AssertionError(f"nothing predicts states here: {predictor}")


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
    return list(described_clips(spec, folder).texts)


def tree_of(spec: TrialSpec) -> System:
    """Return the cell's system."""
    return SYSTEMS[spec.system].model_validate(spec.tree)


def built(spec: TrialSpec, base: Base, trained: Mapping[str, Tensor] | None) -> VideoModel:
    """Build a cell's model on its base, with its trained weights if there are some."""
    model = tree_of(spec).build(base, spec.seed)
    if trained is not None:
        cast(TrainedModel, model).load(trained)
    return model


def continuable_clips(spec: TrialSpec, folder: Path, predict: Predict = none_predicted) -> ClipSet:
    """Return the clips that cells continue, with their further texts as the cell's system reads them.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.
        predict: Predicts the states of clips.
    """
    return _arranged(spec, clips_of(spec).continuable_clips(size(spec), folder), predict)


def training_clips(spec: TrialSpec, folder: Path, predict: Predict = none_predicted) -> ClipSet:
    """Return the training clips, with their further texts as the cell's system reads them.

    Args:
        spec: The cell, of a trained system.
        folder: Folder for files derived from the data.
        predict: Predicts the states of clips.
    """
    assert spec.training is not None
    clips = clips_of(spec).training_clips(size(spec), spec.training.clips or None, folder)
    return _arranged(spec, clips, predict)


def continued_clips(spec: TrialSpec, folder: Path, predict: Predict = none_predicted) -> ClipSet:
    """Return the clips that the cell continues, with their further texts as its system reads them.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.
        predict: Predicts the states of clips.
    """
    return continued(continuable_clips(spec, folder, predict), Streams(spec.seed), spec.protocol.clips)


def _arranged(spec: TrialSpec, clips: ClipSet, predict: Predict) -> ClipSet:
    """Leave a list of clips the further texts that the system reads, arranged as it reads them."""
    tree = tree_of(spec)
    known = dict(clips.further)
    labels = dict(clips.labels)
    if (predictor := tree.predictor) is not None:
        predictions = predict(predictor, clips)
        known[PREDICTED] = ["; ".join(prediction.states) for prediction in predictions]
        labels[REPAIRED] = [str(int(prediction.repaired)) for prediction in predictions]
    read = {name: known[name] for name in tree.further_texts if name in known}
    return replace(clips, further=tree.arranged(read), labels=labels)


def real_clips(spec: TrialSpec, folder: Path) -> NDArray[np.uint8] | None:
    """Full clips whose first frames are given to the model; None for a system that continues no clips.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.

    Shape:
        (b f h w 3) uint8.
    """
    return described_clips(spec, folder).all() if SYSTEMS[spec.system].continues_clips else None


def described_clips(spec: TrialSpec, folder: Path) -> ClipSet:
    """Return the clips that the cell continues, with all further texts of their data.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.
    """
    continuable = clips_of(spec).continuable_clips(size(spec), folder)
    return continued(continuable, Streams(spec.seed), spec.protocol.clips)
