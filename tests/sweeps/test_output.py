"""Output in encodings that lack arrows and Greek letters: spelled in ASCII, and never an error."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeps.__main__ import app
from sweeps.output import escaped_html, escaped_json, prepare_streams, spelled
from sweeps.report.table import Report
from sweeps.report.terminal import print_terminal
from sweeps.report.writers import WRITERS

ENCODINGS = ("ascii", "latin-1", "cp1252", "cp437", "koi8-r", "shift_jis")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], bytes]:
    """``written(encoding, act)``: what an action writes to a standard output of this encoding."""

    def capture(encoding: str, act: Callable[[], object]) -> bytes:
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", stream)
            prepare_streams()
            act()
            stream.flush()
        return stream.buffer.getvalue()  # type: ignore[attr-defined, no-any-return]

    return capture


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("70.5 ± 2.1", "ascii", "70.5 +- 2.1"),
        ("70.5 ± 2.1", "latin-1", "70.5 ± 2.1"),
        ("fid ↓", "latin-1", "fid (lower is better)"),
        ("Δ λ Ω", "cp1252", "Delta lambda Omega"),
        ("ω ≥ 0.5 — “a”…", "ascii", 'omega >= 0.5 - "a"...'),
        ("Übung 中", "latin-1", "Übung \\u4e2d"),
        ("😀", "ascii", "\\U0001f600"),
        ("a\udcffb", "ascii", "a\udcffb"),
    ],
)
def test_what_an_encoding_lacks_is_spelled(text: str, encoding: str, expected: str) -> None:
    assert spelled(text, encoding) == expected


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_terminal_report_fits_every_encoding(
    encoding: str, report: Report, written: Callable[[str, Callable[[], object]], bytes]
) -> None:
    text = written(encoding, lambda: print_terminal(report)).decode(encoding)
    assert "(higher is better)" in text or "↑" in text
    assert text.isascii() or encoding != "ascii"
    assert "Delta [95%]" in text or "Δ [95%]" in text
    tables = [line for line in text.splitlines() if line.startswith(("|", "+"))]
    assert tables
    widths = [len(line) for line in tables]
    blocks = text.count("+--") - text.count("--+--")
    assert len(set(widths)) <= blocks, "the columns of a table stay aligned"


@pytest.mark.parametrize("format", WRITERS)
def test_every_format_is_printed_in_ascii(
    format: str, report: Report, written: Callable[[str, Callable[[], object]], bytes]
) -> None:
    text = WRITERS[format](report)
    assert written("ascii", lambda: print(text)).isascii()


def test_files_for_programs_lose_nothing(report: Report) -> None:
    text = WRITERS["json"](report)
    assert not text.isascii()
    escaped = escaped_json(text, "latin-1")
    assert escaped.isascii()
    assert json.loads(escaped) == json.loads(text)
    assert escaped_json(text, "utf-8") == text
    assert escaped_html("<p>Δ ü</p>", "cp1252") == "<p>&#916; &#252;</p>"
    assert escaped_html("<p>Δ ü</p>", "UTF8") == "<p>Δ ü</p>"


def test_a_file_name_that_is_not_text_is_written_as_it_is(
    written: Callable[[str, Callable[[], object]], bytes],
) -> None:
    assert written("utf-8", lambda: print("caf\udce9 Δ")) == b"caf\xe9 \xce\x94\n"
    assert written("ascii", lambda: print("caf\udce9 Δ")) == b"caf\xe9 Delta\n"


@pytest.mark.parametrize("command", ["check", "plan", "status", "plan --json"])
def test_commands_answer_in_ascii(command: str, write: Callable[[str], Path], tmp_path: Path) -> None:
    study = write(
        'name: sound\nquestion: "Is λ ≥ 0.5 für 中 better? ↑"\nsystem: zs2\nbase: shapes\nmetrics: [fid]\nseeds: 2\n'
        "ablations:\n  - {part: noise, action: REMOVE}\n"
    )
    name, *options = command.split()
    storage = [] if name == "check" else ["--storage", str(tmp_path / "Läufe")]
    done = CliRunner(charset="ascii").invoke(app, [name, str(study), *storage, *options])
    assert (done.exit_code, done.exception) == (0, None)
    assert done.stdout_bytes.isascii()
    if name == "check":
        assert r"Is lambda >= 0.5 f\xfcr \u4e2d better? (higher is better)" in done.stdout
