"""Bytes to text: encodings that are not said, and text that was encoded twice."""

import codecs

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ROUNDS = 3  # how often a text is decoded once more, at most


class NotTextError(ValueError):
    """The bytes are no text."""


def decode(content: bytes) -> tuple[str, list[str]]:
    """The text that bytes hold, and what had to be done to read it.

    UTF-8 unless a mark at the beginning says UTF-16; what is neither is read as Windows-1252. Text whose UTF-8 was once
    read as Windows-1252 and encoded again ("Âµ" for "µ") is taken back, as often as it happened.

    Raises:
        NotTextError: There are zero bytes in it, as in pictures and archives.
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    notes = []
    if encoding == "utf-8" and b"\0" in content:
        raise NotTextError("binary, not text -> a Markdown or JSONL file")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
        notes.append("not UTF-8: read as Windows-1252")
    for _ in range(_ROUNDS):
        once = _decoded_once_more(text)
        if once == text:
            break
        text = once
        notes.append("encoded twice: repaired")
    return text.replace("\r\n", "\n").replace("\r", "\n"), list(dict.fromkeys(notes))


def _decoded_once_more(text: str) -> str:
    """The text whose UTF-8, read as Windows-1252, this is; the text itself where it is not such a one."""
    if text.isascii():
        return text
    try:
        return b"".join(_byte(letter) for letter in text).decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _byte(letter: str) -> bytes:
    """A letter as the one byte it came from; five bytes have no letter in Windows-1252 and stand for themselves."""
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")
