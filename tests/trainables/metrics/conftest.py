"""Small random networks in the real formats: a CLIP folder, torchscript files with the real signatures, a base."""

from __future__ import annotations

import json
import sys
import types
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

WORDS = ("a", "red", "blue", "circle", "square", "moves", "drops", "right")
SIDE = 32


class Inception(torch.nn.Module):
    """The signature and width of FID's Inception; its first features are the means of the colours."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * 16, 2048 - 3)
        self.output = torch.nn.Linear(2048, 1008)

    def forward(
        self, img: torch.Tensor, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False
    ) -> torch.Tensor:
        assert img.dtype == torch.uint8
        x = img.to(torch.float32)
        pooled = torch.nn.functional.adaptive_avg_pool2d(x / 127.5 - 1, [4, 4]).flatten(1)
        features = torch.cat([x.mean(dim=[2, 3]), self.linear(pooled)], dim=1)
        return features if return_features else self.output(features).softmax(dim=1)


class I3D(torch.nn.Module):
    """The signature and width of I3D; its first features are the means of the colours of the first frame."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * 64, 400 - 3)

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        colours = x[:, :, 0].mean(dim=[2, 3])
        if resize:
            x = torch.nn.functional.interpolate(x, [x.shape[2], 224, 224], mode="trilinear", align_corners=False)
        if rescale:
            x = x / 127.5 - 1
        pooled = torch.nn.functional.adaptive_avg_pool3d(x, [4, 4, 4]).flatten(1)
        features = torch.cat([colours, self.linear(pooled)], dim=1)
        return features if return_features else features.softmax(dim=1)


class Amt(torch.nn.Module):
    """The signature of AMT-S as torchscript: a random mixture of both frames and their neighbouring pixels.

    Element by element, so that the whole numbers it is cut to do not depend on the order of sums.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.rand(3, 1, 1))

    def forward(self, img0: torch.Tensor, img1: torch.Tensor, embt: torch.Tensor) -> torch.Tensor:
        assert img0.shape[2] % 16 == 0
        assert img0.shape[3] % 16 == 0
        return (1 - embt) * img0 + embt * img1 + 0.1 * self.gain * (img0.roll(1, 3) - img1.roll(1, 2))


class Jepa(torch.nn.Module):
    """The signature and width of V-JEPA with its pooler; its first features are the means of the colours."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * 16, 1280 - 3)

    def forward(self, videos: torch.Tensor) -> torch.Tensor:
        assert videos.shape[1] == 3
        assert videos.shape[3:] == (224, 224)
        pooled = torch.nn.functional.adaptive_avg_pool3d(videos, [1, 4, 4]).flatten(1)
        return torch.cat([videos.mean(dim=[2, 3, 4]), self.linear(pooled)], dim=1)


class Raft(torch.nn.Module):
    """The signature of RAFT; its flow is 1 px to the right for each grey level by which a pixel is brighter."""

    def forward(self, image1: torch.Tensor, image2: torch.Tensor) -> torch.Tensor:
        assert image1.shape[2] % 8 == 0
        assert image1.shape[3] % 8 == 0
        brighter = (image2 - image1).mean(dim=1, keepdim=True)
        return torch.cat([brighter, torch.zeros_like(brighter)], dim=1)


def save_dino(folder: Path) -> None:
    """A tiny ViT with random weights and DINO's pooler-less head."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)


def save_torchscript(module: torch.nn.Module, file: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module.eval()).save(str(file))
    return str(file)


def save_clip(folder: Path) -> None:
    """A tiny CLIP with random weights, stored in half precision, with tokenizer and image processor."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

    merges = []
    for word in WORDS:  # every word is built up letter by letter
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = [parts[0] + parts[1]]
    pieces = sorted({piece for merge in merges for piece in (*merge, "".join(merge))} | {"a</w>"})
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(["<|startoftext|>", "<|endoftext|>", *pieces])}, merges=merges
    )
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(pieces) + 2,
            "max_position_embeddings": 12,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
        },
        vision_config={**tower, "image_size": SIDE, "patch_size": 8},
        projection_dim=24,
    )
    torch.manual_seed(0)
    CLIPModel(config).half().save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "tiny clip"
    save_clip(folder)
    return folder


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    return save_torchscript(Inception(), tmp_path_factory.mktemp("inception") / "inception-2015-12-05.pt")


@pytest.fixture(scope="session")
def i3d_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    return save_torchscript(I3D(), tmp_path_factory.mktemp("i3d") / "i3d_torchscript.pt")


@pytest.fixture(scope="session")
def amt_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    return save_torchscript(Amt(), tmp_path_factory.mktemp("amt") / "amt-s.pt")


@pytest.fixture(scope="session")
def vjepa_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    return save_torchscript(Jepa(), tmp_path_factory.mktemp("vjepa") / "vjepa.pt")


@pytest.fixture(scope="session")
def raft_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_torchscript(Raft(), tmp_path_factory.mktemp("raft") / "raft.pt")


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dino") / "tiny-dino"
    save_dino(folder)
    return folder


@pytest.fixture(scope="session")
def head_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LAION's head for the width of the tiny CLIP."""
    file = tmp_path_factory.mktemp("aesthetic") / "sa_0_4_vit_l_14_linear.pth"
    torch.manual_seed(0)
    torch.save(torch.nn.Linear(24, 1).state_dict(), file)
    return file


@pytest.fixture
def pyiqa_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of weights, and a package of pyiqa's names whose network has its signature."""

    class Musiq(torch.nn.Module):
        """Takes frames (1 c h w) in [0, 1], and returns a score (1 1) of up to 100."""

        def __init__(self, pretrained: bool = True, pretrained_model_path: str | None = None) -> None:
            super().__init__()
            assert pretrained_model_path is not None
            self.linear = torch.nn.Linear(3, 1)
            self.linear.load_state_dict(torch.load(pretrained_model_path, weights_only=True)["params"])
            self.sizes: list[tuple[int, ...]] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.training
            self.sizes.append(tuple(x.shape))
            return 100 * self.linear(x.mean(dim=[2, 3])).sigmoid()

    for name in ("pyiqa", "pyiqa.archs", "pyiqa.archs.musiq_arch"):
        module = types.ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules["pyiqa.archs.musiq_arch"], "MUSIQ", Musiq, raising=False)
    file = tmp_path / "musiq_spaq_ckpt-358bb6af.pth"
    torch.manual_seed(0)
    torch.save({"params": torch.nn.Linear(3, 1).state_dict()}, file)
    return str(file)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder as far as scoring reads it: a card, a CLIP and a video classifier."""
    from models.video_classifier import VideoClassifier

    folder = tmp_path_factory.mktemp("base")
    save_clip(folder / "clip")
    torch.manual_seed(0)
    VideoClassifier((8, 8), num_features=10, norm_num_groups=4).half().save_pretrained(folder / "classifier")
    card: dict[str, Any] = {
        "name": "toy",
        "extractors": {"clip": "clip", "clips": "classifier"},
        "surrogate": True,
        "data": "shapes",
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def clips() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (3, 9, SIDE, SIDE, 3)).astype(np.uint8)
