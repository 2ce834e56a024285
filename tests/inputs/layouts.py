"""Data layouts: folders and lists of annotations, as users have them. Clips are not opened here."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.inputs.cases import Case, Files, Table
from trainables.data.annotations import READERS, VIDEOS, Entry, Split
from trainables.data.further import with_further_texts

SIDES: tuple[Split, ...] = ("train", "test")


def read_layout(layout: str, folder: Path) -> list[str]:
    """Clips and texts of both sides of the split, as ``file (stretch): text [further texts]``."""
    return sorted(in_words(entry, folder) for side in SIDES for entry in READERS[layout](folder, side, 0.5))


def read_with_texts(layout: str, folder: Path) -> list[str]:
    """The same with the further texts beside the annotations."""
    entries = [entry for side in SIDES for entry in READERS[layout](folder, side, 0.5)]
    return sorted(in_words(entry, folder) for entry in with_further_texts(entries, folder, list))


def in_words(entry: Entry, folder: Path) -> str:
    stretch = further = ""
    if entry.seconds is not None:
        stretch = f" ({entry.seconds[0]:g} s to {entry.seconds[1]:g} s)"
    elif entry.stop is not None:
        stretch = f" (frames {entry.start} to {entry.stop - 1})"
    if entry.further:
        further = f" [{', '.join(f'{name}: {text}' for name, text in entry.further.items())}]"
    return f"{entry.path.relative_to(folder).as_posix()}{stretch}: {entry.text}{further}"


# ----------------------------------------------------------------------------------------------------------------- ssv2

FOLDER = "20bn-something-something-v2"
CUP = {"id": "7", "label": "pushing a cup left", "template": "Pushing [something] left", "placeholders": ["a cup"]}


def ssv2(
    given: str,
    train: object,
    *read: str,
    files: Iterable[str] = (f"{FOLDER}/7.webm",),
    refused: Sequence[str] = (),
    note: str = "",
    **more: str,
) -> Case:
    written = train if isinstance(train, str) else json.dumps(train)
    return Case(given, {"labels/train.json": written, **dict.fromkeys(files, ""), **more}, read, refused, note)


SSV2 = Table(
    "Something-Something V2 (`ssv2`)",
    "`labels/train.json` and `labels/validation.json`, lists of maps with `id` and `label`. Without a validation list, "
    "recordings are split by `held_out`.",
    (
        ssv2("Labels, and clips in `20bn-something-something-v2`", [CUP], f"{FOLDER}/7.webm: pushing a cup left"),
        ssv2("The same in `videos`", [CUP], "videos/7.webm: pushing a cup left", files=("videos/7.webm",)),
        ssv2(
            "Clips converted to MP4, AVI, ...", [CUP], f"{FOLDER}/7.mp4: pushing a cup left", files=(f"{FOLDER}/7.mp4",)
        ),
        ssv2(
            "Clips as folders of pictures, in `frames` or beside the labels",
            [CUP, CUP | {"id": "8"}],
            "8: pushing a cup left",
            "frames/7: pushing a cup left",
            files=("frames/7/000001.jpg", "8/000001.jpg"),
        ),
        Case(
            "Lists with their older names, beside the clips",
            {
                "something-something-v2-train.json": json.dumps([CUP]),
                "something-something-v2-validation.json": json.dumps([CUP | {"id": "8"}]),
                "7.webm": "",
            },
            ["7.webm: pushing a cup left", "8.webm: pushing a cup left"],
        ),
        ssv2("An id that is a number", [CUP | {"id": 7}], f"{FOLDER}/7.webm: pushing a cup left"),
        ssv2(
            "No label, but a template with placeholders",
            [{key: value for key, value in CUP.items() if key != "label"}],
            f"{FOLDER}/7.webm: Pushing a cup left",
        ),
        ssv2(
            "An id that is listed twice",
            [CUP, CUP | {"label": "moving a cup"}],
            f"{FOLDER}/7.webm: moving a cup",
            f"{FOLDER}/7.webm: pushing a cup left",
            note="Read: an entry for each label, on the same side of the split",
        ),
        ssv2("A list with byte order mark", "\ufeff" + json.dumps([CUP]), f"{FOLDER}/7.webm: pushing a cup left"),
        ssv2(
            "Hidden files beside the clips",
            [CUP],
            "videos/7.webm: pushing a cup left",
            files=(f"{FOLDER}/._7.webm", "videos/7.webm"),
            note="Passed over",
        ),
        ssv2(
            "Entries without id or text, or that are no maps",
            [{"label": "x"}, {"id": "1"}, 3],
            refused=[
                "labels/train.json: entry 1 has no id -> id and label",
                "labels/train.json: entry 2 has no text -> id and label",
                "labels/train.json: entry 3 has no id -> id and label",
            ],
        ),
        ssv2(
            "Half of a surrogate pair in a label",
            [CUP | {"label": "\ud83d"}],
            refused=["labels/train.json: entry 1: a lone surrogate (half of a character) -> whole characters"],
        ),
        ssv2(
            "A list that is not JSON",
            '[{"id": "1",\n}]',
            refused=["labels/train.json:2: not JSON (...) -> a list of labels"],
        ),
        ssv2(
            "A map in place of the list",
            {"7": "pushing a cup left"},
            refused=["labels/train.json: not a list -> a list of labels, each with id and label"],
        ),
        ssv2("An empty list", [], refused=["labels/train.json: empty -> at least one clip"]),
        Case("No list", {}, refused=["labels: no train.json -> the labels of Something-Something V2"]),
    ),
    "trainables/data/test_inputs.py::test_ssv2",
)

# --------------------------------------------------------------------------------------------------------------- bridge


def bridge(given: str, files: Files, *read: str, refused: Sequence[str] = (), note: str = "") -> Case:
    return Case(given, files, read, refused, note)


EMPTY = "traj0/lang.txt:1: empty -> add the instruction of this trajectory, or delete the file"
BRIDGE = Table(
    "BridgeData (`bridge`)",
    "A folder per trajectory, at any depth, with `lang.txt` and its frames. Split by `held_out`.",
    (
        bridge(
            "Frames in `images0`",
            {"kitchen/traj0/lang.txt": "open the drawer\nconfidence: 1.0\n", "kitchen/traj0/images0/im_0.jpg": ""},
            "kitchen/traj0/images0: open the drawer",
        ),
        bridge("Frames beside `lang.txt`", {"traj0/lang.txt": "\n open the drawer"}, "traj0: open the drawer"),
        bridge(
            "Several instructions",
            {"traj0/lang.txt": "open the drawer\nconfidence: 1.0\npull the handle\nconfidence: 0.5\n"},
            "traj0: open the drawer",
            "traj0: pull the handle",
            note="Read: an entry for each, on the same side of the split",
        ),
        bridge(
            "Byte order mark, CR LF, U+2028",
            {"traj0/lang.txt": "\ufeffopen the drawer\u2028slowly\r\nconfidence: 1.0\r\n"},
            r"traj0: open the drawer\u2028slowly",
        ),
        bridge(
            "A trajectory without `lang.txt`, hidden files and folders",
            {
                "traj0/lang.txt": "open the drawer",
                "traj1/im_0.jpg": "",
                "traj0/._lang.txt": "",
                ".cache/t/lang.txt": "",
            },
            "traj0: open the drawer",
            note="Passed over",
        ),
        bridge("An empty `lang.txt`", {"traj0/lang.txt": "\n"}, refused=[EMPTY]),
        bridge("A confidence without instruction", {"traj0/lang.txt": "confidence: 0.5\n"}, refused=[EMPTY]),
        bridge(
            "`lang.txt` in another encoding",
            {"traj0/lang.txt": b"caf\xe9"},
            refused=["traj0/lang.txt:1: the byte 0xe9 is not UTF-8 -> save the file as UTF-8"],
        ),
        bridge(
            "No `lang.txt`, as in the published TFRecords",
            {"bridge-train.tfrecord-00000-of-00512": ""},
            refused=["DATA: no lang.txt in its subfolders -> BridgeData's folders, or another layout"],
        ),
    ),
    "trainables/data/test_inputs.py::test_bridge",
)

# ----------------------------------------------------------------------------------------------------------------- epic

HEAD = "narration_id,participant_id,video_id,start_frame,stop_frame,narration,verb,noun\n"
TIMED = HEAD.replace("start_frame", "start_timestamp,stop_timestamp,start_frame")
VIDEO = "P01/videos/P01_01.MP4"


def epic(
    given: str, rows: str, *read: str, head: str = HEAD, refused: Sequence[str] = (), note: str = "", **more: str
) -> Case:
    files: Files = {"EPIC_100_train.csv": head + rows, **(more or {VIDEO: ""})}
    return Case(given, files, read, [f"EPIC_100_train.csv{message}" for message in refused], note)


STAMPS = ("1.5", "00:01", "00:61:00.00", "00:00:60", "x", "-00:00:01.00", "00:00:01,50")
EPIC = Table(
    "EPIC-Kitchens-100 (`epic`)",
    "`EPIC_100_train.csv` and `EPIC_100_validation.csv`, as CSV above. Without a validation list, recordings are "
    "split by `held_out`.",
    (
        epic(
            "Time stamps, and a video",
            "a,P01,P01_01,00:00:00.14,00:00:03.37,8,202,open door,open,door\n",
            f"{VIDEO} (0.14 s to 3.37 s): open door",
            head=TIMED,
        ),
        epic(
            "Time stamps without fractions",
            "a,P01,P01_01,01:02:03,01:02:59.999,223403,226799,open door,open,door\n",
            f"{VIDEO} (3723 s to 3780 s): open door",
            head=TIMED,
        ),
        epic(
            "No time stamps",
            "a,P01,P01_01,9,202,open door,open,door\n",
            f"{VIDEO} (frames 8 to 201): open door",
            note="Read by frame numbers: in the list from 1, the last included",
        ),
        epic(
            "A row whose time stamps are empty",
            "a,P01,P01_01,,,9,202,open door,open,door\n",
            f"{VIDEO} (frames 8 to 201): open door",
            head=TIMED,
            note="Read by frame numbers",
        ),
        *(
            epic(
                f"Videos as `{place}`",
                "a,P01,P01_01,9,202,open door,open,door\n",
                f"{place} (frames 8 to 201): open door",
                **{place: ""},
            )
            for place in ("P01/P01_01.mp4", "videos/P01_01.MP4", "P01_01.MP4")
        ),
        epic(
            "Pictures in `P01/rgb_frames/P01_01`",
            "a,P01,P01_01,9,202,open door,open,door\n",
            "P01/rgb_frames/P01_01 (frames 8 to 201): open door",
            **{"P01/rgb_frames/P01_01/frame_0000000001.jpg": ""},
        ),
        epic(
            "Two narrations of one segment",
            "a,P01,P01_01,1,24,put carrot into pan,put-into,carrot\na,P01,P01_01,1,24,put down carrot,put,carrot\n",
            f"{VIDEO} (frames 0 to 23): put carrot into pan",
            f"{VIDEO} (frames 0 to 23): put down carrot",
            note="Read: an entry for each, on the same side of the split",
        ),
        epic(
            "A list with byte order mark",
            "a,P01,P01_01,1,24,cut,c,d\n",
            f"{VIDEO} (frames 0 to 23): cut",
            head=f"\ufeff{HEAD}",
        ),
        epic(
            "Time stamps of another form",
            "".join(f'a,P01,P01_01,"{stamp}",00:00:09.00,1,2,open,o,d\n' for stamp in STAMPS),
            head=TIMED,
            refused=[
                f":{line}: time stamps {stamp} and 00:00:09.00 -> as in 00:01:02.50"
                for line, stamp in enumerate(STAMPS, start=2)
            ],
        ),
        epic(
            "Time stamps in the wrong order",
            "a,P01,P01_01,00:00:02.00,00:00:01.00,1,2,open,o,d\n",
            head=TIMED,
            refused=[":2: time stamps 00:00:02.00 to 00:00:01.00 -> start_timestamp <= stop_timestamp"],
        ),
        epic(
            "Frame numbers that are no whole numbers, in the wrong order, or from 0",
            "a,P01,P01_01,9.0,20.0,open,o,d\nb,P01,P01_01,9,2,open,o,d\nc,P01,P01_01,0,2,open,o,d\n",
            refused=[
                ":2: start_frame and stop_frame -> whole numbers",
                ":3: frames 9 to 2 -> 1 <= start_frame <= stop_frame",
                ":4: frames 0 to 2 -> 1 <= start_frame <= stop_frame",
            ],
        ),
        epic(
            "The lists of EPIC-Kitchens-55, without `narration`",
            "1,P01,P01_01,9,20\n",
            head="uid,participant_id,video_id,start_frame,stop_frame\n",
            refused=[":1: no column narration -> video_id, start_frame, stop_frame, narration"],
        ),
        Case(
            "Lists as `.pkl` only",
            {"EPIC_100_train.pkl": ""},
            refused=["EPIC_100_train.csv: cannot be read (No such file or directory) -> a text file in UTF-8"],
        ),
    ),
    "trainables/data/test_inputs.py::test_epic",
)

# --------------------------------------------------------------------------------------------------------------- ucf101

WORDS = {
    "ApplyEyeMakeup": "apply eye makeup",
    "YoYo2": "yo yo 2",
    "VRGame": "vr game",
    "ÜbungAmBarren": "übung am barren",
    "U\u0308bung": "übung",
    "ÜBUNG": "übung",
    "SautÀLaPerche": "saut à la perche",
    "éclair_Straße3": "éclair straße 3",
    "ПрыжокВВысоту": "прыжок в высоту",
    "打篮球": "打篮球",
    "नृत्य": "नृत्य",
    "--": "--",
}
NO_CLASSES = "DATA: no class folders with clips -> UCF-101's folders, or another layout"


def ucf(given: str, *files: str, read: Sequence[str] = (), refused: Sequence[str] = (), note: str = "") -> Case:
    return Case(given, dict.fromkeys(files, ""), read, refused, note)


UCF101 = Table(
    "UCF-101 (`ucf101`)",
    "A folder per class; its name in words is the text. Split by `held_out`, each group (`_g01_`) on one side.",
    (
        ucf(
            "Class folders in `UCF-101`, beside the published lists",
            "UCF-101/YoYo/v_YoYo_g01_c01.avi",
            "ucfTrainTestlist/trainlist01.txt",
            read=["UCF-101/YoYo/v_YoYo_g01_c01.avi: yo yo"],
        ),
        ucf(
            "Class folders in the folder itself",
            "YoYo/v_YoYo_g01_c01.avi",
            "TaiChi/a.mp4",
            read=["TaiChi/a.mp4: tai chi", "YoYo/v_YoYo_g01_c01.avi: yo yo"],
        ),
        ucf(
            "Videos in other containers",
            *(f"YoYo/a{ending}" for ending in VIDEOS),
            "YoYo/a.AVI",
            read=sorted(f"YoYo/a{ending}: yo yo" for ending in (*VIDEOS, ".AVI")),
        ),
        ucf(
            "Class names in any script",
            *(f"{name}/a.avi" for name in WORDS),
            read=sorted(f"{name}/a.avi: {words}" for name, words in WORDS.items()),
        ),
        ucf(
            "Other files, hidden files and folders",
            "YoYo/a.avi",
            "YoYo/a.txt",
            "YoYo/._a.avi",
            ".Trash/b.avi",
            "YoYo/.DS_Store",
            read=["YoYo/a.avi: yo yo"],
            note="Passed over",
        ),
        ucf(
            "A name that is not UTF-8",
            os.fsdecode(b"\xdcbung/a.avi"),
            refused=[r"DATA: b'\xdcbung/a.avi': a name that is not UTF-8 -> rename it"],
        ),
        ucf("Clips without class folders", "a.avi", refused=[NO_CLASSES]),
        ucf("Class folders one level deeper, as in `train`, `val`, `test`", "train/YoYo/a.avi", refused=[NO_CLASSES]),
        ucf("Clips as folders of pictures", "YoYo/a/000001.jpg", refused=[NO_CLASSES]),
        ucf("An empty folder", refused=[NO_CLASSES]),
    ),
    "trainables/data/test_inputs.py::test_ucf101",
)
