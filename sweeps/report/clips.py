"""What the arms look like: the same clips of the first seed in every arm, as frame strips and as clips that play.

Same seed and same clip mean the same prompt and the same start noise draws, so that what differs is the arm.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.report.figures import short
from sweeps.report.table import Report
from sweeps.results.ledger import Ledger

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_ARMS = 40
MOST_CLIPS = 4
MOST_FRAMES = 16
FRAME_PX = 96
MOST_BYTES = 12 * 2**20
STRIP_LABEL = 24  # letters that fit left of a strip


@dataclass(frozen=True)
class Film:
    """The clips of one arm at the first seed, small enough for a page.

    Shape:
        clips (n f h w 3) uint8.
    """

    arm: str
    folder: Path
    clips: "NDArray[np.uint8]"
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """One clip of one arm: its frames side by side as a PNG, and as an MP4 where there is one that plays."""

    arm: str
    strip: bytes
    video: bytes | None


@dataclass(frozen=True)
class Scene:
    """One clip over the arms."""

    number: int
    seed: int
    prompt: str
    arms: tuple[Shown, ...]


def films(report: Report, ledger: Ledger) -> list[Film]:
    """The first arms' clips at the first seed, of those cells that kept any."""
    from trainables.cell_files import read_clips

    seed = report.plan.cells[0].seed
    found = []
    for cell in [cell for cell in report.plan.cells if cell.seed == seed][:MOST_ARMS]:
        kept = read_clips(ledger.cell_folder(cell.id))
        if kept is not None:
            clips = _small(kept.clips[:MOST_CLIPS])
            found.append(Film(cell.arm, ledger.cell_folder(cell.id), clips, kept.prompts))
    return found


def _small(clips: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Frames evenly over the clip, and no higher than a strip shows."""
    import numpy as np
    from PIL import Image

    n, f, h, w, _ = clips.shape
    chosen = clips[:, np.linspace(0, f - 1, min(f, MOST_FRAMES)).round().astype(int)]
    if h <= FRAME_PX:
        return chosen
    size = (max(1, round(w * FRAME_PX / h)), FRAME_PX)
    frames = [
        np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX)) for clip in chosen for frame in clip
    ]
    return np.stack(frames).reshape(n, -1, size[1], size[0], 3)


def strips(report: Report, shown: Sequence[Film]) -> Iterator[tuple[str, bytes]]:
    """For each clip a picture with one row per arm, and the picture's file name."""
    import numpy as np

    from trainables.pictures import frame_strip

    for number, (seed, prompt) in enumerate(_prompts(report, shown)):
        clips = np.stack([film.clips[number] for film in shown])
        labels = [short(film.arm, STRIP_LABEL) for film in shown]
        picture = frame_strip(clips, labels, f"seed {seed}, clip {number}: {prompt}")
        content = io.BytesIO()
        picture.save(content, "PNG")
        yield f"strip_seed{seed}_clip{number}.png", content.getvalue()


def scenes(report: Report, shown: Sequence[Film], most_bytes: int = MOST_BYTES) -> tuple[list[Scene], str]:
    """The clips for a page, clip by clip over the arms while they fit, and a sentence on what does not; else nothing.

    Of the first clip as many arms are shown as fit, in the table's order; further clips only where all arms do.

    Args:
        report: Whose arms.
        shown: Their clips.
        most_bytes: Pictures and clips together.
    """
    found: list[Scene] = []
    left = most_bytes
    for number, (seed, prompt) in enumerate(_prompts(report, shown)):
        arms = [_shown(film, number) for film in shown]
        fitting = []
        for arm in arms:
            left -= len(arm.strip) + len(arm.video or b"")
            if left >= 0:
                fitting.append(arm)
        if not fitting or (found and len(fitting) < len(arms)):
            break
        found.append(Scene(number, seed, prompt, tuple(fitting)))
    seen, arms_in_all = len(found[0].arms) if found else 0, len(report.rows)
    if not shown or seen == arms_in_all:
        return found, ""
    reason = f"a page holds at most {MOST_ARMS} arms and {most_bytes / 2**20:.0f} MB of them"
    return found, f"Clips of {seen} of {arms_in_all} arms; {reason}. All lie with their results, under cells/."


def _shown(film: Film, number: int) -> Shown:
    from trainables.cell_files import PLAYABLE

    video = film.folder / PLAYABLE.replace("*", str(number))
    return Shown(film.arm, _strip(film.clips[number]), video.read_bytes() if video.exists() else None)


def _strip(frames: "NDArray[np.uint8]") -> bytes:
    """Frames side by side with clear gaps, in their own size: a page enlarges them."""
    import numpy as np
    from PIL import Image

    f, h, w, _ = frames.shape
    gap = max(1, h // 32)
    strip = np.zeros((h, f * (w + gap) - gap, 4), np.uint8)
    for place, frame in enumerate(frames):
        left = place * (w + gap)
        strip[:, left : left + w, :3], strip[:, left : left + w, 3] = frame, 255
    content = io.BytesIO()
    Image.fromarray(strip).save(content, "PNG")
    return content.getvalue()


def _prompts(report: Report, shown: Sequence[Film]) -> list[tuple[int, str]]:
    """Seed and prompt of each clip that all arms kept."""
    number = min((len(film.clips) for film in shown), default=0)
    return [(report.plan.cells[0].seed, prompt) for film in shown[:1] for prompt in film.prompts[:number]]
