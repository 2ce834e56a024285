"""Clips of the first seed in every arm, as frame strips and as videos.

Clips with the same seed and number share prompt and start noise, so that they differ by the arm only.
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
    """Clips of one arm at the first seed, scaled down for a page.

    Shape:
        clips (n f h w 3) uint8.
    """

    arm: str
    folder: Path
    clips: "NDArray[np.uint8]"
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """One clip of one arm: its frames side by side as PNG, and its video as MP4 where one was saved."""

    arm: str
    strip: bytes
    video: bytes | None


@dataclass(frozen=True)
class ClipRow:
    """One clip number in all arms."""

    number: int
    seed: int
    prompt: str
    arms: tuple[Shown, ...]


def films(report: Report, ledger: Ledger) -> list[Film]:
    """Read the clips of the first arms at the first seed; cells without saved clips are skipped."""
    from trainables.cell_files import read_clips

    seed = report.plan.cells[0].seed
    read = []
    for cell in [cell for cell in report.plan.cells if cell.seed == seed][:MOST_ARMS]:
        kept = read_clips(ledger.cell_folder(cell.id))
        if kept is not None:
            clips = _small(kept.clips[:MOST_CLIPS])
            read.append(Film(cell.arm, ledger.cell_folder(cell.id), clips, kept.prompts))
    return read


def _small(clips: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Select evenly spaced frames, and scale them to at most the height of a strip."""
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
    """Draw one picture per clip, with one row per arm; yields file name and content."""
    import numpy as np

    from trainables.pictures import frame_strip

    for number, (seed, prompt) in enumerate(_prompts(report, shown)):
        clips = np.stack([film.clips[number] for film in shown])
        labels = [short(film.arm, STRIP_LABEL) for film in shown]
        picture = frame_strip(clips, labels, f"seed {seed}, clip {number}: {prompt}")
        content = io.BytesIO()
        picture.save(content, "PNG")
        yield f"strip_seed{seed}_clip{number}.png", content.getvalue()


def scenes(report: Report, shown: Sequence[Film], most_bytes: int = MOST_BYTES) -> tuple[list[ClipRow], str]:
    """Select the clips for a page up to a size, and word what was left out; empty where all arms are shown.

    The first clip is shown in as many arms as fit, in the table's order; further clips only where all arms fit.

    Args:
        report: The report.
        shown: Clips of its arms.
        most_bytes: Largest size of pictures and videos together, in bytes.
    """
    selected: list[ClipRow] = []
    left = most_bytes
    for number, (seed, prompt) in enumerate(_prompts(report, shown)):
        arms = [_shown(film, number) for film in shown]
        fitting = []
        for arm in arms:
            left -= len(arm.strip) + len(arm.video or b"")
            if left >= 0:
                fitting.append(arm)
        if not fitting or (selected and len(fitting) < len(arms)):
            break
        selected.append(ClipRow(number, seed, prompt, tuple(fitting)))
    seen, arms_in_all = len(selected[0].arms) if selected else 0, len(report.rows)
    if not shown or seen == arms_in_all:
        return selected, ""
    limit = f"limited to {MOST_ARMS} arms and {most_bytes / 2**20:.0f} MB, and to cells with clips"
    return (
        selected,
        f"Clips of {seen} of {arms_in_all} arms ({limit}). All clips are in the study's folder, under cells/.",
    )


def _shown(film: Film, number: int) -> Shown:
    from trainables.cell_files import PLAYABLE

    video = film.folder / PLAYABLE.replace("*", str(number))
    return Shown(film.arm, _strip(film.clips[number]), video.read_bytes() if video.exists() else None)


def _strip(frames: "NDArray[np.uint8]") -> bytes:
    """Draw frames side by side with transparent gaps, in their original size."""
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
    """List seed and prompt of each clip that all arms have."""
    number = min((len(film.clips) for film in shown), default=0)
    return [(report.plan.cells[0].seed, prompt) for film in shown[:1] for prompt in film.prompts[:number]]
