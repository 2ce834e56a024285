"""Files in a cell's folder: lossless clips, a frame strip, playable clips, and the result."""

import io
import json
import logging
import os
import shutil
import socket
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainables.data.clips import write_clip
from trainables.files import write_atomically
from trainables.pictures import frame_strip
from trainables.provenance import code_hash, commit
from trainables.spool import SPOOL
from trainables.trial_spec import RESULT, Failure, Result, Status, TrialSpec

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

log = logging.getLogger(__name__)

ATTEMPTS = "attempts.jsonl"
CLIPS = "clips.npz"
TRAINED = "trained.safetensors"
STOP = "stop"
"""Name of the file that requests an early end of a cell's training."""
CHECKPOINTS = "checkpoints"
"""Name of the folder of a training's checkpoints."""
ORIGIN = "training.json"
"""Name of the file with the code hash and base hash at the start of a training."""
STRIP = "strip.png"
PLAYABLE = "clip_*.mp4"
NUM_PLAYABLE = 4
PLAYABLE_PX = 256


@dataclass(frozen=True)
class Drawn:
    """Sampled clips of a cell, the method's statistics (means over clips), the code hash at sampling, and the prompts.

    Shape:
        clips (b f h w c) uint8.
    """

    clips: NDArray[np.uint8]
    statistics: dict[str, float]
    code_hash: str
    prompts: tuple[str, ...]


def begin_attempt(folder: Path) -> int:
    """Record the start of an attempt and return its number, from 1; creates the folder."""
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
    """Write a cell's result, which marks the cell as finished."""
    write_atomically(folder / RESULT, result.model_dump_json(indent=1).encode())


def result_without_clips(
    spec: TrialSpec,
    status: Status,
    error: str,
    *,
    failure: Failure | Literal[""] = "",
    statistics: Mapping[str, float] = MappingProxyType({}),
) -> Result:
    """Make the result of a cell that ended before sampling: it failed on a rank, or was stopped early."""
    return Result(
        cell_id=spec.cell_id,
        spec=spec,
        status=status,
        error=error,
        failure=failure,
        statistics=dict(statistics),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance={"code_hash": code_hash(spec.system), "commit": commit()},
    )


def read_clips(folder: Path) -> Drawn | None:
    """Read the clips of an earlier attempt; None if they are absent or unreadable."""
    return _from_clips(
        folder,
        lambda kept, notes: Drawn(kept["clips"], notes["statistics"], notes["code_hash"], tuple(notes["prompts"])),
    )


def seconds_of(folder: Path) -> dict[str, float]:
    """Seconds per stage from the cell's earlier result; empty if there is none."""
    try:
        return Result.model_validate_json((folder / RESULT).read_bytes()).seconds
    except (FileNotFoundError, ValueError):
        return {}


def has_clips(folder: Path) -> bool:
    """Whether the cell has readable clips, checked without loading them."""
    return bool(_from_clips(folder, lambda kept, notes: "clips" in kept.files and "prompts" in notes))


def _from_clips(folder: Path, take: Callable[[Any, Any], T]) -> T | None:
    """Extract data from the cell's clips file and its notes; None if it is absent or unreadable."""
    path = folder / CLIPS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return take(kept, json.loads(str(kept["notes"])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as reason:
        log.warning("%s: cannot be read (%s) -> its clips are sampled again", path, reason)
        return None


def trained_weights(folder: Path) -> "dict[str, Tensor]":
    """Load the weights saved by a training, by their names in the network.

    Raises:
        ValueError: The training is not finished, or the file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / TRAINED
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: missing; the training is not finished, or the file was deleted") from error
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path}: cannot be read ({error}) -> delete it and train again with --retry-failed"
        ) from error


def discard_stale_training(folder: Path, origin: Mapping[str, str]) -> None:
    """Delete the files of an earlier training attempt that used other code or another base.

    Args:
        folder: The cell's folder.
        origin: Hashes of the current code and base; empty values are not compared.
    """
    try:
        earlier = json.loads((folder / ORIGIN).read_bytes())
    except (FileNotFoundError, ValueError):
        earlier = None
    if earlier is not None and all(earlier.get(key) == value for key, value in origin.items() if value):
        return
    if earlier is not None:
        log.warning("%s: training started with %s, now %s -> it starts again", folder, earlier, origin)
    for file in (TRAINED, SPOOL, ORIGIN):
        (folder / file).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def save_weights(folder: Path, weights: "Mapping[str, Tensor]") -> None:
    """Save the trained weights by their names in the network, which marks the training as finished."""
    from safetensors.torch import save

    write_atomically(folder / TRAINED, save({name: weight.contiguous() for name, weight in weights.items()}))


def save_clips(drawn: Drawn, folder: Path) -> None:
    """Save the clips losslessly, with a frame strip and a few clips for the browser."""
    content = io.BytesIO()
    notes = json.dumps({"statistics": drawn.statistics, "code_hash": drawn.code_hash, "prompts": drawn.prompts})
    np.savez(content, clips=drawn.clips, notes=np.array(notes))
    picture = io.BytesIO()
    frame_strip(drawn.clips).save(picture, "PNG")
    write_atomically(folder / STRIP, picture.getvalue())
    for number, clip in enumerate(drawn.clips[:NUM_PLAYABLE]):
        scale = max(1, PLAYABLE_PX // min(clip.shape[1:3]))
        # Every browser plays 4:2:0; enlarged clips lose no colour by it.
        write_clip(folder / PLAYABLE.replace("*", str(number)), clip, pixel_format="yuv420p", scale=scale)
    write_atomically(folder / CLIPS, content.getvalue())
