"""Scenes of procedural clips, drawn by (seed, split, index), and their captions.

A *study* caption names only colour, shape and motion ("a red circle moves right, then drops"). A *rich* caption also
mentions some of the other, open attributes ("a large banded red circle on a dark moss checked background moves right"),
so that an embedding trained on it represents them.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.streams import Streams
from trainables.data.layout import CATEGORY

Split = Literal["train", "test"]

CANVAS = 32
"""Side of the canvas in world units; one unit is one pixel at the base's native size."""

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.08, 0.08),
    "yellow": (0.98, 0.90, 0.10),
    "green": (0.10, 0.74, 0.14),
    "cyan": (0.10, 0.86, 0.92),
    "blue": (0.10, 0.16, 0.92),
    "pink": (0.96, 0.22, 0.78),
}
MOTIONS = ("moves left", "moves right", "rises", "drops", "grows", "shrinks", "turns", "stays")
FILLS = ("solid", "banded", "halved", "rimmed")
SIZES = ("small", "large")
TEXTURES = ("plain", "graded", "striped", "checked", "cloudy")
BRIGHTNESS: dict[str, tuple[float, float]] = {"dark": (0.10, 0.30), "dull": (0.42, 0.58), "pale": (0.74, 0.96)}
HUES: dict[str, float] = {"brick": 8.0, "sand": 42.0, "moss": 95.0, "teal": 170.0, "slate": 218.0, "plum": 295.0}
"""Background hues in degrees; ``grey`` is the seventh."""
LABELS = (CATEGORY, "shape", "colour", "motions")
"""Labels of a scene; ``motions`` is their number."""
BACKGROUND_HUES = (*HUES, "grey")

_SMALLEST, _LARGEST, _MIDDLE = 6.6, 9.4, 8.0
_SHIFT = (6.0, 11.0)  # of a motion that is alone or at a constant pace, in world units
_GROWTH = (1.25, 1.45)  # ratio of the radii after and before a motion
_MARGIN = 1.0  # between shape and edge of the canvas
_CONTRAST = 0.50  # minimum RGB distance between a shape's colour and both colours of its background
_CANDIDATES = 10  # backgrounds tried per scene; if all fail, the one with most contrast is used
_NUM_DRAWS = 32 + 5 * _CANDIDATES
_NUM_MOTION_DRAWS = 8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Background:
    """Two colours and the pattern that mixes them."""

    hue: str
    brightness: str
    texture: str
    first: tuple[float, float, float]
    second: tuple[float, float, float]
    angle: float
    """Direction of the pattern, radians."""
    period: float
    """Length of one repetition, world units."""
    phase: tuple[float, float, float]
    """Offsets of the pattern, radians."""


@dataclass(frozen=True)
class Scene:
    """Content of one clip: all inputs of ``render``, in world units and radians."""

    shape: str
    colour: str
    motions: tuple[str, ...]
    """One per phase; all phases have the same length."""
    fill: str
    radius: float
    start: tuple[float, float]
    """Centre in the first frame, (x, y)."""
    angle: float
    changes: tuple[tuple[float, float, float, float], ...]
    """Per phase: shift in x and y, change of log radius, turn."""
    rgb: tuple[float, float, float]
    shade: float
    """Brightness of the fill's second colour, relative to the first."""
    background: Background
    frames_per_motion: int | None = None
    """Length of a phase at a constant pace, in frames; None: the phases span the clip."""

    @property
    def size(self) -> str:
        """``small`` or ``large``, in the first frame."""
        return size_of(self.radius)

    def caption(self) -> str:
        """Make the study caption: colour, shape, motion."""
        return f"a {self.colour} {self.shape} {', then '.join(self.motions)}"

    def labels(self) -> dict[str, str]:
        """Return the scene's labels."""
        return labels(self.shape, self.colour, self.motions)

    def rich_caption(self, mentions: NDArray[np.bool_]) -> str:
        """Make a rich caption with the selected open attributes.

        Args:
            mentions: Whether to mention size, fill, brightness, hue, texture.

        Shape:
            mentions (5,).
        """
        size, fill, *ground = (bool(m) for m in mentions)
        of_shape = [w for w, m in ((self.size, size), (self.fill, fill)) if m]
        attributes = (self.background.brightness, self.background.hue, self.background.texture)
        of_background = [w for w, m in zip(attributes, ground, strict=True) if m]
        background = f" on a {' '.join(of_background)} background" if of_background else ""
        return f"a {' '.join([*of_shape, self.colour, self.shape])}{background} {', then '.join(self.motions)}"


def size_of(radius: float) -> str:
    """Return ``small`` or ``large`` for a radius in world units."""
    return SIZES[int(radius >= _MIDDLE)]


def study_caption(shape: str, colour: str, motions: tuple[str, ...]) -> str:
    """Make the study caption of these attributes."""
    return f"a {colour} {shape} {', then '.join(motions)}"


ATTRIBUTES: dict[str, tuple[str, ...]] = {"size": SIZES, "colour": tuple(COLOURS), "shape": SHAPES, "motion": MOTIONS}
"""What a state of a clip says, with the words for it."""


def attributes_of(state: str) -> tuple[str | None, ...]:
    """Return what a text says of each of ``ATTRIBUTES``: the first of its words that the text has, or None."""
    text = f" {' '.join(re.findall(r'[a-z]+', state.lower()))} "
    found = []
    for words in ATTRIBUTES.values():
        places = {text.index(f" {word} "): word for word in words if f" {word} " in text}
        found.append(places[min(places)] if places else None)
    return tuple(found)


def motions_of(caption: str) -> list[str]:
    """Return the motions that a caption names, in their order."""
    return [motion for part in caption.split(", then ") for motion in MOTIONS if part.endswith(motion)]


def labels(shape: str, colour: str, motions: tuple[str, ...]) -> dict[str, str]:
    """Return the labels of a scene: the first motion is its category."""
    return dict(zip(LABELS, (motions[0], shape, colour, str(len(motions))), strict=True))


class _Draws:
    """Uniform random numbers of one scene, used in order."""

    def __init__(self, numbers: Floats) -> None:
        self._numbers = iter(numbers.tolist())

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(next(self._numbers))

    def index(self, count: int) -> int:
        return min(int(next(self._numbers) * count), count - 1)

    def pick(self, words: tuple[str, ...]) -> str:
        return words[self.index(len(words))]


def draw_scene(split: Split, index: int, seed: int = 0) -> Scene:
    """Draw scene number ``index`` of a split; it depends only on these arguments.

    Args:
        split: Key of the random stream, so that train and test share no draw.
        index: Number of the scene, from 0; independent of how many scenes are drawn.
        seed: Seed of the scenes.
    """
    draws = _Draws(Streams(seed).generator(f"shapes/{split}", index).random(_NUM_DRAWS))
    shape, colour = draws.pick(SHAPES), draws.pick(tuple(COLOURS))
    motions = draw_motions(draws.between(0, 1), draws.between(0, 1), draws.between(0, 1))
    fill, second = draws.pick(FILLS), draws.pick(("banded", "halved"))
    if shape == "circle" and "turns" in motions and fill in ("solid", "rimmed"):
        fill = second  # the turn of a uniform circle would be invisible
    changes = tuple(_change(motion, len(motions), draws) for motion in motions)
    radius = draws.between(_SMALLEST, _LARGEST)
    start = _start(changes, radius, draws)
    bright = draws.between(0.90, 1.0)
    rgb = tuple(min(1.0, channel * bright + draws.between(0, 0.05)) for channel in COLOURS[colour])
    return Scene(
        shape=shape,
        colour=colour,
        motions=motions,
        fill=fill,
        radius=radius,
        start=start,
        angle=draws.between(-0.2, 0.2),
        changes=changes,
        rgb=(rgb[0], rgb[1], rgb[2]),
        shade=draws.between(0.60, 0.72),
        background=_background(np.asarray(rgb), draws),
    )


def draw_paced_scene(split: Split, index: int, seed: int = 0, *, frames: int, frames_per_motion: int) -> Scene:
    """Draw a scene at a constant pace, with as many motions one after another as ``frames`` frames show.

    A longer clip of a scene begins with the frames of the shorter one. Appearance, start and first motion are those of
    ``draw_scene``. Each further motion has its own random stream, differs from the motion before, and keeps the shape
    on the canvas and its radius within the limits of ``draw_scene``.

    Args:
        split: Key of the random stream.
        index: Number of the scene, from 0.
        seed: Seed of the scenes.
        frames: Frames of the clip, at least 1; frame i is in motion i / ``frames_per_motion``.
        frames_per_motion: Frames from the start of a motion to the start of the next, at least 1.
    """
    scene = draw_scene(split, index, seed)
    motions, changes = [scene.motions[0]], [scene.changes[0]]
    turns_show = scene.shape != "circle" or scene.fill in ("banded", "halved")
    while len(motions) * frames_per_motion < frames - 1:
        x, y, growth, _ = np.sum(changes, axis=0).tolist()
        state = scene.start[0] + x, scene.start[1] + y, scene.radius * float(np.exp(growth))
        draws = _Draws(Streams(seed).generator(f"shapes/{split}/motion", index, len(motions)).random(_NUM_MOTION_DRAWS))
        motion, change = _next_motion(state, motions[-1], turns_show, draws)
        motions.append(motion)
        changes.append(change)
    return replace(scene, motions=tuple(motions), changes=tuple(changes), frames_per_motion=frames_per_motion)


def _next_motion(
    state: tuple[float, float, float], before: str, turns_show: bool, draws: _Draws
) -> tuple[str, tuple[float, float, float, float]]:
    """Draw a motion that differs from the one before and keeps the shape on the canvas, and its change.

    Args:
        state: Centre x and y, radius.
        before: Motion of the phase before.
        turns_show: Whether a turn of the shape is visible.
        draws: Random numbers of the phase.
    """
    x, y, radius = state
    margin = radius + _MARGIN
    space = {
        "moves left": x - margin,
        "moves right": CANVAS - margin - x,
        "rises": y - margin,
        "drops": CANVAS - margin - y,
    }
    most_growth = float(np.log((min(x, y, CANVAS - x, CANVAS - y) - _MARGIN) / radius))
    largest = float(np.log(_LARGEST * _GROWTH[1] / radius))
    smallest = float(np.log(radius / (_SMALLEST / _GROWTH[1])))
    least_growth = float(np.log(_GROWTH[0]))
    allowed = {
        **{motion: room >= _SHIFT[0] for motion, room in space.items()},
        "grows": min(most_growth, largest) >= least_growth,
        "shrinks": smallest >= least_growth,
        "turns": turns_show,
        "stays": True,
    }
    motion = draws.pick(tuple(m for m in MOTIONS if allowed[m] and m != before))
    shift = draws.between(_SHIFT[0], max(_SHIFT[0], min(_SHIFT[1], space.get(motion, 0.0))))
    growth = float(np.log(draws.between(*_GROWTH)))
    limit = {"grows": min(most_growth, largest), "shrinks": smallest}.get(motion, growth)
    return motion, _step(motion, shift, min(growth, limit), _turn(draws))


def draw_motions(phases: float, first: float, second: float) -> tuple[str, ...]:
    """Choose one or two different motions from three uniform numbers in [0, 1)."""
    motion = MOTIONS[min(int(first * len(MOTIONS)), len(MOTIONS) - 1)]
    if phases < 0.5:
        return (motion,)
    others = [m for m in MOTIONS if m != motion]
    return motion, others[min(int(second * len(others)), len(others) - 1)]


def _change(motion: str, phases: int, draws: _Draws) -> tuple[float, float, float, float]:
    """Draw shift, change of log radius and turn over one phase."""
    shift = draws.between(*_SHIFT) if phases == 1 else draws.between(5.0, 8.0)
    growth = float(np.log(draws.between(*_GROWTH)))
    return _step(motion, shift, growth, _turn(draws))


def _turn(draws: _Draws) -> float:
    """Draw an angle in radians, in either direction."""
    return draws.between(0.9, 1.5) * (1 if draws.between(0, 1) < 0.5 else -1)


def _step(motion: str, shift: float, growth: float, turn: float) -> tuple[float, float, float, float]:
    """Return the change of a motion: shift in x and y, change of log radius, turn."""
    steps = {
        "moves left": (-shift, 0.0, 0.0, 0.0),
        "moves right": (shift, 0.0, 0.0, 0.0),
        "rises": (0.0, -shift, 0.0, 0.0),
        "drops": (0.0, shift, 0.0, 0.0),
        "grows": (0.0, 0.0, growth, 0.0),
        "shrinks": (0.0, 0.0, -growth, 0.0),
        "turns": (0.0, 0.0, 0.0, turn),
        "stays": (0.0, 0.0, 0.0, 0.0),
    }
    return steps[motion]


def _start(changes: tuple[tuple[float, float, float, float], ...], radius: float, draws: _Draws) -> tuple[float, float]:
    """Draw a start position from which the whole path stays on the canvas."""
    path = np.concatenate([np.zeros((1, 4)), np.cumsum(np.asarray(changes), axis=0)])
    margin = _MARGIN + radius * float(np.exp(max(0.0, path[:, 2].max())))
    low = margin - path[:, :2].min(axis=0)
    high = np.maximum(CANVAS - margin - path[:, :2].max(axis=0), low)
    return draws.between(low[0], high[0]), draws.between(low[1], high[1])


def _background(rgb: Floats, draws: _Draws) -> Background:
    """Draw candidate backgrounds and return the first with enough contrast to the shape's colour, else the best."""
    texture, angle = draws.pick(TEXTURES), draws.between(0.0, np.pi)
    period = draws.between(12.0, 20.0)
    phase = (draws.between(0, 2 * np.pi), draws.between(0, 2 * np.pi), draws.between(0, 2 * np.pi))
    step = draws.between(0.08, 0.15)
    best: tuple[float, Background] | None = None
    for _ in range(_CANDIDATES):
        hue, brightness = draws.pick(BACKGROUND_HUES), draws.pick(tuple(BRIGHTNESS))
        degrees = HUES[hue] + draws.between(-16, 16) if hue != "grey" else draws.between(0, 360)
        saturation = draws.between(0.28, 0.58) * (0.0 if hue == "grey" else 1.0)
        value = draws.between(*BRIGHTNESS[brightness])
        other = value if texture == "plain" else value + (-step if value > 0.5 else step)
        first, second = hsv(degrees, saturation, value), hsv(degrees + 12.0, saturation, other)
        contrast = min(float(np.linalg.norm(rgb - np.asarray(c))) for c in (first, second))
        ground = Background(hue, brightness, texture, first, second, angle, period, phase)
        if best is None or contrast > best[0]:
            best = contrast, ground
        if contrast >= _CONTRAST:
            return ground
    assert best is not None
    return best[1]


def hsv(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """Convert a hue in degrees, a saturation and a value in [0, 1] to RGB in [0, 1]."""
    k = (np.array([5.0, 3.0, 1.0]) + hue / 60.0) % 6.0
    r, g, b = value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0)
    return float(r), float(g), float(b)
