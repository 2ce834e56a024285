"""Networks of metrics as users have them: folders of CLIP and DINO, torchscript files, LAION's head."""

import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.inputs.cases import Case, Table

GET = "-> get ..."
WORDS = {"<|startoftext|>": 0, "<|endoftext|>": 1}
LFS = "version https://git-lfs.github.com/spec/v1\n"


def without(*names: str, **files: str) -> Callable[[Path], None]:
    """Remove files of the folder ``clip``, and add others; their dots are written as ``__``."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / "clip" / name).unlink()
        for name, content in files.items():
            (folder / "clip" / name.replace("__", ".")).write_text(content)

    return change


def stored(folder: Path, names: Sequence[str]) -> None:
    """Store the weights in files of these names; shards with the index of their variant."""
    weights = load_file(folder / "clip/model.safetensors")
    (folder / "clip/model.safetensors").unlink()
    parts = {f"{name}.safetensors": list(weights)[start :: len(names)] for start, name in enumerate(names)}
    for file, keys in parts.items():
        save_file({key: weights[key] for key in keys}, folder / "clip" / file, metadata={"format": "pt"})
    if len(names) > 1:
        places = {key: file for file, keys in parts.items() for key in keys}
        variant = ".fp16" if "fp16" in names[0] else ""
        index = {"metadata": {"total_size": 1}, "weight_map": places}
        (folder / f"clip/model.safetensors.index{variant}.json").write_text(json.dumps(index))


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "clip/model.safetensors"), folder / "clip/pytorch_model.bin")
    (folder / "clip/model.safetensors").unlink()


def in_single(folder: Path) -> None:
    weights = load_file(folder / "clip/model.safetensors")
    single = {name: weight.float() for name, weight in weights.items()}
    save_file(single, folder / "clip/model.safetensors", metadata={"format": "pt"})


def half_of_it(folder: Path) -> None:
    weights = load_file(folder / "clip/model.safetensors")
    vision = {name: weight for name, weight in weights.items() if name.startswith("vis")}
    save_file(vision, folder / "clip/model.safetensors", metadata={"format": "pt"})


def truncated(folder: Path) -> None:
    file = folder / "clip/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def of_type(model_type: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "clip/config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": model_type}))

    return change


def a_file(folder: Path) -> None:
    shutil.rmtree(folder / "clip")
    (folder / "clip").write_bytes(b"weights")


def read(given: str, make: Callable[[Path], object], note: str = "Read") -> Case:
    return Case(given, make, ["the same features"], note=note)


def refused(given: str, message: str, make: Callable[[Path], object]) -> Case:
    return Case(given, make, refused=[f"clip: {message} {GET}"])


def other_model(given: str, model_type: str, name: str = "another model than CLIP") -> Case:
    message = f"config.json: model_type: {model_type}: {name}, whose tokenizer, preprocessing and scale of similarity "
    return refused(given, f"{message}differ from CLIP's; metrics of CLIP do not load it", of_type(model_type))


NO_WORDS = "no words in the vocabulary, so that every word would get one id"
CLIP = Table(
    "`extractors: {clip: ...}`",
    "A folder in transformers' layout, or a hub id.",
    (
        read("`model.safetensors`", lambda folder: None),
        read("Stored in single precision", in_single),
        read("`pytorch_model.bin`, pickled", pickled),
        read("`model.fp16.safetensors` only", partial(stored, names=["model.fp16"])),
        read("Shards", partial(stored, names=["model-00001-of-00002", "model-00002-of-00002"])),
        read(
            "Shards with `fp16` only", partial(stored, names=["model.fp16-00001-of-00002", "model.fp16-00002-of-00002"])
        ),
        other_model("SigLIP", "siglip", "SigLIP"),
        other_model("SigLIP 2", "siglip2", "SigLIP 2"),
        other_model("Chinese-CLIP", "chinese_clip"),
        other_model("The text encoder of a base", "clip_text_model"),
        *(
            refused(f"No `{file}`", f"the CLIP folder clip lacks {missing}", without(file))
            for file, missing in {
                "config.json": "config.json",
                "model.safetensors": "model.safetensors",
                "processor_config.json": "preprocessor_config.json",
                "tokenizer.json": "tokenizer.json",
            }.items()
        ),
        refused(
            "Files of OpenCLIP only",
            "the CLIP folder clip lacks config.json, model.safetensors",
            without("config.json", "model.safetensors", open_clip_config__json="{}", open_clip_model__bin=""),
        ),
        refused(
            "A checkpoint in one file (`ViT-B-32.pt`)",
            "a file; CLIP is loaded from a folder in transformers' layout, with tokenizer and preprocessing",
            a_file,
        ),
        refused(
            "`vocab.json` with special tokens only",
            f"vocab.json: {NO_WORDS}",
            without("tokenizer.json", vocab__json=json.dumps(WORDS), merges__txt="#version: 0.2\n"),
        ),
        refused(
            "`vocab.json` without `merges.txt`",
            "the CLIP folder clip lacks merges.txt",
            without("tokenizer.json", vocab__json=json.dumps(WORDS)),
        ),
        refused(
            "A Git LFS pointer as `tokenizer.json`",
            "tokenizer.json: not a tokenizer's vocabulary (...)",
            without(tokenizer__json=LFS),
        ),
        refused(
            "A Git LFS pointer as `config.json`", "config.json is not a map in JSON (...)", without(config__json=LFS)
        ),
        refused("The image tower only", "clip is an incomplete CLIP model (missing ...)", half_of_it),
        refused("Truncated weights", "the weights in clip cannot be loaded (...)", truncated),
        refused(
            "A Git LFS pointer as weights",
            "the weights in clip cannot be loaded (...)",
            without(model__safetensors=LFS),
        ),
        refused(
            "A Git LFS pointer as `pytorch_model.bin`",
            "the weights in clip cannot be loaded (...)",
            without("model.safetensors", pytorch_model__bin=LFS),
        ),
    ),
    "trainables/metrics/test_inputs.py::test_clip",
)


def torchscript(given: str, message: str, make: Callable[[Path], object]) -> Case:
    return Case(given, make, refused=[f"extractors.ROLE: network.pt {message} {GET}"])


def a_folder(folder: Path) -> None:
    (folder / "network.pt").unlink()
    (folder / "network.pt").mkdir()


TORCHSCRIPT = Table(
    "`extractors: {inception: ..., i3d: ..., amt: ...}`",
    "A torchscript file. `ROLE` is `inception`, `i3d` or `amt`.",
    (
        Case("The published file", lambda folder: None, ["what the metric needs"], note="Read"),
        torchscript("No such file", "does not exist", lambda folder: (folder / "network.pt").unlink()),
        torchscript("A folder", "is a folder, not a file", a_folder),
        torchscript(
            "A file of weights only (`state_dict`)",
            "is not a torchscript file",
            lambda folder: torch.save({"weight": torch.zeros(2)}, folder / "network.pt"),
        ),
        torchscript(
            "A Git LFS pointer, or a page of a web server",
            "is not a torchscript file",
            lambda folder: (folder / "network.pt").write_text(LFS),
        ),
    ),
    "trainables/metrics/test_inputs.py::test_torchscript",
)


def of_dino(name: str, content: str | None = None) -> Callable[[Path], None]:
    """Remove a file of the folder ``dino``, or write it anew."""

    def change(folder: Path) -> None:
        file = folder / "dino" / name
        file.unlink()
        if content is not None:
            file.write_text(content)

    return change


def dino_of_type(model_type: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "dino/config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": model_type}))

    return change


def pickled_dino(folder: Path) -> None:
    torch.save(load_file(folder / "dino/model.safetensors"), folder / "dino/pytorch_model.bin")
    (folder / "dino/model.safetensors").unlink()


def half_of_dino(folder: Path) -> None:
    weights = load_file(folder / "dino/model.safetensors")
    first = {name: weight for name, weight in weights.items() if ".1." not in name}
    save_file(first, folder / "dino/model.safetensors", metadata={"format": "pt"})


def truncated_dino(folder: Path) -> None:
    file = folder / "dino/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def dino_file(folder: Path) -> None:
    shutil.rmtree(folder / "dino")
    (folder / "dino").write_bytes(b"weights")


def refused_dino(given: str, message: str, make: Callable[[Path], object]) -> Case:
    return Case(given, make, refused=[f"dino: {message} {GET}"])


DINO = Table(
    "`extractors: {dino: ...}`",
    "A folder in transformers' layout, or a hub id.",
    (
        read("`model.safetensors`", lambda folder: None),
        read("`pytorch_model.bin`, pickled", pickled_dino),
        refused_dino("DINOv2", "config.json: model_type: dinov2: another model than ViT", dino_of_type("dinov2")),
        refused_dino("A CLIP model", "config.json: model_type: clip: another model than ViT", dino_of_type("clip")),
        refused_dino("No `config.json`", "the folder dino lacks config.json", of_dino("config.json")),
        refused_dino("No `model.safetensors`", "the folder dino lacks model.safetensors", of_dino("model.safetensors")),
        refused_dino(
            "A checkpoint in one file (`dino_vitbase16_pretrain.pth`)",
            "a file; DINO is loaded from a folder in transformers' layout",
            dino_file,
        ),
        refused_dino(
            "A Git LFS pointer as `config.json`", "config.json is not a map in JSON (...)", of_dino("config.json", LFS)
        ),
        refused_dino("Some layers only", "dino is an incomplete ViT model (missing ...)", half_of_dino),
        refused_dino("Truncated weights", "the weights in dino cannot be loaded (...)", truncated_dino),
        refused_dino(
            "A Git LFS pointer as weights",
            "the weights in dino cannot be loaded (...)",
            of_dino("model.safetensors", LFS),
        ),
    ),
    "trainables/metrics/test_inputs.py::test_dino",
)


def head(given: str, message: str, make: Callable[[Path], object]) -> Case:
    return Case(given, make, refused=[f"extractors.aesthetic: head.pth {message} {GET}"])


def saved_head(state: object) -> Callable[[Path], None]:
    return lambda folder: torch.save(state, folder / "head.pth")


AESTHETIC = Table(
    "`extractors: {aesthetic: ...}`",
    "A file with the weight and bias of a linear head on CLIP's embeddings.",
    (
        read("The published file", lambda folder: None),
        head("No such file", "does not exist", lambda folder: (folder / "head.pth").unlink()),
        head(
            "A head for another CLIP model",
            "is a head for 512 features, and the CLIP model clip has 24",
            saved_head(torch.nn.Linear(512, 1).state_dict()),
        ),
        head(
            "A head with several outputs",
            "has a head of shape (10, 24), not (1, features)",
            saved_head(torch.nn.Linear(24, 10).state_dict()),
        ),
        head(
            "LAION's later predictor with several layers",
            "has no linear head with weight and bias",
            saved_head({"layers.0.weight": torch.zeros(2, 24), "layers.0.bias": torch.zeros(2)}),
        ),
        head(
            "A Git LFS pointer, or a page of a web server",
            "has no linear head with weight and bias",
            lambda folder: (folder / "head.pth").write_text(LFS),
        ),
    ),
    "trainables/metrics/test_inputs.py::test_aesthetic",
)
