"""What a cell leaves in its folder: lossless clips, a frame strip, clips that play, and its result."""

import io
import json
import logging
import os
import socket
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainables.data.clips import write_clip
from trainables.files import write_atomically
from trainables.pictures import frame_strip
from trainables.trial_spec import RESULT, Result

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

ATTEMPTS = "attempts.jsonl"
CLIPS = "clips.npz"
TRAINED = "trained.safetensors"
STOP = "stop"
"""Name of the file that ends a cell's training before its time."""
STRIP = "strip.png"
PLAYABLE = "clip_*.mp4"
NUM_PLAYABLE = 4
PLAYABLE_PX = 256


@dataclass(frozen=True)
class Drawn:
    """The clips of a cell, the method's own statistics (means over clips), and the code that drew them.

    Shape:
        clips (b f h w c) uint8.
    """

    clips: NDArray[np.uint8]
    statistics: dict[str, float]
    code_hash: str


def begin_attempt(folder: Path) -> int:
    """Note that a cell is begun (once more) and give the number of the attempt, from 1; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    line = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    with (folder / ATTEMPTS).open("a+", encoding="utf-8") as attempts:
        attempts.write(json.dumps(line) + "\n")
        attempts.seek(0)
        return sum(1 for _ in attempts)


def leave_result(folder: Path, result: Result) -> None:
    """Write a cell's result, by which it has ended."""
    write_atomically(folder / RESULT, result.model_dump_json(indent=1).encode())


def read_clips(folder: Path) -> Drawn | None:
    """The clips a cell kept from an earlier attempt; None where there are none that can be read."""
    path = folder / CLIPS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            notes = json.loads(str(kept["notes"]))
            return Drawn(kept["clips"], notes["statistics"], notes["code_hash"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as reason:
        log.warning("%s cannot be read (%s): its clips are drawn again", path, reason)
        return None


def trained_weights(folder: Path) -> "dict[str, Tensor] | None":
    """The weights that a training left, by their names in the network; None where it has not come to its end."""
    from safetensors.torch import load_file

    path = folder / TRAINED
    return load_file(path) if path.is_file() else None


def save_clips(drawn: Drawn, folder: Path) -> None:
    """Keep the clips, lossless, with a frame strip and a few clips that a browser plays."""
    content = io.BytesIO()
    notes = json.dumps({"statistics": drawn.statistics, "code_hash": drawn.code_hash})
    np.savez(content, clips=drawn.clips, notes=np.array(notes))
    picture = io.BytesIO()
    frame_strip(drawn.clips).save(picture, "PNG")
    write_atomically(folder / STRIP, picture.getvalue())
    for number, clip in enumerate(drawn.clips[:NUM_PLAYABLE]):
        scale = max(1, PLAYABLE_PX // min(clip.shape[1:3]))
        # 4:2:0 is what every browser plays; after enlarging it costs no colour.
        write_clip(folder / PLAYABLE.replace("*", str(number)), clip, pixel_format="yuv420p", scale=scale)
    write_atomically(folder / CLIPS, content.getvalue())
