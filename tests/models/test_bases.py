import json
import shutil
from pathlib import Path

import pytest

from models import bases
from models.bases import BaseRef, Card, Protocol, base_hash, find_base, missing_files, read_card, trained_frames


@pytest.fixture
def copied(tiny_base_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_base_folder, tmp_path / "copied")


def test_a_folder_is_found_however_its_path_is_written(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied.parent)
    monkeypatch.setenv("HOME", str(copied.parent))
    for written in (str(copied), "./copied", "copied", "~/copied"):
        assert find_base(written) == BaseRef(written, copied, None, "folder")


def test_a_hub_id_is_found_without_asking_the_hub() -> None:
    ref = find_base("org/name@v1")
    assert ref == BaseRef("org/name", None, "v1", "hub")
    assert str(ref) == "org/name@v1"
    assert find_base("org/name") == BaseRef("org/name", None, None, "hub")
    assert read_card(ref) == Card(name="org/name")
    assert read_card(ref).protocol.height == 512


def test_an_embedded_base_is_found_by_name(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "FOLDER", copied.parent)
    with pytest.raises(ValueError, match="copied -> an embedded base, a folder, or a hub id"):
        find_base("copied")
    card = {"name": "copied", "protocol": {"frames": 4}, "surrogate": True, "quality": {"psnr": 30.1}}
    (copied / "card.json").write_text(json.dumps(card))
    assert find_base("copied") == BaseRef("copied", copied, None, "embedded")
    assert read_card(find_base("copied")) == Card(name="copied", protocol=Protocol(frames=4), surrogate=True)
    with pytest.raises(ValueError, match=r"copies -> an embedded base \(copied\).*did you mean copied\?"):
        find_base("copies")


@pytest.mark.parametrize("written", ["./nowhere", "/no/where", "~/nowhere"])
def test_a_path_that_does_not_exist_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        find_base(written)


@pytest.mark.parametrize("written", ["", "a b", "a/b/c", "org/", "org/name@"])
def test_a_name_that_is_nothing_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="a folder, or a hub id such as org/name"):
        find_base(written)


def test_a_folder_without_a_card_has_the_size_its_networks_say(copied: Path) -> None:
    assert read_card(find_base(str(copied))).protocol == Protocol(height=32, width=32)


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("model_index.json", "model_index.json"),
        ("unet/config.json", "unet/config.json"),
        ("unet/diffusion_pytorch_model.safetensors", "unet/*.safetensors"),
        ("text_encoder/model.safetensors", "text_encoder/*.safetensors"),
        ("tokenizer/tokenizer_config.json", "tokenizer/tokenizer_config.json"),
        ("tokenizer/tokenizer.json", "tokenizer/tokenizer.json"),
        ("scheduler/scheduler_config.json", "scheduler/scheduler_config.json"),
    ],
)
def test_what_a_folder_lacks_is_listed(removed: str, message: str, copied: Path) -> None:
    assert missing_files(find_base(str(copied))) == []
    (copied / removed).unlink()
    assert missing_files(find_base(str(copied))) == [message]


def test_the_hash_is_of_the_weights_alone(copied: Path, tiny_base_folder: Path) -> None:
    ref = find_base(str(copied))
    before = base_hash(ref)
    assert before == base_hash(find_base(str(tiny_base_folder)))
    (copied / "README.md").write_text("words")
    assert base_hash(ref) == before
    weights = copied / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert base_hash(ref) != before


def test_a_base_of_videos_tells_how_many_frames_it_was_trained_on() -> None:
    assert trained_frames(find_base("stable-video-diffusion-img2vid-xt")) == 25
    assert trained_frames(find_base("shapes")) is None
    assert trained_frames(find_base("org/not-here")) is None


@pytest.mark.usefixtures("hub_cache")
def test_a_hub_base_is_looked_up_in_the_local_cache(tiny_base_folder: Path) -> None:
    assert missing_files(find_base("org/tiny")) == []
    assert base_hash(find_base("org/tiny")) == base_hash(find_base(str(tiny_base_folder)))
    assert "unet/config.json" in missing_files(find_base("org/other"))
    with pytest.raises(ValueError, match="base org/other is not in the local cache"):
        base_hash(find_base("org/other"))


@pytest.mark.parametrize(
    "wrong",
    [{"frames": 1}, {"clips": 0}, {"steps": 0}, {"guidance": 0.5}, {"guidance": "4"}, {"frame": 8}, {"clips": 2.0}],
)
def test_a_protocol_refuses_what_cannot_be_sampled(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Protocol.model_validate(wrong)
