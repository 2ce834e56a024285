"""Saving and loading of networks as a base folder in Stable Diffusion layout."""

import copy
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel, __version__
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from models.video_classifier import VideoClassifier
from trainables.data.scenes import CANVAS
from trainables.pretraining.networks import Networks

IMAGE_PROCESSOR: dict[str, Any] = {
    "crop_size": {"height": CANVAS, "width": CANVAS},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": CANVAS},
}


def save_networks(nets: Networks, folder: Path) -> None:
    """Write a folder for ``StableDiffusionPipeline.from_pretrained``, with the extractors.

    Weights are float16 safetensors; configurations request float32, in which CPUs compute.
    """
    save_half(nets.unet, folder / "unet")
    save_half(nets.vae, folder / "vae")
    save_half(nets.clip.text_model, folder / "text_encoder")
    save_half(nets.clip, folder / "clip")
    save_half(nets.classifier, folder / "classifier")
    nets.noise_scheduler.save_pretrained(folder / "scheduler")
    for name in ("tokenizer", "clip"):
        nets.tokenizer.save_pretrained(folder / name)
    write_json(folder / "clip" / "preprocessor_config.json", IMAGE_PROCESSOR)
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": __version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    write_json(folder / "model_index.json", index)


def load_networks(folder: Path) -> Networks:
    """Load the networks of a folder written by ``save_networks``, in float32 and evaluation mode."""
    clip = CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32)
    return Networks(
        vae=AutoencoderKL.from_pretrained(folder / "vae").eval(),
        clip=clip.eval(),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet").eval(),
        classifier=VideoClassifier.from_pretrained(folder / "classifier").eval(),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        noise_scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON with a final newline."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save_half(network: nn.Module, folder: Path) -> None:
    """Save a network in float16, with a configuration that requests float32."""
    half: Any = copy.deepcopy(network).half()
    half.save_pretrained(folder)
    config = folder / "config.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)
    if "dtype" in content:
        content["dtype"] = "float32"
    for part in ("text_config", "vision_config"):
        content.get(part, {}).pop("dtype", None)
    write_json(config, content)


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """Give a new folder, which replaces ``out`` after success; code files in the old folder are kept."""
    out = out.resolve()
    new = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    new.mkdir(parents=True)
    try:
        yield new
        _swap(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _swap(new: Path, out: Path) -> None:
    old = new.with_name(f"{new.name}.old")
    if out.exists():
        for file in out.glob("*.py"):
            shutil.copy2(file, new / file.name)
        os.rename(out, old)
    os.rename(new, out)
    shutil.rmtree(old, ignore_errors=True)
