"""Rows of CSV and JSON-lines files, as annotations and further texts are written."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainables.text import TextError, is_broken, read_text

Rows = Iterator[tuple[int, dict[str, str]]]
BROKEN = "a lone surrogate (half of a character) -> whole characters"


def rows(file: Path, columns: Sequence[str], problems: list[str], also: Sequence[str] = ()) -> Rows:
    """Iterate over the rows of a CSV file, or of a JSON-lines file by its suffix ``.jsonl``.

    Args:
        file: The file.
        columns: Required columns or keys; each row has a text in all of them.
        problems: Invalid rows are added to it, with file and line.
        also: Keys of JSON lines whose values need not be strings.

    Yields:
        First line of the row, and its texts by column.
    """
    if file.suffix.lower() == ".jsonl":
        return _json_rows(file, columns, problems, also)
    return _csv_rows(file, columns, problems)


def further_texts(numbered: Sequence[tuple[int, Mapping[str, str]]], others: Sequence[str]) -> list[dict[str, str]]:
    """Return the further texts of each row: all named columns except ``others``, with empty texts for gaps."""
    names = [name for name in dict.fromkeys(key for _, row in numbered for key in row) if name and name not in others]
    return [{name: row.get(name, "") for name in names} for _, row in numbered]


def text_of(file: Path, problems: list[str]) -> str | None:
    """Read a text file; if that fails, add the problem."""
    try:
        return read_text(file)
    except TextError as error:
        problems.append(str(error))
        return None


def _csv_rows(file: Path, columns: Sequence[str], problems: list[str]) -> Rows:
    """Iterate over the rows of a CSV file, as in ``rows``; line breaks within quotes are kept.

    A row with more or fewer fields than the header is a problem. Quotes that do not match end the reading, since all
    later rows may be part of one field.
    """
    records = _records(file, text_of(file, problems) or "", problems)
    line, header = next(records, (1, []))
    header = [name.strip() for name in header]
    if not problems and (wrong := _wrong_header(header, columns)):
        problems.append(f"{file}:{line}: {wrong}")
    if problems:
        return
    for line, fields in records:
        row = dict(zip(header, map(str.strip, fields), strict=False))
        if len(fields) != len(header):
            many = len(fields) > len(header)
            remedy = "put a text with commas in quotes" if many else "a field for each column, if need be an empty one"
            fit = f"{len(fields)} field{'s' * (len(fields) != 1)}, the header has {len(header)}"
            problems.append(f"{file}:{line}: {fit} -> {remedy}")
        elif empty := [column for column in columns if not row[column]]:
            problems.append(f"{file}:{line}: no {', '.join(empty)}")
        else:
            yield line, row


def _json_rows(file: Path, columns: Sequence[str], problems: list[str], also: Sequence[str]) -> Rows:
    """Iterate over the rows of a JSON-lines file, as in ``rows``; values that are not strings are left out."""
    for number, line in enumerate((text_of(file, problems) or "").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(f"{file}:{number}: not JSON ({getattr(error, 'msg', error)})")
            continue
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) and row[key].strip() for key in columns):
            problems.append(f"{file}:{number}: not a map with {' and '.join(columns)}")
            continue
        texts = {key: str(value) for key, value in row.items() if isinstance(value, str) or key in also}
        if any(map(is_broken, (*texts, *texts.values()))):
            problems.append(f"{file}:{number}: {BROKEN}")
        else:
            yield number, {key: text for key, text in texts.items() if row[key] is not None}


def _records(file: Path, text: str, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Split CSV into records, each with its first line; blank lines are skipped."""
    reader = csv.reader(io.StringIO(text), strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = 'close each quote, and write "" for a quote within quotes'
            problems.append(f"{file}:{line}: its quotes do not match ({error}) -> {remedy}")
            return
        if len(fields) > 1 or "".join(fields).strip():
            yield line, fields


def _wrong_header(header: Sequence[str], columns: Sequence[str]) -> str:
    """Return the problem of a header; empty if there is none."""
    if missing := [column for column in columns if column not in header]:
        separated = ", separated by commas" if any(mark in name for name in header for mark in ";\t|") else ""
        return f"no column {', '.join(missing)} -> {', '.join(columns)}{separated}"
    twice = [name for name, number in Counter(filter(None, header)).items() if number > 1]
    return f"column {', '.join(twice)} appears twice -> a name for each column" if twice else ""
