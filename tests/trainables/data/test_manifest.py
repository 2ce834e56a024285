"""Content of data: the same under another name, another where a prompt, a caption or a clip has changed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trainables.data import ClipsData, Data, ShapesData, manifest
from trainables.data.content import Content, changes
from trainables.data.frames import ClipFile, Stretch
from trainables.data.manifest import BLOCK, BLOCKS, PICTURES, Manifest, UnreadError
from trainables.data.prompts import PromptsData

NUM = 12


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Captions of files and of folders of pictures; nothing here is decoded."""
    folder = tmp_path / "dataset"
    lines = ["path,text"]
    for number in range(NUM):
        if number % 2:
            (folder / f"{number}").mkdir(parents=True)
            for frame in range(9):
                (folder / f"{number}" / f"im_{frame}.jpg").write_bytes(f"picture {number} {frame}".encode())
        else:
            folder.mkdir(exist_ok=True)
            (folder / f"{number}.mp4").write_bytes(f"video {number}".encode())
        lines.append(f"{number}{'' if number % 2 else '.mp4'},text {number}")
    (folder / "captions.csv").write_text("\n".join(lines))
    return folder


def data_of(folder: Path, **fields: object) -> ClipsData:
    given = {"layout": "captions", "path": str(folder), "held_out": 0.5, "references": 64}
    return ClipsData.model_validate(given | fields)


@pytest.fixture
def content_of(tmp_path: Path) -> Callable[..., Content]:
    """The content as a new process finds it: annotations are read again."""

    def content(data: Data, training: int | None = 0, *, read: bool = True) -> Content:
        from trainables.data import _entries

        _entries.cache_clear()
        return data.content(Manifest(tmp_path / "references", read=read), training)

    return content


def differing(a: Content, b: Content) -> set[str]:
    assert a.keys() == b.keys()
    return {name for name in a if a[name] != b[name]}


def rewrite(path: Path, content: bytes) -> None:
    """Write another content of the same size to the same file, a moment later."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size


# -------------------------------------------------------------------------------------------------------------- prompts


def test_prompts_of_a_list_and_of_a_file_are_the_same_content(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a red circle\n\na blue square\n")
    listed = PromptsData.model_validate({"layout": "prompts", "prompts": ["a red circle", "a blue square"]})
    of_file = PromptsData.model_validate({"layout": "prompts", "prompts": str(file)})
    assert of_file.content(None, None) == listed.content(None, None)
    assert of_file.content(None, None)["prompts"].startswith("2 prompts, ")
    before = of_file.content(None, None)
    file.write_text("a red circle\n\na blue cross\n")
    now = of_file.content(None, None)
    assert differing(before, now) == {"prompts"}
    assert changes(before, now) == f"{before['prompts']}, now {now['prompts']}"
    assert changes(now, now) == ""


def test_scenes_are_known_by_their_version() -> None:
    assert ShapesData().content(None, None) == {"scenes": "version 2"}


# ---------------------------------------------------------------------------------------------------------------- clips


def test_clips_on_disk_are_unknown_without_a_manifest(dataset: Path) -> None:
    assert data_of(dataset).content(None, None) == {}


def test_the_same_dataset_elsewhere_has_the_same_content(dataset: Path, tmp_path: Path, content_of: Callable) -> None:
    before = content_of(data_of(dataset))
    assert before.keys() == {"texts", "references", "training"}
    shutil.copytree(dataset, tmp_path / "copy", copy_function=shutil.copyfile)
    assert content_of(data_of(tmp_path / "copy")) == before
    assert content_of(data_of(tmp_path / "copy" / "captions.csv")) == before


def test_training_clips_count_for_trained_systems_and_as_many_as_are_used(dataset: Path, content_of: Callable) -> None:
    data = data_of(dataset)
    assert content_of(data, None).keys() == {"texts", "references"}
    all_clips, some = content_of(data, 0), content_of(data, 2)
    assert differing(all_clips, some) == {"training"}
    assert some["training"].startswith("2 clips, ")
    num_training, num_held_out = (int(all_clips[name].split()[0]) for name in ("training", "references"))
    assert num_training + num_held_out == NUM


@pytest.mark.parametrize("kind", ["video", "picture"])
@pytest.mark.parametrize("side", ["references", "training"])
def test_a_clip_that_was_made_anew_changes_the_content(
    kind: str, side: str, dataset: Path, content_of: Callable
) -> None:
    data = data_of(dataset)
    entries = data.entries() if side == "references" else data._other_split(None)
    path = next(entry.path for entry in entries if entry.path.is_dir() == (kind == "picture"))
    file = path / "im_4.jpg" if kind == "picture" else path
    before, identity = content_of(data), data.reference_identity()
    rewrite(file, bytes(reversed(file.read_bytes())))
    with pytest.raises(UnreadError):
        content_of(data, read=False)
    assert differing(before, content_of(data)) == {side}
    assert (data.reference_identity() != identity) == (side == "references"), "cached features are of these files"


def test_other_dates_change_nothing_and_nothing_is_read_twice(
    dataset: Path, content_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    update = manifest._update
    monkeypatch.setattr(manifest, "_update", lambda digest, path: (read.append(path), update(digest, path)))
    data = data_of(dataset)
    before = content_of(data)
    files = [path for path in dataset.rglob("*") if path.suffix in (".mp4", ".jpg")]
    assert sorted(read) == sorted(files)
    read.clear()
    assert content_of(data) == content_of(data, read=False) == before
    assert not read
    os.utime(files[0], ns=(0, 0))
    assert content_of(data) == before
    assert set(read) == ({files[0]} if files[0].suffix == ".mp4" else set(files[0].parent.iterdir()))


def test_an_edited_caption_changes_the_content(dataset: Path, content_of: Callable) -> None:
    data = data_of(dataset)
    before = content_of(data)
    file = dataset / "captions.csv"
    held_out = data.entries()[0].text
    file.write_text(file.read_text().replace(held_out + "\n", "another text\n"))
    assert differing(before, content_of(data)) == {"texts", "references"}


def test_pictures_that_come_or_go_change_the_content(dataset: Path, content_of: Callable) -> None:
    data = data_of(dataset)
    folder = next(entry.path for entry in data.entries() if entry.path.is_dir())
    before = content_of(data)
    (folder / ".hidden.jpg").write_bytes(b"left by another program")
    assert content_of(data) == before
    (folder / "im_9.jpg").write_bytes(b"one more")
    more = content_of(data)
    assert differing(before, more) == {"references"}
    (folder / "im_0.jpg").unlink()
    assert differing(more, content_of(data)) == {"references"}


def test_a_missing_clip_is_part_of_the_content(dataset: Path, content_of: Callable) -> None:
    data = data_of(dataset)
    path = next(entry.path for entry in data.entries() if entry.path.is_file())
    before, kept = content_of(data), path.read_bytes()
    path.unlink()
    assert differing(before, content_of(data)) == {"references"}
    path.write_bytes(kept)
    assert content_of(data) == before


def test_a_damaged_manifest_costs_time_only(dataset: Path, tmp_path: Path, content_of: Callable) -> None:
    before = content_of(data_of(dataset))
    (file,) = (tmp_path / "references").glob("content-*.jsonl")
    file.write_bytes(file.read_bytes()[:-30] + b"\xff\n[1, 2]\n{}\n")
    assert content_of(data_of(dataset)) == before
    assert content_of(data_of(dataset), read=False) == before


def test_stretches_of_one_folder_are_clips_of_their_own(dataset: Path, tmp_path: Path) -> None:
    folder = dataset / "1"
    clips = [ClipFile(folder, Stretch(0, 4)), ClipFile(folder, Stretch(4, 8)), ClipFile(folder, Stretch(0, 4))]
    first, second, same = Manifest(tmp_path).hashes(dataset, clips)
    assert first == same != second
    rewrite(folder / "im_5.jpg", b"picture 5 1")
    now = Manifest(tmp_path).hashes(dataset, clips)
    assert now[0] == first == now[2]
    assert now[1] != second


def test_of_large_files_and_long_folders_a_part_is_read(tmp_path: Path) -> None:
    large, size = tmp_path / "a.mp4", 3 * BLOCKS * BLOCK + 5
    with large.open("wb") as file:
        file.truncate(size)
    clip = [ClipFile(large, Stretch())]
    before = Manifest(tmp_path / "m").hashes(tmp_path, clip)
    for place in (0, size - 1):  # the first and last block are always among them
        with large.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        os.utime(large, ns=(place, place + 1))
        now = Manifest(tmp_path / "m").hashes(tmp_path, clip)
        assert now != before
        before = now
    folder = tmp_path / "long"
    folder.mkdir()
    for number in range(5 * PICTURES):
        (folder / f"{number}.png").write_bytes(b"x")
    (state,) = manifest.states_of([ClipFile(folder, Stretch())])
    assert state[0] == 5 * PICTURES
    assert len(state) == 1 + PICTURES
    assert [state[1][0], state[-1][0]] == ["0.png", f"{5 * PICTURES - 1}.png"]


def test_progress_is_shown_while_clips_are_read(dataset: Path, tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    reading = Manifest(tmp_path / "m", show=lambda done, total: shown.append((done, total)))
    data_of(dataset).content(reading, None)
    total = len(data_of(dataset).entries())
    assert shown == [(done, total) for done in range(1, total + 1)]
