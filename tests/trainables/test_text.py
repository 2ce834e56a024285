"""Text files of users: encodings, byte order marks and ends of lines."""

import codecs
from pathlib import Path

import pytest

from trainables.text import EncodingError, TextError, decode, read_text

TEXT = "ein roter Ball\nÜbung, 打篮球 🏀\n"
SEPARATORS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""Characters at which ``str.splitlines`` splits, and text files do not."""


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF8 + TEXT.encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
        TEXT.replace("\n", "\r\r\n").encode(),
        b"".join(line.encode("utf-8-sig") for line in TEXT.splitlines(keepends=True)),
    ],
    ids=["plain", "marked", "UTF-16", "UTF-16 BE", "marked twice", "CR LF", "CR CR LF", "joined files"],
)
def test_encodings_and_ends_of_lines(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    assert read_text(file) == TEXT


@pytest.mark.parametrize("separator", SEPARATORS)
def test_other_separators_are_part_of_a_line(separator: str, tmp_path: Path) -> None:
    text = f"a red ball{separator}rolls\nb\n"
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    assert read_text(tmp_path / "text.txt") == text


def test_a_carriage_return_within_a_line_is_a_space(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"a\rb\nc")
    assert read_text(tmp_path / "text.txt") == "a b\nc"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a\ncafé".encode("latin-1"), "text.txt:2: the byte 0xe9 is not UTF-8 -> save the file as UTF-8"),
        ("a\nb\n".encode("utf-16") + b"x", "text.txt:3: damaged UTF-16 -> save the file as UTF-8"),
        ("a\nb".encode("utf-16-le"), "text.txt:1: a zero byte, so not text in UTF-8 -> a text file in UTF-8"),
        ("a\nb".encode("utf-32"), "text.txt:1: a zero byte, so not text in UTF-8 -> a text file in UTF-8"),
        (b"a\nb\0", "text.txt:2: a zero byte, so not text in UTF-8 -> a text file in UTF-8"),
        (b"a\rb", "text.txt:1: lines end at CR alone -> save the file with LF or CR LF as line ends"),
    ],
)
def test_bytes_that_are_not_text_are_refused_with_their_line(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(TextError) as refused:
        read_text(tmp_path / "text.txt")
    assert str(refused.value) == f"{tmp_path}/{reason}"


@pytest.mark.parametrize("name", ["none.txt", ".", "a\0b"])
def test_files_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"cannot be read \(.+\) -> a text file in UTF-8"):
        read_text(tmp_path / name)


def test_utf_16_can_be_excluded() -> None:
    with pytest.raises(EncodingError, match="line 1: the byte 0xff is not UTF-8"):
        decode("name: x".encode("utf-16"), utf16=False)
