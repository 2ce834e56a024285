"""Tokenizers and weights of bases as users have them, in many files, damaged and incomplete."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from tests.inputs.base_folders import (
    HALF,
    INDEX,
    LFS,
    MERGES,
    SAME,
    TEXT_WEIGHTS,
    UNET,
    UNET_WEIGHTS,
    WORDS,
    as_published,
    change_weights,
    configured,
    cut,
    in_half,
    in_two_files,
    only_adapter,
    pickled,
    renamed,
    sharded,
    single_file,
    whole,
    with_files,
    without,
)
from tests.inputs.cases import Case, Table

TEST = "models/bases/test_inputs.py::"
PUBLISHED = "-> the tokenizer that the base was published with"
NO_WORDS = f"no words in the vocabulary, so that every word would get one id {PUBLISHED}"
NO_TOKENIZER = f"not a tokenizer's vocabulary (...) {PUBLISHED}"


def read(given: str, make: Callable[[Path], object], line: str = SAME, note: str = "Read") -> Case:
    return Case(given, make, [line], note=note)


def vocabulary(given: str, message: str, files: dict[str, str]) -> Case:
    name = next(iter(files))
    put = with_files({f"tokenizer/{name}": content for name, content in files.items()})
    return Case(given, put, refused=[f"tokenizer/{name}: {message}"])


def lacking(given: str, make: Callable[[Path], object], *files: str) -> Case:
    return Case(given, make, refused=[f"base ... is incomplete: base lacks {', '.join(files)}"])


TOKENIZERS = (
    read("`tokenizer/vocab.json` with `merges.txt`", in_two_files, "predicts epsilon"),
    lacking("No vocabulary", without("tokenizer/tokenizer.json"), "tokenizer/tokenizer.json"),
    lacking(
        "`vocab.json` without `merges.txt`",
        with_files({"tokenizer/vocab.json": json.dumps(WORDS | {"a": 2, "b": 3})}),
        "tokenizer/merges.txt",
    ),
    lacking("`merges.txt` without `vocab.json`", with_files({"tokenizer/merges.txt": MERGES}), "tokenizer/vocab.json"),
    vocabulary("An empty vocabulary", NO_WORDS, {"tokenizer.json": whole({})}),
    vocabulary("Special tokens only", NO_WORDS, {"tokenizer.json": whole(WORDS)}),
    vocabulary("A single word", NO_WORDS, {"tokenizer.json": whole([["a", -1.0]])}),
    vocabulary(
        "`tokenizer.json` without vocabulary",
        NO_TOKENIZER,
        {"tokenizer.json": "{}"},
    ),
    vocabulary(
        "A Git LFS pointer as `tokenizer.json`",
        NO_TOKENIZER,
        {"tokenizer.json": LFS},
    ),
    vocabulary("An empty `vocab.json`", NO_WORDS, {"vocab.json": "{}", "merges.txt": MERGES}),
    vocabulary(
        "Special tokens only in `vocab.json`", NO_WORDS, {"vocab.json": json.dumps(WORDS), "merges.txt": MERGES}
    ),
    vocabulary(
        "A list as `vocab.json`",
        NO_TOKENIZER,
        {"vocab.json": "[]", "merges.txt": MERGES},
    ),
    Case(
        "Words that no prompt has: every letter is the unknown token",
        with_files(
            {
                "tokenizer/vocab.json": json.dumps(WORDS | {sign: 2 + k for k, sign in enumerate("!?%")}),
                "tokenizer/merges.txt": MERGES,
            }
        ),
        refused=["base base...tokenizer/ gives all words one id..."],
    ),
)
WEIGHTS = (
    read("`.safetensors`, whole", lambda folder: None),
    read("`.bin`, pickled", pickled),
    read("Names as in the published files of v1.5", as_published),
    read("Weights in half precision", in_half, HALF, note="Read; computed in the precision of the study"),
    read("`.fp16.safetensors` only", partial(in_half, variant="fp16"), HALF),
    read(
        "`.bf16.safetensors` only",
        partial(in_half, variant="bf16"),
        HALF,
        note="Read, also if the stored precision is another",
    ),
    read(
        "`.fp16.safetensors` beside `.safetensors`",
        partial(in_half, variant="fp16", besides=True),
        note="`.safetensors` is read",
    ),
    read("`.non_ema.safetensors` only", partial(renamed, variant="non_ema")),
    read("Two shards", sharded, HALF),
    *(
        read(f"Two shards, `{name}`", partial(sharded, variant=variant, late=late), HALF)
        for variant in ("fp16", "bf16")
        for late, name in ((False, f"model.{variant}-00001-of-00002"), (True, f"model-00001-of-00002.{variant}"))
    ),
    lacking("No `model_index.json`", without(INDEX), INDEX),
    lacking("A network without configuration", without(UNET), UNET),
    lacking(
        "A network without weights, or with those of Flax or ONNX only", without(UNET_WEIGHTS), "unet/*.safetensors"
    ),
    Case(
        "A LoRA adapter",
        only_adapter,
        refused=["base base is incomplete: base lacks model_index.json, ..."],
    ),
    Case(
        "A checkpoint in one file, as from a model-sharing site",
        single_file,
        refused=[
            "base base.safetensors: a file -> a folder in diffusers' layout; a checkpoint of a whole pipeline becomes "
            "one by diffusers' from_single_file and save_pretrained"
        ],
    ),
    Case(
        "Weights that are missing in the file",
        partial(change_weights, file=UNET_WEIGHTS),
        refused=["base base: the weights in unet/ do not match its config.json (missing keys: ...)"],
    ),
    Case(
        "Weights that the network does not have",
        partial(change_weights, file=TEXT_WEIGHTS, extra=torch.zeros(2)),
        refused=["base base: the weights in text_encoder/ do not match its config.json (unexpected keys: extra)"],
    ),
    Case(
        "A network of another width",
        configured(UNET, {"block_out_channels": [8, 8, 16, 32]}),
        refused=["base base: unet/ cannot be loaded: ...expected shape..."],
    ),
    *(
        Case(given, make, refused=["base base: unet/ cannot be loaded: ..."])
        for given, make in (
            ("A truncated file", partial(cut, file=UNET_WEIGHTS)),
            ("A Git LFS pointer as weights", with_files({UNET_WEIGHTS: LFS}, UNET_WEIGHTS)),
        )
    ),
)
TOKENIZER_FILES = Table(
    "Tokenizers of a base",
    "`tokenizer/tokenizer.json`, or `vocab.json` with `merges.txt`.",
    TOKENIZERS,
    f"{TEST}test_tokenizers",
)
WEIGHT_FILES = Table(
    "Weights of a base",
    "In the folders of the networks, for all families.",
    WEIGHTS,
    f"{TEST}test_weights",
)
