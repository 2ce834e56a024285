"""The text encoder beside an image-to-video base: where it is, how it is loaded, and what it counts for."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

from models.aid import AID
from models.bases import FOLDER, base_hash, find_base, missing_files, text_files
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.bases.text_files import TextFiles
from models.bases.text_tower import TextTower, text_shape
from models.exvideo import ExVideo

CLIP = FOLDER / "shapes" / "clip"
"""A CLIP model of transformers; the embedded bases have the same text encoder in diffusers' layout."""
TEXTS = ["a red circle moves right", "a blue square", "a red circle moves right"]
CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


def test_it_is_loaded_where_a_system_reads_texts() -> None:
    base = StableVideoDiffusion.load(AID.find_base("shapes_video"), device="cpu")
    assert "text_tower" not in base.__dict__
    states = base.text_tower.encode(TEXTS)
    networks = StableVideoDiffusion.on_meta(AID.find_base("shapes_video"))
    assert states.shape == (3, text_shape(networks)[1], text_shape(networks)[0])
    assert torch.equal(states[0], states[2])
    assert torch.equal(states, TextTower.load(FOLDER / "shapes_video", **CPU).encode(TEXTS))
    assert not any(weight.requires_grad for weight in base.text_tower.encoder.parameters())


def test_a_clip_model_of_transformers_gives_its_text_states() -> None:
    files = TextFiles.of(CLIP)
    assert files == TextFiles(CLIP, "", "")
    assert files.missing() == []
    assert files.misfits() == []
    tower = TextTower.load(CLIP, **CPU)
    tokens = AutoTokenizer.from_pretrained(CLIP)(
        TEXTS, padding="max_length", max_length=tower.encode(TEXTS).shape[1], return_tensors="pt"
    )
    clip = CLIPModel.from_pretrained(CLIP).eval()
    with torch.no_grad():
        expected = clip.text_model(tokens.input_ids)[0]
    assert torch.equal(tower.encode(TEXTS), expected)


def test_a_study_can_name_another_one(tmp_path: Path) -> None:
    TextTower.tiny().save(tmp_path)
    ref = AID.find_base("shapes_video", str(tmp_path))
    base = StableVideoDiffusion.load(ref, device="cpu")
    assert torch.equal(base.text_tower.encode(TEXTS), TextTower.tiny().encode(TEXTS))
    assert (
        text_shape(StableVideoDiffusion.on_meta(ref))
        == (16, 77)
        != text_shape(StableVideoDiffusion.on_meta(AID.find_base("shapes_video")))
    )
    published = StableVideoDiffusion.on_meta(
        AID.find_base("stable-video-diffusion-img2vid-xt", "stable-diffusion-v1-5")
    )
    assert text_shape(published) == (768, 77)


def test_a_base_without_one_says_what_to_do() -> None:
    ref = AID.find_base("stable-video-diffusion-img2vid-xt")
    assert text_files(ref) is None
    networks = StableVideoDiffusion.on_meta(ref)
    assert "text_encoder" not in networks
    with pytest.raises(ValueError, match="no text encoder -> text_encoder: a folder or a hub id"):
        AID().condition.num_parameters(networks)


def test_it_counts_for_the_base_only_where_it_is_read() -> None:
    plain, read = find_base("shapes_video"), AID.find_base("shapes_video")
    assert base_hash(ExVideo.find_base("shapes_video")) == base_hash(plain) != base_hash(read)
    assert base_hash(AID.find_base("shapes_video", str(CLIP))) not in (base_hash(plain), base_hash(read))
    assert base_hash(AID.find_base("shapes_video", "shapes")) == base_hash(read), "by its content, not its name"
    assert "text_encoder" not in StableVideoDiffusion.on_meta(ExVideo.find_base("shapes_video"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of an embedded text encoder, without the rest of its base."""
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(FOLDER / "shapes" / part, tmp_path / "texts" / part)
    return tmp_path / "texts"


def test_what_is_missing_is_named(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").unlink()
    (folder / "tokenizer" / "tokenizer.json").unlink()
    files = TextFiles.of(folder)
    assert files is not None
    assert files.missing() == ["tokenizer/tokenizer.json", "text_encoder/*.safetensors"]
    with pytest.raises(ValueError, match="is incomplete: it lacks tokenizer/tokenizer.json, text_encoder"):
        TextTower.load(folder, **CPU)
    assert TextFiles.of(folder.parent) is None
    with pytest.raises(ValueError, match="has no text encoder"):
        TextTower.load(folder.parent, **CPU)


def test_another_network_is_refused(folder: Path) -> None:
    config = folder / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "t5"}))
    files = TextFiles.of(folder)
    assert files is not None
    (misfit,) = files.misfits()
    assert str(misfit).startswith('text_encoder/config.json: model_type: "t5": not CLIP\'s text encoder')


def test_a_saved_base_keeps_its_own(tmp_path: Path) -> None:
    StableVideoDiffusion.tiny().save(tmp_path)
    ref = AID.find_base(str(tmp_path))
    assert missing_files(ref) == []
    (tmp_path / "text_encoder" / "model.safetensors").unlink()
    assert missing_files(ref) == ["text_encoder/*.safetensors"]
    assert missing_files(find_base(str(tmp_path))) == [], "for a system that reads no texts"
