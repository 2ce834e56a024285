"""What a cell leaves in its folder: lossless clips, a frame strip, clips that play, and its result."""

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
"""Name of the file that ends a cell's training before its time."""
CHECKPOINTS = "checkpoints"
"""Name of the folder of a training's checkpoints."""
ORIGIN = "training.json"
"""Name of the file that says which code and which weights of the base a training began with."""
STRIP = "strip.png"
PLAYABLE = "clip_*.mp4"
NUM_PLAYABLE = 4
PLAYABLE_PX = 256


@dataclass(frozen=True)
class Drawn:
    """The clips of a cell, the method's own statistics (means over clips), the code that drew them, and their prompts.

    Shape:
        clips (b f h w c) uint8.
    """

    clips: NDArray[np.uint8]
    statistics: dict[str, float]
    code_hash: str
    prompts: tuple[str, ...]


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


def result_without_clips(
    spec: TrialSpec,
    status: Status,
    error: str,
    *,
    failure: Failure | Literal[""] = "",
    statistics: Mapping[str, float] = MappingProxyType({}),
) -> Result:
    """The result of a cell that ended before anything was drawn: it failed on a rank, or was stopped early."""
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
    """The clips a cell kept from an earlier attempt; None where there are none that can be read."""
    return _from_clips(
        folder,
        lambda kept, notes: Drawn(kept["clips"], notes["statistics"], notes["code_hash"], tuple(notes["prompts"])),
    )


def seconds_of(folder: Path) -> dict[str, float]:
    """What it took to draw the clips that a cell kept, by its earlier result; empty where there is none."""
    try:
        return Result.model_validate_json((folder / RESULT).read_bytes()).seconds
    except (FileNotFoundError, ValueError):
        return {}


def has_clips(folder: Path) -> bool:
    """Whether ``read_clips`` would find any, by their notes alone: the clips themselves may be gigabytes."""
    return bool(_from_clips(folder, lambda kept, notes: "clips" in kept.files and "prompts" in notes))


def _from_clips(folder: Path, take: Callable[[Any, Any], T]) -> T | None:
    """Something of the clips a cell kept, from their file and the notes in it."""
    path = folder / CLIPS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return take(kept, json.loads(str(kept["notes"])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as reason:
        log.warning("%s cannot be read (%s): its clips are drawn again", path, reason)
        return None


def trained_weights(folder: Path) -> "dict[str, Tensor]":
    """The weights that a training left, by their names in the network.

    Raises:
        ValueError: It has not come to its end, or the file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / TRAINED
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is absent: the training did not come to its end, or they were removed") from error
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}) -> delete it; --retry-failed trains once more") from error


def keep_only_of(folder: Path, origin: Mapping[str, str]) -> None:
    """Drop what an earlier attempt of a training left where it had other code or another base: half of each is neither.

    Args:
        folder: The cell's.
        origin: Code and base as they are here; what is not known here is not compared.
    """
    try:
        there = json.loads((folder / ORIGIN).read_bytes())
    except (FileNotFoundError, ValueError):
        there = None
    if there is not None and all(there.get(key) == value for key, value in origin.items() if value):
        return
    if there is not None:
        log.warning("%s: begun with %s, here are %s: the training starts anew", folder, there, origin)
    for file in (TRAINED, SPOOL, ORIGIN):
        (folder / file).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def leave_weights(folder: Path, weights: "Mapping[str, Tensor]") -> None:
    """Keep what a training learnt, by names in the network; with it the training has come to its end."""
    from safetensors.torch import save

    write_atomically(folder / TRAINED, save({name: weight.contiguous() for name, weight in weights.items()}))


def save_clips(drawn: Drawn, folder: Path) -> None:
    """Keep the clips, lossless, with a frame strip and a few clips that a browser plays."""
    content = io.BytesIO()
    notes = json.dumps({"statistics": drawn.statistics, "code_hash": drawn.code_hash, "prompts": drawn.prompts})
    np.savez(content, clips=drawn.clips, notes=np.array(notes))
    picture = io.BytesIO()
    frame_strip(drawn.clips).save(picture, "PNG")
    write_atomically(folder / STRIP, picture.getvalue())
    for number, clip in enumerate(drawn.clips[:NUM_PLAYABLE]):
        scale = max(1, PLAYABLE_PX // min(clip.shape[1:3]))
        # 4:2:0 is what every browser plays; after enlarging it costs no colour.
        write_clip(folder / PLAYABLE.replace("*", str(number)), clip, pixel_format="yuv420p", scale=scale)
    write_atomically(folder / CLIPS, content.getvalue())
