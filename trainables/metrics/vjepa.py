"""V-JEPA's features of clips, for JEDi.

Legend: ``n`` clips of a batch, ``f`` frames, ``h w`` pixels, ``c`` = 3 colours.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from trainables.metrics import ExtractorRef
from trainables.metrics.extractors import ClipExtractor, Pixels, load_torchscript, sha256_of
from trainables.metrics.quality import IMAGENET, normalised

SIDE = 224


class VJepaExtractor(ClipExtractor):
    """V-JEPA ViT-H/16 with the attentive pooler of its probe for Something-Something V2, a torchscript file.

    The network takes ``videos`` (n 3 f 224 224), normalised as for ImageNet, and returns the pooled features (n, 1280).

    Source: Luo et al. (arXiv 2410.05203), JEDi, and its released code; departures: frames are resized straight to 224 x
    224 here, bilinear and antialiased.
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        self._network = load_torchscript(ref, "vjepa", device, ("videos",))
        self.name = ref.name
        self.num_features = 1280
        self.sha256 = sha256_of([Path(ref.source).expanduser()])
        self.device = device
        self.parameters = {
            "preprocessing": {
                "resize": f"straight to {SIDE} x {SIDE}, bilinear, antialiased",
                **IMAGENET,
            },
            "features": "attentive pooler",
        }

    def _embed(self, batch: Pixels) -> Tensor:
        frames = torch.from_numpy(batch).to(self.device, torch.float32).movedim(-1, 2).flatten(0, 1) / 255
        frames = functional.interpolate(frames, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        videos = normalised(frames).reshape(*batch.shape[:2], *frames.shape[1:]).transpose(1, 2)
        return torch.as_tensor(self._network(videos))
