"""The built ZS² system: a sampler on a frozen text-to-image base."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from einops import repeat

from models.attention import FrameMix, FrameMixProcessor, self_attention_layers
from models.backbones import attached
from models.bases import Protocol
from models.bases.stable_diffusion import StableDiffusion, meta_inputs
from models.contracts import MetaDenoiser, Sample
from models.streams import Streams
from models.zs2.noise import NoiseModel


@dataclass(frozen=True)
class ZS2Sampler:
    """Samples video from a text-to-image base: start noise, attention across frames, and standard DDIM.

    Args:
        base: Loaded base; not changed.
        noise: Draws the start noise.
        mix: Rule that mixes frames in self-attention; None keeps the base's own attention.
    """

    base: StableDiffusion
    noise: NoiseModel
    mix: FrameMix | None

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Sample one clip per prompt; the statistics are those of the start noise, and ``given`` is ignored.

        Raises:
            ValueError: The size is not a multiple of the latent cell, or the U-Net has no self-attention to change.
            NonFiniteError: A latent became NaN or infinite.
        """
        base = self.base
        start = self.noise.sample(streams, len(prompts), protocol.frames, base.latent_shape(protocol))
        with attached(base.unet, self._processors(protocol.frames)):
            video = base.draw(start.latents, base.encode_text(prompts), protocol)
        return Sample(video, start.statistics)

    def _processors(self, num_frames: int) -> dict[str, FrameMixProcessor]:
        processors = _processors(self.base.unet, self.mix, num_frames)
        if self.mix is not None and not processors:
            raise ValueError(f"the U-Net of base {self.base.ref} has no self-attention -> attention: removed")
        return processors


def _processors(unet: UNet2DConditionModel, mix: FrameMix | None, num_frames: int) -> dict[str, FrameMixProcessor]:
    if mix is None:
        return {}
    return dict.fromkeys(self_attention_layers(unet), FrameMixProcessor(mix(num_frames).to(unet.device)))


def meta_denoiser(networks: Mapping[str, Any], mix: FrameMix | None, protocol: Protocol) -> MetaDenoiser:
    """Build a denoising pass on the meta device.

    Args:
        networks: Networks of the base by name, on the meta device.
        mix: Rule that mixes frames in self-attention; None keeps the base's own attention.
        protocol: Frames and size of a clip.
    """
    unet = copy.deepcopy(networks["unet"])
    unet.set_attn_processor({**unet.attn_processors, **_processors(unet, mix, protocol.frames)})
    latents, time, text = meta_inputs(networks, protocol)
    states = repeat(text, "b l c -> (b f) l c", f=protocol.frames)
    times = repeat(time, "b -> (b f)", f=protocol.frames)
    return MetaDenoiser({"unet": unet}, lambda: unet(latents.flatten(0, 1), times, states, return_dict=False))
