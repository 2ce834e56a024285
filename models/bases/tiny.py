"""A random base of Stable Diffusion's shape, small enough to be built and run at once: to see how parts behave."""

import string
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.backbones import Base
from models.bases import BaseRef

WIDTH = 16
"""Channels of the text states and of the U-Net's deepest levels; every usual number of heads divides it."""


def tiny_networks(seed: int = 0) -> dict[str, Any]:
    """U-Net of four levels, VAE with f = 8, CLIP text tower, a tokenizer that spells, and v1.5's noise schedule."""
    levels = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (4, 8, 8, 8),
    }
    tokenizer = _spelling_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=77,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
        vae = AutoencoderKL(**levels, latent_channels=4, norm_num_groups=4, sample_size=32)
        unet = UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(8, 8, WIDTH, WIDTH),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
        )
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    return {"unet": unet, "vae": vae, "text_encoder": text, "tokenizer": tokenizer, "scheduler": scheduler}


def tiny_base(seed: int = 0) -> Base:
    """The networks as a base on the CPU in float32; clips of 32 x 32 pixels have latents of 4 x 4."""
    made = tiny_networks(seed)
    networks = {name: made[name].eval().requires_grad_(False) for name in ("unet", "vae", "text_encoder")}
    for name in ("unet", "vae"):
        networks[name].to(memory_format=torch.channels_last)
    schedule = DDIMScheduler.from_config(made["scheduler"].config, clip_sample=False)
    ref = BaseRef("tiny", None, None, "embedded")
    device, dtype = torch.device("cpu"), torch.float32
    return Base(ref, **networks, tokenizer=made["tokenizer"], noise_scheduler=schedule, device=device, dtype=dtype)


def _spelling_tokenizer() -> CLIPTokenizer:
    """It knows letters only: a word is spelt out."""
    letters = [*string.ascii_lowercase, *string.digits, *",.-"]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77)
