"""What a model reads and makes of a clip before it samples: its states, and the condition of each frame.

Legend: ``b`` clips, ``f`` frames, ``s`` states, ``c`` channels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.aid.states import split_states
from trainables.data.scenes import ATTRIBUTES, attributes_of
from trainables.metrics.clips import Array

FOLDS = 5
"""Parts of a cell's clips: each is predicted by a probe that was fitted on the others."""

RIDGES = (1.0, 1e-2, 1e-4, 1e-6)
"""Penalties of the weights among which the probe chooses, by the number of frames; features have variance 1."""


@dataclass(frozen=True)
class Inside:
    """States of a cell's clips, and the condition of each frame.

    Args:
        states: States that the model reads, of each clip; empty lists without states.
        oracle: Description of the true frames in parts, of each clip.
        condition: Features of the condition of each frame, float32 (b f c); None if no metric reads it.
    """

    states: Sequence[Sequence[str]]
    oracle: Sequence[str]
    condition: npt.NDArray[np.float32] | None = None


def state_accuracy(inside: Inside, frames: int, attribute: str | None = None) -> Array:
    """Compare the state of each frame with the description of the true frames.

        value_k,i = mean over attributes a of [ a of state floor(i S / (f - 1)) = a of part floor(i P / (f - 1)) ]

    Args:
        inside: States and descriptions.
        frames: f.
        attribute: One of ``ATTRIBUTES``; all by default.

    Shape:
        (b f), in [0, 1]; 0 without states.
    """
    right = np.array(
        [
            [
                [said == true for said, true in zip(attributes_of(one), attributes_of(other), strict=True)]
                for one, other in zip(_at_frames(states, frames), _at_frames(split_states(oracle), frames), strict=True)
            ]
            for states, oracle in zip(inside.states, inside.oracle, strict=True)
        ]
    )
    chosen = right if attribute is None else right[..., [[*ATTRIBUTES].index(attribute)]]
    return np.array(chosen.mean(axis=-1), dtype=np.float64)


def frame_labels(inside: Inside, frames: int) -> list[list[int]]:
    """Return the number of each frame, of each clip."""
    return [[*range(frames)] for _ in inside.oracle]


def phase_labels(inside: Inside, frames: int) -> list[list[str]]:
    """Return the motion that is under way at each frame, of each clip."""
    motion = [*ATTRIBUTES].index("motion")
    return [
        [str(attributes_of(part)[motion]) for part in _at_frames(split_states(oracle), frames)]
        for oracle in inside.oracle
    ]


def probe(condition: npt.NDArray[np.float32], labels: Sequence[Sequence[object]]) -> Array:
    """Predict the label of each frame from its condition by linear regression, on clips that it was not fitted on.

        W = argmin || X W - Y ||^2 + l n || W ||^2,   value_k,i = [ argmax_y (x_ki W)_y = y_ki ]

    X are the features, standardised, with a constant; Y has a column for each label. Clip k is in fold k mod 5. For
    each fold the penalty l is the one that predicts the next fold best from the other three.

    Args:
        condition: Features of each frame.
        labels: Label of each frame, of each clip.

    Shape:
        condition (b f c) -> (b f), 1 where the label is right, else 0.
    """
    known = {label: number for number, label in enumerate(dict.fromkeys(y for of_clip in labels for y in of_clip))}
    y = np.array([[known[label] for label in of_clip] for of_clip in labels])
    x, right, fold = condition.astype(np.float64), np.zeros(y.shape), np.arange(len(y)) % FOLDS
    folds = min(FOLDS, len(y))
    for part in range(folds):
        own, held_out = fold == part, fold == (part + 1) % folds
        rest = ~own & ~held_out
        ridge = max(RIDGES, key=functools.partial(_share, x, y, rest, held_out)) if rest.any() else RIDGES[0]
        right[own] = _right(x, y, ~own, own, ridge)
    return right


def _share(x: Array, y: npt.NDArray[np.int64], fitted: Any, tested: Any, ridge: float) -> float:
    """Return the share of right labels; see ``_right``."""
    return float(_right(x, y, fitted, tested, ridge).mean())


def _right(
    x: Array, y: npt.NDArray[np.int64], fitted: npt.NDArray[np.bool_], tested: npt.NDArray[np.bool_], ridge: float
) -> npt.NDArray[np.bool_]:
    """Fit weights on some clips, and return for other clips whether each frame's label is right."""
    scaled = _standardised(x, fitted)
    rows = scaled[fitted].reshape(-1, scaled.shape[-1])
    penalty = ridge * len(rows) * np.eye(scaled.shape[-1])
    penalty[-1, -1] = 0.0  # of the constant
    weights = np.linalg.solve(rows.T @ rows + penalty, rows.T @ np.eye(y.max() + 1)[y[fitted].ravel()])
    right: npt.NDArray[np.bool_] = (scaled[tested] @ weights).argmax(axis=-1) == y[tested]
    return right


def chance(labels: Sequence[Sequence[object]]) -> float:
    """Return the share of the most frequent label: what a probe of a constant reaches."""
    flat = [label for of_clip in labels for label in of_clip]
    return max(flat.count(label) for label in dict.fromkeys(flat)) / len(flat)


def _standardised(x: Array, fitted: npt.NDArray[np.bool_]) -> Array:
    """Scale features to mean 0 and variance 1 over the clips that are fitted, and append a constant.

    Shape:
        (b f c) -> (b f c + 1).
    """
    mean, deviation = x[fitted].mean(axis=(0, 1)), x[fitted].std(axis=(0, 1))
    scaled = (x - mean) / np.where(deviation > 0, deviation, 1.0)
    return np.concatenate([scaled, np.ones((*x.shape[:2], 1))], axis=-1)


def _at_frames(parts: Sequence[str], frames: int) -> list[str]:
    """Return the part of a clip that each frame is in; parts have equal lengths. Empty texts without parts."""
    n = len(parts)
    return [parts[min(n - 1, frame * n // max(1, frames - 1))] if n else "" for frame in range(frames)]
