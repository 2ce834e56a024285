"""Procedural scenes of coloured shapes: pixels, H.264 files, captions."""

import csv
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.clips import ClipError, read_clip, write_clip
from trainables.data.scenes import CANVAS, Background, Scene, Split, draw_paced_scene, draw_scene, size_of

Floats = NDArray[np.float64]
Clip = NDArray[np.uint8]

CAPTIONS = "captions.csv"
PIXEL_FORMAT = "yuv444p"  # half colour resolution degrades clips of 32 pixels
LOSSLESS = 0  # x264's lossy output occasionally differs between two runs on the same pixels
FPS = 8
NUM_STATES = 8
"""Parts in which the further text ``oracle`` describes a clip: those of two, four and eight states."""


def render(scene: Scene, frames: int = 8, height: int = CANVAS, width: int = CANVAS) -> Clip:
    """Render a scene with anti-aliasing.

    The canvas fills the shorter side and is centred along the longer one, where the background continues; circles are
    round in frames of any shape.

    Args:
        scene: Scene to render.
        frames: Number of frames, at least 1; the motion spans the clip unless the scene has a constant pace.
        height: Height in pixels.
        width: Width in pixels.

    Shape:
        (f h w 3) uint8.
    """
    side = min(height, width)
    y = (np.arange(height) + 0.5) * CANVAS / side - (height - side) * CANVAS / side / 2
    x = (np.arange(width) + 0.5) * CANVAS / side - (width - side) * CANVAS / side / 2
    xs, ys = np.meshgrid(x, y)
    ground = _ground(scene.background, xs, ys)
    cx, cy, radius, angle = path(scene, frames).T[:, :, None, None]
    dx, dy = (xs - cx) / radius, (ys - cy) / radius
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = dy * np.cos(angle) - dx * np.sin(angle)
    outside = _distance(scene.shape, u, v)
    pixel = CANVAS / side
    cover = np.clip(0.5 - outside * radius / pixel, 0.0, 1.0)[..., None]
    dark = _fill(scene.fill, u, v, outside)[..., None]
    colour = np.asarray(scene.rgb) * (1.0 - dark * (1.0 - scene.shade))
    image = ground * (1.0 - cover) + colour * cover
    pixels: Clip = np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
    return pixels


def path(scene: Scene, frames: int) -> Floats:
    """Compute centre x and y, radius and angle per frame.

    Shape:
        (f 4).
    """
    phases = len(scene.changes)
    if scene.frames_per_motion is not None:
        time = np.arange(frames)[:, None] / scene.frames_per_motion
    else:
        time = np.linspace(0.0, 1.0, frames)[:, None] * phases if frames > 1 else np.zeros((1, 1))
    progress = np.clip(time - np.arange(phases), 0.0, 1.0)
    moved = progress @ np.asarray(scene.changes)
    radius = scene.radius * np.exp(moved[:, 2])
    return np.stack([scene.start[0] + moved[:, 0], scene.start[1] + moved[:, 1], radius, scene.angle + moved[:, 3]], 1)


def _distance(shape: str, u: Floats, v: Floats) -> Floats:
    """Compute the signed distance to the outline in radii, negative inside; areas are about equal."""
    if shape == "circle":
        return np.asarray(np.hypot(u, v) - 1.0)
    if shape == "square":
        return np.asarray(np.maximum(np.abs(u), np.abs(v)) - 0.88)
    if shape == "triangle":
        slant = np.sqrt(0.75) * np.abs(u) - 0.5 * (v + 0.15)
        return np.asarray(np.maximum(slant, v + 0.15) - 0.62)
    assert shape == "cross", shape
    bar = 0.36
    across, down = np.maximum(np.abs(u) - 1.05, np.abs(v) - bar), np.maximum(np.abs(v) - 1.05, np.abs(u) - bar)
    return np.asarray(np.minimum(across, down))


def _fill(fill: str, u: Floats, v: Floats, outside: Floats) -> Floats:
    """Compute the weight of the second colour in [0, 1]."""
    if fill == "solid":
        return np.zeros_like(u)
    if fill == "banded":
        return _soft(np.sin(v * 2 * np.pi / 0.85))
    if fill == "halved":
        return np.clip(0.5 + 4.0 * u, 0.0, 1.0)
    assert fill == "rimmed", fill
    return np.clip(0.5 + 5.0 * (outside + 0.30), 0.0, 1.0)


def _ground(ground: Background, x: Floats, y: Floats) -> Floats:
    """Render the background in [0, 1]."""
    along = x * np.cos(ground.angle) + y * np.sin(ground.angle)
    wave = 2 * np.pi / ground.period
    a, b, c = ground.phase
    if ground.texture == "plain":
        mix = np.zeros_like(x)
    elif ground.texture == "graded":
        across = (x - CANVAS / 2) * np.cos(a) + (y - CANVAS / 2) * np.sin(a)
        mix = np.clip(0.5 + across / CANVAS, 0.0, 1.0)
    elif ground.texture == "striped":
        mix = _soft(np.sin(along * wave + a))
    elif ground.texture == "checked":
        mix = _soft(2.0 * np.sin(x * wave + a) * np.sin(y * wave + b))
    else:
        assert ground.texture == "cloudy", ground.texture
        slow = 0.6 * wave
        across = y * np.cos(ground.angle) - x * np.sin(ground.angle)
        mix = _soft(np.sin(along * slow + a) + np.sin(across * slow * 0.8 + b) + np.sin((x + y) * slow * 0.5 + c))
    mix = mix[..., None]
    return np.asarray(ground.first) * (1.0 - mix) + np.asarray(ground.second) * mix


def _soft(wave: Floats) -> Floats:
    """Map a wave around 0 to a weight in [0, 1] with soft edges."""
    return 0.5 + 0.5 * np.tanh(2.0 * wave)


def scene_of(split: Split, index: int, seed: int = 0, *, frames: int, frames_per_motion: int | None = None) -> Scene:
    """Draw the scene of a clip.

    Args:
        split: Split of the scene.
        index: Number of the scene, from 0.
        seed: Seed of the scenes.
        frames: Frames of the clip.
        frames_per_motion: Frames of each motion at a constant pace; None: one or two motions span the clip.
    """
    if frames_per_motion is None:
        return draw_scene(split, index, seed)
    return draw_paced_scene(split, index, seed, frames=frames, frames_per_motion=frames_per_motion)


def states_of(scene: Scene, frames: int, number: int = NUM_STATES) -> list[str]:
    """Describe a clip in consecutive parts of equal length: size, colour, shape, and the motion in the middle of each.

    Args:
        scene: Scene of the clip.
        frames: Frames of the clip, at least 2.
        number: Number of parts.

    Returns:
        Texts such as ``a large red circle moves right``, in the words of the captions.
    """
    middles = (np.arange(number) + 0.5) / number
    pace = len(scene.motions) if scene.frames_per_motion is None else (frames - 1) / scene.frames_per_motion
    phases = np.minimum((middles * pace).astype(int), len(scene.motions) - 1)
    radii = np.interp(middles * (frames - 1), np.arange(frames), path(scene, frames)[:, 2])
    return [
        f"a {size_of(radius)} {scene.colour} {scene.shape} {scene.motions[phase]}"
        for radius, phase in zip(radii.tolist(), phases.tolist(), strict=True)
    ]


def write_dataset(
    folder: Path,
    num_clips: int,
    split: Split,
    *,
    seed: int = 0,
    frames: int = 8,
    height: int = CANVAS,
    width: int = CANVAS,
    frames_per_motion: int | None = None,
) -> Path:
    """Write clips 0 to ``num_clips`` - 1 of a split as H.264 files with a captions file, unless they exist.

    The folder is written under a temporary name and renamed, so that it is complete when visible; of several writers
    the first wins.

    Args:
        folder: Output folder; kept if it exists.
        num_clips: Number of clips, at least 1.
        split: Split of the scenes.
        seed: Seed of the scenes.
        frames: Frames per clip.
        height: Height in pixels, even.
        width: Width in pixels, even.
        frames_per_motion: Pace of the scenes; see ``scene_of``.
    """
    if (folder / CAPTIONS).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    part.mkdir()
    try:
        rows = []
        for index in range(num_clips):
            scene = scene_of(split, index, seed, frames=frames, frames_per_motion=frames_per_motion)
            name = f"{index:05d}.mp4"
            write_clip(
                part / name, render(scene, frames, height, width), fps=FPS, pixel_format=PIXEL_FORMAT, crf=LOSSLESS
            )
            rows.append((name, scene.caption()))
        with (part / CAPTIONS).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("clip", "caption"), *rows])
        try:
            os.rename(part, folder)
        except OSError:
            if not (folder / CAPTIONS).is_file():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def read_dataset(
    folder: Path, frames: int = 8, numbers: Sequence[int] | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """Decode the clips of a folder written by ``write_dataset``, and read their captions.

    Args:
        folder: Folder of the clips.
        frames: Frames to read from each clip, from the first.
        numbers: Numbers of the clips; all by default.

    Shape:
        clips (n f h w 3).

    Raises:
        ClipError: A file is missing, truncated or has fewer frames.
    """
    listing = folder / CAPTIONS
    if not listing.is_file():
        raise ClipError(f"{listing}: missing -> delete {folder}, and it is rendered again")
    with listing.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows = rows if numbers is None else [rows[number] for number in numbers]
    return np.stack([read_clip(folder / row["clip"], frames) for row in rows]), [row["caption"] for row in rows]
