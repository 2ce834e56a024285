"""What a cell's model is asked for: prompts and, where its system continues clips, their first frames."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import SYSTEMS
from models.streams import Streams
from trainables.trial_spec import TrialSpec


def prompts(spec: TrialSpec, folder: Path) -> list[str]:
    """One prompt per clip, the same in every arm of a seed.

    Args:
        spec: The cell.
        folder: For what is kept of the data.

    Raises:
        ValueError: The data's prompts or annotations cannot be read, or too many of its clips.
    """
    streams, clips = Streams(spec.seed), spec.protocol.clips
    if not SYSTEMS[spec.system].continues_clips:
        return spec.data.prompts(streams, clips)
    return spec.data.example_prompts(streams, clips, *size(spec), folder)


def size(spec: TrialSpec) -> tuple[int, int, int]:
    """Frames, height and width of a cell's clips."""
    return spec.protocol.frames, spec.protocol.height, spec.protocol.width


def real_clips(spec: TrialSpec, folder: Path) -> NDArray[np.uint8] | None:
    """The clips whose first frames the model is given, whole; None where the system makes clips of its own.

    Args:
        spec: The cell.
        folder: For what is kept of the data.

    Shape:
        (b f h w 3) uint8.
    """
    if not SYSTEMS[spec.system].continues_clips:
        return None
    return spec.data.example_clips(Streams(spec.seed), spec.protocol.clips, *size(spec), folder)
