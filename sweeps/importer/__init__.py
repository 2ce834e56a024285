"""Import of ablation plans in prose: documents -> suggestions -> questions about a system -> one draft study each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.importer.documents import PlanDocument, read_documents
from sweeps.importer.notes import question_of_note
from sweeps.importer.questions import PARTS, Question, Source, merged, question_of, system_of

PLANS = (".md", ".markdown", ".txt", ".jsonl", ".json")
"""Suffixes of the files that are read in a folder of plans."""


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Args:
        documents: All documents, including those without a plan.
        questions: Their questions, without duplicates.
    """

    documents: Sequence[PlanDocument]
    questions: Sequence[Question]


def read_plans(paths: Iterable[Path], system: str = "") -> Imported:
    """Read plans and extract their questions; problems are collected in the documents, never raised.

    Args:
        paths: Files, and folders of files.
        system: System of all plans; by default it is determined from each document's paper.
    """
    documents = [document for path in paths for file in _files(path) for document in read_documents(file)]
    questions = [question for document in documents for question in _questions(document, system)]
    return Imported(documents, merged(questions))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in PLANS and file.is_file())
    else:
        yield path


def _questions(document: PlanDocument, system: str) -> Iterator[Question]:
    """Yield the questions of a document; combined into one question if the system is unknown."""
    about = system or system_of(document)
    questions = [_question(Source(document, suggestion), about) for suggestion in document.suggestions]
    _note_contradictions(questions)
    if about or not questions:
        yield from questions
        return
    first, *others = questions
    for other in others:
        first.add_metrics(other)
        first.todos += other.todos
        first.sources += other.sources
    first.topic = PARTS
    yield first


def _question(source: Source, system: str) -> Question:
    """Convert an entry of a plan, or of a note, to a question."""
    return question_of_note(source, system) if system and source.suggestion.text else question_of(source, system)


def _note_contradictions(questions: Sequence[Question]) -> None:
    """Note entries of a document with the same name and different content."""
    named: dict[str, Question] = {}
    for question in questions:
        suggestion = question.sources[0].suggestion
        other = named.setdefault(suggestion.name.casefold(), question)
        earlier = other.sources[0].suggestion
        same = (earlier.ablated_part, earlier.action, earlier.replacement, earlier.text) == (
            suggestion.ablated_part, suggestion.action, suggestion.replacement, suggestion.text,
        )  # fmt: skip
        if not same:
            problem = f"{suggestion.name} is also on line {earlier.line}, with other content -> both are imported"
            question.sources[0].document.problems.append(f"line {suggestion.line}: {problem}")
