"""Tables of inputs: what a user has, and what is read of it, or the message by which it is refused.

Every table is both a test's list of cases and a table of ``docs/inputs.md``, which ``page.py`` renders.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

Files = Mapping[str, str | bytes]


@dataclass(frozen=True)
class Case:
    """One input.

    Args:
        given: What the user has, in words.
        make: Files by their path in the user's folder, or a function that changes the folder.
        read: What is read, line by line.
        refused: Messages, in their order; ``...`` stands for any text.
        note: What is read, in words, instead of ``read`` in the page.
    """

    given: str
    make: Files | Callable[[Path], object] = field(default_factory=dict)
    read: Sequence[str] = ()
    refused: Sequence[str] = ()
    note: str = ""

    def write(self, folder: Path) -> None:
        """Make the input in a folder."""
        if callable(self.make):
            self.make(folder)
            return
        for name, content in self.make.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


@dataclass(frozen=True)
class Table:
    """Inputs of one kind.

    Args:
        title: Heading in the page.
        about: Paragraph below it.
        cases: The inputs.
        tested: Test that goes through the cases, as ``file::function``, below ``tests``.
    """

    title: str
    about: str
    cases: Sequence[Case]
    tested: str

    @property
    def parameters(self) -> pytest.MarkDecorator:
        """Parametrisation of the test: one ``case`` each."""
        return pytest.mark.parametrize("case", self.cases, ids=[case.given for case in self.cases])


def check(case: Case, folder: Path, read: Callable[[], Iterable[str]]) -> None:
    """Read an input, and compare what is read, or the messages, with the case."""
    try:
        found = [printable(line) for line in read()]
    except ValueError as error:
        said = [without_folder(line, folder) for line in str(error).splitlines()]
        assert not case.read, said
        assert len(said) == len(case.refused), said
        for message, expected in zip(said, case.refused, strict=True):
            assert re.fullmatch(".*".join(map(re.escape, expected.split("..."))), message), (message, expected)
    else:
        assert not case.refused, found
        assert found == list(case.read)


def without_folder(message: str, folder: Path) -> str:
    """The message as a user sees it who works in the folder; the folder itself is ``DATA``."""
    return message.replace(f"{folder}/", "").replace(str(folder), "DATA")


def printable(text: str) -> str:
    """The text with escapes for line breaks and other letters that cannot be seen."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
