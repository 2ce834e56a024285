"""Inflation of an image U-Net to clips: its own layers act frame by frame, and temporal parts are attached to it.

Frames are folded into the batch, so that convolutions and spatial attention act on each frame separately, and every
frame has its own text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from einops import rearrange, repeat
from torch import nn
from torch.nn import functional as F


@dataclass
class FrameCount:
    """Frames per clip of the current batch; the frames of a clip are adjacent."""

    num_frames: int = 1


class PooledGroupNorm(nn.Module):
    """Group norm whose statistics are taken over all frames of a clip, with the weights of an image's group norm.

    This couples frames weakly, in both time directions. Seer's released code does the same.

    Args:
        norm: Norm of the image network; its parameters are shared and keep their names.
        clips: Frames per clip of the batch.

    Shape:
        ((b f) c h w) or (b f c h w) -> the same.
    """

    def __init__(self, norm: nn.GroupNorm, clips: FrameCount) -> None:
        super().__init__()
        self.num_groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias
        self.clips = clips

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        video = images if images.ndim == 5 else rearrange(images, "(b f) c h w -> b f c h w", f=self.clips.num_frames)
        pooled = rearrange(video, "b f c h w -> b c f h w").contiguous()
        normed = rearrange(
            F.group_norm(pooled, self.num_groups, self.weight, self.bias, self.eps), "b c f h w -> b f c h w"
        )
        return normed if images.ndim == 5 else rearrange(normed, "b f c h w -> (b f) c h w")


class FrameGroupNorm(nn.Module):
    """Group norm of each frame separately, with the weights of an image's group norm.

    Args:
        norm: Norm of the image network; its parameters are shared and keep their names.
        clips: Not used.

    Shape:
        ((b f) c h w) or (b f c h w) -> the same.
    """

    def __init__(self, norm: nn.GroupNorm, clips: FrameCount) -> None:
        super().__init__()
        self.num_groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        # Contiguous: torch 2.13 crashes on the backward of channels-last features that need no gradient themselves.
        frames = images.flatten(0, -4).contiguous()
        return F.group_norm(frames, self.num_groups, self.weight, self.bias, self.eps).reshape(images.shape)


ImageNorm = Callable[[nn.GroupNorm, FrameCount], nn.Module]
"""A rule that replaces a norm of an image network."""


class SpatialThenTemporal(nn.Module):
    """A spatial transformer of the image network, followed by a temporal one.

    Args:
        spatial: Transformer of the image network.
        temporal: (b f c h w) -> the same.
        clips: Frames per clip of the batch.
    """

    def __init__(self, spatial: Transformer2DModel, temporal: nn.Module, clips: FrameCount) -> None:
        super().__init__()
        self.spatial, self.temporal, self.clips = spatial, temporal, clips

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor]:
        """Apply both; the arguments are those of the spatial transformer."""
        images = self.spatial(hidden_states, *args, **{**kwargs, "return_dict": False})[0]
        video = self.temporal(rearrange(images, "(b f) c h w -> b f c h w", f=self.clips.num_frames))
        return (rearrange(video, "b f c h w -> (b f) c h w"),)


class InflatedUNet(nn.Module):
    """A denoiser of clips with the weights of a denoiser of images.

    Args:
        unet: The image network; it becomes part of this one and is changed.
        temporal: Makes the temporal part after each spatial transformer, from its channels; None for none.
        norm: Makes the replacement of each norm of the image network.

    Shape:
        latents (b f c h w), time (b,) or (), text (b f l c) -> (b f c h w).

    Source: Seer (arXiv 2303.14897), section on inflation; departures: none.
    """

    def __init__(
        self, unet: UNet2DConditionModel, temporal: Callable[[int], nn.Module] | None, norm: ImageNorm = PooledGroupNorm
    ) -> None:
        super().__init__()
        self.clips = FrameCount()
        if temporal is not None:
            for name, spatial in _of_type(unet, Transformer2DModel):
                _put(unet, name, SpatialThenTemporal(spatial, temporal(channels(spatial)), self.clips))
        for name, image_norm in _of_type(unet, nn.GroupNorm):
            _put(unet, name, norm(image_norm, self.clips))
        self.unet = unet

    def forward(self, latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Predict noise, or what else the base predicts, for every frame."""
        b, f = latents.shape[:2]
        self.clips.num_frames = f
        images = rearrange(latents, "b f c h w -> (b f) c h w")
        times = repeat(time.expand(b), "b -> (b f)", f=f)
        noise = self.unet(images, times, rearrange(text, "b f l c -> (b f) l c"), return_dict=False)[0]
        predicted: torch.Tensor = rearrange(noise, "(b f) c h w -> b f c h w", f=f)
        return predicted

    def temporal_parts(self) -> dict[str, nn.Module]:
        """Return the modules that the inflation has added, by name in this network."""
        named = self.named_modules()
        return {f"{name}.temporal": part.temporal for name, part in named if isinstance(part, SpatialThenTemporal)}

    def spatial_transformers(self) -> list[nn.Module]:
        """Return the transformers of the image network."""
        return [module for module in self.unet.modules() if type(module) is Transformer2DModel]

    def temporal_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the temporal parts."""
        return [parameter for part in self.temporal_parts().values() for parameter in part.parameters()]


def channels(spatial: Transformer2DModel) -> int:
    """Return the channels of a spatial transformer's feature maps."""
    return int(spatial.config.in_channels)


def attended_channels(unet: UNet2DConditionModel) -> list[int]:
    """Return the channels of every spatial transformer of an image network."""
    return [channels(spatial) for _, spatial in _of_type(unet, Transformer2DModel)]


def _of_type(network: nn.Module, kind: type[nn.Module]) -> list[tuple[str, Any]]:
    """List the modules of exactly this type, by name, before any is replaced."""
    return [(name, module) for name, module in network.named_modules() if type(module) is kind]


def _put(network: nn.Module, name: str, part: nn.Module) -> None:
    """Replace a module of a network."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, part)
