"""Single clips: folders of pictures, and files that are no usable video."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from tests.inputs.cases import Case, Table
from tests.inputs.videos import numbered, numbers, write
from trainables.data.clips import read_stretch
from trainables.data.frames import Stretch, Whole

PLAIN = ["4 frames of 112 x 96: 0, 5, 10, 15"]
REPLACE = "-> replace the file; ..."


def read_clip(folder: Path) -> list[str]:
    """Size, and numbers shown by 4 frames that are spread over the clip."""
    path = next((folder / name for name in ("clip", "a.mkv", "part") if (folder / name).exists()), folder / "a.mp4")
    stretch = Stretch(2, 12) if path.name == "part" else Stretch()
    frames, _ = read_stretch(path, stretch, lambda available: Whole().numbers(available, 4), least=4)
    shown = ", ".join(map(str, numbers(frames)))
    return [f"{len(frames)} frames of {frames.shape[2]} x {frames.shape[1]}: {shown}"]


def save_pictures(
    folder: Path, *, name: str = "im_{:04}.png", first: int = 0, count: int = 16, mode: str = "RGB", **options: Any
) -> Path:
    """Save pictures that show their numbers."""
    (folder / "clip").mkdir()
    for number in range(count):
        picture = Image.fromarray(numbered(number)).convert(mode)
        picture.save(folder / "clip" / name.format(number + first), **options)
    return folder / "clip"


def pictures(
    given: str, *read: str, note: str = "Read, in the order of the numbers in their names", **options: Any
) -> Case:
    return Case(given, partial(save_pictures, **options), read or PLAIN, note=note)


def with_other_files(folder: Path) -> None:
    clip = save_pictures(folder)
    for name in ("._im_0001.png", ".DS_Store", "lang.txt", "obs_dict.pkl"):
        (clip / name).write_bytes(b"no picture")


def of_two_sizes(folder: Path) -> None:
    Image.fromarray(numbered(15, 48, 112)).save(save_pictures(folder) / "im_0015.png")


def with_gap(folder: Path, part: bool = False) -> None:
    clip = save_pictures(folder)
    (clip / "im_0004.png").unlink()
    if part:
        clip.rename(folder / "part")


def deep(folder: Path) -> None:
    clip = save_pictures(folder)
    Image.fromarray(np.zeros((96, 112), np.uint16)).save(clip / "im_0000.png")


def with_damage(folder: Path) -> None:
    clip = save_pictures(folder, name="im_{:04}.jpg")
    (clip / "im_0005.jpg").write_bytes((clip / "im_0005.jpg").read_bytes()[:100])


def sound(folder: Path) -> None:
    with av.open(str(folder / "a.mkv"), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())


def truncated(folder: Path) -> None:
    path = write(folder / "a.mp4", muxer={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_index(folder: Path) -> None:
    path = write(folder / "a.mp4")
    path.write_bytes(path.read_bytes()[:-2000])


def refused(given: str, message: str, make: Callable[[Path], object] | dict[str, str | bytes]) -> Case:
    return Case(given, make, refused=[message])


NO_VIDEO = "a.mp4: cannot be decoded, probably truncated (...) -> replace the file; ..."
CLIPS = Table(
    "One clip",
    "A video, or a folder of pictures, in any layout. A clip that is refused is listed in `quarantine.csv` and left "
    "out; see [Clips that cannot be decoded](bases_and_metrics.md#clips-that-cannot-be-decoded). A study on these "
    "takes 4 frames.",
    (
        *(
            pictures(f"A folder of `{ending}`", name=f"im_{{:04}}{ending}")
            for ending in (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".PNG")
        ),
        pictures("Numbers without leading zeros (`im_2.png` before `im_10.png`)", name="im_{}.png"),
        pictures("Numbers that start anywhere", name="frame_{:010}.png", first=1001),
        *(
            pictures(f"{words} pictures", mode=mode, note="As RGB")
            for words, mode in {"Grey": "L", "Black and white": "1", "Palette": "P", "Transparent": "RGBA"}.items()
        ),
        Case("Other files in the folder, hidden files", with_other_files, PLAIN, note="Passed over"),
        refused(
            "Pictures with more than 8 bits per channel",
            "clip/im_0000.png: has more than 8 bits per channel -> save it with 8 bits",
            deep,
        ),
        refused("Pictures of two sizes", f"clip: its pictures differ in size {REPLACE}", of_two_sizes),
        Case(
            "Gaps in the numbers of pictures",
            with_gap,
            ["4 frames of 112 x 96: 0, 6, 10, 15"],
            note="Read, in the order of the numbers in their names",
        ),
        refused(
            "The same, with parts that a list gives by frame numbers, as in `epic`",
            f"part: pictures are missing between 0003 and 0005 {REPLACE}",
            partial(with_gap, part=True),
        ),
        refused("A damaged picture", f"clip/im_0005.jpg: cannot be decoded (...) {REPLACE}", with_damage),
        refused(
            "Fewer pictures than frames",
            f"clip: has 2 frames, needs at least 4 {REPLACE}",
            partial(save_pictures, count=2),
        ),
        refused(
            "A folder without pictures",
            f"clip: has 0 frames, needs at least 4 {REPLACE}",
            {"clip/000000.npy": ""},
        ),
        refused("A truncated video", f"a.mp4: truncated, ... of 100 frames {REPLACE}", truncated),
        refused("A video without its index (`moov` at the end)", NO_VIDEO, without_index),
        refused("A file with sound only", f"a.mkv: has no video that can be decoded {REPLACE}", sound),
        refused("An empty file", NO_VIDEO, {"a.mp4": ""}),
        refused("A Git LFS pointer", NO_VIDEO, {"a.mp4": "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"}),
        refused("A page of a web server in place of the video", NO_VIDEO, {"a.mp4": "<!DOCTYPE html><html></html>"}),
        refused("No such clip", f"a.mp4: no such clip {REPLACE}", {}),
    ),
    "trainables/data/test_inputs.py::test_clips",
)
