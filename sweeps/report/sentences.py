"""Sentences of the report, in two wordings: for readers, and for ``report.json``."""

from collections.abc import Iterable
from typing import NamedTuple


class Sentence(NamedTuple):
    """A sentence for readers and its fixed wording in ``report.json``, which programs may compare."""

    text: str
    in_json: str


def same(text: str) -> Sentence:
    """Make a sentence that has one wording."""
    return Sentence(text, text)


def for_readers(sentences: Iterable[Sentence]) -> tuple[str, ...]:
    """Select the wording for readers."""
    return tuple(sentence.text for sentence in sentences)


def for_json(sentences: Iterable[Sentence]) -> tuple[str, ...]:
    """Select the wording of ``report.json``."""
    return tuple(sentence.in_json for sentence in sentences)
