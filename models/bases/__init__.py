"""Bases: pretrained networks that a system is built on, located by name without reading weights.

A base is embedded (a folder here), a folder of the user, or a hub id, in the layout of one of the families.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.bases.configurations import TEXT, Misfit
from models.bases.families import FAMILIES, STABLE_DIFFUSION, Family
from models.bases.text_files import TextFiles
from models.bases.vocabulary import missing_vocabulary
from models.words import did_you_mean

FOLDER = Path(__file__).parent

_INDEX = "model_index.json"
_WEIGHTS = (".safetensors", ".bin")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")

Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
TextPadding = Literal["masked", "attended"]
"""Whether a text tower masks the padding of a prompt, or attends to it."""


class Protocol(BaseModel):
    """Sampling settings of a cell, the same for every arm of a study.

    Args:
        clips: Clips per cell, at least 1.
        frames: Frames per clip, at least 2.
        steps: Denoising steps, at least 1.
        guidance: Classifier-free guidance scale, at least 1 (1 is no guidance).
        height: Height of a frame, in pixels.
        width: Width of a frame, in pixels.
        micro_batch: Frames per U-Net call, rounded down to whole clips, at least one clip (guidance evaluates each
            frame twice). None uses the rule of ``models.backbones.Base.micro_batch``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    clips: Count = 8
    frames: Annotated[int, Field(ge=2)] = 8
    steps: Count = 50
    guidance: Annotated[float, Field(ge=1, description="1 is no guidance")] = 7.5
    height: Count = 512
    width: Count = 512
    micro_batch: Count | None = None


class Card(BaseModel):
    """Description of a base from its ``card.json``; other keys there (training record, quality) are for readers.

    Args:
        name: Name of the base.
        protocol: Default sampling settings of a study on this base.
        extractors: Feature extractors that ship with it: role ("clip", "clips") -> sub-folder.
        surrogate: Whether these extractors replace the published ones, so that metrics have other names.
        data: Default data of a study on this base: a layout by name, or a map of its keys.
        llava: Folder of the Llava that predicts states on this base, relative to its own; empty without one.
        hub: Location of the weights, if only the published configuration ships; else empty.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    protocol: Protocol = Protocol()
    extractors: dict[str, str] = {}
    surrogate: bool = False
    data: str | dict[str, Any] = "prompts"
    llava: str = ""
    hub: str = ""


@dataclass(frozen=True)
class BaseRef:
    """Location of a base, before its files are read.

    Args:
        name: Name in the study, without the revision.
        path: Folder; None for a hub id.
        revision: Branch, tag or commit of a hub id; None is the default branch.
        where: Type of the location.
        family: Networks and their layout.
        text_encoder: Embedded base, folder or hub id whose text encoder is used; empty for the base's own.
        reads_texts: Whether the text encoder beside the base is used.
    """

    name: str
    path: Path | None
    revision: str | None
    where: Literal["embedded", "folder", "hub"]
    family: Family = STABLE_DIFFUSION
    text_encoder: str = ""
    reads_texts: bool = False

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


def embedded_bases() -> tuple[str, ...]:
    """Return the names of the bases that ship with the code."""
    return tuple(sorted(card.parent.name for card in FOLDER.glob("*/card.json")))


def find_base(name: str, family: Family = STABLE_DIFFUSION) -> BaseRef:
    """Find a base by an embedded name, a folder (any path), or a hub id (``org/name`` or ``org/name@revision``).

    Args:
        name: Name in the study.
        family: Family of a base without a local ``model_index.json`` that names one; usually the system's.

    Raises:
        ValueError: The name is not valid, or a path that does not exist.
    """
    if name in embedded_bases():
        return _in_its_family(BaseRef(name, FOLDER / name, None, "embedded"), family)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return _in_its_family(BaseRef(name, path.resolve(), None, "folder"), family)
    if name and path.is_file():
        raise ValueError(
            f"base {name}: a file -> a folder in diffusers' layout; a checkpoint of a whole pipeline becomes one by "
            "diffusers' from_single_file and save_pretrained"
        )
    if name.startswith((".", "/", "~")):
        raise ValueError(f"base {name}: no such folder")
    if _HUB_ID.fullmatch(name):
        repository, _, revision = name.partition("@")
        return _in_its_family(BaseRef(repository, None, revision or None, "hub"), family)
    embedded = embedded_bases()
    known = f"an embedded base ({', '.join(embedded)})" if embedded else "an embedded base"
    raise ValueError(f"base {name} -> {known}, a folder, or a hub id such as org/name{did_you_mean(name, embedded)}")


def _in_its_family(ref: BaseRef, otherwise: Family) -> BaseRef:
    """Return the base with the family in its ``model_index.json``, or with the given family."""
    folder = ref.path or cached_snapshot(ref)
    index = folder / _INDEX if folder else None
    try:
        pipeline = json.loads(index.read_bytes()).get("_class_name") if index and index.is_file() else None
    except (ValueError, AttributeError):  # damaged: loading the base reports it
        pipeline = None
    family = next((family for family in FAMILIES.values() if family.pipeline == pipeline), otherwise)
    return dataclasses.replace(ref, family=family)


def bases_of(family: Family) -> tuple[str, ...]:
    """Return the names of the embedded bases of a family."""
    return tuple(name for name in embedded_bases() if find_base(name, family).family == family)


def read_card(ref: BaseRef) -> Card:
    """Read the card of a base, or return the defaults of its family if it has none.

    A hub id always has these defaults, downloaded or not, so that a study is the same on every machine.
    """
    protocol = Protocol(**ref.family.protocol)
    if ref.path is None:
        return Card(name=ref.name, protocol=protocol)
    file = ref.path / "card.json"
    if file.is_file():
        return Card.model_validate_json(file.read_bytes())
    if ref.family != STABLE_DIFFUSION:
        return Card(name=ref.name, protocol=protocol)
    side = _config(ref.path / "unet").get("sample_size", 64) * pixels_per_latent(ref)
    return Card(name=ref.name, protocol=protocol.model_copy(update={"height": side, "width": side}))


def precision_in_full(precision: str, *, gpu: bool) -> str:
    """Resolve the precision "auto": bf16 on a GPU, fp32 on the CPU; other precisions are returned unchanged."""
    return ("bf16" if gpu else "fp32") if precision == "auto" else precision


def with_texts(ref: BaseRef) -> BaseRef:
    """Return where the text encoder beside a base is: the base itself, or what ``text_encoder`` names.

    Raises:
        ValueError: ``text_encoder`` is no embedded base, folder or hub id.
    """
    if not ref.text_encoder:
        return ref
    try:
        return find_base(ref.text_encoder)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("base ")) from None


def text_files(ref: BaseRef) -> TextFiles | None:
    """Return the files of the text encoder beside a base; None if it has none, or none is on this machine."""
    source = with_texts(ref)
    folder = source.path or cached_snapshot(source, TEXT) or cached_snapshot(source, "config.json")
    return TextFiles.of(folder) if folder else None


def pixels_per_latent(ref: BaseRef) -> int:
    """Return the pixels per latent cell along one side; 8 if the configuration is not on this machine."""
    return latent_cell(_config(ref.path / "vae") if ref.path else {})


def latent_cell(vae: Mapping[str, Any]) -> int:
    """Return the pixels per latent cell along one side of a VAE: every level but the last halves the size."""
    return int(2 ** (len(vae.get("block_out_channels", range(4))) - 1))


def trained_frames(ref: BaseRef) -> int | None:
    """Return the number of frames that a video base was trained on: ``num_frames`` of its U-Net.

    None for image bases, and where the configuration is not on this machine.
    """
    folder = ref.path or cached_snapshot(ref)
    frames = _config(folder / "unet").get("num_frames") if folder else None
    return frames if isinstance(frames, int) else None


def missing_files(ref: BaseRef) -> list[str]:
    """Return the files that a base lacks, as paths inside it; for a hub id, those missing in the local cache."""
    folder = ref.path or cached_snapshot(ref)
    needed = [_INDEX, *(f"{part}/{file}" for part, file in ref.family.configurations.items())]
    if folder is None:
        return needed
    missing = [file for file in needed if not (folder / file).is_file()]
    if "tokenizer" in ref.family.settings:
        missing += [f"tokenizer/{file}" for file in missing_vocabulary(folder / "tokenizer")]
    missing += [f"{part}/*.safetensors" for part in ref.family.networks if not any(_weight_files(folder / part))]
    return missing + (own.missing() if (own := _own_text_files(ref)) else [])


def _own_text_files(ref: BaseRef) -> TextFiles | None:
    """Return the base's own text encoder beside its networks, if it is used."""
    return text_files(ref) if ref.reads_texts and not ref.text_encoder else None


def misfits(ref: BaseRef) -> list[Misfit]:
    """Return the reasons why a base's configuration files do not fit its family; empty if it is not on this machine."""
    folder = ref.path or cached_snapshot(ref)
    own = _own_text_files(ref)
    return [*(ref.family.misfits(folder) if folder else []), *(own.misfits() if own else [])]


def base_hash(ref: BaseRef) -> str:
    """Return the SHA-256 of the base's weight files, in the order of its family's networks.

    Weights of the text encoder beside a base count where it is used.

    Raises:
        ValueError: A hub id that is not in the local cache.
    """
    folder = ref.path or cached_snapshot(ref)
    if folder is None:
        raise ValueError(f"base {ref} is not in the local cache, so its weights cannot be hashed")
    files = [file for part in ref.family.configurations for file in _weight_files(folder / part)]
    digest = hashlib.sha256()
    named = [(file.relative_to(folder), file) for file in files]
    if ref.reads_texts:
        if (texts := text_files(ref)) is None:
            raise ValueError(f"the text encoder of base {ref} is not on this machine, so it cannot be hashed")
        encoder = texts.folder / texts.encoder
        named += [(Path("text_encoder", file.name), file) for file in _weight_files(encoder)]
    for name, file in named:
        digest.update(f"{name}:{_file_hash(file, file.stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _file_hash(file: Path, _modified: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of the weight files of a single network."""
    digest = hashlib.sha256()
    for file in _weight_files(folder):
        digest.update(f"{file.name}:{_file_hash(file, file.stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _weight_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.glob("*")) if file.suffix in _WEIGHTS)


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return dict(json.loads(file.read_bytes())) if file.is_file() else {}


def cached_snapshot(ref: BaseRef, file: str = _INDEX) -> Path | None:
    """Return the folder of a hub id in the local cache; None if it does not have the file."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(ref.name, file, revision=ref.revision)
    return Path(cached.removesuffix(file)) if isinstance(cached, str) else None
