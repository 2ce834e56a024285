"""Ablation plans in prose to draft studies: documents -> suggestions -> what they mean here -> one YAML per study."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.importer.documents import PlanDocument, read_documents
from sweeps.importer.questions import PARTS, Question, Source, merged, question_of, system_of

PLANS = (".md", ".markdown", ".txt", ".jsonl", ".json")
"""Endings of the files that are read in a folder of plans."""


@dataclass(frozen=True)
class Imported:
    """What came of a number of plans.

    Args:
        documents: All that were read, also those in which there is no plan.
        questions: What they ask, each once.
    """

    documents: Sequence[PlanDocument]
    questions: Sequence[Question]


def read_plans(paths: Iterable[Path], system: str = "") -> Imported:
    """Read plans and say what they ask; nothing in them is an error of this function.

    Args:
        paths: Files, and folders of them.
        system: The system that all of them are about; by default each document's paper says it.
    """
    documents = [document for path in paths for file in _files(path) for document in read_documents(file)]
    asked = [question for document in documents for question in _questions(document, system)]
    return Imported(documents, merged(asked))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in PLANS and file.is_file())
    else:
        yield path


def _questions(document: PlanDocument, system: str) -> Iterator[Question]:
    """What one document asks; of a paper whose system is not here, all in one question, to be settled together."""
    about = system or system_of(document)
    asked = [question_of(Source(document, suggestion), about) for suggestion in document.suggestions]
    _note_contradictions(asked)
    if about or not asked:
        yield from asked
        return
    first, *others = asked
    for other in others:
        first.measure_too(other)
        first.todos += other.todos
        first.sources += other.sources
    first.topic = PARTS
    yield first


def _note_contradictions(asked: Sequence[Question]) -> None:
    """Note where one document says two things under one name."""
    named: dict[str, Question] = {}
    for question in asked:
        suggestion = question.sources[0].suggestion
        other = named.setdefault(suggestion.name.casefold(), question)
        earlier = other.sources[0].suggestion
        same = (earlier.ablated_part, earlier.action, earlier.replacement) == (
            suggestion.ablated_part, suggestion.action, suggestion.replacement,
        )  # fmt: skip
        if not same:
            asks = f"{suggestion.name} is there twice and asks something else than at line {earlier.line}"
            question.sources[0].document.problems.append(f"line {suggestion.line}: {asks} -> both are taken")
