"""Time to tell whether a dataset has changed: 200,000 clips, read once, then known by size and time of their files."""

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, conclude, table
from trainables.data import ClipsData, _entries
from trainables.data.manifest import Manifest

SIZE = 16 * 1024
PER_FOLDER = 1000


def main() -> int:
    """Measure the first and later readings, and save the times with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200_000, help="number of clips")
    clips: int = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "clips", clips)
        data = ClipsData(layout="captions", path=str(folder / "clips"), references=256)
        rows = [
            (what, *measure(data, Manifest(folder / "references"), training))
            for what, training in (
                ("first, references only", None),
                ("later, references only", None),
                ("first, all", 0),
                ("later, all", 0),
            )
        ]
    seconds = {what: content for what, _, content in rows}
    figures = [
        Figure("seconds to verify the references alone", seconds["later, references only"], "at most", 2.0),
        Figure("seconds to verify all clips", seconds["later, all"], "at most", 10.0),
    ]
    setting = f"{clips:,} files of {SIZE // 1024} KiB with captions, one process."
    return conclude("manifest", setting, table(("reading", "annotations, s", "content, s"), rows), figures)


def write(folder: Path, clips: int) -> None:
    """Write files of random bytes, and their captions."""
    lines = ["path,text"]
    for number in range(clips):
        path = folder / str(number // PER_FOLDER) / f"{number}.mp4"
        if number % PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(SIZE))
        lines.append(f"{path.relative_to(folder)},a person does number {number}")
    (folder / "captions.csv").write_text("\n".join(lines))


def measure(data: ClipsData, manifest: Manifest, training: int | None) -> tuple[float, float]:
    """Return the seconds to read the annotations of both splits, and to know the content after that."""
    _entries.cache_clear()
    began = time.perf_counter()
    data.entries()
    data.model_copy(update={"split": "train"}).entries()
    read = time.perf_counter()
    data.content(manifest, training)
    return read - began, time.perf_counter() - read


if __name__ == "__main__":
    raise SystemExit(main())
