"""Readers of published layouts; all problems are reported together, with file and line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trainables.data.annotations import (
    AnnotationError,
    Entry,
    of_split,
    read_bridge,
    read_captions,
    read_epic,
    read_ssv2,
    read_ucf101,
)

LABELS = [
    {
        "id": "78687",
        "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]",
        "placeholders": ["potato", "vicks vaporub bottle"],
    },
    {"id": "42326", "template": "Pushing [something] left", "placeholders": ["a cup"]},
]
EPIC_HEAD = "narration_id,participant_id,video_id,start_frame,stop_frame,narration,verb,noun\n"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def ssv2(root: Path, train: Any, validation: Any = None) -> Path:
    put(root / "labels" / "train.json", json.dumps(train))
    if validation is not None:
        put(root / "labels" / "validation.json", json.dumps(validation))
    return root


def problems(reader: Any, root: Path) -> str:
    with pytest.raises(AnnotationError) as error:
        reader(root, "train", 0.1)
    return str(error.value)


def test_something_something(tmp_path: Path) -> None:
    put(tmp_path / "20bn-something-something-v2" / "1.webm", "")
    root = ssv2(tmp_path, LABELS, [{"id": "7", "label": "closing a box", "template": "Closing [something]"}])
    clips = tmp_path / "20bn-something-something-v2"
    assert read_ssv2(root, "train", 0.1) == [
        Entry(clips / "78687.webm", LABELS[0]["label"], LABELS[0]["template"], group="78687", key="78687"),
        Entry(clips / "42326.webm", "Pushing a cup left", "Pushing [something] left", group="42326", key="42326"),
    ]
    assert [entry.text for entry in read_ssv2(root, "test", 0.1)] == ["closing a box"]


def test_something_something_without_a_validation_list_is_split_by_hash(tmp_path: Path) -> None:
    root = ssv2(tmp_path, [{"id": str(number), "label": f"text {number}"} for number in range(200)])
    train, test = (read_ssv2(root, split, 0.25) for split in ("train", "test"))
    assert len(train) + len(test) == 200
    assert 30 <= len(test) <= 70
    assert not {entry.path for entry in train} & {entry.path for entry in test}


def test_something_something_under_its_older_names(tmp_path: Path) -> None:
    put(tmp_path / "something-something-v2-train.json", json.dumps(LABELS))
    put(tmp_path / "something-something-v2-validation.json", json.dumps(LABELS[:1]))
    assert len(read_ssv2(tmp_path, "train", 0.1)) == 2
    assert len(read_ssv2(tmp_path, "test", 0.1)) == 1


def test_bridge(tmp_path: Path) -> None:
    with_images = tmp_path / "bridge" / "kitchen" / "traj0"
    (with_images / "images0").mkdir(parents=True)
    put(with_images / "lang.txt", "put the pot on the stove\nconfidence: 1.0\n")
    put(tmp_path / "bridge" / "kitchen" / "traj1" / "lang.txt", "\n open the drawer")
    assert [(entry.path, entry.text) for entry in both_sides(read_bridge, tmp_path)] == [
        (with_images / "images0", "put the pot on the stove"),
        (tmp_path / "bridge" / "kitchen" / "traj1", "open the drawer"),
    ]


def both_sides(reader: Any, root: Path) -> list[Entry]:
    found = [entry for split in ("train", "test") for entry in reader(root, split, 0.5)]
    return sorted(found, key=lambda entry: str(entry.path))


def test_epic_kitchens(tmp_path: Path) -> None:
    rows = "P01_01_0,P01,P01_01,9,202,open door,open,door\nP01_01_1,P01,P01_01,203,300,turn on light,turn-on,light\n"
    put(tmp_path / "EPIC_100_train.csv", EPIC_HEAD + rows)
    put(tmp_path / "EPIC_100_validation.csv", EPIC_HEAD + "P02_01_0,P02,P02_01,1,60,take cup,take,cup\n")
    video = put(tmp_path / "P01" / "videos" / "P01_01.MP4", "")
    assert read_epic(tmp_path, "train", 0.1) == [
        Entry(video, "open door", "open", 8, 202, group="P01_01", key="P01_01:9"),
        Entry(video, "turn on light", "turn-on", 202, 300, group="P01_01", key="P01_01:203"),
    ]
    (validation,) = read_epic(tmp_path, "test", 0.1)
    assert (validation.start, validation.stop, validation.text) == (0, 60, "take cup")


TIMED = EPIC_HEAD.replace("start_frame", "start_timestamp,stop_timestamp,start_frame")


def test_epic_kitchens_by_time_stamps(tmp_path: Path) -> None:
    rows = (
        "P01_01_0,P01,P01_01,00:00:00.14,00:00:03.37,8,202,open door,open,door\n"
        "P01_01_1,P01,P01_01,01:02:03,01:02:59.999,223403,226799,turn on light,turn-on,light\n"
        "P01_01_2,P01,P01_01,,,300,400,close door,close,door\n"
    )
    put(tmp_path / "EPIC_100_train.csv", TIMED + rows)
    entries = sorted(both_sides(read_epic, tmp_path), key=lambda entry: entry.start)
    assert [(entry.start, entry.stop, entry.seconds, entry.key) for entry in entries] == [
        (7, 202, (0.14, 3.37), "P01_01:8"),
        (299, 400, None, "P01_01:300"),
        (223402, 226799, (3723.0, 3779.999), "P01_01:223403"),
    ]


@pytest.mark.parametrize("stamp", ["1.5", "00:01", "00:61:00.00", "00:00:60", "x", "-00:00:01.00", "00:00:01,50"])
def test_bad_time_stamps(stamp: str, tmp_path: Path) -> None:
    row = f'a,P01,P01_01,"{stamp}",00:00:09.00,1,2,open,o,d\n'
    put(tmp_path / "EPIC_100_train.csv", TIMED + row)
    (line,) = problems(read_epic, tmp_path).splitlines()
    assert line.endswith(f"EPIC_100_train.csv:2: time stamps {stamp} and 00:00:09.00 -> as in 00:01:02.50")


def test_time_stamps_in_the_wrong_order(tmp_path: Path) -> None:
    put(tmp_path / "EPIC_100_train.csv", f"{TIMED}a,P01,P01_01,00:00:02.00,00:00:01.00,1,2,open,o,d\n")
    assert "time stamps 00:00:02.00 to 00:00:01.00 -> start_timestamp <= stop_timestamp" in problems(
        read_epic, tmp_path
    )


def test_epic_kitchens_as_pictures(tmp_path: Path) -> None:
    put(tmp_path / "EPIC_100_train.csv", EPIC_HEAD + "P01_01_0,P01,P01_01,9,202,open door,open,door\n")
    pictures = tmp_path / "P01" / "rgb_frames" / "P01_01"
    pictures.mkdir(parents=True)
    assert [entry.path for entry in both_sides(read_epic, tmp_path)] == [pictures]


def test_ucf101_keeps_a_group_on_one_side(tmp_path: Path) -> None:
    for group in range(1, 26):
        for clip in range(1, 5):
            put(tmp_path / "UCF-101" / "ApplyEyeMakeup" / f"v_ApplyEyeMakeup_g{group:02}_c{clip:02}.avi", "")
    train, test = (read_ucf101(tmp_path, split, 0.3) for split in ("train", "test"))
    assert len(train) + len(test) == 100
    assert len(test) > 0
    assert not {entry.group for entry in train} & {entry.group for entry in test}
    assert {(entry.text, entry.category) for entry in train} == {("apply eye makeup", "ApplyEyeMakeup")}


def test_captions_in_both_forms(tmp_path: Path) -> None:
    listing = put(
        tmp_path / "csv" / "captions.csv", 'path,text,category\na.mp4,"a cat, asleep",animal\nsub/b.mkv,rain,\n'
    )
    lines = [{"path": "a.mp4", "text": "a cat, asleep", "category": "animal"}, {"path": "sub/b.mkv", "text": "rain"}]
    put(tmp_path / "json" / "captions.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    for root in (listing.parent, listing, tmp_path / "json"):
        folder = tmp_path / root.relative_to(tmp_path).parts[0]
        assert both_sides(read_captions, root) == [
            Entry(folder / "a.mp4", "a cat, asleep", "animal", group="a.mp4"),
            Entry(folder / "sub" / "b.mkv", "rain", "", group="sub/b.mkv"),
        ]


def test_a_split_depends_on_nothing_but_the_group() -> None:
    entries = [Entry(Path(f"{number}.mp4"), "", group=f"{number}") for number in range(1000)]
    test = of_split(entries, "test", 0.1)
    assert 70 <= len(test) <= 130
    assert of_split(entries[:500], "test", 0.1) == [entry for entry in test if entry in entries[:500]]
    assert of_split(entries, "test", 0.05) == [entry for entry in test if entry in of_split(entries, "test", 0.05)]
    assert len(of_split(entries, "train", 0.1)) + len(test) == 1000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "captions.csv:1: no column path, text"),
        ("path,caption\na.mp4,x\n", "captions.csv:1: no column text -> path, text"),
        ("path,text\n", "captions.csv: empty"),
        ("path,text\na.mp4,\n,rain\n", "captions.csv:3: no path"),
        ("path,text\na.mp4,a ball, rolling\n", "captions.csv:2: 3 fields, the header has 2"),
    ],
)
def test_bad_captions(tmp_path: Path, text: str, reason: str) -> None:
    put(tmp_path / "captions.csv", text)
    assert reason in problems(read_captions, tmp_path)


def test_every_bad_line_is_named_and_the_list_is_bounded(tmp_path: Path) -> None:
    put(tmp_path / "captions.jsonl", "\n".join(["{", '{"path": "a.mp4"}', "[]", '{"path": "b.mp4", "text": "x"}']))
    lines = problems(read_captions, tmp_path).splitlines()
    assert [line.split(":")[-2] for line in lines] == ["1", "2", "3"]
    put(tmp_path / "captions.jsonl", "{\n" * 50)
    assert problems(read_captions, tmp_path).splitlines()[-1] == "... and 30 more"


def test_a_list_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_bytes("path,text\na.mp4,café\n".encode("latin-1"))
    assert "captions.csv:2: the byte 0xe9 is not UTF-8" in problems(read_captions, tmp_path)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    put(tmp_path / "captions/captions.csv", "\ufeffpath,text\na.mp4,rain\n")
    put(tmp_path / "bridge/traj0/lang.txt", "\ufeffopen the drawer\u2028slowly\r\nconfidence: 1.0\r\n")
    put(tmp_path / "ssv2/labels/train.json", "\ufeff" + json.dumps(LABELS[:1]))
    row = "P01_01_0,P01,P01_01,9,202,open door,open,door\n"
    put(tmp_path / "epic/EPIC_100_train.csv", f"\ufeff{EPIC_HEAD}{row}")
    texts = [
        entry.text
        for reader, name in (
            (read_captions, "captions"),
            (read_bridge, "bridge"),
            (read_ssv2, "ssv2"),
            (read_epic, "epic"),
        )
        for entry in both_sides(reader, tmp_path / name)
    ]
    assert texts == ["rain", "open the drawer\u2028slowly", LABELS[0]["label"], "open door"]


def test_two_captions_of_a_clip_are_two_entries_on_one_side(tmp_path: Path) -> None:
    lines = [
        f"{place}{clip}.mp4,{text} {clip}" for clip in range(40) for place, text in (("", "rain"), ("./", "water"))
    ]
    put(tmp_path / "captions.csv", "\n".join(["path,text", *lines]))
    sides = [read_captions(tmp_path, split, 0.5) for split in ("train", "test")]
    assert sorted(entry.text for side in sides for entry in side) == sorted(line.split(",")[1] for line in lines)
    clips = [{entry.clip for entry in side} for side in sides]
    assert len(clips[0]) + len(clips[1]) == 40
    assert not clips[0] & clips[1]


def test_two_narrations_of_a_segment_are_two_entries(tmp_path: Path) -> None:
    rows = [
        "P01_101_0,P01,P01_101,1,24,put carrot into pan,put-into,carrot",
        "P01_101_1,P01,P01_101,1,24,put down carrot,put-down,carrot",
        "P01_102_0,P01,P01_102,1,48,wash cup,wash,cup",
    ]
    put(tmp_path / "EPIC_100_train.csv", EPIC_HEAD + "\n".join(rows))
    put(tmp_path / "EPIC_100_validation.csv", EPIC_HEAD + rows[0])
    found = read_epic(tmp_path, "train", 0.1)
    assert [entry.text for entry in found] == ["put carrot into pan", "put down carrot", "wash cup"]
    assert len({entry.clip for entry in found}) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("TaiChi", "tai chi"),
        ("YoYo2", "yo yo 2"),
        ("VRGame", "vr game"),
        ("Übung", "übung"),
        ("U\u0308bungAmBarren", "übung am barren"),
        ("ÜBUNG", "übung"),
        ("SautÀLaPerche", "saut à la perche"),
        ("éclair_Straße3", "éclair straße 3"),
        ("ПрыжокВВысоту", "прыжок в высоту"),
        ("打篮球", "打篮球"),
        ("नृत्य", "नृत्य"),
        ("--", "--"),
    ],
)
def test_class_names_in_words(name: str, words: str, tmp_path: Path) -> None:
    put(tmp_path / name / "v_g01_c01.avi", "")
    assert [(entry.text, entry.category) for entry in both_sides(read_ucf101, tmp_path)] == [(words, name)]


def test_names_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    put(tmp_path / os.fsdecode(b"\xdcbung") / "v_g01_c01.avi", "")
    assert r"b'\xdcbung/v_g01_c01.avi': a name that is not UTF-8 -> rename it" in problems(read_ucf101, tmp_path)


def test_hidden_files_beside_clips_are_passed_over(tmp_path: Path) -> None:
    root = tmp_path / ".cache"  # hidden folders above the dataset do not matter
    for name in ("Archery/v_g01_c01.avi", "Archery/._v_g01_c01.avi", ".Trash/v_g01_c02.avi", "Archery/.DS_Store"):
        put(root / "ucf" / name, "")
    for name in ("traj0/lang.txt", ".cache/traj1/lang.txt", "traj0/._lang.txt"):
        put(root / "bridge" / name, "open the drawer")
    assert [entry.key for entry in both_sides(read_ucf101, root / "ucf")] == ["v_g01_c01"]
    assert [entry.key for entry in both_sides(read_bridge, root / "bridge")] == ["traj0"]
    put(root / "ssv2/20bn-something-something-v2/._7.webm", "")
    video = put(root / "ssv2/videos/78687.webm", "")
    assert [entry.path for entry in both_sides(read_ssv2, ssv2(root / "ssv2", LABELS[:1]))] == [video]


@pytest.mark.parametrize("reader", [read_ssv2, read_bridge, read_epic, read_ucf101, read_captions])
def test_an_empty_folder(reader: Any, tmp_path: Path) -> None:
    assert str(tmp_path) in problems(reader, tmp_path)


def test_bad_labels(tmp_path: Path) -> None:
    bad = [{"label": "x"}, {"id": "1"}, 3, {"id": "2", "label": "x"}, {"id": "2", "label": "y"}]
    lines = problems(read_ssv2, ssv2(tmp_path, bad)).splitlines()
    assert len(lines) == 4
    assert "entry 1 has no id" in lines[0]
    assert "entry 2 has no text" in lines[1]
    assert "entry 5: 2.webm is listed twice" in lines[3]
    put(tmp_path / "labels" / "train.json", '[{"id": "1",\n}]')
    assert "train.json:2: not JSON" in problems(read_ssv2, tmp_path)
    put(tmp_path / "labels" / "train.json", "{}")
    assert "a list of labels" in problems(read_ssv2, tmp_path)


def test_bad_action_lists(tmp_path: Path) -> None:
    rows = "a,P01,P01_01,x,2,open,o,d\nb,P01,P01_01,9,2,open,o,d\nc,P01,P01_01,0,2,open,o,d\n"
    put(tmp_path / "EPIC_100_train.csv", EPIC_HEAD + rows)
    lines = problems(read_epic, tmp_path).splitlines()
    assert ["whole numbers" in lines[0], "frames 9 to 2" in lines[1], "frames 0 to 2" in lines[2]] == [True] * 3


def test_an_empty_instruction(tmp_path: Path) -> None:
    for text in ("confidence: 0.5\n", "\n", ""):
        put(tmp_path / "traj0" / "lang.txt", text)
        assert "lang.txt:1: empty" in problems(read_bridge, tmp_path)
