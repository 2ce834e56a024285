"""Parsed files: values with the line and path of each, and problems located by these."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import NamedTuple

YamlValue = None | bool | int | float | str | list["YamlValue"] | dict[str, "YamlValue"]
Key = tuple[str | int, ...]


class Mark(NamedTuple):
    """Position of a value: its line, counted from 1, its dotted path, and its file if that is not the document's."""

    line: int
    path: str
    file: str = ""


class Problem(NamedTuple):
    """A problem in a file."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return printable(f"{self.file}:{self.line}: {self.path + ': ' if self.path else ''}{self.message}")


class SpecError(ValueError):
    """Error: an invalid study file, with all its problems.

    Args:
        problems: At least one, in any order; kept sorted by line, without duplicates.
    """

    def __init__(self, problems: list[Problem]) -> None:
        assert problems, "an error without a problem"
        self.problems = sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class Document:
    """The values of a file, with the position of each.

    ``marks`` is keyed by the path of keys and list positions; the empty path is the file itself. ``problems`` are those
    that leave the rest readable, such as a duplicate key.
    """

    file: str
    value: dict[str, YamlValue]
    marks: dict[Key, Mark] = field(repr=False)
    problems: tuple[Problem, ...] = ()

    def without(self, paths: Collection[Key]) -> "Document":
        """Copy the document without these entries; later entries of a list move up and keep their marks."""
        marks: dict[Key, Mark] = {(): self.marks[()]}

        def kept(value: YamlValue, source: Key, target: Key) -> YamlValue:
            marks[target] = self.marks.get(source, marks[()])
            if isinstance(value, dict):
                return {
                    key: kept(inner, (*source, key), (*target, key))
                    for key, inner in value.items()
                    if (*source, key) not in paths
                }
            if isinstance(value, list):
                places = [place for place in range(len(value)) if (*source, place) not in paths]
                return [kept(value[old], (*source, old), (*target, new)) for new, old in enumerate(places)]
            return value

        value = kept(self.value, (), ())
        assert isinstance(value, dict), "the top level is a map"
        return replace(self, value=value, marks=marks)

    def overlaid(self, over: "Document", source: Key = ()) -> "Document":
        """Copy the document with a map laid over it: maps merge key by key, other values are replaced.

        Maps with a different ``kind`` or ``layout`` are replaced as well, since their other keys differ in meaning.

        Args:
            over: The document with the map; it may be this one.
            source: Path of the map in it.
        """
        marks: dict[Key, Mark] = {(): self.marks[()]}

        def copied(value: YamlValue, layer: Document, source: Key, target: Key) -> YamlValue:
            mark = layer.marks.get(source, marks[()])
            marks[target] = mark if layer.file == self.file else mark._replace(file=mark.file or layer.file)
            if isinstance(value, dict):
                return {key: copied(inner, layer, (*source, key), (*target, key)) for key, inner in value.items()}
            if isinstance(value, list):
                return [copied(inner, layer, (*source, at), (*target, at)) for at, inner in enumerate(value)]
            return value

        def combined(below: YamlValue, above: YamlValue, source: Key, target: Key) -> YamlValue:
            if not isinstance(below, dict) or not isinstance(above, dict) or _differ_in_kind(below, above):
                return copied(above, over, source, target)
            result = {key: copied(inner, self, (*target, key), (*target, key)) for key, inner in below.items()}
            for key, inner in above.items():
                place = (*target, key)
                result[key] = (
                    combined(result[key], inner, (*source, key), place)
                    if key in result
                    else copied(inner, over, (*source, key), place)
                )
            return result

        value = combined(self.value, over.at(source), source, ())
        assert isinstance(value, dict), "the top level is a map"
        return replace(self, value=value, marks=marks, problems=tuple(dict.fromkeys(self.problems + over.problems)))

    def at(self, path: Key) -> YamlValue:
        """Return the value at a path that exists."""
        value: YamlValue = self.value
        for key in path:
            value = value[key]  # type: ignore[index]
        return value

    def problem(self, path: Key, message: str) -> Problem:
        """Locate a message at a path, or at its nearest parent in the file."""
        written = path
        while written not in self.marks:
            written = written[:-1]
        mark = self.marks[written]
        return Problem(mark.file or self.file, mark.line, dotted((mark.path, *path[len(written) :])), message)


def printable(text: str) -> str:
    """Escape line breaks, control and other unprintable characters, so that a terminal does not interpret them."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def dotted(path: Key) -> str:
    """Format a path, such as ``ablations[1].with.mu``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif key:
            text += f"{'.' if text else ''}{key}"
    return text


def _differ_in_kind(under: dict[str, YamlValue], over: dict[str, YamlValue]) -> bool:
    return any(key in over and over[key] != under.get(key) for key in ("kind", "layout"))
