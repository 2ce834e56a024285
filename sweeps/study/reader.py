"""YAML to plain values with their positions.

The reader supports maps, lists, strings, numbers, true, false and null, and refuses the rest of YAML (tags, merge keys,
several documents), since study files are read by people. It counts the nodes of an alias before it expands it.
"""

import math
import re
from pathlib import Path

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from sweeps.study.document import Document, Key, Mark, Problem, SpecError, YamlValue, dotted
from trainables.text import EncodingError, decode, is_broken

MAX_BYTES = 1_000_000
MAX_NODES = 10_000
MAX_DEPTH = 40

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_WORDS: dict[str, YamlValue] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,15}")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?", re.IGNORECASE)
_NOT_FINITE = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)

# PyYAML's messages, and the messages for the author of a study.
_MESSAGES = (
    ("found character '\\t'", "a tab -> indent with spaces"),
    ("mapping values are not allowed", "an unexpected colon -> put text that contains a colon in quotes"),
    ("could not find expected ':'", "a key without its colon -> write `key: value`"),
    ("expected <block end>", "the indentation does not match the lines above -> indent all lines of a block equally"),
    ("did not find expected <document start>", "text after the end of the study -> one study per file"),
    ("but found another document", "a second document -> one study per file"),
    ("found undefined alias", "an alias without its anchor -> write `&name` before `*name`"),
    ("found duplicate anchor", "a duplicate anchor -> give each anchor its own name"),
    ("unexpected end of stream", "the file ends inside quotes -> close them"),
    ("found unknown escape", "an unknown escape in double quotes -> use single quotes, or a double backslash"),
    ("expected ',' or", "a list or map in brackets that is not closed or lacks a comma -> [a, b] or {a: 1, b: 2}"),
)


def read(path: Path) -> Document:
    """Read one YAML file whose top level is a map.

    Args:
        path: The file; messages contain it as given.

    Raises:
        SpecError: The file is missing, larger than 1 MB, not UTF-8, not YAML, no map, or has more than 10,000 nodes,
            with aliases expanded. Smaller problems are collected in ``Document.problems``.
    """
    text = _decode(path, _read_bytes(path))
    try:
        reader = _Reader(text)
        root = reader.get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _refuse_yaml(path, text, error) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.value == ""):
        raise _refusal(path, 1, "the file is empty -> a map of keys such as `name:` and `system:`")
    if not isinstance(root, yaml.MappingNode):
        written = "a list" if isinstance(root, yaml.SequenceNode) else "a string"
        raise _refusal(path, _line(root), f"{written} -> a map of keys such as `name:` and `system:`")
    converter = _Converter()
    value = converter.map(root, ())
    problems = tuple(Problem(str(path), *problem) for problem in reader.problems + converter.problems)
    return Document(str(path), value, {(): Mark(1, ""), **converter.marks}, problems)


class _Reader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's composer without types, with limits on the number and depth of nodes."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.problems: list[tuple[int, str, str]] = []
        self._depth = 0
        self._num_nodes = 0
        self._sizes: dict[str, int] = {}  # of finished anchors, with aliases inside them expanded
        self._heights: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        anchor = event.anchor
        if isinstance(event, yaml.AliasEvent):
            self._check_alias(event)
            return super().compose_node(parent, index)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            message = f"the tag {tag} -> plain maps, lists, strings and numbers, without tags"
            self.problems.append((event.start_mark.line + 1, "", message))
        before = self._num_nodes
        self._grow(event, 1, 0)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._heights[id(node)] = 1 + max((self._heights[id(child)] for child in _children(node)), default=0)
        if anchor is not None:
            self._sizes[anchor] = self._num_nodes - before
        return node

    def _check_alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchors:
            return  # PyYAML's own message follows
        if event.anchor not in self._sizes:
            raise _LimitError(event, "an alias inside its own anchor -> a study cannot contain itself")
        self._grow(event, self._sizes[event.anchor], self._heights[id(self.anchors[event.anchor])])

    def _grow(self, event: yaml.Event, size: int, height: int) -> None:
        self._num_nodes += size
        if self._num_nodes > MAX_NODES:
            raise _LimitError(event, f"more than {MAX_NODES:,} nodes, with aliases expanded -> a smaller study")
        if self._depth + height > MAX_DEPTH:
            raise _LimitError(event, f"nested deeper than {MAX_DEPTH} levels -> a flatter study")


class _LimitError(yaml.YAMLError):
    """Error: the file exceeds a limit of the reader."""

    def __init__(self, event: yaml.Event, message: str) -> None:
        super().__init__(message)
        mark = event.start_mark
        assert mark is not None, "events of text are marked"
        self.line = int(mark.line) + 1


def _children(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


class _Converter:
    """Converts nodes to values with their marks; collects problems."""

    def __init__(self) -> None:
        self.marks: dict[Key, Mark] = {}
        self.problems: list[tuple[int, str, str]] = []

    def value(self, node: yaml.Node, path: Key) -> YamlValue:
        self.marks.setdefault(path, Mark(_line(node), dotted(path)))
        if isinstance(node, yaml.MappingNode):
            return self.map(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, position)) for position, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode), node
        return self.scalar(node, path)

    def map(self, node: yaml.MappingNode, path: Key) -> dict[str, YamlValue]:
        first: dict[str, int] = {}
        values: dict[str, YamlValue] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            key: str = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if not key or is_broken(key):
                self.wrong(line, path, "a list, a map, null or a lone surrogate as a key -> a string")
            elif key == "<<" and key_node.style is None:
                self.wrong(line, path, "the merge key << -> write the keys out, or use profiles:")
            elif key in first:
                self.wrong(line, (*path, key), f"duplicate key, first on line {first[key]} -> only one of them")
            else:
                first[key] = line
                self.marks[(*path, key)] = Mark(line, dotted((*path, key)))
                values[key] = self.value(value_node, (*path, key))
        return values

    def scalar(self, node: yaml.ScalarNode, path: Key) -> YamlValue:
        text: str = node.value
        if is_broken(text):
            self.wrong(_line(node), path, "a lone surrogate (half of a character) -> whole characters")
            return None
        if node.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NOT_FINITE.fullmatch(text) or (_NUMBER.fullmatch(text) and not math.isfinite(float(text))):
            self.wrong(_line(node), path, f"{text[:40]} -> a finite number")
            return None
        return float(text) if _NUMBER.fullmatch(text) else text

    def wrong(self, line: int, path: Key, message: str) -> None:
        self.problems.append((line, dotted(path), message))


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _refusal(path, 1, f"cannot be read: {reason} -> the path of a study file") from None
    if len(content) > MAX_BYTES:
        raise _refusal(path, 1, "the file is larger than 1 MB -> a shorter study")
    return content


def _decode(path: Path, content: bytes) -> str:
    try:
        return decode(content, utf16=False)
    except EncodingError as error:
        raise _refusal(path, error.line, error.reason) from None


def _refuse_yaml(path: Path, text: str, error: Exception) -> SpecError:
    """Word a failure of the YAML parser, which ends the reading."""
    line, message = 1, f"not YAML: {error}"
    if isinstance(error, ReaderError):
        line, message = 1 + len(_BREAK.findall(text[: error.position])), "a control character -> plain text"
    elif isinstance(error, _LimitError):
        line, message = error.line, str(error)
    elif isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = int(mark.line) + 1 if mark else 1
        original = f"{error.context or ''} {error.problem or ''}".strip()
        message = next((words for start, words in _MESSAGES if start in original), f"not YAML: {original}")
    lines = _BREAK.split(text)
    last = max(1, len(lines) - (not lines[-1]))
    problems = [Problem(str(path), min(line, last), "", message)]
    if message.startswith("a tab"):
        problems += [
            Problem(str(path), number, "", message)
            for number, content in enumerate(lines, start=1)
            if "\t" in content[: len(content) - len(content.lstrip())] and content.strip() and number != line
        ]
    return SpecError(problems)


def _refusal(path: Path, line: int, message: str) -> SpecError:
    return SpecError([Problem(str(path), line, "", message)])


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
