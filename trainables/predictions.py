"""States of clips that a Llava predicts, kept on file: once per clip and predictor, for all arms and seeds."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.bases import BaseRef, weights_hash
from models.predictor import Predictor
from trainables.data.layout import ClipSet, ClipSize
from trainables.files import json_hash, locked

log = logging.getLogger(__name__)

FOLDER = "states"
"""Name of the folder under the storage."""

CHUNK = 128
"""Clips whose first frames are read, and whose states are written, together."""

_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")


@dataclass(frozen=True)
class Prediction:
    """Predicted states of a clip.

    Args:
        clip: Hash of the clip, its size and its instruction.
        instruction: Instruction of the clip.
        answer: Text of the model.
        states: The states, as many as were asked for.
        repaired: Whether the answer had another number of them.
    """

    clip: str
    instruction: str
    answer: str
    states: tuple[str, ...]
    repaired: bool


def predict(
    predictor: Predictor, base: BaseRef, clips: ClipSet, size: ClipSize, folder: Path | None
) -> list[Prediction]:
    """Return the predicted states of clips, each predicted once and then read from a file.

    Workers that need states of the same predictor at once wait for one another. A line that was not written whole is
    predicted again.

    Args:
        predictor: The model, and what it is asked.
        base: Base of the system, whose card may name the model.
        clips: The clips.
        size: Their size.
        folder: Folder of the files; None predicts without any.

    Raises:
        OSError: The model cannot be read, or the folder cannot be written.
        ValueError: No model is named, or it is no Llava.
    """
    ref = predictor.ref(base)
    model = _folder(ref)
    keys = [
        json_hash({"clip": identity, "text": text, "frame": size[1:]}, 24)
        for identity, text in zip(clips.identity, clips.texts, strict=True)
    ]
    if folder is None:
        made = {prediction.clip: prediction for prediction in _made(predictor, model, clips, keys)}
        return [made[key] for key in keys]
    folder.mkdir(parents=True, exist_ok=True)
    about = {"model": str(ref), "weights": weights_hash(model), "prompt": predictor.prompt, "number": predictor.number}
    path = folder / f"{Path(ref.name).name}-{json_hash(about, 12)}.jsonl"
    with locked(folder / f".{path.name}.lock"):
        known = _read(path)
        missing = [place for place, key in enumerate(keys) if key not in known]
        if missing:
            asked = [keys[place] for place in missing]
            with path.open("a", encoding="utf-8") as file:
                file.write("\n" if file.tell() else json.dumps(about) + "\n")  # an end for a line that was cut off
                for prediction in _made(predictor, model, clips.take(missing), asked):
                    file.write(json.dumps(asdict(prediction), ensure_ascii=False) + "\n")
                    file.flush()
                    known[prediction.clip] = prediction
    log.info("%s: states of %d clips, %d of them predicted now", path.name, len(clips), len(missing))
    return [known[key] for key in keys]


def _made(predictor: Predictor, model: Path, clips: ClipSet, keys: Sequence[str]) -> Iterator[Prediction]:
    """Ask the model about clips; equal clips once."""
    import torch

    from models.aid.llava import Llava, repaired

    gpu = torch.cuda.is_available()
    llava = Llava.load(
        model, device=torch.device("cuda" if gpu else "cpu"), dtype=torch.bfloat16 if gpu else torch.float32
    )
    first: dict[str, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    for start in range(0, len(first), CHUNK):
        places = [*first.values()][start : start + CHUNK]
        part = clips.take(places)
        answers = llava.answers(part.all()[:, 0], part.texts, predictor.number, prompt=predictor.prompt)
        for place, text, answer in zip(places, part.texts, answers, strict=True):
            states, was_repaired = repaired(answer, text, predictor.number)
            yield Prediction(keys[place], text, answer, tuple(states), was_repaired)
    del llava
    torch.cuda.empty_cache()  # a published one takes 14 GiB, which the training needs


def _folder(ref: BaseRef) -> Path:
    """Return the folder of a model, downloaded if it is a hub id."""
    if ref.path is not None:
        return ref.path
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(ref.name, revision=ref.revision, allow_patterns=list(_FILES)))


def _read(path: Path) -> dict[str, Prediction]:
    """Read the predictions of a file, without its head and lines that were cut off."""
    known = {}
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    for line in lines:
        try:
            values: dict[str, Any] = json.loads(line)
            prediction = Prediction(**{**values, "states": tuple(values["states"])})
        except (ValueError, TypeError, KeyError):
            continue
        known[prediction.clip] = prediction
    return known
