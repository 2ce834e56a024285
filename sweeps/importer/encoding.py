"""Decoding of text with an unknown encoding, or that was encoded twice."""

from trainables import text as texts

_ROUNDS = 3  # maximum number of repeated decodings


class NotTextError(ValueError):
    """Error: the bytes are not text."""


def decode(content: bytes) -> tuple[str, list[str]]:
    """Decode bytes to text, and list the repairs.

    The encoding is UTF-16 with a byte order mark, else UTF-8, else Windows-1252. Text whose UTF-8 was read as
    Windows-1252 and encoded again ("Âµ" for "µ") is repaired, also if this happened several times.

    Raises:
        NotTextError: The bytes contain zeros, as in images and archives.
    """
    notes = []
    if b"\0" in content and not content.startswith(texts.UTF16_MARKS):
        raise NotTextError("binary, not text -> a Markdown or JSONL file")
    try:
        text = texts.decode(content)
    except texts.EncodingError:
        text = content.decode("cp1252", errors="replace")
        notes.append("not UTF-8: read as Windows-1252")
    for _ in range(_ROUNDS):
        decoded = _decoded_again(text)
        if decoded == text:
            break
        text = decoded
        notes.append("encoded twice: repaired")
    return text.replace("\r\n", "\n").replace("\r", "\n"), list(dict.fromkeys(notes))


def _decoded_again(text: str) -> str:
    """Undo one reading of UTF-8 as Windows-1252; return the text unchanged where there was none."""
    if text.isascii():
        return text
    try:
        return b"".join(_byte(letter) for letter in text).decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _byte(letter: str) -> bytes:
    """Return the byte of a letter in Windows-1252; its five undefined bytes map to themselves."""
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")
