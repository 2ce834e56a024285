"""A small 3-D convolutional classifier of short clips: a feature extractor that replaces I3D."""

from typing import NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class ClipPrediction(NamedTuple):
    """Features and logits of a batch of clips."""

    features: torch.Tensor
    """(b d), d at most 64: the input of Frechet distances."""
    shape: torch.Tensor
    """(b shapes) logits."""
    colour: torch.Tensor
    """(b colours) logits."""
    motion: torch.Tensor
    """(b 2 motions) logits: first and second half of the clip."""


class VideoClassifier(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Classifies shape, colour and motion of a clip with strided 3-D convolutions.

    Each half of the clip is pooled separately, so that the order of two motions is kept and any number of frames is
    allowed; by mean, for the background, and by maximum, for small objects. A single frame is classified as a static
    clip.

    Args:
        block_out_channels: Width after each convolution; each convolution halves height and width.
        num_features: Width of the features, at most 64, so that a few hundred clips give a covariance of full rank.
        num_shapes: Classes of the shape head.
        num_colours: Classes of the colour head.
        num_motions: Classes of the motion head, per half.
        norm_num_groups: Groups of every normalisation.

    Shape:
        (b f c h w) in [-1, 1], h and w at least 2 to the number of convolutions -> ``ClipPrediction``.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (24, 48, 64, 96),
        num_features: int = 64,
        num_shapes: int = 4,
        num_colours: int = 6,
        num_motions: int = 8,
        norm_num_groups: int = 8,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for level, width in enumerate(block_out_channels):
            size = 5 if level == 0 else 3
            stride = (2 if level == 2 else 1, 2, 2)
            layers += [
                nn.Conv3d(before, width, (3, size, size), stride, (1, size // 2, size // 2)),
                nn.GroupNorm(norm_num_groups, width),
                nn.SiLU(),
            ]
            before = width
        self.blocks = nn.Sequential(*layers)
        self.features = nn.Linear(4 * before, num_features)
        self.shape = nn.Linear(num_features, num_shapes)
        self.colour = nn.Linear(num_features, num_colours)
        self.motion = nn.Linear(num_features, 2 * num_motions)

    def forward(self, video: torch.Tensor) -> ClipPrediction:
        """Compute features and logits of a batch of clips."""
        hidden = self.blocks(video.transpose(1, 2))
        mean = nn.functional.adaptive_avg_pool3d(hidden, (2, 1, 1)).flatten(1)
        most = nn.functional.adaptive_max_pool3d(hidden, (2, 1, 1)).flatten(1)
        features = self.features(torch.cat([mean, most], dim=1))
        active = nn.functional.silu(features)
        motion = self.motion(active).reshape(len(video), 2, -1)
        return ClipPrediction(features, self.shape(active), self.colour(active), motion)
