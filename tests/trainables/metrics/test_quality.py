"""Networks that judge frames, with random weights, against direct computation by the published code's steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tolerance import bound, in_float64, network_bound
from trainables.metrics import AESTHETIC_CLIP, PYIQA, ExtractorRef, Extractors, MetricKey, absent
from trainables.metrics.clip_files import unfit_networks
from trainables.metrics.extractors import FrameExtractor, ImageTextExtractor
from trainables.metrics.loading import load_extractor
from trainables.metrics.quality import AestheticExtractor, DinoExtractor, ImagingExtractor

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def load(kind: Any, source: object, clip: object = None) -> FrameExtractor:
    ref = ExtractorRef(kind, "x", str(source), clip=None if clip is None else str(clip))
    network = load_extractor(MetricKey("m", "m/x", "max", False, "", ref, 1), "cpu")
    assert isinstance(network, FrameExtractor)
    return network


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (64, 20)])
def test_dino_sees_frames_as_the_published_code_prepares_them(dino_folder: Path, size: tuple[int, int]) -> None:
    from transformers import ViTModel

    clips = np.random.default_rng(0).integers(0, 256, (2, 3, *size, 3)).astype(np.uint8)
    network = load("dino", dino_folder)
    assert isinstance(network, DinoExtractor)
    network._model.double()
    model = ViTModel.from_pretrained(dino_folder, dtype=torch.float32, add_pooling_layer=False).eval().double()
    # torchvision's Resize(32) of float frames: the shorter side is 32, the longer one rounded down.
    scaled = [int(32 * side / min(size)) for side in size]
    with torch.no_grad(), in_float64():
        embedded = network.embed_frames(clips)
        frames = torch.from_numpy(clips.reshape(-1, *size, 3)).movedim(-1, 1).double()
        frames = torch.nn.functional.interpolate(frames, scaled, mode="bilinear", align_corners=False)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        frames = (frames / 255 - mean.double()[:, None, None]) / std.double()[:, None, None]
        expected = model(frames, interpolate_pos_encoding=True).last_hidden_state[:, 0].numpy()
    assert embedded.shape == (2, 3, network.num_features) == (2, 3, 16)
    # Colours' means and deviations are rounded to float32 there, and pixels are divided by them.
    rounding = network_bound(model, size=float(np.abs(expected).max())) + 100 * bound(torch.float32, 2)
    np.testing.assert_allclose(embedded.reshape(6, 16), expected, rtol=0, atol=rounding)


def test_dino_is_the_vit_of_the_paper(dino_folder: Path) -> None:
    """Against the equations of a pre-norm ViT: patches, class token, attention and MLP, the last norm."""
    network = load("dino", dino_folder)
    assert isinstance(network, DinoExtractor)
    network._model.double()
    weights = {name: weight.double() for name, weight in network._model.state_dict().items()}
    clips = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32, 3)).astype(np.uint8)
    with in_float64(), torch.no_grad():
        found = network.embed_frames(clips)[0, 0]
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        frame = (torch.from_numpy(clips[0, 0]).double() / 255 - mean.double()) / std.double()
        hidden = forward(frame.movedim(-1, 0), weights)
    np.testing.assert_allclose(found, hidden.numpy(), rtol=0, atol=100 * bound(torch.float32, 2))


def forward(frame: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """The class token (16) of a frame (3 32 32), with names of weights found by their ends."""
    functional = torch.nn.functional

    def of(*parts: str) -> torch.Tensor:
        (found,) = [weight for name, weight in weights.items() if all(part in name for part in parts)]
        return found

    def linear(x: torch.Tensor, *parts: str) -> torch.Tensor:
        return functional.linear(x, of(*parts, "weight"), of(*parts, "bias"))

    def norm(x: torch.Tensor, *parts: str) -> torch.Tensor:
        return functional.layer_norm(x, (16,), of(*parts, "weight"), of(*parts, "bias"), 1e-12)

    patches = functional.conv2d(frame[None], of("projection.weight"), of("projection.bias"), stride=8)
    x = torch.cat([of("cls_token")[0], patches[0].flatten(1).T]) + of("position_embeddings")[0]
    for layer in (".0.", ".1."):
        y = norm(x, layer, "layernorm_before")
        names = [[layer, part] for part in ATTENTION if any(layer in name and part in name for name in weights)]
        query, key, value, output = names
        heads = [linear(y, *part).view(-1, 2, 8).transpose(0, 1) for part in (query, key, value)]
        mixed = (heads[0] @ heads[1].transpose(1, 2) / 8**0.5).softmax(dim=-1) @ heads[2]
        x = x + linear(mixed.transpose(0, 1).reshape(-1, 16), *output)
        y = norm(x, layer, "layernorm_after")
        up, down = [[layer, part] for part in MLP if any(layer in name and part in name for name in weights)]
        x = x + linear(functional.gelu(linear(y, *up)), *down)
    (last,) = [
        name.removesuffix(".weight") for name in weights if name.endswith("layernorm.weight") and "layer." not in name
    ]
    return functional.layer_norm(x, (16,), weights[f"{last}.weight"], weights[f"{last}.bias"], 1e-12)[0]


ATTENTION = (
    "attention.query",
    "q_proj",
    "attention.key",
    "k_proj",
    "attention.value",
    "v_proj",
    "attention.output",
    "o_proj",
)
MLP = ("intermediate.dense", "fc1", "layer.output.dense", "fc2")


def test_the_aesthetic_score_is_the_head_on_normalised_embeddings(clip_folder: Path, head_file: Path) -> None:
    network = load("aesthetic", head_file, clip_folder)
    assert isinstance(network, AestheticExtractor)
    clips = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 40, 3)).astype(np.uint8)
    clip = load("clip", clip_folder)
    assert isinstance(clip, ImageTextExtractor)
    head = torch.nn.Linear(24, 1)
    head.load_state_dict(torch.load(head_file, weights_only=True))
    for model in (network._clip._model, clip._model, head):
        model.double()
    with in_float64(), torch.no_grad():
        embedded = torch.from_numpy(clip.embed_frames(clips))
        expected = head(torch.nn.functional.normalize(embedded, dim=-1, p=2)) / 10
        found = network.embed_frames(clips)
    assert found.shape == (2, 3, 1)
    rounding = network_bound(clip._model, head, size=float(expected.abs().max()))
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=rounding)
    assert network.parameters["clip"]["sha256"] == clip.sha256 != network.sha256
    assert json.loads(json.dumps(network.parameters)) == network.parameters


def test_a_head_of_another_width_or_kind_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    heads: dict[str, Any] = {
        "a head for 768 features": torch.nn.Linear(768, 1).state_dict(),
        "a head of shape (5, 24), not (1, features)": torch.nn.Linear(24, 5).state_dict(),
        "no linear head": {"layers.0.weight": torch.zeros(1, 24)},
    }
    for message, state in heads.items():
        torch.save(state, tmp_path / "head.pth")
        with pytest.raises(ValueError, match="extractors.aesthetic: ") as error:
            load("aesthetic", tmp_path / "head.pth", clip_folder)
        assert message in str(error.value)
    (tmp_path / "head.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="no linear head"):
        load("aesthetic", tmp_path / "head.pth", clip_folder)
    with pytest.raises(ValueError, match="does not exist -> get LAION"):
        load("aesthetic", tmp_path / "nowhere.pth", clip_folder)


def test_imaging_quality_is_pyiqas_score_over_100_of_frames_of_at_most_512_pixels(pyiqa_file: str) -> None:
    network = load("musiq", pyiqa_file)
    assert isinstance(network, ImagingExtractor)
    clips = np.random.default_rng(0).integers(0, 256, (1, 2, 40, 60, 3)).astype(np.uint8)
    values = network.embed_frames(clips)
    head = torch.nn.Linear(3, 1)
    head.load_state_dict(torch.load(pyiqa_file, weights_only=True)["params"])
    with torch.no_grad():
        means = torch.from_numpy(clips[0].mean(axis=(1, 2)) / 255).float()
        expected = head(means).sigmoid()
    np.testing.assert_allclose(values[0], expected.numpy(), rtol=0, atol=bound(torch.float32, 2 * 40 * 60))
    assert network._model.sizes == [(1, 3, 40, 60)] * 2
    network._model.sizes.clear()
    network.embed_frames(np.zeros((1, 1, 300, 1024, 3), np.uint8))
    assert network._model.sizes == [(1, 3, 150, 512)]


def test_without_pyiqa_the_message_names_it(tmp_path: Path) -> None:
    file = tmp_path / "musiq.pth"
    file.touch()
    with pytest.raises(ValueError, match="pip install pyiqa") as error:
        load("musiq", file)
    assert PYIQA in str(error.value)
    assert absent(Extractors(musiq=str(file))) == {"musiq": f"{file} -> {PYIQA}"}


def test_with_pyiqa_only_the_file_can_be_missing(pyiqa_file: str, tmp_path: Path) -> None:
    assert absent(Extractors(musiq=pyiqa_file)) == {}
    nowhere = tmp_path / "nowhere.pth"
    with pytest.raises(ValueError, match="does not exist -> get MUSIQ"):
        load("musiq", nowhere)
    (tmp_path / "other.pth").write_text("weights")
    with pytest.raises(ValueError, match="has other weights than MUSIQ's"):
        load("musiq", tmp_path / "other.pth")


def test_a_folder_without_a_vit_is_refused_by_check_and_when_loaded(
    dino_folder: Path, clip_folder: Path, tmp_path: Path
) -> None:
    for source, message in {
        clip_folder: "model_type: clip: another model than ViT",
        tmp_path: "lacks config.json, model.safetensors",
        clip_folder / "config.json": "a file; DINO is loaded from a folder",
    }.items():
        found = unfit_networks(Extractors(dino=str(source)))
        assert message in found["dino"]
        assert "-> get a DINO ViT" in found["dino"]
        with pytest.raises(ValueError, match="-> get a DINO ViT"):
            load("dino", source)
    assert unfit_networks(Extractors(dino=str(dino_folder), aesthetic_clip=str(clip_folder))) == {}
    assert "SigLIP" in unfit_networks(Extractors(aesthetic_clip=str(siglip(clip_folder, tmp_path))))["aesthetic_clip"]


def siglip(clip_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "siglip"
    shutil.copytree(clip_folder, folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": "siglip"}))
    return folder


def test_a_damaged_vit_is_refused(dino_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dino"
    shutil.copytree(dino_folder, folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="cannot be loaded .* -> get a DINO ViT"):
        load("dino", folder)


def test_the_head_belongs_to_the_published_clip_unless_another_is_given() -> None:
    assert AESTHETIC_CLIP == "openai/clip-vit-large-patch14"
