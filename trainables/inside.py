"""What metrics read of a cell's model beside its clips: the states that it is given, and its condition."""

from collections.abc import Collection, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.backbones import Base
from models.contracts import Conditioned
from trainables.data import ORACLE
from trainables.data.frames import to_video
from trainables.data.layout import ClipSet
from trainables.inputs import built, tree_of
from trainables.metrics.inside import Inside
from trainables.trial_spec import TrialSpec


def inside_of(
    spec: TrialSpec,
    reads: Collection[str],
    clips: ClipSet,
    real: ClipSet,
    base: Base,
    trained: Mapping[str, Tensor] | None,
) -> Inside:
    """Return what metrics read of a cell's model.

    Args:
        spec: The cell.
        reads: What metrics read: ``states``, ``condition``.
        clips: The continued clips, with further texts as the system reads them.
        real: The same clips with all their further texts.
        base: The loaded base.
        trained: Trained weights, for a trained system.

    Raises:
        ValueError: The clips have no description of their true frames.
    """
    if ORACLE not in real.further:
        raise ValueError("the clips have no description of their true frames -> data: shapes, or other metrics")
    states = tree_of(spec).states_of(clips.texts, clips.further)
    condition = _condition(spec, clips, base, trained) if "condition" in reads else None
    return Inside(states, real.further[ORACLE], condition)


def _condition(
    spec: TrialSpec, clips: ClipSet, base: Base, trained: Mapping[str, Tensor] | None
) -> NDArray[np.float32]:
    """Return features of the condition of each frame (b f c)."""
    given = to_video(clips.all()[:, : tree_of(spec).given_frames])
    model = cast(Conditioned, built(spec, base, trained))
    features = model.condition_of(clips.texts, spec.protocol, given, clips.further)
    made: NDArray[np.float32] = features.numpy()
    return made
