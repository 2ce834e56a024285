"""CLIP's text encoder with its tokenizer: part of a text-to-image base, beside an image-to-video base."""

import logging
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase

from models.backbones import load_strictly, quiet
from models.bases import TextPadding
from models.bases.text_files import TextFiles
from models.bases.vocabulary import tells_words_apart

logger = logging.getLogger(__name__)

TINY_WIDTH = 16
"""Channels of a tiny tower's text states; usual numbers of heads divide it."""

_OF_CLIP = ("vision_model.", "visual_projection.", "text_projection.", "logit_scale")
"""Weights of a whole CLIP model that its text encoder does not have."""


@dataclass(frozen=True)
class TextTower:
    """A loaded text encoder.

    Args:
        encoder: Token ids -> text states.
        tokenizer: Text -> token ids.
    """

    encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def load(cls, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Self:
        """Load the text encoder of a base in diffusers' layout, or of a CLIP model of transformers.

        Raises:
            ValueError: The folder has none, or its files are incomplete or those of another network.
        """
        files = TextFiles.of(folder)
        if files is None:
            raise ValueError(f"{folder} has no text encoder -> a folder with text_encoder/ and tokenizer/, or CLIP's")
        if missing := files.missing():
            raise ValueError(f"text encoder {folder} is incomplete: it lacks {', '.join(missing)}")
        if misfits := files.misfits():
            raise ValueError(f"text encoder {folder} cannot be used: " + "; ".join(map(str, misfits)))
        with quiet():
            encoder = load_strictly(CLIPTextModel, folder, files.encoder, dtype, besides=_OF_CLIP)
            tokenizer = load_tokenizer(folder, files.tokenizer)
        return cls(encoder.to(device).eval().requires_grad_(False), tokenizer)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Build a small random tower with a tokenizer of single letters, on the CPU in float32."""
        tokenizer = spelling_tokenizer()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = tiny_encoder(len(tokenizer))
        return cls(encoder.eval().requires_grad_(False), tokenizer)

    def save(self, folder: Path) -> None:
        """Save encoder and tokenizer in diffusers' layout."""
        self.encoder.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], padding: TextPadding | None = None) -> torch.Tensor:
        """Encode prompts to text states; repeated prompts are encoded once.

        Masked padding is no key of the tower's attention. States of the prompt's own tokens are the same either way,
        since attention is causal; those of the padding differ.

        Args:
            prompts: The prompts.
            padding: Whether to mask padding; None follows the tower's configuration, like diffusers' pipeline:
                published bases attend to it.

        Shape:
            b prompts -> (b l c), in the tower's precision, on its device.
        """
        distinct, config, device = list(dict.fromkeys(prompts)), self.encoder.config, self.encoder.device
        length = min(self.tokenizer.model_max_length, config.max_position_embeddings)
        for prompt, ids in zip(distinct, self.tokenizer(distinct, verbose=False).input_ids, strict=True):
            if len(ids) > length:
                logger.warning("prompt truncated to %d tokens: %s", length, prompt)
        tokens = self.tokenizer(
            distinct, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).to(device)
        masks = getattr(config, "use_attention_mask", False) if padding is None else padding == "masked"
        mask = tokens.attention_mask if masks else None
        states: torch.Tensor = self.encoder(tokens.input_ids, attention_mask=mask)[0]
        return states[torch.tensor([distinct.index(prompt) for prompt in prompts], device=device)]


def text_shape(networks: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and number of the text states of a base's text encoder.

    Args:
        networks: Networks of the base by name.

    Raises:
        ValueError: The base has no text encoder.
    """
    if "text_encoder" not in networks:
        raise ValueError("the base has no text encoder -> text_encoder: a folder or a hub id that has one")
    config = networks["text_encoder"].config
    return int(config.hidden_size), int(config.max_position_embeddings)


def load_tokenizer(folder: Path, part: str = "tokenizer") -> PreTrainedTokenizerBase:
    """Load a tokenizer, and check that it tells words apart.

    Args:
        folder: Folder of the base.
        part: Its sub-folder; empty for the folder itself.

    Raises:
        ValueError: It cannot be loaded, or gives all words one id.
    """
    remedy = "the tokenizer that the base was published with"
    place = f"{part}/" if part else "its tokenizer"
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, subfolder=part, local_files_only=True
        )
    except Exception as error:  # the tokenizers' library raises no narrower class
        raise ValueError(f"base {folder}: {place} cannot be loaded: {error} -> {remedy}") from error
    if not tells_words_apart(tokenizer):
        raise ValueError(f"base {folder}: {place} gives all words one id -> {remedy}")
    return tokenizer


def tiny_encoder(num_tokens: int) -> CLIPTextModel:
    """Build a small text encoder, drawn from torch's current random state."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=num_tokens,
            hidden_size=TINY_WIDTH,
            intermediate_size=2 * TINY_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def spelling_tokenizer() -> CLIPTokenizer:
    """Make a tokenizer of single letters."""
    letters = [*string.ascii_lowercase, *string.digits, *",.-"]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77)
