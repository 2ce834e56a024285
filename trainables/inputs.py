"""What a cell's model is asked for: prompts and, where its system continues clips, their first frames."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import SYSTEMS
from models.streams import Streams
from trainables.data.layout import ClipLayout, ClipSet, Size, continued
from trainables.trial_spec import TrialSpec


def size(spec: TrialSpec) -> Size:
    """Frames, height and width of a cell's clips."""
    return Size(spec.protocol.frames, spec.protocol.height, spec.protocol.width)


def clips_of(spec: TrialSpec) -> ClipLayout:
    """The cell's data, of which clips are asked.

    Raises:
        ValueError: They are prompts alone.
    """
    if not isinstance(spec.data, ClipLayout):
        raise ValueError(f"data layout {spec.data.layout} has no clips -> data: shapes, or a layout of clips")
    return spec.data


def prompts(spec: TrialSpec, folder: Path) -> list[str]:
    """One prompt per clip, the same in every arm of a seed.

    Args:
        spec: The cell.
        folder: For what is kept of the data.

    Raises:
        ValueError: The data's prompts or annotations cannot be read, or too many of its clips.
    """
    if not SYSTEMS[spec.system].continues_clips:
        return spec.data.prompts(Streams(spec.seed), spec.protocol.clips)
    return list(_continued(spec, folder).texts)


def real_clips(spec: TrialSpec, folder: Path) -> NDArray[np.uint8] | None:
    """The clips whose first frames the model is given, whole; None where the system makes clips of its own.

    Args:
        spec: The cell.
        folder: For what is kept of the data.

    Shape:
        (b f h w 3) uint8.
    """
    return _continued(spec, folder).all() if SYSTEMS[spec.system].continues_clips else None


def _continued(spec: TrialSpec, folder: Path) -> ClipSet:
    references = clips_of(spec).reference_clips(size(spec), folder)
    return continued(references, Streams(spec.seed), spec.protocol.clips)
