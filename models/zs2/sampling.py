"""The built ZS² system: a sampler on a frozen text-to-image base."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from einops import repeat

from models.attention import FrameMix, FrameMixProcessor, self_attention_layers
from models.backbones import Base, attached, decode_latents, encode_text
from models.bases import Protocol
from models.built import MetaDenoiser, Sample
from models.diffusion import denoise, image_unet, latent_shape, micro_batch_rule
from models.streams import Streams
from models.zs2.noise import NoiseModel


@dataclass(frozen=True)
class ZS2Sampler:
    """Video from a text-to-image base: start noise, attention across frames, and ordinary DDIM.

    Args:
        base: Used, never changed.
        noise: Draws the start noise.
        mix: How frames are mixed in self-attention; None leaves the base's own attention.
    """

    base: Base
    noise: NoiseModel
    mix: FrameMix | None

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Draw one clip per prompt; the statistics are those of its start noise, and no frames are given.

        Raises:
            ValueError: The size is no whole number of latent cells, or the U-Net has no self-attention to change.
            NonFiniteError: A latent became NaN or infinite.
        """
        base = self.base
        start = self.noise.sample(streams, len(prompts), protocol.frames, latent_shape(base, protocol))
        micro_batch = protocol.micro_batch or micro_batch_rule(base, protocol.height, protocol.width)
        with attached(base.unet, self._processors(protocol.frames)):
            latents = denoise(
                base,
                image_unet(base),
                start.latents,
                repeat(encode_text(base, prompts), "b l c -> b f l c", f=protocol.frames),
                steps=protocol.steps,
                guidance=protocol.guidance,
                micro_batch=micro_batch,
            )
        return Sample(decode_latents(base, latents, micro_batch=micro_batch), start.statistics)

    def _processors(self, num_frames: int) -> dict[str, FrameMixProcessor]:
        processors = _processors(self.base.unet, self.mix, num_frames)
        if self.mix is not None and not processors:
            raise ValueError(f"the U-Net of base {self.base.ref} has no self-attention: attention can only be removed")
        return processors


def _processors(unet: UNet2DConditionModel, mix: FrameMix | None, num_frames: int) -> dict[str, FrameMixProcessor]:
    if mix is None:
        return {}
    return dict.fromkeys(self_attention_layers(unet), FrameMixProcessor(mix(num_frames).to(unet.device)))


def meta_denoiser(unet: UNet2DConditionModel, mix: FrameMix | None, num_frames: int) -> MetaDenoiser:
    """A denoising pass on the meta device.

    Args:
        unet: On the meta device; its processors are changed.
        mix: How frames are mixed in self-attention; None leaves the base's own attention.
        num_frames: Of a clip.
    """
    unet.set_attn_processor({**unet.attn_processors, **_processors(unet, mix, num_frames)})

    def call(latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        b, f = latents.shape[:2]
        states = repeat(text, "b l c -> (b f) l c", f=f)
        noise = unet(latents.flatten(0, 1), repeat(time, "b -> (b f)", f=f), states, return_dict=False)[0]
        clips: torch.Tensor = noise.unflatten(0, (b, f))
        return clips

    return MetaDenoiser({"unet": unet}, call)
