"""Shared fixtures: a random, tiny base in the shape of Stable Diffusion v1.5."""

import shutil
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from models.backbones import Base


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update`` renews the golden files; the difference is then read like any other change."""
    parser.addoption("--update", action="store_true", help="renew golden files instead of comparing with them")


def _tiny_tokenizer() -> Any:
    """A CLIP tokenizer that knows letters only: a word is spelt out."""
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, *string.digits, *",.-"]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77)


def save_tiny_pipeline(folder: Path, *, seed: int = 0) -> Path:
    """Save a random Stable Diffusion pipeline of v1.5's shape: four levels, CLIP text tower, VAE with f = 8."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    tokenizer = _tiny_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    levels = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (4, 8, 8, 8),
    }
    StableDiffusionPipeline(
        vae=AutoencoderKL(**levels, latent_channels=4, norm_num_groups=4, sample_size=32),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(8, 8, 16, 16),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=2,
        ),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny random pipeline; clips of 32 x 32 pixels have latents of 4 x 4."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def tiny_base(tiny_base_folder: Path) -> "Base":
    """The tiny random pipeline, loaded for the CPU in float32. Shared by all tests: none may change it."""
    from models.backbones import load_base
    from models.bases import find_base

    return load_base(find_base(str(tiny_base_folder)), device="cpu")


@pytest.fixture
def hub_cache(tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache that holds the tiny base as ``org/tiny``, as a download leaves it; the hub is not asked."""
    import huggingface_hub

    commit, cache = "0" * 40, tmp_path / "hub"
    repository = cache / "models--org--tiny"
    shutil.copytree(tiny_base_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return cache
