"""Motion accuracy: parts of clips by hand, and true clips against the same ones reversed and shuffled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.bases import find_base, read_card
from trainables.data import ShapesData
from trainables.data.layout import ClipSize
from trainables.data.scenes import MOTIONS, motions_of
from trainables.metrics import Extractors, resolve
from trainables.metrics.distances import frechet_distance
from trainables.metrics.extractors import ClassifierExtractor
from trainables.metrics.loading import load_extractor
from trainables.metrics.order import motion_accuracy
from trainables.metrics.resampling import floor_of

LEFT, RIGHT, DROPS = (MOTIONS.index(word) for word in ("moves left", "moves right", "drops"))


def marked(frames: int) -> Any:
    """One clip whose frames have their number in every pixel."""
    return np.broadcast_to(np.arange(frames, dtype=np.uint8)[None, :, None, None, None], (1, frames, 2, 2, 3))


@pytest.mark.parametrize(
    ("prompt", "frames", "parts"),
    [
        ("a red circle drops", 7, [(0, 7)]),
        ("a red circle drops, then moves left", 8, [(0, 8)]),
        ("a red circle drops, then moves left, then drops", 12, [(0, 8), (8, 12)]),
        ("a red circle drops, then moves left, then drops", 24, [(0, 8), (8, 16), (16, 24)]),
        ("a red circle drops, then moves left, then drops, then moves left", 16, [(0, 8), (8, 16)]),
    ],
)
def test_clips_are_cut_into_parts_as_the_classifier_knows_them(
    prompt: str, frames: int, parts: list[tuple[int, int]]
) -> None:
    seen: list[tuple[int, int]] = []

    def recognise(clips: Any) -> Any:
        seen.extend((int(clip[0, 0, 0, 0]), int(clip[-1, 0, 0, 0]) + 1) for clip in clips)
        return np.full((len(clips), 2), DROPS)

    values = motion_accuracy(marked(frames), [prompt], recognise)[0]
    assert sorted(seen) == parts
    motions = motions_of(prompt)
    wanted = [motions[frame * len(motions) // frames] == "drops" for frame in range(frames)]
    assert values.tolist() == wanted


def test_a_value_belongs_to_its_clip() -> None:
    clips = np.concatenate([marked(8), marked(8)])
    prompts = ["a circle moves left, then moves right", "a circle moves right, then moves left"]
    values = motion_accuracy(clips, prompts, lambda clips: np.tile([LEFT, LEFT], (len(clips), 1)))
    assert values.tolist() == [[1] * 4 + [0] * 4, [0] * 4 + [1] * 4]


@pytest.mark.parametrize("prompt", ["a red circle", "a dog barks", "a circle drops, then rises, then drops"])
def test_prompts_without_motions_are_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match="-> a prompt of data: shapes"):
        motion_accuracy(marked(2), [prompt], lambda clips: np.zeros((len(clips), 2), int))


@pytest.mark.parametrize(("pace", "frames", "reached"), [(None, 8, 0.8), (8, 8, 0.8), (8, 24, 0.8)])
def test_reversed_and_shuffled_clips_are_heard(pace: int | None, frames: int, reached: float, tmp_path: Any) -> None:
    """By the prompt of each clip; the set of reversed clips is as near to real ones as that of true clips."""
    network = load_extractor(resolve("motion_accuracy", read_card(find_base("shapes")), Extractors(), "shapes"), "cpu")
    assert isinstance(network, ClassifierExtractor)
    data = ShapesData(references=192, frames_per_motion=pace)
    true = data.reference_clips(ClipSize(frames, 32, 32), tmp_path)
    clips, prompts = true.all(), true.texts
    order = np.random.default_rng(0).permuted(np.tile(np.arange(frames), (len(clips), 1)), axis=1)
    shuffled = np.take_along_axis(clips, order[..., None, None, None], axis=1)
    accuracy = [
        motion_accuracy(played, prompts, network.motions).mean() for played in (clips, clips[:, ::-1], shuffled)
    ]
    assert accuracy[0] > reached
    # Of 192 clips a share has a standard error of at most 0.036.
    assert accuracy[0] - max(accuracy[1:]) > 8 * 0.036
    real, backwards = network.embed_clips(clips[:128]), network.embed_clips(clips[128:, ::-1])
    floor = floor_of(frechet_distance, network.embed_clips(clips), 64)
    assert floor is not None
    assert frechet_distance(real, backwards) < 2 * floor.mean, "the distance does not hear it"
