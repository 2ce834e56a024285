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
    from models.streams import Streams


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
        call: Latents (b f c h w), time (b,), text states of the prompts (b l c) -> noise (b f c h w).
    """

    modules: "Mapping[str, torch.nn.Module]"
    call: "Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]"


@dataclass(frozen=True)
class Batch:
    """Clips to train on, with everything that is drawn for them.

    Shape:
        latents (b f c h w), clean and scaled; text (b l c); noise like latents; time (b,).
    """

    latents: "torch.Tensor"
    text: "torch.Tensor"
    noise: "torch.Tensor"
    time: "torch.Tensor"


class TrainedModel(VideoModel, typing.Protocol):
    """A built system that is trained before it draws.

    Attributes:
        network: What is trained, in one module: called with the tensors of a ``Batch`` it gives the loss (), and what
            of it is trained requires a gradient.
        learnt: Names of its parameters that differ after warm-up and training from what a new model has.
    """

    @property
    def network(self) -> "torch.nn.Module": ...  # noqa: D102  # described above

    @property
    def learnt(self) -> "frozenset[str]": ...  # noqa: D102  # described above

    def warm_up(self, text: "torch.Tensor") -> dict[str, float]:
        """What comes once before the first training step, the same on every rank.

        Args:
            text: Text states of training clips (n l c).

        Returns:
            Figures about it, by name.
        """
        ...

    def load(self, trained: "Mapping[str, torch.Tensor]") -> None:
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
