"""Captions files, and further texts of clips in a file beside the annotations of a dataset."""

from collections.abc import Sequence

from tests.inputs.cases import Case, Files, Table


def captions(given: str, files: Files, *read: str, refused: Sequence[str] = (), note: str = "") -> Case:
    return Case(given, files, read, refused, note)


CAPTIONS = Table(
    "Captions (`captions`)",
    "Any clips, with `captions.csv` or `captions.jsonl`, as CSV and JSON lines above. Split by `held_out`.",
    (
        captions("`captions.csv`", {"captions.csv": "path,text\nsub/a.mp4,a cat\n"}, "sub/a.mp4: a cat"),
        captions("`captions.jsonl`", {"captions.jsonl": '{"path": "a.mp4", "text": "a cat"}'}, "a.mp4: a cat"),
        captions(
            "A video, or a folder of pictures",
            {"captions.csv": "path,text\na.mp4,a cat\nb,a dog\n"},
            "a.mp4: a cat",
            "b: a dog",
        ),
        captions(
            "A clip in several lines, also with its path written in another way",
            {"captions.csv": "path,text\na.mp4,a cat\n./a.mp4,an animal\n"},
            "a.mp4: a cat",
            "a.mp4: an animal",
            note="Read: an entry for each caption, on the same side of the split",
        ),
        captions(
            "Further columns",
            {"captions.csv": "path,text,category,state\na.mp4,a cat,animal,asleep\nb.mp4,a dog,,\n"},
            "a.mp4: a cat [state: asleep]",
            "b.mp4: a dog [state: ]",
            note="`category` is the class. Others are further texts, empty where a line has none",
        ),
        captions(
            "Further keys of JSON lines",
            {"captions.jsonl": '{"path": "a", "text": "x", "state": null}\n{"path": "b", "text": "y", "state": "up"}'},
            "a: x [state: ]",
            "b: y [state: up]",
        ),
        captions(
            "Both files",
            {"captions.csv": "path,text\na.mp4,a cat\n", "captions.jsonl": '{"path": "a.mp4", "text": "a cat"}'},
            refused=["DATA: has captions.csv and captions.jsonl -> keep one of them"],
        ),
        captions(
            "No such file, or under another name",
            {"captions.json": "[]", "metadata.csv": ""},
            refused=["DATA: no captions.csv or captions.jsonl -> add one with path,text[,category]"],
        ),
    ),
    "trainables/data/test_inputs.py::test_captions",
)


CLIPS = ("Archery/11.avi", "Archery/12.avi")
NO_CLIP = "texts.csv:1: no column clip -> clip"
ALONE = "texts.csv:1: no column besides clip -> a column for each further text"
FILL = "-> a text in every line, or remove the column"


def further(given: str, content: str, *refused: str, clips: Sequence[str] = CLIPS) -> Case:
    messages = [f"texts.csv{message}" if message[0] == ":" else message for message in refused]
    return Case(given, {"texts.csv": content, **dict.fromkeys(clips, "")}, refused=messages)


def read(given: str, name: str, content: str, first: str, second: str, note: str = "") -> Case:
    lines = [f"Archery/11.avi: archery{first}", f"Archery/12.avi: archery{second}"]
    return Case(given, {name: content, **dict.fromkeys(CLIPS, "")}, lines, note=note)


FURTHER = Table(
    "Further texts (`texts.csv`, `texts.jsonl`)",
    "Beside the annotations of `ssv2`, `bridge`, `epic` and `ucf101`, which the rows below use. See also "
    "[Further texts of a clip](bases_and_metrics.md#further-texts-of-a-clip).",
    (
        read("`texts.csv`", "texts.csv", "clip,state\n12,down\n11,up\n", " [state: up]", " [state: down]"),
        read(
            "`texts.jsonl`",
            "texts.jsonl",
            '{"clip": "11", "state": "up", "frames": 8}\n{"clip": "12", "state": "down"}',
            " [state: up]",
            " [state: down]",
            "Strings are read, numbers are passed over",
        ),
        read("Neither", "README.md", "", "", "", "No further texts"),
        Case(
            "Both files",
            {"texts.csv": "clip,state\n11,up\n", "texts.jsonl": "", **dict.fromkeys(CLIPS, "")},
            refused=["DATA: has texts.csv and texts.jsonl -> keep one of them"],
        ),
        further("An empty file", "", NO_CLIP),
        further("Another name of the column", "id,state\n11,up\n", NO_CLIP),
        further("No further column", "clip\n11\n12\n", ALONE),
        further("A further column without a name", ",clip\n0,11\n1,12\n", ALONE),
        further(
            "A clip without a line",
            "clip,state\n11,up\n",
            "texts.csv: no line for 12 -> a line for each annotated clip",
        ),
        further(
            "A clip in two lines",
            "clip,state\n11,up\n11,up\n12,down\n",
            ":3: clip 11 is already in line 2 -> list it once",
        ),
        further(
            "Two files of one name",
            "clip,state\n11,up\n12,down\n",
            ":2: clip 11 may be Archery/11.avi and Bowling/11.avi -> rename one of them",
            clips=(*CLIPS, "Bowling/11.avi"),
        ),
        further(
            "A clip that is not annotated",
            "clip,state\n11,up\n12,up\n14,up\n",
            ":4: clip 14 is not in the annotations -> an annotated clip",
        ),
        further(
            "Gaps",
            "clip,state,goal\n11,,\n12, ,x\n13,a\n",
            ":4: 2 fields, the header has 3 -> a field for each column, if need be an empty one",
            f":2: no state, goal {FILL}",
            f":3: no state {FILL}",
        ),
        further(
            "Several of these",
            "clip,state\n14,up\n,up\n11,\n11,up\n",
            ":3: no clip",
            f":4: no state {FILL}",
            ":2: clip 14 is not in the annotations -> an annotated clip",
            ":5: clip 11 is already in line 4 -> list it once",
            "texts.csv: no line for 12 -> a line for each annotated clip",
        ),
        Case(
            "Another encoding",
            {"texts.csv": b"clip,state\n11,\xff\n", **dict.fromkeys(CLIPS, "")},
            refused=["texts.csv:2: the byte 0xff is not UTF-8 -> save the file as UTF-8"],
        ),
    ),
    "trainables/data/test_inputs.py::test_further_texts",
)
