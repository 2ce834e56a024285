"""Rows of captions files: whatever does not fit the header is refused with its line."""

from pathlib import Path

import pytest

from trainables.data.tables import rows


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
