"""What a cell's model is asked for: prompts and, where its system continues clips, their first frames."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import SYSTEMS
from models.streams import Streams
from trainables.trial_spec import TrialSpec


def prompts(spec: TrialSpec) -> list[str]:
    """One prompt per clip, the same in every arm of a seed.

    Raises:
        ValueError: The data's prompts or annotations cannot be read.
    """
    streams, clips = Streams(spec.seed), spec.protocol.clips
    continues = SYSTEMS[spec.system].continues_clips
    return spec.data.example_prompts(streams, clips) if continues else spec.data.prompts(streams, clips)


def known_prompts(spec: TrialSpec) -> list[str]:
    """The prompts of a cell that ran, for people; empty words where what held them is not here any more."""
    try:
        return prompts(spec)
    except ValueError:
        return [""] * spec.protocol.clips


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
    protocol = spec.protocol
    size = (protocol.frames, protocol.height, protocol.width)
    return spec.data.example_clips(Streams(spec.seed), protocol.clips, *size, folder)
