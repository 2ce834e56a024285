"""Folders of bases: how they are read in tests, and what users do to them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.backbones import Base, load_base
from models.bases import find_base, misfits, missing_files

INDEX, UNET, VAE, TEXT = "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json"
IMAGE, SCHEDULER = "image_encoder/config.json", "scheduler/scheduler_config.json"
UNET_WEIGHTS, TEXT_WEIGHTS = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
WORDS = {"<|startoftext|>": 0, "<|endoftext|>": 1}
MERGES = "#version: 0.2\n"
LFS = "version https://git-lfs.github.com/spec/v1\n"


def read_settings(folder: Path, like: Base) -> list[str]:
    """Check the base in a folder, and load all but its networks: what its denoiser predicts.

    Raises:
        ValueError: It is refused, with the messages that ``check`` gives or, if it gives none, those of loading.
    """
    ref = find_base(str(folder / "base"), like.ref.family)
    if missing_files(ref):
        load_base(ref, device="cpu")
    if wrong := misfits(ref):
        with pytest.raises(ValueError, match="cannot be used: ") as refused:
            load_base(ref, device="cpu")
        assert str(refused.value).endswith(f"cannot be used: {'; '.join(map(str, wrong))}")
        raise ValueError("\n".join(map(str, wrong)))
    assert ref.path is not None
    settings = type(like).settings(ref.path)
    return [f"predicts {settings['noise_scheduler'].config.prediction_type}"]


def read_weights(folder: Path, like: Base) -> list[str]:
    """Load the base in a folder: how its weights differ from those of ``like``."""
    single = folder / "base.safetensors"
    ref = find_base(str(single if single.exists() else folder / "base"), like.ref.family)
    try:
        base = load_base(ref, device="cpu", precision="fp32")
    except ValueError as error:
        raise ValueError(str(error).partition("\n")[0]) from None
    saved, loaded = ({name: network.state_dict() for name, network in one.networks.items()} for one in (like, base))
    pairs = [(saved[name][key], loaded[name][key]) for name in saved for key in saved[name]]
    if all(torch.equal(expected, actual) for expected, actual in pairs):
        same_text = not hasattr(base, "encode_text") or torch.equal(
            *(one.encode_text(["a red"]) for one in (like, base))
        )
        return [SAME if same_text else "other tokens"]
    return [HALF] if all(torch.equal(expected.half().float(), actual) for expected, actual in pairs) else ["others"]


SAME, HALF = "all weights", "all weights, in half precision"


# ----------------------------------------------------------------------------------------------------- making the cases


def change(file: Path, values: dict[str, Any]) -> None:
    """Change values of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def configured(file: str, values: dict[str, Any]) -> Callable[[Path], None]:
    return lambda folder: change(folder / "base" / file, values)


def without(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / "base" / name).unlink()

    return remove


def with_files(files: dict[str, str], removed: str = "tokenizer/tokenizer.json") -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / "base" / removed).unlink()
        for name, content in files.items():
            path = folder / "base" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)

    return put


def whole(vocabulary: object) -> str:
    """A ``tokenizer.json`` with a vocabulary besides its special tokens."""
    added = [{"content": token, "id": number} for token, number in WORDS.items()]
    return json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": []}, "added_tokens": added})


def networks(folder: Path) -> list[Path]:
    return sorted((folder / "base").glob("*/*.safetensors"))


def in_half(folder: Path, variant: str = "", besides: bool = False) -> None:
    """Store all networks in half precision, under plain names or those of a variant."""
    for file in networks(folder):
        target = file.with_suffix(f".{variant}.safetensors") if variant else file
        save_file({name: weight.half() for name, weight in load_file(file).items()}, target, {"format": "pt"})
        if variant and not besides:
            file.unlink()


def renamed(folder: Path, variant: str) -> None:
    for file in networks(folder):
        file.rename(file.with_suffix(f".{variant}.safetensors"))


def pickled(folder: Path) -> None:
    for file in networks(folder):
        name = "pytorch_model.bin" if file.name == "model.safetensors" else "diffusion_pytorch_model.bin"
        torch.save(load_file(file), file.with_name(name))
        file.unlink()


def sharded(folder: Path, variant: str = "", late: bool = False) -> None:
    """Store all networks in two shards in half precision; ``late``: the variant follows the number of the shard."""
    for whole in networks(folder):
        weights, middle = load_file(whole), f".{variant}" if variant else ""
        places = {}
        for number, part in enumerate((list(weights)[::2], list(weights)[1::2]), start=1):
            shard = f"-{number:05}-of-00002"
            file = f"{whole.stem}{shard}{middle}.safetensors" if late else f"{whole.stem}{middle}{shard}.safetensors"
            save_file({key: weights[key].half() for key in part}, whole.with_name(file), {"format": "pt"})
            places |= dict.fromkeys(part, file)
        whole.unlink()
        index = {"metadata": {"total_size": 1}, "weight_map": places}
        (whole.parent / f"{whole.name}.index{middle}.json").write_text(json.dumps(index))


def as_published(folder: Path) -> None:
    """Store names as the files of Stable Diffusion v1.5 have them, which are older than today's classes."""
    vae, text = (folder / "base" / name for name in ("vae/diffusion_pytorch_model.safetensors", TEXT_WEIGHTS))
    weights = load_file(vae)
    for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        weights = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): w for name, w in weights.items()}
    assert any(".proj_attn." in name for name in weights)
    save_file(weights, vae, {"format": "pt"})
    position_ids = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    prefixed = {f"text_model.{name.removeprefix('text_model.')}": w for name, w in load_file(text).items()}
    save_file(prefixed | position_ids, text, {"format": "pt"})


def in_two_files(folder: Path) -> None:
    tokenizer = folder / "base/tokenizer"
    words = json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"]
    (tokenizer / "tokenizer.json").unlink()
    (tokenizer / "vocab.json").write_text(json.dumps(words))
    (tokenizer / "merges.txt").write_text(MERGES)


def change_weights(folder: Path, file: str, **added: torch.Tensor) -> None:
    """Add weights, or remove the first one if none is given."""
    path = folder / "base" / file
    weights = load_file(path)
    kept = weights | added if added else {name: weights[name] for name in sorted(weights)[1:]}
    save_file(kept, path, {"format": "pt"})


def cut(folder: Path, file: str) -> None:
    weights = (folder / "base" / file).read_bytes()
    (folder / "base" / file).write_bytes(weights[: len(weights) // 2])


def unlisted(folder: Path) -> None:
    (folder / "base/text_encoder_2").mkdir()
    (folder / "base/text_encoder_2/config.json").write_text("{}")


def single_file(folder: Path) -> None:
    shutil.rmtree(folder / "base")
    (folder / "base.safetensors").write_bytes(b"weights")


def only_adapter(folder: Path) -> None:
    shutil.rmtree(folder / "base")
    (folder / "base").mkdir()
    (folder / "base/pytorch_lora_weights.safetensors").write_bytes(b"weights")
