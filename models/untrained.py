"""Models of trained systems that need no training, such as baselines."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from models.bases import Protocol
from models.contracts import Clips, Sample, Tensors
from models.streams import Draws, Streams


class UntrainedModel:
    """A ``TrainedModel`` without anything to train, and without a network."""

    def __init__(self) -> None:
        self.network = nn.Module()

    @property
    def learnt(self) -> frozenset[str]:
        """No names: nothing is trained."""
        return frozenset()

    def encode(self, clips: Clips) -> Tensors:
        """Return no tensors."""
        return {}

    def batch(self, encoded: Tensors, draws: Draws) -> Tensors:
        """Return no tensors."""
        return {}

    def prepare(self, texts: Sequence[str], num_frames: int) -> dict[str, float]:
        """Do nothing."""
        return {}

    def load(self, trained: Tensors) -> None:
        """Check that nothing was trained."""
        if trained:
            raise ValueError(f"weights of another model: {len(trained)} names differ, such as {min(trained)}")

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Refuse, and say what to export instead.

        Raises:
            ValueError: Always.
        """

    @abstractmethod
    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Sample one clip per prompt."""
