"""Bases of other kinds than a family's, recognised by their configuration files; tokenizers without words."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.backbones import load_base
from models.bases import embedded_bases, find_base, misfits, missing_files
from models.bases.families import FAMILIES, STABLE_VIDEO_DIFFUSION
from models.bases.vocabulary import missing_vocabulary, vocabulary_problem
from tests.factories import fresh

SCHEDULER, UNET, VAE, TEXT = (
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
)
SDXL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "cross_attention_dim": 2048,
}
UNFIT: dict[str, tuple[str, dict[str, Any], str]] = {
    "flow matching": (SCHEDULER, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "_class_name: .*not defined by"),
    "EDM": (SCHEDULER, {"_class_name": "EDMEulerScheduler"}, "_class_name: .*not defined by betas"),
    "flow": (SCHEDULER, {"prediction_type": "flow_prediction"}, 'prediction_type: "flow_prediction": .*sample'),
    "misspelt": (SCHEDULER, {"prediction_type": "v-prediction"}, "epsilon, v_prediction, sample"),
    "null": (SCHEDULER, {"prediction_type": None}, "prediction_type: null: .*epsilon"),
    "older x0": (SCHEDULER, {"predict_epsilon": False}, "predict_epsilon: false: .*prediction_type: sample"),
    "flow sigmas": (SCHEDULER, {"use_flow_sigmas": True}, "use_flow_sigmas: true: flow matching"),
    "betas": (SCHEDULER, {"beta_schedule": "laplace"}, 'beta_schedule: "laplace": .*linear'),
    "spacing": (SCHEDULER, {"timestep_spacing": "logsnr"}, 'timestep_spacing: "logsnr": '),
    "inpainting": (UNET, {"in_channels": 9}, "in_channels: 9: an inpainting U-Net.*the 4 channels"),
    "editing": (UNET, {"in_channels": 8}, "in_channels: 8: a U-Net for image editing"),
    "upscaling": (UNET, {"in_channels": 7, "num_class_embeds": 1000}, "in_channels: 7: a U-Net for upscaling"),
    "depth": (UNET, {"in_channels": 5}, "in_channels: 5: .*depth"),
    "some channels": (UNET, {"in_channels": 12}, "in_channels: 12: a U-Net with further inputs"),
    "variance": (UNET, {"out_channels": 8}, "out_channels: 8: "),
    "SDXL": (UNET, SDXL, 'addition_embed_type: "text_time": an SDXL-type U-Net'),
    "image": (UNET, {"addition_embed_type": "image"}, "addition_embed_type"),
    "unCLIP": (UNET, {"class_embed_type": "projection"}, 'class_embed_type: "projection": a class-conditional'),
    "classes": (UNET, {"num_class_embeds": 10}, "num_class_embeds: 10: a class-conditional"),
    "Kandinsky": (UNET, {"encoder_hid_dim_type": "image_proj"}, "encoder_hid_dim_type: .*image embeddings"),
    "distilled": (UNET, {"time_cond_proj_dim": 256}, "time_cond_proj_dim: 256: a distilled U-Net"),
    "video U-Net": (UNET, {"_class_name": "UNet3DConditionModel"}, "_class_name: .*UNet2DConditionModel"),
    "width": (UNET, {"cross_attention_dim": 24}, "cross_attention_dim: 24: the states of text_encoder are 16 wide"),
    "widths": (UNET, {"cross_attention_dim": [16, 16, 24, 16]}, "cross_attention_dim: .*16 wide"),
    "VQ": (VAE, {"_class_name": "VQModel"}, "_class_name: .*AutoencoderKL"),
    "latents": (VAE, {"latent_channels": 16}, "in_channels: 4: not the VAE's channels.*16"),
    "shift": (VAE, {"shift_factor": 0.1}, "shift_factor: 0.1: latents with an offset"),
    "means": (VAE, {"latents_mean": [0.1] * 4}, "latents_mean: .*latents with an offset"),
    "no number": (VAE, {"latent_channels": None}, "latent_channels: null: not a whole number"),
    "no numbers": (UNET, {"in_channels": [9]}, "in_channels: .*not a whole number"),
    "no text": (TEXT, {"hidden_size": "16"}, 'hidden_size: "16": not a whole number'),
    "T5": (TEXT, {"model_type": "t5"}, 'model_type: "t5": not CLIP\'s text encoder'),
    "few ids": (TEXT, {"vocab_size": 20}, "tokenizer.json: ids up to .*embeddings for 20"),
}


def configurations(folder: Path, to: Path) -> Path:
    """A copy of a base with empty weights, since only configuration files are read."""
    weights = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(folder, to, ignore=weights)
    for file in folder.glob("*/*.safetensors"):
        (to / file.relative_to(folder)).touch()
    return to


def change(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.fixture
def copied(tiny_base_folder: Path, tmp_path: Path) -> Path:
    return configurations(tiny_base_folder, tmp_path / "base")


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video") / "tiny"
    STABLE_VIDEO_DIFFUSION.implementation().tiny().save(folder)
    return folder


def test_bases_of_the_family_fit(copied: Path, video_folder: Path) -> None:
    for name in (*embedded_bases(), str(copied), str(video_folder)):
        assert misfits(find_base(name)) == []
    assert misfits(find_base("org/name")) == []


@pytest.mark.parametrize(("file", "values", "message"), UNFIT.values(), ids=UNFIT)
def test_a_base_of_another_kind_is_refused_by_file_and_key(
    file: str, values: dict[str, Any], message: str, copied: Path
) -> None:
    change(copied / file, values)
    place = UNET if message.startswith("in_channels") else "tokenizer" if "embeddings for" in message else file
    with pytest.raises(ValueError, match=rf"base {copied} cannot be used: .*{place}[:/].*{message}"):
        load_base(find_base(str(copied)), device="cpu")


@pytest.mark.parametrize("listed", [True, False])
def test_a_second_text_encoder_is_refused(listed: bool, copied: Path) -> None:
    if listed:
        change(copied / "model_index.json", {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]})
    else:
        (copied / "text_encoder_2").mkdir()
        (copied / "text_encoder_2/config.json").write_text("{}")
    (misfit,) = misfits(find_base(str(copied)))
    assert (misfit.file, misfit.key) == ("model_index.json", "text_encoder_2")
    assert "as in SDXL" in str(misfit)
    change(copied / "model_index.json", {"text_encoder_3": [None, None]})
    assert len(misfits(find_base(str(copied)))) == 1


@pytest.mark.parametrize(
    ("file", "values"),
    [
        (UNET, {"in_channels": 4}),
        (UNET, {"in_channels": 8, "out_channels": 8}),
        (UNET, {"cross_attention_dim": 16}),
        (UNET, {"projection_class_embeddings_input_dim": 32}),
        (UNET, {"_class_name": "UNet3DConditionModel"}),
        (VAE, {"_class_name": "AutoencoderKL"}),
        ("image_encoder/config.json", {"model_type": "siglip_vision_model"}),
        (SCHEDULER, {"prediction_type": "flow_prediction"}),
    ],
)
def test_a_video_base_of_another_kind_is_refused(
    file: str, values: dict[str, Any], video_folder: Path, tmp_path: Path
) -> None:
    folder = configurations(video_folder, tmp_path / "base")
    change(folder / file, values)
    assert (file, next(reversed(values))) in [(misfit.file, misfit.key) for misfit in misfits(find_base(str(folder)))]


@pytest.mark.parametrize("content", ["{", "", "[1]", "version https://git-lfs.github.com/spec/v1"])
def test_a_damaged_file_is_named(content: str, copied: Path) -> None:
    (copied / SCHEDULER).write_text(content)
    (misfit,) = misfits(find_base(str(copied)))
    assert str(misfit).startswith(f"{SCHEDULER}: not ")


@pytest.mark.usefixtures("hub_cache")
def test_a_hub_base_is_checked_in_the_cache(hub_cache: Path) -> None:
    assert misfits(find_base("org/tiny")) == []
    (unet,) = hub_cache.rglob(UNET)
    change(unet, {"in_channels": 9})
    assert "inpainting" in str(misfits(find_base("org/tiny"))[0])


def test_the_checks_import_no_torch(copied: Path) -> None:
    code = "import sys; from models.bases import find_base, misfits; print(len(misfits(find_base(sys.argv[1]))))"
    change(copied / UNET, {"in_channels": 9})
    checked = fresh(code, copied)
    assert checked.stdout.strip() == "1"
    assert not checked.packages & {"torch", "diffusers", "transformers"}


def test_every_family_has_checks() -> None:
    assert all(callable(family.misfits) for family in FAMILIES.values())


# ----------------------------------------------------------------------------------------------------------- tokenizers

WORDS = {"<|startoftext|>": 0, "<|endoftext|>": 1}
MERGES = "#version: 0.2\n"


def whole(vocabulary: object) -> str:
    added = [{"content": token, "id": number} for token, number in WORDS.items()]
    return json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": []}, "added_tokens": added})


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({}, "tokenizer.json"),
        ({"vocab.json": json.dumps(WORDS)}, "merges.txt"),
        ({"merges.txt": MERGES}, "vocab.json"),
    ],
)
def test_a_tokenizer_without_a_vocabulary_is_incomplete(files: dict[str, str], missing: str, copied: Path) -> None:
    (copied / "tokenizer/tokenizer.json").unlink()
    for name, content in files.items():
        (copied / "tokenizer" / name).write_text(content)
    assert missing_files(find_base(str(copied))) == [f"tokenizer/{missing}"]
    with pytest.raises(ValueError, match=f"is incomplete: .* lacks tokenizer/{missing}"):
        load_base(find_base(str(copied)), device="cpu")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer.json": whole({})}, "no words in the vocabulary"),
        ({"tokenizer.json": whole(WORDS)}, "no words in the vocabulary"),
        ({"tokenizer.json": whole([["a", -1.0]])}, "no words in the vocabulary"),
        ({"tokenizer.json": "{}"}, "not a tokenizer's vocabulary"),
        ({"tokenizer.json": "version https://git-lfs.github.com/spec/v1"}, "not a tokenizer's vocabulary"),
        ({"vocab.json": "{}", "merges.txt": MERGES}, "no words in the vocabulary"),
        ({"vocab.json": json.dumps(WORDS), "merges.txt": MERGES}, "no words in the vocabulary"),
        ({"vocab.json": "[]", "merges.txt": MERGES}, "not a tokenizer's vocabulary"),
    ],
)
def test_a_vocabulary_without_words_is_refused(files: dict[str, str], message: str, copied: Path) -> None:
    (copied / "tokenizer/tokenizer.json").unlink()
    for name, content in files.items():
        (copied / "tokenizer" / name).write_text(content)
    (misfit,) = misfits(find_base(str(copied)))
    assert misfit.file == f"tokenizer/{next(iter(files))}"
    assert message in str(misfit)


def test_vocabularies_with_words_are_found(copied: Path, tmp_path: Path) -> None:
    assert vocabulary_problem(copied / "tokenizer") is None
    (tmp_path / "vocab.txt").write_text("a\nb\n")  # another format: not read, but there
    assert missing_vocabulary(tmp_path) == []
    assert vocabulary_problem(tmp_path) is None


def test_a_loaded_tokenizer_must_tell_words_apart(tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_base_folder, tmp_path / "base")
    (folder / "tokenizer/tokenizer.json").unlink()
    # Words that no prompt has: every letter is the unknown token.
    vocabulary = WORDS | {sign: 2 + number for number, sign in enumerate("!?%")}
    (folder / "tokenizer/vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer/merges.txt").write_text(MERGES)
    assert misfits(find_base(str(folder))) == []
    with pytest.raises(ValueError, match="tokenizer/ gives all words one id"):
        load_base(find_base(str(folder)), device="cpu")
