"""Loading of the network of a metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from trainables.metrics import ExtractorRef, MetricKey
from trainables.metrics.extractors import (
    ClassifierExtractor,
    ClipExtractor,
    FrameExtractor,
    I3DExtractor,
    ImageTextExtractor,
    InceptionExtractor,
)
from trainables.metrics.interpolation import Interpolator
from trainables.metrics.quality import AestheticExtractor, DinoExtractor, ImagingExtractor
from trainables.metrics.raft import Raft
from trainables.metrics.vjepa import VJepaExtractor

Network: TypeAlias = FrameExtractor | ClipExtractor | Interpolator | Raft

_BY_KIND: dict[str, Callable[[ExtractorRef, str], Network]] = {
    "clip": ImageTextExtractor,
    "inception": InceptionExtractor,
    "i3d": I3DExtractor,
    "classifier": ClassifierExtractor,
    "dino": DinoExtractor,
    "musiq": ImagingExtractor,
    "aesthetic": AestheticExtractor,
    "amt": Interpolator,
    "vjepa": VJepaExtractor,
    "raft": Raft,
}


def load_extractor(key: MetricKey, device: str = "auto") -> Network:
    """Load the network of a metric from its folder, file or hub id.

    Args:
        key: A resolved metric with an extractor.
        device: A torch device; ``auto`` is the GPU if there is one.

    Raises:
        ValueError: The folder, file or hub id is missing, incomplete or another network; the message names the source
            of the right one.
    """
    import torch

    ref = key.extractor
    assert ref is not None, f"{key.key} needs no extractor"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return _BY_KIND[ref.kind](ref, device)
