"""Further texts of clips are found beside the annotations; what is wrong with them is said all together."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainables.data.annotations import AnnotationError, Entry, read_bridge, read_captions, read_epic, read_ucf101
from trainables.data.further import with_further_texts

ENTRIES = [Entry(Path(f"{name}.webm"), "moves", key=name) for name in ("11", "12")]
NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8).filter(lambda name: name != "clip")
TEXTS = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1).map(str.strip).filter(bool)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_clips_are_as_they_are(tmp_path: Path) -> None:
    assert with_further_texts(ENTRIES, tmp_path) == ENTRIES


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(columns=st.lists(NAMES, min_size=1, max_size=3, unique=True), texts=st.lists(TEXTS, min_size=6, max_size=6))
def test_what_is_written_is_what_is_read(ending: str, columns: list[str], texts: list[str], tmp_path: Path) -> None:
    further = [dict(zip(columns, texts[3 * k :], strict=False)) for k in range(2)]
    rows = [{"clip": entry.key, **row} for entry, row in zip(ENTRIES, further, strict=True)]
    if ending == "csv":
        content = io.StringIO()
        writer = csv.DictWriter(content, ["clip", *columns])
        writer.writeheader()
        writer.writerows(rows)
        put(tmp_path / "texts.csv", content.getvalue())
    else:
        put(tmp_path / "texts.jsonl", "\n".join(map(json.dumps, rows)))
    assert [dict(entry.further) for entry in with_further_texts(ENTRIES, tmp_path)] == further
    for file in tmp_path.glob("texts.*"):
        file.unlink()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,state\n11,up\n", ["texts.csv:1: no column clip -> clip"]),
        ("clip\n11\n12\n", ["texts.csv:1: no column beside clip -> one for each further text"]),
        ("clip,state\n11,up\n", ["texts.csv: no line for clip 12"]),
        ("clip,state\n11,up\n11,up\n12,down\n", ["texts.csv:3: 11 is there twice -> once"]),
        ("clip,state\n11,\n12, \n", ["texts.csv:2: 11 has no state", "texts.csv:3: 12 has no state"]),
    ],
)
def test_what_is_wrong_is_said_with_its_line(content: str, said: list[str], tmp_path: Path) -> None:
    put(tmp_path / "texts.csv", content)
    with pytest.raises(AnnotationError) as caught:
        with_further_texts(ENTRIES, tmp_path)
    assert [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()] == said


def test_a_file_that_is_not_utf_8_is_said(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_bytes(b"clip,state\n11,\xff\n")
    with pytest.raises(AnnotationError, match="not UTF-8 at byte 14"):
        with_further_texts(ENTRIES, tmp_path)


def test_each_layout_has_its_name_for_a_clip(tmp_path: Path) -> None:
    put(tmp_path / "bridge/raw/traj0/lang.txt", "put the cup down\n")
    put(tmp_path / "ucf/Archery/v_Archery_g01_c02.avi", "")
    head = "narration_id,participant_id,video_id,start_frame,stop_frame,narration,verb,noun\n"
    put(tmp_path / "epic/EPIC_100_train.csv", f"{head}n,P01,P01_01,8,20,open door,open,door\n")
    keys = [
        entry.key
        for reader, name in ((read_bridge, "bridge"), (read_ucf101, "ucf"), (read_epic, "epic"))
        for side in ("train", "test")
        for entry in reader(tmp_path / name, side, 0.5)
    ]
    assert keys == ["raw/traj0", "v_Archery_g01_c02", "P01_01:8"]


@pytest.mark.parametrize("name", ["captions.csv", "captions.jsonl"])
def test_of_captions_every_other_column_is_a_further_text(name: str, tmp_path: Path) -> None:
    rows = [{"path": f"{k}.mp4", "text": f"clip {k}", "category": "a", "state": f"up {k}"} for k in range(2)]
    if name.endswith("csv"):
        lines = ["path,text,category,state", *(",".join(row.values()) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    put(tmp_path / name, "\n".join(lines))
    entries = [entry for side in ("train", "test") for entry in read_captions(tmp_path, side, 0.5)]
    found = {entry.path.name: dict(entry.further) for entry in entries}
    assert found == {f"{k}.mp4": {"state": f"up {k}"} for k in range(2)}
