"""Networks that judge single frames: DINO's features, MUSIQ's quality, LAION's aesthetic score.

Legend: ``n`` frames of a batch, ``h w`` pixels, ``c`` = 3 colours, ``d`` features.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainables.metrics import HOW_TO_GET, PYIQA, ExtractorRef
from trainables.metrics.clip_files import vit_problem
from trainables.metrics.extractors import (
    FrameExtractor,
    ImageTextExtractor,
    Pixels,
    checked_weights,
    load_strictly,
    model_folder,
    remedy,
    sha256_of,
)

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""Normalisation of frames for networks that were trained on ImageNet."""
LONGEST_SIDE = 512
"""Longest side of a frame for MUSIQ, in pixels; larger frames are shrunk."""


def normalised(frames: Tensor) -> Tensor:
    """Subtract ImageNet's mean from frames (n 3 h w) with values from 0 to 1, and divide by its deviation."""
    mean, std = (frames.new_tensor(values).view(3, 1, 1) for values in IMAGENET.values())
    return (frames - mean) / std


class DinoExtractor(FrameExtractor):
    """DINO's ViT: the class token after the last normalisation, without a pooler.

    Frames are scaled until the shorter side is the model's image size, bilinear without antialiasing and not cropped;
    the position embeddings are interpolated.

    Source: VBench (arXiv 2311.17982), subject_consistency, with DINO ViT-B/16 (arXiv 2104.14294); departures: float32
    weights of transformers, whose interpolation of position embeddings does not add 0.1 cells.
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        from transformers import ViTModel

        folder = model_folder(ref, "DINO")
        weights = checked_weights(ref, folder, vit_problem(folder))
        model = load_strictly(ViTModel, ref, folder, "ViT", add_pooling_layer=False)
        self._model = model.eval().to(device)
        self._side = int(model.config.image_size)
        self.name = ref.name
        self.num_features = int(model.config.hidden_size)
        self.sha256 = sha256_of(weights)
        self.device = device
        self.parameters = {
            "preprocessing": {
                "shorter_side": self._side,
                "resize": "bilinear, not antialiased, not cropped",
                **IMAGENET,
            },
            "features": "class token",
        }

    def _embed(self, batch: Pixels) -> Tensor:
        frames = torch.from_numpy(batch).to(self.device).movedim(-1, 1).to(self._model.dtype)
        height, width = frames.shape[2:]
        shorter = min(height, width)
        size = (int(self._side * height / shorter), int(self._side * width / shorter))
        frames = functional.interpolate(frames, size, mode="bilinear", align_corners=False) / 255
        hidden = self._model(normalised(frames), interpolate_pos_encoding=True).last_hidden_state
        return torch.as_tensor(hidden[:, 0])


class ImagingExtractor(FrameExtractor):
    """MUSIQ's quality of a frame, over 100: pyiqa's network with weights for SPAQ. The one feature is the score.

    Source: VBench (arXiv 2311.17982), imaging_quality; Ke et al. (arXiv 2108.05997); departures: none.
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        if find_spec("pyiqa") is None:
            raise ValueError(f"extractors.musiq: {PYIQA}")
        path = _file(ref)
        musiq = import_module("pyiqa.archs.musiq_arch")  # optional, so unknown to type checkers
        try:
            model = musiq.MUSIQ(pretrained_model_path=str(path))
        except (OSError, RuntimeError, KeyError, UnpicklingError) as reason:
            said = str(reason).partition("\n")[0]
            raise ValueError(
                f"extractors.musiq: {path} has other weights than MUSIQ's ({said}) -> get {HOW_TO_GET['musiq']}"
            ) from reason
        self._model = model.eval().to(device)
        self.name = ref.name
        self.num_features = 1
        self.sha256 = sha256_of([path])
        self.device = device
        self.parameters = {
            "preprocessing": f"scaled to [0, 1]; longer side at most {LONGEST_SIDE} px, bilinear, not antialiased",
            "features": "score over 100",
        }

    def _embed(self, batch: Pixels) -> Tensor:
        frames = torch.from_numpy(batch).to(self.device, torch.float32).movedim(-1, 1)
        height, width = frames.shape[2:]
        if max(height, width) > LONGEST_SIDE:
            scale = LONGEST_SIDE / max(height, width)
            size = (int(scale * height), int(scale * width))
            frames = functional.interpolate(frames, size, mode="bilinear", align_corners=False)
        # One frame at a time, as in VBench: MUSIQ's sequences have as many patches as a frame.
        scores = [self._model(frame[None] / 255).reshape(1, 1) for frame in frames]
        return torch.cat(scores) / 100


class AestheticExtractor(FrameExtractor):
    """LAION's aesthetic score of a frame, over 10: a linear head on CLIP's normalised embedding. It is the one feature.

    Source: VBench (arXiv 2311.17982), aesthetic_quality; LAION-AI/aesthetic-predictor; departures: frames are
    preprocessed by the CLIP folder's image processor (Pillow, antialiased).
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        assert ref.clip is not None, "an aesthetic head without its CLIP model"
        path = _file(ref)
        weight, bias = _linear(path)
        self._clip = ImageTextExtractor(ExtractorRef("aesthetic_clip", f"{ref.name}'s CLIP", ref.clip), device)
        if weight.shape[1] != self._clip.num_features:
            raise ValueError(
                f"extractors.aesthetic: {path} is a head for {weight.shape[1]} features, and the CLIP model {ref.clip} "
                f"has {self._clip.num_features} -> get {HOW_TO_GET['aesthetic_clip']}"
            )
        self._weight, self._bias = weight.to(device), bias.to(device)
        self.name = ref.name
        self.num_features = 1
        self.sha256 = sha256_of([path])
        self.device = device
        self.parameters = {
            "clip": {"source": ref.clip, "sha256": self._clip.sha256, **self._clip.parameters},
            "features": "score over 10",
        }

    def _embed(self, batch: Pixels) -> Tensor:
        units = functional.normalize(self._clip.embed_batch(batch), dim=-1)
        return functional.linear(units, self._weight.to(units.dtype), self._bias.to(units.dtype)) / 10


def _file(ref: ExtractorRef) -> Path:
    """Return the file of a network's weights."""
    path = Path(ref.source).expanduser()
    if not path.is_file():
        reason = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise ValueError(f"extractors.{ref.kind}: {path} {reason} -> get {remedy(ref)}")
    return path


def _linear(path: Path) -> tuple[Tensor, Tensor]:
    """Read the weight (1 d) and bias (1) of a linear head."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
        weight, bias = state["weight"].float(), state["bias"].float()
    except (
        OSError,
        RuntimeError,
        EOFError,
        UnpicklingError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ) as reason:
        raise ValueError(
            f"extractors.aesthetic: {path} has no linear head with weight and bias -> get {HOW_TO_GET['aesthetic']}"
        ) from reason
    if weight.ndim != 2 or weight.shape[0] != 1 or bias.shape != (1,):
        raise ValueError(
            f"extractors.aesthetic: {path} has a head of shape {tuple(weight.shape)}, not (1, features) -> "
            f"get {HOW_TO_GET['aesthetic']}"
        )
    return weight, bias
