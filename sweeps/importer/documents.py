"""Parsing of plan files into suggestions: Markdown documents, and JSON lines with or without a wrapper."""

import ast
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.importer.encoding import NotTextError, decode

MAX_BYTES = 16 * 2**20
_HEADING = re.compile(r"^#{1,2} +(?:lm-planner/)?(?P<planner>[\w.-]+)/(?P<paper>\S+) *$", re.MULTILINE)
_PLAN = re.compile(r"^.*Ablation Plan\b.*$", re.MULTILINE)
_END = re.compile(r"^</div>|^<h2|^#{1,2} ", re.MULTILINE)
_ENTRY = re.compile(r"^### +", re.MULTILINE)
_FIELD = re.compile(r"^[-*] +\*\*(?P<name>[^*]+?):?\*\*:?[ \t]*(?P<rest>.*(?:\n(?![-*] +\*\*|#).*)*)", re.MULTILINE)
_ITEM = re.compile(r"^\s+[-*] +(.+(?:\n {4,}\S.*)*)", re.MULTILINE)
_CARD = re.compile(r"^(?:- |#+ )(First \d+ experiments|Next checks):?[ \t]*$", re.MULTILINE | re.IGNORECASE)
_NUMBERED = re.compile(r"^ *(\d+)\. +(.+)$", re.MULTILINE)
_NUMBERED_END = re.compile(r"^#|^- ", re.MULTILINE)
_OPEN = re.compile(r"^#+ +(Open Question \d+)\b.*\n\s*([^\s#].*(?:\n[^\s#].*)*)", re.MULTILINE | re.IGNORECASE)
_PREDICTIONS = re.compile(r"<predictions>(.*?)(?:</predictions>|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Suggestion:
    """One entry of a plan, unchanged.

    Args:
        name: Name in the plan.
        ablated_part: A phrase.
        action: Action in capitals: REMOVE, REPLACE or ADD, else the plan's own word.
        replacement: Replacements: phrases, numbers, maps.
        metrics: Phrases.
        line: Line in the document, from 1.
        text: Text of an entry of a note, which has no part and no action of its own; empty for entries of plans.
    """

    name: str
    ablated_part: str
    action: str
    replacement: tuple[Any, ...] = ()
    metrics: tuple[str, ...] = ()
    line: int = 1
    text: str = ""


@dataclass
class PlanDocument:
    """One plan of one planner for one paper.

    Args:
        file: Its file.
        digest: SHA-256 of the file's bytes.
        planner: Author of the plan; by default the file's name.
        paper: Paper, as named in the document.
        text: The whole text, repaired.
        suggestions: Its entries.
        notes: Repairs of the text.
        problems: Unreadable contents, with their lines where known.
    """

    file: Path
    digest: str = ""
    planner: str = ""
    paper: str = ""
    text: str = ""
    suggestions: list[Suggestion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_documents(file: Path) -> list[PlanDocument]:
    """Read the plans of a file, usually one; errors are added to their problems.

    Args:
        file: A Markdown document with a section "Ablation Plan"; JSON lines with ``name``, ``ablated_part``,
            ``action``, ``replacement``, ``metrics``, also within ``<predictions>``; or the planner's ``plans.json``.
    """
    document = PlanDocument(file, planner=file.stem)
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        document.problems.append(f"cannot be read ({error.strerror})")
        return [document]
    document.digest = hashlib.sha256(content).hexdigest()
    if len(content) > MAX_BYTES:
        document.problems.append(f"larger than {MAX_BYTES // 2**20} MiB, so not read -> a file with the plan alone")
        return [document]
    try:
        document.text, document.notes = decode(content)
    except NotTextError as error:
        document.problems.append(str(error))
        return [document]
    if not document.text.strip():
        document.problems.append("empty")
        return [document]
    if several := _plans_json(document):
        return several
    _read(document)
    return [document]


def _read(document: PlanDocument) -> None:
    text = document.text
    if heading := _HEADING.search(text):
        document.planner, document.paper = heading["planner"], heading["paper"]
    elif title := re.search(r"^(?:title: +'?|# +)(.+?)'?$", text, re.MULTILINE):
        document.paper = title[1]
    wrapped = _PREDICTIONS.search(text)
    if wrapped or text.lstrip()[:1] in ("{", "["):
        start = wrapped.start(1) if wrapped else 0
        _read_json(document, wrapped[1] if wrapped else text, text.count("\n", 0, start))
    elif plan := _PLAN.search(text):
        _read_markdown(document, plan.end())
    elif _read_card(document):
        document.problems.append("no ablation plan, but a note on a paper: what its sentences leave open is to settle")
    else:
        page = re.match(r"\s*(<!doctype html|<html)", text, re.IGNORECASE)
        content = "an HTML page" if page else "no plan"
        document.problems.append(f'{content}: it has neither a section "Ablation Plan" nor JSON lines')
        return
    if not document.suggestions and not document.problems:
        document.problems.append("the plan has no entries")


# ------------------------------------------------------------------------------------------------------------ Markdown


def _read_markdown(document: PlanDocument, start: int) -> None:
    text = document.text
    end = _END.search(text, start)
    stop = end.start() if end else len(text)
    entries = [match.end() for match in _ENTRY.finditer(text, start, stop)]
    for here, following in itertools.pairwise([*entries, stop]):
        name, _, body = text[here:following].partition("\n")
        line = text.count("\n", 0, here) + 1
        fields = {match["name"].strip().lower(): match["rest"] for match in _FIELD.finditer(body)}
        wrong = [label for label in ("ablated part", "action") if not fields.get(label, "").strip()]
        if wrong:
            document.problems.append(f"line {line}: {name.strip()}: without {' and '.join(wrong)}")
        document.suggestions.append(
            Suggestion(
                name=name.strip(),
                ablated_part=_one_line(fields.get("ablated part", "")),
                action=_one_line(fields.get("action", "")).strip("*`. ").upper(),
                replacement=tuple(_replacements(fields.get("replacement", ""))),
                metrics=tuple(_split(_one_line(fields.get("metrics", "")))),
                line=line,
            )
        )


def _replacements(text: str) -> Iterator[Any]:
    items = _ITEM.findall("\n" + text) or [text]
    yield from (_literal(_one_line(item)) for item in items if item.strip())


def _literal(text: str) -> Any:
    """Parse a number or a map; other text is returned as it is."""
    if text[:1] in "{[" or text[:1].isdigit() or text[:1] in "-.":
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        return value if isinstance(value, int | float | dict | list) else text
    return text


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _read_card(document: PlanDocument) -> bool:
    """Read the numbered experiments and checks, and the open questions, of a note on a paper.

    Returns:
        Whether there are any.
    """
    for start, name, text in sorted([*_card_items(document.text), *_open_questions(document.text)]):
        line = document.text.count("\n", 0, start) + 1
        document.suggestions.append(Suggestion(name, "", "", line=line, text=_one_line(text)))
    return bool(document.suggestions)


def _card_items(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the start, name and text of each numbered experiment and check."""
    for heading in _CARD.finditer(text):
        end = _NUMBERED_END.search(text, heading.end())
        for item in _NUMBERED.finditer(text, heading.end(), end.start() if end else len(text)):
            yield item.start(1), f"{heading[1].lower()}, {item[1]}", item[2]


def _open_questions(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the start, name and text of each open question: the paragraph below its heading."""
    for question in _OPEN.finditer(text):
        yield question.start(2), question[1].lower(), question[2]


# ---------------------------------------------------------------------------------------------------------------- JSON


def _plans_json(document: PlanDocument) -> list[PlanDocument]:
    """Read a file that maps a paper's id to ``{"predictions": JSON lines}``; empty for any other file."""
    if not document.text.lstrip().startswith("{"):
        return []
    try:
        value = json.loads(document.text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict) or not value:
        return []
    if not all(isinstance(plan, dict) and isinstance(plan.get("predictions"), str) for plan in value.values()):
        return []
    documents = []
    for paper, plan in value.items():
        of_paper = PlanDocument(document.file, document.digest, document.planner, str(paper), plan["predictions"])
        wrapped = _PREDICTIONS.search(of_paper.text)
        _read_json(of_paper, wrapped[1] if wrapped else of_paper.text, 0)
        documents.append(of_paper)
    return documents


def _read_json(document: PlanDocument, text: str, lines_before: int) -> None:
    for line, value in _values(document, text, lines_before):
        if not isinstance(value, dict):
            document.problems.append(f"line {line}: {_short(value)} -> a map with name, ablated_part, action")
            continue
        part, action = (str(value.get(key) or "").strip() for key in ("ablated_part", "action"))
        name = str(value.get("name") or part or "unnamed")
        wrong = [key for key, given in (("ablated_part", part), ("action", action)) if not given]
        if wrong:
            document.problems.append(f"line {line}: {_short(name)}: without {' and '.join(wrong)}")
        metrics = value.get("metrics") or []
        document.suggestions.append(
            Suggestion(
                name=_one_line(name),
                ablated_part=_one_line(part),
                action=action.upper(),
                replacement=tuple(_listed(value.get("replacement"))),
                metrics=tuple(
                    _one_line(str(metric))
                    for metric in (_split(metrics) if isinstance(metrics, str) else _listed(metrics))
                ),
                line=line,
            )
        )


def _values(document: PlanDocument, text: str, lines_before: int) -> Iterator[tuple[int, Any]]:
    """Yield each JSON value with its line, from one value per line or a single list."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, list | dict):
        lines_before += text.count("\n", 0, len(text) - len(text.lstrip()))
        yield from ((lines_before + 1, value) for value in (whole if isinstance(whole, list) else [whole]))
        return
    for number, line in enumerate(text.split("\n"), lines_before + 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            document.problems.append(f"line {number}: not JSON ({error}): {_short(line.strip())}")


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    return [_literal(_one_line(item)) if isinstance(item, str) else item for item in items]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
