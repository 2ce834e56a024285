"""Files of CLIP and ViT models for metrics: whether a folder has one, complete. Imports no torch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from models.bases.vocabulary import missing_vocabulary, vocabulary_problem
from trainables.metrics import HOW_TO_GET, Extractors, Role, is_path

_CONFIGURATION = "config.json"
_OTHER_MODELS = {"siglip": "SigLIP", "siglip2": "SigLIP 2"}


def model_weights(folder: Path) -> list[Path]:
    """Return the weight files of a model's folder, sorted; pickled ones only if there are no others."""
    return sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def clip_problem(folder: Path, *, complete: bool = True) -> str | None:
    """Return the reason why a folder has no CLIP model; None if it has one.

    The check of the tokenizer is necessary: transformers silently makes an empty one if its files are missing.

    Args:
        folder: The folder.
        complete: Whether all files must be there; if not, only the present ones are checked.
    """
    if folder.is_file():
        return "a file; CLIP is loaded from a folder in transformers' layout, with tokenizer and preprocessing"
    return _other_model(folder) or (_missing(folder) if complete else None) or _without_words(folder)


def vit_problem(folder: Path, *, complete: bool = True) -> str | None:
    """Return the reason why a folder has no ViT model; None if it has one.

    Args:
        folder: The folder.
        complete: Whether all files must be there; if not, only the present ones are checked.
    """
    if folder.is_file():
        return "a file; DINO is loaded from a folder in transformers' layout"
    file = folder / _CONFIGURATION
    groups = {_CONFIGURATION: file.is_file(), "model.safetensors": bool(model_weights(folder))}
    missing = [name for name, is_there in groups.items() if not is_there]
    if complete and missing:
        return f"the folder {folder} lacks {', '.join(missing)}"
    if not file.is_file():
        return None
    try:
        model_type = json.loads(file.read_bytes()).get("model_type", "vit")
    except (ValueError, AttributeError) as error:
        return f"{_CONFIGURATION} is not a map in JSON ({error})"
    return None if model_type == "vit" else f"{_CONFIGURATION}: model_type: {model_type}: another model than ViT"


def unfit_networks(extractors: Extractors) -> dict[Role, str]:
    """Find models of the study on this machine that cannot be used: role -> reason and remedy."""
    found = {
        "clip": _unfit("clip", extractors.clip, clip_problem),
        "aesthetic_clip": _unfit("aesthetic_clip", extractors.aesthetic_clip, clip_problem),
        "dino": _unfit("dino", extractors.dino, vit_problem),
    }
    return {cast(Role, role): message for role, message in found.items() if message}


def unfit_clip(extractors: Extractors) -> str | None:
    """Return the reason why the study's CLIP model cannot be used; None if it can, or is not on this machine."""
    return _unfit("clip", extractors.clip, clip_problem)


def _unfit(role: Role, source: str | None, problem_of: Callable[..., str | None]) -> str | None:
    """Return the reason why a model cannot be used; None if it can, or is not on this machine."""
    if source is None:
        return None
    folder = Path(source).expanduser() if is_path(source) else _cached(source)
    problem = problem_of(folder, complete=is_path(source)) if folder is not None and folder.exists() else None
    return f"{source}: {problem} -> get {HOW_TO_GET[role]}" if problem else None


def _other_model(folder: Path) -> str | None:
    """Find a model of another kind than CLIP, such as SigLIP."""
    file = folder / _CONFIGURATION
    if not file.is_file():
        return None
    try:
        configuration: Any = json.loads(file.read_bytes())
        model_type = configuration.get("model_type", "clip")
    except (ValueError, AttributeError) as error:
        return f"{_CONFIGURATION} is not a map in JSON ({error})"
    if model_type == "clip":
        return None
    name = _OTHER_MODELS.get(model_type, "another model than CLIP")
    return (
        f"{_CONFIGURATION}: model_type: {model_type}: {name}, whose tokenizer, preprocessing and scale of similarity "
        "differ from CLIP's; metrics of CLIP do not load it"
    )


def _missing(folder: Path) -> str | None:
    """Find missing files."""
    groups = {
        _CONFIGURATION: (folder / _CONFIGURATION).is_file(),
        "model.safetensors": bool(model_weights(folder)),
        "preprocessor_config.json": any(
            (folder / file).is_file() for file in ("preprocessor_config.json", "processor_config.json")
        ),
    }
    missing = [name for name, is_there in groups.items() if not is_there] + missing_vocabulary(folder)
    return f"the CLIP folder {folder} lacks {', '.join(missing)}" if missing else None


def _without_words(folder: Path) -> str | None:
    """Find a tokenizer that gives every word one id."""
    problem = vocabulary_problem(folder)
    return ": ".join(problem) if problem else None


def _cached(source: str) -> Path | None:
    """Return the local snapshot of a hub id, if there is one."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = source.partition("@")
    file = try_to_load_from_cache(repository, _CONFIGURATION, revision=revision or None)
    return Path(file).parent if isinstance(file, str) else None
