"""Readers of published layouts; all problems are reported together, with file and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainables.data import ClipsData
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


def test_every_bad_line_is_named_and_the_list_is_bounded(tmp_path: Path) -> None:
    put(tmp_path / "captions.jsonl", "\n".join(["{", '{"path": "a.mp4"}', "[]", '{"path": "b.mp4", "text": "x"}']))
    lines = problems(read_captions, tmp_path).splitlines()
    assert [line.split(":")[-2] for line in lines] == ["1", "2", "3"]
    put(tmp_path / "captions.jsonl", "{\n" * 50)
    assert problems(read_captions, tmp_path).splitlines()[-1] == "... and 30 more"


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


def test_hidden_folders_above_a_dataset_do_not_matter(tmp_path: Path) -> None:
    root = tmp_path / ".cache"
    put(root / "ucf" / "Archery" / "v_g01_c01.avi", "")
    put(root / "bridge" / "traj0" / "lang.txt", "open the drawer")
    assert [entry.key for entry in both_sides(read_ucf101, root / "ucf")] == ["v_g01_c01"]
    assert [entry.key for entry in both_sides(read_bridge, root / "bridge")] == ["traj0"]


def test_two_labels_of_a_clip_are_two_entries_on_one_side(tmp_path: Path) -> None:
    labels = [{"id": str(k % 40), "label": f"text {k}"} for k in range(80)]
    root = ssv2(tmp_path, labels)
    sides = [read_ssv2(root, split, 0.5) for split in ("train", "test")]
    assert sorted(entry.text for side in sides for entry in side) == sorted(label["label"] for label in labels)
    clips = [{entry.clip for entry in side} for side in sides]
    assert len(clips[0]) + len(clips[1]) == 40
    assert not clips[0] & clips[1]
    data = ClipsData(layout="ssv2", path=str(root), held_out=0.5, references=80)
    assert len(data._references()) == len(clips[1])
