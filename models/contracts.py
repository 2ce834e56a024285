"""What a system becomes when it is built: models that draw, models that are trained first, and what goes in and out."""

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch

    from models.bases import Protocol
    from models.streams import Draws, Streams

Tensors = Mapping[str, "torch.Tensor"]
"""Tensors by name, one clip along the first axis of each."""


@dataclass(frozen=True)
class Sample:
    """What a model drew: one video per prompt, and figures per clip about how they were drawn.

    Shape:
        video (b f c h w), float32 on the CPU, in [-1, 1]; each of statistics (b,).
    """

    video: "torch.Tensor"
    statistics: "dict[str, np.ndarray[Any, np.dtype[np.float64]]]" = field(default_factory=dict)


class VideoModel(typing.Protocol):
    """A built system: it draws videos."""

    def sample(
        self, prompts: Sequence[str], streams: "Streams", protocol: "Protocol", given: "torch.Tensor | None" = None
    ) -> Sample:
        """Draw one clip per prompt.

        Args:
            prompts: One text per clip; it conditions all frames of its clip.
            streams: Where all randomness comes from.
            protocol: Frames, steps, guidance and size.
            given: The first frames of the clips, where the system asks for them (``System.given_frames``).

        Shape:
            given (b r c h w), float32 on the CPU, in [-1, 1].

        Raises:
            NonFiniteError: A value became NaN or infinite on the way.
        """
        ...


@dataclass(frozen=True)
class MetaDenoiser:
    """A denoiser without weights.

    Args:
        modules: What it is made of, by name.
        denoise_clip: One pass of one clip through them, on the meta device.
    """

    modules: "Mapping[str, torch.nn.Module]"
    denoise_clip: "Callable[[], Any]"


@dataclass(frozen=True)
class Clips:
    """Real clips to train on.

    Args:
        video: Their pixels.
        texts: What is said of each.
        further: Further texts by name, such as predicted states, one per clip.

    Shape:
        video (b f 3 h w), float32 on the CPU, in [-1, 1].
    """

    video: "torch.Tensor"
    texts: Sequence[str]
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)


class TrainedModel(VideoModel, typing.Protocol):
    """A built system that is trained before it draws. Which tensors it is trained on is its own affair.

    Attributes:
        network: What is trained, in one module: called with the tensors of ``batch`` by name it gives the loss (), and
            what of it is trained requires a gradient.
        learnt: Names of its parameters that differ after preparation and training from what a new model has.
    """

    @property
    def network(self) -> "torch.nn.Module": ...  # noqa: D102  # described above

    @property
    def learnt(self) -> "frozenset[str]": ...  # noqa: D102  # described above

    def encode(self, clips: Clips) -> Tensors:
        """What of clips is computed once and kept: it depends on the clips, the base and
        what ``TrainedSystem.encoded_by`` names, and on no draw.

        Returns:
            Tensors on the CPU, in the precision in which they are kept; (b ...).
        """
        ...

    def batch(self, encoded: Tensors, draws: "Draws") -> Tensors:
        """What the network is called with: encoded clips with everything that is drawn for them.

        Args:
            encoded: Of some clips, from ``encode``.
            draws: Keyed by each clip's position in the training.

        Returns:
            Tensors on the network's device; (b ...).
        """
        ...

    def prepare(self, texts: Sequence[str]) -> dict[str, float]:
        """One-off initialisation before optimisation; identical on every rank.

        Args:
            texts: Of some training clips.

        Returns:
            Figures about it, by name.
        """
        ...

    def load(self, trained: Tensors) -> None:
        """Put in what was learnt, by names in ``network``.

        Raises:
            ValueError: They are not exactly ``learnt``.
        """
        ...

    def save(self, folder: "Path") -> None:
        """Save the whole model in diffusers' layout, a folder per network, for its ``from_pretrained``.

        Raises:
            ValueError: There is no model.
        """
        ...
