"""Further texts of clips are read beside the annotations; all problems are reported together."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainables.data import ClipsData
from trainables.data.annotations import (
    CAPTIONS,
    AnnotationError,
    Entry,
    read_bridge,
    read_captions,
    read_epic,
    read_ucf101,
)
from trainables.data.further import with_further_texts
from trainables.data.layout import ClipSize

ENTRIES = [Entry(Path(f"{name}.webm"), "moves", key=name) for name in ("11", "12")]
OTHER = [Entry(Path("13.webm"), "moves", key="13")]
NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8).filter(lambda name: name != "clip")
TEXTS = st.text(st.characters(categories=("L", "N", "P", "Z")) | st.just("\n"), min_size=1).map(str.strip).filter(bool)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    if file.suffix == ".jsonl":
        put(file, "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
        return
    with file.open("w", encoding="utf-8", newline="") as content:
        writer = csv.DictWriter(content, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def with_texts(root: Path, entries: Sequence[Entry] = ENTRIES, other: Sequence[Entry] = OTHER) -> list[dict[str, str]]:
    return [dict(entry.further) for entry in with_further_texts(entries, root, lambda: other)]


def problems(root: Path, entries: Sequence[Entry] = ENTRIES) -> list[str]:
    with pytest.raises(AnnotationError) as caught:
        with_texts(root, entries)
    return [line.removeprefix(f"{root}/") for line in str(caught.value).splitlines()]


def test_without_a_file_clips_are_as_they_are(tmp_path: Path) -> None:
    assert with_further_texts(ENTRIES, tmp_path, lambda: pytest.fail("nothing is asked of the other side")) == ENTRIES


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(columns=st.lists(NAMES, min_size=1, max_size=3, unique=True), texts=st.lists(TEXTS, min_size=9, max_size=9))
def test_what_is_written_is_what_is_read(ending: str, columns: list[str], texts: list[str], tmp_path: Path) -> None:
    further = [dict(zip(columns, texts[3 * k :], strict=False)) for k in range(3)]
    rows = [{"clip": entry.key, **row} for entry, row in zip([*ENTRIES, *OTHER], further, strict=True)]
    write(tmp_path / f"texts.{ending}", rows)
    assert with_texts(tmp_path) == further[:2], "the file holds both sides of the split"
    assert with_texts(tmp_path, ENTRIES[::-1]) == further[1::-1], "by name, not by place"


def test_what_is_wrong_with_lines_of_json(tmp_path: Path) -> None:
    lines = ['{"clip": "11", "state": "up"}', "{", '{"state": "x"}', '{"clip": "12", "state": "up", "goal": "on"}']
    put(tmp_path / "texts.jsonl", "\n".join(lines))
    assert [line.split(":")[1] for line in problems(tmp_path)] == ["2", "3", "1"], "line 1 has no goal"
    put(tmp_path / "texts.jsonl", '{"clip": "11", "state": "up", "frames": 8}\n{"clip": "12", "state": "up"}')
    assert with_texts(tmp_path) == [{"state": "up"}] * 2, "a number is no text"


def test_clips_without_a_line_are_named_up_to_twenty(tmp_path: Path) -> None:
    put(tmp_path / "texts.csv", "clip,state\n11,up\n")
    (line,) = problems(tmp_path, [Entry(Path(f"{k}.webm"), "moves", key=f"{k}") for k in range(11, 36)])
    named = ", ".join(map(str, range(12, 32)))
    assert line == f"texts.csv: no line for {named} and 4 more -> a line for each annotated clip"


def test_where_the_other_side_cannot_be_read_its_clips_are_not_told_from_unknown_ones(tmp_path: Path) -> None:
    put(tmp_path / "labels/validation.json", json.dumps([{"id": k, "label": f"text {k}"} for k in ("1", "2")]))
    put(tmp_path / "texts.csv", "clip,state\n1,up\n2,down\n3,left\n")
    data = ClipsData(layout="ssv2", path=str(tmp_path))
    assert sorted(entry.further["state"] for entry in data.entries()) == ["down", "up"]
    put(tmp_path / "labels/train.json", json.dumps([{"id": k, "label": f"text {k}"} for k in ("3", "4")]))
    assert len(ClipsData(layout="ssv2", path=f"{tmp_path}/.").entries()) == 2, "3 is on the other side"
    put(tmp_path / "labels/train.json", json.dumps([{"id": k, "label": f"text {k}"} for k in ("4", "5")]))
    with pytest.raises(AnnotationError, match=r"texts\.csv:4: clip 3 is not in the annotations"):
        ClipsData(layout="ssv2", path=str(tmp_path / "labels" / "..")).entries()


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


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    columns=st.lists(NAMES.filter(lambda name: name not in CAPTIONS), max_size=3, unique=True),
    texts=st.lists(TEXTS, min_size=12, max_size=12),
)
def test_of_captions_every_other_column_is_a_further_text(
    ending: str, columns: list[str], texts: list[str], tmp_path: Path
) -> None:
    further = [dict(zip(columns, texts[4 * k :], strict=False)) for k in range(3)]
    rows = [{"path": f"{k}.mp4", "text": texts[4 * k + 3], "category": "a", **further[k]} for k in range(3)]
    write(tmp_path / f"captions.{ending}", rows)
    entries = [entry for side in ("train", "test") for entry in read_captions(tmp_path, side, 0.5)]
    assert {entry.path.name: entry.text for entry in entries} == {row["path"]: row["text"] for row in rows}
    found = {entry.path.name: dict(entry.further) for entry in entries}
    assert found == {f"{k}.mp4": further[k] for k in range(3)}


@pytest.mark.slow
def test_a_set_of_clips_has_its_further_texts_in_the_order_of_its_texts(
    write_video: Callable[..., Path], tmp_path: Path
) -> None:
    lines = ["path,text,before,after"]
    for k in range(12):
        write_video(tmp_path / "data" / f"{k}.mp4", 4)
        lines.append(f"{k}.mp4,text {k},before {k},after {k}")
    put(tmp_path / "data" / "captions.csv", "\n".join(lines))
    data = ClipsData(layout="captions", path=str(tmp_path / "data"), held_out=0.5)
    for clips in (
        data.reference_clips(ClipSize(2, 16, 24), tmp_path),
        data.training_clips(ClipSize(2, 16, 24), None, tmp_path),
    ):
        for some in (clips, clips.take([1, 0, 1])):
            assert some.further == {
                name: [text.replace("text", name) for text in some.texts] for name in ("before", "after")
            }
