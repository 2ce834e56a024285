"""Clips for training and measuring the base, in memory, with their labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.data.scenes import COLOURS, MOTIONS, SHAPES, Scene, Split
from trainables.data.shapes import read_dataset, scene_of, write_dataset

_MENTIONED = 0.6  # probability that a rich caption mentions a given open attribute


@dataclass(frozen=True)
class Corpus:
    """Decoded clips, their scenes and labels.

    Shape:
        clips (n f h w 3) uint8; shape and colour (n,); motion (n, 2), the motions of the two halves.
    """

    clips: torch.Tensor
    scenes: tuple[Scene, ...]
    shape: torch.Tensor
    colour: torch.Tensor
    motion: torch.Tensor

    def __len__(self) -> int:
        return len(self.scenes)

    def frames(self, clip: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
        """Return single frames as float images.

        Shape:
            (b,), (b,) -> (b c h w) in [-1, 1].
        """
        return as_float(self.clips[clip, frame])

    def videos(self, clip: torch.Tensor) -> torch.Tensor:
        """Return whole clips.

        Shape:
            (b,) -> (b f c h w) in [-1, 1].
        """
        return as_float(self.clips[clip])

    def rich_caption(self, clip: int, rng: np.random.Generator) -> str:
        """Make a caption that mentions each open attribute with a fixed probability."""
        mentions: NDArray[np.bool_] = rng.random(5) < _MENTIONED
        return self.scenes[clip].rich_caption(mentions)


def as_float(pixels: torch.Tensor) -> torch.Tensor:
    """Convert pixels of files to the networks' input.

    Shape:
        (... h w 3) uint8 -> (... 3 h w) in [-1, 1].
    """
    return pixels.movedim(-1, -3).float().div_(127.5).sub_(1.0)


def as_pixels(video: torch.Tensor) -> torch.Tensor:
    """Invert ``as_float``, with rounding.

    Shape:
        (... 3 h w) in [-1, 1] -> (... h w 3) uint8.
    """
    return video.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).movedim(-3, -1)


def load_corpus(
    folder: Path, num_clips: int, split: Split, seed: int, frames: int = 8, frames_per_motion: int | None = None
) -> Corpus:
    """Write the clips as H.264 files unless they exist, and decode them.

    Args:
        folder: Parent folder of the files.
        num_clips: Number of clips, at least 1.
        split: Training or held-out scenes.
        seed: Seed of the scenes.
        frames: Frames per clip.
        frames_per_motion: Frames of each motion at a constant pace; None: one or two motions span the clip.
    """
    name = f"shapes_{split}_{num_clips}_seed{seed}_f{frames}"
    if frames_per_motion is not None:
        name += f"_pace{frames_per_motion}"
    written = write_dataset(
        folder / name, num_clips, split, seed=seed, frames=frames, frames_per_motion=frames_per_motion
    )
    pixels, _ = read_dataset(written, frames)
    scenes = tuple(
        scene_of(split, index, seed, frames=frames, frames_per_motion=frames_per_motion) for index in range(num_clips)
    )
    return Corpus(
        clips=torch.from_numpy(pixels),
        scenes=scenes,
        shape=torch.tensor([SHAPES.index(s.shape) for s in scenes]),
        colour=torch.tensor([tuple(COLOURS).index(s.colour) for s in scenes]),
        motion=torch.tensor([[MOTIONS.index(s.motions[0]), MOTIONS.index(s.motions[-1])] for s in scenes]),
    )
