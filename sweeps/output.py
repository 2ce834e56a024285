"""Standard output in any encoding: symbols that the encoding lacks are spelled in ASCII, such as ``+-`` for ``±``."""

import codecs
import io
import json
import os
import re
import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

SPELLED = "spelled"
"""Name of the error handler that spells symbols in ASCII."""

_SPELLINGS = {
    "↑": "(higher is better)", "↓": "(lower is better)", "→": "->", "←": "<-", "±": "+-", "−": "-", "–": "-", "—": "-",
    "×": "x", "·": "*", "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "∞": "inf", "∈": "in", "°": " deg", "µ": "u",
    "‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "…": "...", "•": "*", "²": "^2", "³": "^3", "√": "sqrt",
    "\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ", "\N{THIN SPACE}": " ",
}  # fmt: skip
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)")


def prepare_streams() -> None:
    """Make standard output and standard error accept every text, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED)


def discard_output() -> None:
    """Discard what could not be written to standard output, since Python would try again when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def spelled(text: str, encoding: str) -> str:
    """Replace what an encoding lacks: symbols and Greek letters by ASCII, anything else by its code in hexadecimal."""
    return text.encode(encoding, SPELLED).decode(encoding, "surrogateescape")


def terminal(width_in_files: int) -> Console:
    """Make a console on standard output; without styles and of a fixed width where it is not a terminal."""
    console = _SpellingConsole()
    return console if console.is_terminal else _SpellingConsole(width=width_in_files, no_color=True)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print(escaped_json(json.dumps(value, indent=2, ensure_ascii=False), sys.stdout.encoding))


def escaped_json(text: str, encoding: str | None) -> str:
    """Escape all letters of a JSON text outside ASCII, unless the encoding has every letter."""
    return text if _is_unicode(encoding) else re.sub(r"[^\x00-\x7f]+", lambda found: json.dumps(found[0])[1:-1], text)


def escaped_html(text: str, encoding: str | None) -> str:
    """Write all letters of an HTML page outside ASCII as references, unless the encoding has every letter."""
    return text if _is_unicode(encoding) else text.encode("ascii", "xmlcharrefreplace").decode()


class _SpellingConsole(Console):
    """Console that spells text before it measures it, so that columns stay aligned."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string that is spelled in the console's encoding."""
        return super().render_str(text if _is_unicode(self.encoding) else spelled(text, self.encoding), **options)


def _is_unicode(encoding: str | None) -> bool:
    return encoding is None or codecs.lookup(encoding).name.startswith("utf")


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handle a letter that the encoding lacks; bytes of a file name that are not text are written as they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter, after = error.object[error.start], error.start + 1
    if "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), after
    if spelling := _SPELLINGS.get(letter):
        return spelling, after
    if found := _GREEK.fullmatch(unicodedata.name(letter, "")):
        name = found[2].replace("LAMDA", "LAMBDA")
        return (name.lower() if found[1] == "SMALL" else name.capitalize()), after
    only_this = UnicodeEncodeError(error.encoding, error.object, error.start, after, error.reason)
    return codecs.backslashreplace_errors(only_this)


codecs.register_error(SPELLED, _spell)
