"""Draft study files of questions: the study's keys, open decisions under ``todo``, and the sources as comments."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from models import SYSTEMS
from models.bases import find_base, read_card
from models.bases.families import STABLE_DIFFUSION
from sweeps.importer.questions import PARTS, Question, Source
from sweeps.study.starter import WIDTH, flow, schema_from
from trainables.files import write_atomically

_QUESTIONS = {
    "REMOVE": "What does {} contribute?",
    "REPLACE": "What is the effect of other choices for {}?",
    "ADD": "What does adding {} contribute?",
}


def file_names(questions: Iterable[Question]) -> dict[str, Question]:
    """Give each question a unique name for its study and file."""
    named: dict[str, Question] = {}
    for question in questions:
        name, number = _name(question), 2
        unused = name
        while unused in named:
            unused, number = f"{name}-{number}", number + 1
        named[unused] = question
    return named


def _name(question: Question) -> str:
    if question.system:
        return _slug(f"{question.system}-{question.topic}")
    document = question.sources[0].document
    paper = re.split(r"__|:|_with_|_for_", document.paper)[0] or document.file.stem
    return _slug(paper)


def _slug(text: str, longest: int = 60) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-")
    return slug or "plan"


def draft(name: str, question: Question, folder: Path) -> str:
    """Write the text of a draft study.

    Args:
        name: Name of the study.
        question: Its question.
        folder: Folder of the file, so that its first line leads editors to the schema.
    """
    lines = [f"# yaml-language-server: $schema={schema_from(folder)}", *_header(question)]
    for key, value in _study(name, question).items():
        lines += _entry(key, value)
    return "\n".join([*lines, ""])


def write(named: Mapping[str, Question], folder: Path) -> list[Path]:
    """Write a file for each question; existing files with the same content are kept.

    Raises:
        ValueError: Files with other content exist; then nothing is written.
        OSError: The folder cannot be written.
    """
    texts = {folder / f"{name}.yaml": draft(name, question, folder) for name, question in named.items()}
    others = [file for file, text in texts.items() if file.exists() and file.read_text(encoding="utf-8") != text]
    if others:
        existing = "\n".join(f"{file} already exists, with other content" for file in others)
        raise ValueError(f"{existing}\n-> another folder, or delete them first; nothing was written")
    if texts:
        folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        write_atomically(file, text.encode())
    return list(texts)


def _study(name: str, question: Question) -> dict[str, Any]:
    """Return the study's keys; open ones are left out, or set to TODO."""
    system = question.system
    trained = bool(system) and SYSTEMS[system].is_trained
    family = SYSTEMS[system].family if system else STABLE_DIFFUSION
    text = _QUESTIONS.get(question.action, "What is the effect of changes to {}?").format(_topic(question))
    study: dict[str, Any] = {
        "name": name,
        "question": question.wording or text,
        "system": system or "TODO",
        "base": family.default_base,
        "metrics": question.metrics or ["TODO"],
        "seeds": 4 if trained else 16,
    }
    if system and (times := SYSTEMS[system].lengthens) > 1:
        study["protocol"] = {"frames": times * read_card(find_base(family.default_base, family)).protocol.frames}
    if trained:
        study["training"] = {"steps": 400}
    optional = {
        "ablations": question.ablations,
        "arms": question.arms,
        "by": question.by,
        "blocks": question.blocks,
        "todo": [todo.model_dump(exclude_defaults=True) for todo in question.todos],
    }
    return study | {key: value for key, value in optional.items() if value}


def _topic(question: Question) -> str:
    """Word the topic of a question."""
    parts = {ablation["part"] for ablation in question.ablations}
    if question.topic in ("components", PARTS):
        return "each of its parts"
    if len(parts) > 1 and question.topic not in parts:  # such as adapters
        return f"each of its {question.topic}"
    return f"{question.system} {question.topic.replace('_', ' ')}".strip()


def _entry(key: str, value: Any) -> list[str]:
    """Format a key of the study, with one line per entry of a list or map of maps."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [f"{key}:", *(line for item in value for line in _item(item))]
    if isinstance(value, Mapping) and any(isinstance(inner, Mapping) for inner in value.values()):
        return [f"{key}:", *(f"  {name}: {flow(inner)}" for name, inner in value.items())]
    return [f"{key}: {flow(value)}"]


def _item(item: Mapping[str, Any]) -> list[str]:
    """Format an entry of a list: on one line if it fits, else one line per key."""
    flat = f"  - {flow(dict(item))}"
    if len(flat) <= WIDTH:
        return [flat]
    return [f"  {' ' if place else '-'} {key}: {flow(inner)}" for place, (key, inner) in enumerate(item.items())]


# ------------------------------------------------------------------------------------------------------------- sources


def _header(question: Question) -> list[str]:
    """Comment lines with the sources, remarks and unknown metrics of a question."""
    votes = f"{question.votes} planner{'s' if question.votes > 1 else ''}"
    lines = [f"Imported from {votes}:", *(line for source in question.sources for line in _source(source))]
    lines += question.remarks
    lines += [f"not measured: {metric} (no metric with this name)" for metric in question.unmeasured]
    return [line for text in lines for line in _comment(text)]


def _source(source: Source) -> list[str]:
    document, suggestion = source.document, source.suggestion
    where = f"{document.file.name}, line {suggestion.line}, sha256 {document.digest[:16]}"
    repaired = f" ({'; '.join(document.notes)})" if document.notes else ""
    part = f'"{suggestion.ablated_part}"' if suggestion.ablated_part else "no part"
    entry = f'"{suggestion.text}"' if suggestion.text else f"{suggestion.action or 'no action'} {part}"
    return [
        f"  {source.planner}: {suggestion.name}: {entry}",
        f"    {where}{repaired}",
    ]


def _comment(text: str) -> list[str]:
    indent = len(text) - len(text.lstrip())
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return textwrap.wrap(
        printable, WIDTH, initial_indent="# ", subsequent_indent="# " + " " * (indent + 2), break_long_words=True
    )
