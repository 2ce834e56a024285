"""Text files: prompts, and the rows of captions files as CSV and as JSON lines."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter

from models.streams import Streams
from tests.inputs.cases import Case, Table
from trainables.data import Data
from trainables.data.annotations import read_captions
from trainables.data.layout import Layout

LIMIT = 131_072
"""Characters of one field, in Python's csv."""
SAVE = "-> save the file as UTF-8"


def read_prompts(folder: Path) -> Iterator[str]:
    """The prompts of ``prompts.txt``, each once."""
    data = TypeAdapter[Layout](Data).validate_python({"layout": "prompts", "prompts": str(folder / "prompts.txt")})
    first, *others = data.prompts(Streams(0), 10)
    yield first
    for prompt in others:
        if prompt == first:  # they are repeated
            return
        yield prompt


def prompts(given: str, content: str | bytes, *read: str, refused: str = "", note: str = "") -> Case:
    refusals = [f"prompts prompts.txt{refused}, one prompt per line"] if refused else []
    return Case(given, {"prompts.txt": content}, read, refusals, note)


PROMPTS = Table(
    "Files of prompts",
    "`data: {layout: prompts, prompts: prompts.txt}`. The rules for encodings and ends of lines hold for all text "
    "files of a dataset.",
    (
        prompts("UTF-8", "a café\na dog\n", "a café", "a dog"),
        prompts("UTF-8 with byte order mark, as Excel and Notepad save it", "\ufeffa cat\na dog\n", "a cat", "a dog"),
        prompts(
            "Byte order marks within the file, as after joining files", "\ufeffa cat\n\ufeffa dog", "a cat", "a dog"
        ),
        prompts(
            "UTF-16 with byte order mark, little endian", codecs.BOM_UTF16_LE + "a cat".encode("utf-16-le"), "a cat"
        ),
        prompts("UTF-16 with byte order mark, big endian", codecs.BOM_UTF16_BE + "a cat".encode("utf-16-be"), "a cat"),
        prompts(
            "UTF-16 without byte order mark",
            "a cat".encode("utf-16-le"),
            refused=":1: a zero byte, so not text in UTF-8 -> a text file in UTF-8",
        ),
        prompts(
            "UTF-16 that is cut off",
            codecs.BOM_UTF16_LE + "a cat\na".encode("utf-16-le")[:-1],
            refused=f":2: damaged UTF-16 {SAVE}",
        ),
        prompts(
            "UTF-32",
            codecs.BOM_UTF32_LE + "a cat".encode("utf-32-le"),
            refused=":1: a zero byte, so not text in UTF-8 -> a text file in UTF-8",
        ),
        prompts(
            "Latin-1 or Windows-1252",
            "a cat\na caf\xe9".encode("latin-1"),
            refused=f":2: the byte 0xe9 is not UTF-8 {SAVE}",
        ),
        prompts("A compressed file", b"\x1f\x8b\x08\x00", refused=f":1: the byte 0x8b is not UTF-8 {SAVE}"),
        prompts("Lines that end at LF", "a cat\na dog\n", "a cat", "a dog"),
        prompts("Lines that end at CR LF (Windows)", "a cat\r\na dog\r\n", "a cat", "a dog"),
        prompts(
            "Lines that end at CR alone (old Mac files)",
            "a cat\ra dog\r",
            refused=":1: lines end at CR alone -> save the file with LF or CR LF as line ends",
        ),
        prompts("A single CR within a line", "a cat\rsits\na dog\n", "a cat sits", "a dog", note="As a space"),
        prompts(
            "U+2028, U+2029, U+0085, form feed or vertical tab within a line",
            "a red ball\u2028rolls\na\x85b\u2029c\x0cd\x0be",
            r"a red ball\u2028rolls",
            r"a\x85b\u2029c\x0cd\x0be",
            note="As part of the line: one prompt",
        ),
        prompts("Empty lines, and spaces around a prompt", "\n a cat \n\n\ta dog\n \n", "a cat", "a dog"),
        prompts("Quotes and commas", 'a "fast" cat, asleep\n', 'a "fast" cat, asleep', note="As part of the prompt"),
        prompts("Letters of any script, emoji", "кошка\n打篮球\n🏀 bounces", "кошка", "打篮球", "🏀 bounces"),
        prompts("An empty file, or empty lines only", "\n\n", refused=": empty -> a text file"),
        Case(
            "No such file",
            {},
            refused=[
                "prompts prompts.txt: cannot be read (No such file or directory) -> a text file in UTF-8, "
                "one prompt per line"
            ],
        ),
        Case(
            "A folder",
            {"prompts.txt/a": ""},
            refused=[
                "prompts prompts.txt: cannot be read (Is a directory) -> a text file in UTF-8, one prompt per line"
            ],
        ),
    ),
    "trainables/data/test_inputs.py::test_files_of_prompts",
)


def read_rows(folder: Path) -> list[str]:
    """Texts of a captions file, in the order of its lines."""
    entries = [entry for side in ("train", "test") for entry in read_captions(folder, side, 0.5)]  # type: ignore[arg-type]
    return [entry.text for entry in sorted(entries, key=lambda entry: entry.path.name)]


def table(given: str, content: str | bytes, *read: str, refused: tuple[str, ...] = (), note: str = "") -> Case:
    return Case(given, {"captions.csv": content}, read, [f"captions.csv{message}" for message in refused], note)


def quotes(given: str, line: int, content: str) -> Case:
    remedy = 'close each quote, and write "" for a quote within quotes'
    return table(given, content, refused=(f":{line}: its quotes do not match (...) -> {remedy}",))


MANY = "-> put a text with commas in quotes"
FEW = "-> a field for each column, if need be an empty one"
COLUMNS = "no column path, text -> path, text, separated by commas"
CSV = Table(
    "CSV",
    "As in `captions.csv` of `layout: captions`; `texts.csv` and the lists of EPIC-Kitchens follow the same rules.",
    (
        table("Columns in any order", "text,path\na cat,a.mp4\n", "a cat"),
        table("A text with commas in quotes", 'path,text\na.mp4,"a cat, asleep"\n', "a cat, asleep"),
        table("A space between comma and quote", 'path, text\na.mp4, "a cat, asleep"\n', "a cat, asleep"),
        table("Everything in quotes, with byte order mark", '\ufeff"path","text"\n"a.mp4","a cat"', "a cat"),
        table('`""` within quotes', 'path,text\na.mp4,"a ""fast"" cat"\n', 'a "fast" cat', note="As one quote"),
        table("A quote within a text that does not begin with one", 'path,text\na.mp4,a 5" disc\n', 'a 5" disc'),
        table(
            "A line break within quotes",
            'path,text\na.mp4,"a red ball\nrolls left"\nb.mp4,x\n',
            r"a red ball\nrolls left",
            "x",
            note="As part of the text",
        ),
        table(
            "The same with CR LF",
            'path,text\r\na.mp4,"a red ball\r\nrolls left"\r\nb.mp4,x\r\n',
            r"a red ball\nrolls left",
            "x",
            note="As part of the text",
        ),
        table("Blank lines", "\npath,text\n\n  \na.mp4,a cat\n\n", "a cat", note="Passed over"),
        table("A further column without a name", "path,text,\na.mp4,a cat,\n", "a cat", note="Passed over"),
        table(
            "U+2028 and U+0085 in a text",
            "path,text\na.mp4,a\u2028cat\x85x\n",
            r"a\u2028cat\x85x",
            note="As part of the text",
        ),
        table("A single CR in a text", b"path,text\na.mp4,a\rcat\n", "a cat", note="As a space"),
        table("UTF-16 with byte order mark", "path,text\na.mp4,a cat\n".encode("utf-16"), "a cat"),
        table(
            "Latin-1 or Windows-1252",
            "path,text\na.mp4,café\n".encode("latin-1"),
            refused=(f":2: the byte 0xe9 is not UTF-8 {SAVE}",),
        ),
        table(
            "Commas without quotes, and a missing field",
            'path,text\n0.mp4,a ball, rolling, slowly\n1.mp4,"a ball, quoted"\n2.mp4,a ball, still\n3.mp4\n',
            refused=(
                f":2: 4 fields, the header has 2 {MANY}",
                f":4: 3 fields, the header has 2 {MANY}",
                f":5: 1 field, the header has 2 {FEW}",
            ),
        ),
        table("An empty field", "path,text\na.mp4,\n,rain\n", refused=(":2: no text", ":3: no path")),
        quotes("A quote that is not closed", 2, 'path,text\na.mp4,"a red ball\nb.mp4,a square\nc.mp4,x\n'),
        quotes("The same in the last row", 3, 'path,text\na.mp4,x\nb.mp4,"a square\n'),
        quotes("The same before other quotes", 2, 'path,text\na.mp4,"a red ball\nb.mp4,"a square"\nc.mp4,x\n'),
        quotes("Two such quotes", 2, 'path,text\na.mp4,"a red ball\nb.mp4,"a square\nc.mp4,x\n'),
        quotes("Text after a closing quote", 2, 'path,text\na.mp4,"a red" ball\n'),
        quotes("A quote in the header that is not closed", 1, 'path,"text\na.mp4,x\n'),
        quotes(
            "A quote that is not closed before more than 131,072 letters",
            3,
            'path,text\na.mp4,x\nb.mp4,"a square\n' + "c.mp4,a red ball\n" * (LIMIT // 10),
        ),
        table("Semicolons as separator", "path;text\na.mp4;x\n", refused=(f":1: {COLUMNS}",)),
        table("Tabs as separator", "path\ttext\na.mp4\tx\n", refused=(f":1: {COLUMNS}",)),
        table("A missing column", "path,caption\na.mp4,x\n", refused=(":1: no column text -> path, text",)),
        table(
            "Columns of another dataset, such as WebVid",
            "videoid,contentUrl,duration,name\n1,https://example.org/1.mp4,9,x\n",
            refused=(":1: no column path, text -> path, text",),
        ),
        table(
            "A column twice",
            "path,text,text\na.mp4,x,y\n",
            refused=(":1: column text appears twice -> a name for each column",),
        ),
        table("An empty file", "", refused=(":1: no column path, text -> path, text",)),
        table("A header without rows", "path,text\n", refused=(": empty -> at least one clip",)),
    ),
    "trainables/data/test_inputs.py::test_csv",
)


def lines(given: str, *content: str, read: tuple[str, ...] = (), refused: tuple[str, ...] = (), note: str = "") -> Case:
    return Case(given, {"captions.jsonl": "\n".join(content)}, read, [f"captions.jsonl:{at}" for at in refused], note)


MAP = "not a map with path and text"
JSON_LINES = Table(
    "JSON lines",
    "As in `captions.jsonl` of `layout: captions`: one map per line. `texts.jsonl` follows the same rules.",
    (
        lines(
            "A map per line",
            '{"path": "a.mp4", "text": "a cat"}',
            "",
            '{"path": "b", "text": "x"}',
            read=("a cat", "x"),
        ),
        lines("Escapes of letters", r'{"path": "a.mp4", "text": "\ud83c\udfc0"}', read=("🏀",)),
        lines("With byte order mark", '\ufeff{"path": "a.mp4", "text": "a cat"}', read=("a cat",)),
        lines(
            "U+2028 in a text",
            '{"path": "a.mp4", "text": "a\u2028cat"}',
            read=(r"a\u2028cat",),
            note="As part of the text",
        ),
        lines(
            "Further values that are not strings",
            '{"path": "a.mp4", "text": "x", "n": 3}',
            read=("x",),
            note="Passed over",
        ),
        lines(
            "A list in place of lines",
            "[",
            '{"path": "a.mp4", "text": "x"}',
            "]",
            refused=("1: not JSON (Expecting value)", "3: not JSON (Expecting value)"),
        ),
        lines("A missing key", '{"path": "a.mp4"}', refused=(f"1: {MAP}",)),
        lines("An empty text", '{"path": "a.mp4", "text": " "}', refused=(f"1: {MAP}",)),
        lines("A text that is a number or a list", '{"path": "a.mp4", "text": ["a", "b"]}', refused=(f"1: {MAP}",)),
        lines(
            "Half of a surrogate pair",
            r'{"path": "a.mp4", "text": "\ud83d"}',
            refused=("1: a lone surrogate (half of a character) -> whole characters",),
        ),
        lines(
            "A number of 5,000 digits",
            '{"path": "a.mp4", "text": "x", "n": ' + "9" * 5000 + "}",
            refused=("1: not JSON (Exceeds the limit ...)",),
        ),
        lines("Lists nested without end", "[" * 100_000, refused=("1: not JSON (...)",)),
    ),
    "trainables/data/test_inputs.py::test_json_lines",
)
