"""Rows of captions files: whatever does not fit the header is refused with its line."""

from pathlib import Path

import pytest

from trainables.data.tables import rows

LIMIT = 131_072  # characters of one field, in Python's csv


def read(tmp_path: Path, content: str | bytes, name: str = "captions.csv") -> tuple[list[tuple[int, str]], list[str]]:
    """Line and text of each row, and the problems."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems: list[str] = []
    found = [(line, row["text"]) for line, row in rows(file, ("path", "text"), problems)]
    return found, [problem.removeprefix(f"{tmp_path}/") for problem in problems]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_break_within_quotes_separates_words(end: str, tmp_path: Path) -> None:
    content = f'path,text{end}a.mp4,"a red ball{end}rolls left"{end}b.mp4,a blue square{end}c.mp4,x{end}'
    found, problems = read(tmp_path, content)
    assert found == [(2, "a red ball\nrolls left"), (4, "a blue square"), (5, "x")]
    assert problems == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('path,text\na.mp4,"a cat, asleep"\n', "a cat, asleep"),
        ('path, text\na.mp4, "a cat, asleep"\n', "a cat, asleep"),
        ('\ufeff"path","text"\n"a.mp4","a cat"', "a cat"),
        ('path,text\na.mp4,"a ""fast"" cat"\n', 'a "fast" cat'),
        ('path,text\na.mp4,a 5" disc\n', 'a 5" disc'),
        ("\npath,text\n\n  \na.mp4,a cat\n\n", "a cat"),
        ("path,text,\na.mp4,a cat,\n", "a cat"),
        ("path,text\na.mp4,a\u2028cat\x85\n", "a\u2028cat"),
        (b"path,text\na.mp4,a\rcat\n", "a cat"),
        ("path,text\na.mp4,a cat\n".encode("utf-16"), "a cat"),
    ],
)
def test_forms_of_csv_that_are_read(content: str | bytes, text: str, tmp_path: Path) -> None:
    found, problems = read(tmp_path, content)
    assert ([row for _, row in found], problems) == ([text], [])


def test_commas_without_quotes_are_refused_with_each_line(tmp_path: Path) -> None:
    content = 'path,text\n0.mp4,a ball, rolling, slowly\n1.mp4,"a ball, quoted"\n2.mp4,a ball, still\n3.mp4\n'
    found, problems = read(tmp_path, content)
    assert found == [(3, "a ball, quoted")]
    assert problems == [
        "captions.csv:2: 4 fields, the header has 2 -> put a text with commas in quotes",
        "captions.csv:4: 3 fields, the header has 2 -> put a text with commas in quotes",
        "captions.csv:5: 1 field, the header has 2 -> a field for each column, if need be an empty one",
    ]


@pytest.mark.parametrize(
    ("line", "content"),
    [
        (2, 'path,text\na.mp4,"a red ball\nb.mp4,a square\nc.mp4,x\n'),
        (3, 'path,text\na.mp4,x\nb.mp4,"a square\n'),
        (2, 'path,text\na.mp4,"a red ball\nb.mp4,"a square"\nc.mp4,x\n'),
        (2, 'path,text\na.mp4,"a red ball\nb.mp4,"a square\nc.mp4,x\n'),
        (2, 'path,text\na.mp4,"a red" ball\n'),
        (1, 'path,"text\na.mp4,x\n'),
        (3, 'path,text\na.mp4,x\nb.mp4,"a square\n' + "c.mp4,a red ball\n" * (LIMIT // 10)),
    ],
    ids=["first row", "last row", "quotes later", "two of them", "text after quotes", "header", "large file"],
)
def test_quotes_that_do_not_match_are_refused_where_they_begin(line: int, content: str, tmp_path: Path) -> None:
    found, (problem, *others) = read(tmp_path, content)
    assert problem.startswith(f"captions.csv:{line}: its quotes do not match (")
    assert problem.endswith(') -> close each quote, and write "" for a quote within quotes')
    assert not others
    assert [text for _, text in found] == ["x"] * (line == 3)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("path;text", "no column path, text -> path, text, separated by commas"),
        ("path\ttext", "no column path, text -> path, text, separated by commas"),
        ("path,caption", "no column text -> path, text"),
        ("path,text,text", "column text appears twice -> a name for each column"),
    ],
)
def test_bad_headers(header: str, problem: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"{header}\na.mp4,x\n") == ([], [f"captions.csv:1: {problem}"])


def test_bad_json_lines(tmp_path: Path) -> None:
    lines = [
        '{"path": "a.mp4", "text": "a\u2028cat"}',
        '{"path": "b.mp4", "text": " "}',
        '{"path": "c.mp4", "text": "\\ud83d"}',
        '{"path": "d.mp4", "text": "d", "n": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"path": "e.mp4", "text": "\\ud83c\\udfc0"}',
    ]
    found, problems = read(tmp_path, "\ufeff" + "\n".join(lines), "captions.jsonl")
    assert found == [(1, "a\u2028cat"), (6, "🏀")]
    assert [problem.split(" ")[0] for problem in problems] == [f"captions.jsonl:{line}:" for line in (2, 3, 4, 5)]
    assert "a lone surrogate (half of a character) -> whole characters" in problems[1]
