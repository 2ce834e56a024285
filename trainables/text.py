"""Decoding of the text that users bring: studies, plans, prompts, captions and annotations."""

import codecs
import re
from pathlib import Path

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_LINE_END = re.compile(r"\r*\n")
_MARK_OF_LINE = re.compile("^\ufeff+", re.MULTILINE)


class EncodingError(ValueError):
    """Bytes that are not text in a supported encoding.

    Args:
        line: Line of the first such byte, from 1.
        reason: Description of the bytes and the remedy.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason = line, reason


class TextError(ValueError):
    """A text file that cannot be read; the message gives file, line and remedy."""


def decode(content: bytes, *, utf16: bool = True) -> str:
    """Decode UTF-8, with or without byte order mark, or UTF-16 with byte order mark; the mark is removed.

    Args:
        content: Bytes of a whole file.
        utf16: Whether UTF-16 is allowed.

    Raises:
        EncodingError: The bytes are not text in these encodings.
    """
    if utf16 and content.startswith(UTF16_MARKS):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError as error:
            line = 1 + content[: error.start].decode("utf-16", errors="replace").count("\n")
            raise EncodingError(line, "damaged UTF-16 -> save the file as UTF-8") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].count(b"\n")
        written = content[error.start]
        raise EncodingError(line, f"the byte 0x{written:02x} is not UTF-8 -> save the file as UTF-8") from None


def read_text(file: Path) -> str:
    r"""Read a text file whose lines end at LF or CR LF alone; both are returned as ``\n``.

    Other separators, such as U+2028, are part of a line; a carriage return within a line becomes a space. A byte order
    mark at the start of any line, as in files that were joined, is removed.

    Args:
        file: The file; messages contain it as given.

    Raises:
        TextError: The file cannot be read, is not text in an encoding of ``decode``, or has carriage returns only.
    """
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TextError(f"{file}: cannot be read ({reason}) -> a text file in UTF-8") from None
    try:
        text = decode(content)
    except EncodingError as error:
        raise TextError(f"{file}:{error.line}: {error.reason}") from None
    if "\0" in text:
        line = 1 + text.count("\n", 0, text.index("\0"))
        raise TextError(f"{file}:{line}: a zero byte, so not text in UTF-8 -> a text file in UTF-8")
    if "\r" in text and "\n" not in text:
        raise TextError(f"{file}:1: lines end at CR alone -> save the file with LF or CR LF as line ends")
    return _MARK_OF_LINE.sub("", _LINE_END.sub("\n", text)).replace("\r", " ")


def is_broken(text: str) -> bool:
    """Whether a text contains half of a surrogate pair, which an escape can produce but UTF-8 cannot encode."""
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)
