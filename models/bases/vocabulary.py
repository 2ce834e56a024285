"""Vocabulary of a tokenizer. Without its files, transformers silently makes a tokenizer that gives every word one id.

Imports no tokenizer library: files are read as JSON.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CONFIGURATION = "tokenizer_config.json"
_WHOLE = "tokenizer.json"
_PAIR = ("vocab.json", "merges.txt")
_OTHERS = ("vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
_PROBES = ("a red ball rolls", "two dogs jump high")


def missing_vocabulary(folder: Path) -> list[str]:
    """Return the vocabulary files that a tokenizer's folder lacks: one file, or one of the pair of byte-pair files."""
    if any((folder / name).is_file() for name in (_WHOLE, *_OTHERS)):
        return []
    missing = [name for name in _PAIR if not (folder / name).is_file()]
    return missing if len(missing) < len(_PAIR) else [_WHOLE]


def vocabulary_problem(folder: Path, *, most_ids: int | None = None) -> tuple[str, str] | None:
    """Check the content of the vocabulary files; missing files and formats other than JSON are not checked.

    Args:
        folder: Folder of the tokenizer.
        most_ids: Ids that the text encoder has embeddings for.

    Returns:
        Name of the file and what is wrong with it; None if nothing is.
    """
    name = next((name for name in (_WHOLE, _PAIR[0]) if (folder / name).is_file()), None)
    if name is None:
        return None
    try:
        ids, special = _read(folder, name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return name, f"not a tokenizer's vocabulary ({error})"
    if len(ids.keys() - special) < 2:  # noqa: PLR2004  # one word would still be every word
        return name, "no words in the vocabulary, so that every word would get one id"
    if most_ids is not None and max(ids.values()) >= most_ids:
        return name, f"ids up to {max(ids.values())}, but the text encoder has embeddings for {most_ids}"
    return None


def tells_words_apart(tokenizer: Any) -> bool:
    """Whether a loaded tokenizer gives words more than one id besides special tokens."""
    ids = {number for tokens in tokenizer(list(_PROBES)).input_ids for number in tokens}
    return len(ids - set(tokenizer.all_special_ids)) > 1


def _read(folder: Path, name: str) -> tuple[dict[str, int], set[str]]:
    """Return token -> id, and the special tokens."""
    content = json.loads((folder / name).read_bytes())
    configuration = folder / CONFIGURATION
    special = set(_special(json.loads(configuration.read_bytes()) if configuration.is_file() else {}))
    if name != _WHOLE:
        return {str(token): int(number) for token, number in content.items()}, special
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):  # unigram: token and score
        vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
    added = {token["content"]: token["id"] for token in content.get("added_tokens", ())}
    return {**vocabulary, **added}, special | added.keys()


def _special(configuration: Mapping[str, Any]) -> Iterator[str]:
    for key, token in configuration.items():
        if key.endswith("_token"):
            yield token["content"] if isinstance(token, dict) else str(token)
