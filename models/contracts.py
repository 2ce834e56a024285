"""Interfaces of built systems: models that sample, models that are trained first, and their inputs and outputs."""

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
"""Tensors by name; the first axis of each is the clip."""


@dataclass(frozen=True)
class Sample:
    """Sampled videos, one per prompt, with sampling statistics per clip.

    Shape:
        video (b f c h w), float32 on the CPU, in [-1, 1]; each of statistics (b,).
    """

    video: "torch.Tensor"
    statistics: "dict[str, np.ndarray[Any, np.dtype[np.float64]]]" = field(default_factory=dict)


class VideoModel(typing.Protocol):
    """A built system, which samples videos."""

    def sample(
        self, prompts: Sequence[str], streams: "Streams", protocol: "Protocol", given: "torch.Tensor | None" = None
    ) -> Sample:
        """Sample one clip per prompt.

        Args:
            prompts: One text per clip; it conditions all frames of the clip.
            streams: Source of all randomness.
            protocol: Frames, steps, guidance and size.
            given: First frames of the clips, for a system that needs them (``System.given_frames``).

        Shape:
            given (b r c h w), float32 on the CPU, in [-1, 1].

        Raises:
            NonFiniteError: A value became NaN or infinite.
        """
        ...


class FurtherReader(typing.Protocol):
    """A built system that also reads further texts of the clips that it continues (``System.further_texts``)."""

    def sample(
        self,
        prompts: Sequence[str],
        streams: "Streams",
        protocol: "Protocol",
        given: "torch.Tensor | None" = None,
        further: "Mapping[str, Sequence[str]] | None" = None,
    ) -> Sample:
        """Sample one clip per prompt; see ``VideoModel.sample``.

        Args:
            prompts: One text per clip.
            streams: Source of all randomness.
            protocol: Frames, steps, guidance and size.
            given: First frames of the clips.
            further: Further texts by name, one per clip.

        Raises:
            ValueError: A further text that the system reads is missing.
        """
        ...


class Conditioned(typing.Protocol):
    """A built system whose condition of each frame can be inspected (``System.inside``)."""

    def condition_of(
        self,
        prompts: Sequence[str],
        protocol: "Protocol",
        given: "torch.Tensor",
        further: Mapping[str, Sequence[str]],
    ) -> "torch.Tensor":
        """Return features of the condition of each frame.

        Args:
            prompts: One text per clip.
            protocol: Frames and size.
            given: First frames of the clips.
            further: Further texts by name, one per clip.

        Shape:
            given (b r c h w) -> (b f d), float32 on the CPU.
        """
        ...


@dataclass(frozen=True)
class MetaDenoiser:
    """A denoiser without weights.

    Args:
        modules: Its modules by name.
        denoise_clip: Runs one denoising pass of one clip on the meta device.
    """

    modules: "Mapping[str, torch.nn.Module]"
    denoise_clip: "Callable[[], Any]"


@dataclass(frozen=True)
class Clips:
    """Real clips to train on.

    Args:
        video: Pixels.
        texts: One text per clip.
        further: Further texts by name, such as predicted states, one per clip.

    Shape:
        video (b f 3 h w), float32 on the CPU, in [-1, 1].
    """

    video: "torch.Tensor"
    texts: Sequence[str]
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)


class TrainedModel(VideoModel, typing.Protocol):
    """A built system that is trained before it samples; it chooses the tensors it is trained on.

    Attributes:
        network: Module that is trained: called with the tensors of ``batch`` by name it returns the loss ().
            Parameters that are trained require a gradient.
        learnt: Names of its parameters that preparation and training change.
    """

    @property
    def network(self) -> "torch.nn.Module": ...  # noqa: D102  # described above

    @property
    def learnt(self) -> "frozenset[str]": ...  # noqa: D102  # described above

    def encode(self, clips: Clips) -> Tensors:
        """Encode clips into tensors that are computed once and cached.

        They depend only on the clips, the base, and the slots and values in ``TrainedSystem.encoded_by``.

        Returns:
            Tensors on the CPU, in the precision in which they are cached; (b ...).
        """
        ...

    def batch(self, encoded: Tensors, draws: "Draws") -> Tensors:
        """Make the inputs of the network from encoded clips and random draws.

        Args:
            encoded: Tensors from ``encode``.
            draws: Random draws, keyed by the position of each clip in the training.

        Returns:
            Tensors on the network's device; (b ...).
        """
        ...

    def prepare(self, texts: Sequence[str], num_frames: int) -> dict[str, float]:
        """One-off initialisation before optimisation; identical on every rank.

        Args:
            texts: Texts of some training clips.
            num_frames: Frames of a clip, given ones included.

        Returns:
            Statistics by name.
        """
        ...

    def load(self, trained: Tensors) -> None:
        """Load learnt parameters, by their names in ``network``.

        Raises:
            ValueError: The names are not exactly ``learnt``.
        """
        ...

    def save(self, folder: "Path") -> None:
        """Save the whole model in diffusers' layout, one folder per network, for ``from_pretrained``.

        Raises:
            ValueError: The system has no model to save.
        """
        ...
