"""The Stable Diffusion family: a text-to-image U-Net on latents of a 2-D autoencoder, conditioned on CLIP text states.

Every frame of a clip is an image; systems attach attention between frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from einops import rearrange, repeat
from transformers import CLIPTextModel, PreTrainedTokenizerBase

from models.backbones import Base, Denoiser, check_finite, quiet, start_noise
from models.bases import BaseRef, Protocol, TextPadding, latent_cell
from models.bases.families import STABLE_DIFFUSION
from models.bases.text_tower import (
    TINY_WIDTH,
    TextTower,
    load_tokenizer,
    spelling_tokenizer,
    text_shape,
    tiny_encoder,
)
from models.contracts import Sample
from models.denoising import Conditions, denoise
from models.guidance import CONDITIONAL, UNCONDITIONAL, ClassifierFree
from models.noise_schedule import converted
from models.streams import Streams


@dataclass(frozen=True, kw_only=True)
class StableDiffusion(Base):
    """A loaded base of this family.

    Args:
        unet: Predicts noise, velocity or the clean latent, given a noisy latent and text states.
        vae: Encodes pixels to latents and decodes latents, frame by frame.
        text_encoder: Token ids -> text states.
        tokenizer: Text -> token ids.
        noise_scheduler: DDIM with the base's own schedule.
    """

    classes: ClassVar[Mapping[str, Any]] = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
    }

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    noise_scheduler: DDIMScheduler

    @classmethod
    def settings(cls, folder: Path) -> dict[str, Any]:
        """Load the tokenizer and the base's schedule as DDIM, whatever scheduler it was published with.

        Raises:
            ValueError: The tokenizer cannot be loaded, or gives all words one id.
        """
        tokenizer = load_tokenizer(folder)
        schedule = DDIMScheduler.load_config(folder, subfolder="scheduler", local_files_only=True)
        return {"tokenizer": tokenizer, "noise_scheduler": _ddim(schedule)}

    @classmethod
    def assemble(cls, networks: Mapping[str, Any], settings: Mapping[str, Any], **where: Any) -> Self:
        """Make a base whose convolutions are channels-last."""
        for name in ("unet", "vae"):
            networks[name].to(memory_format=torch.channels_last)
        return super().assemble(networks, settings, **where)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Build a U-Net of four levels, VAE with f = 8, CLIP text tower, letter tokenizer and v1.5's noise schedule."""
        schedule = {
            "_class_name": "PNDMScheduler",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "steps_offset": 1,
        }
        tokenizer = spelling_tokenizer()
        networks = _tiny_networks(seed, len(tokenizer))
        settings = {"tokenizer": tokenizer, "noise_scheduler": _ddim(schedule)}
        ref = BaseRef("tiny", None, None, "embedded", STABLE_DIFFUSION)
        return cls.assemble(networks, settings, ref=ref, device=torch.device("cpu"), dtype=torch.float32)

    def save(self, folder: Path) -> None:
        """Save the base in the layout of diffusers' pipeline."""
        with quiet():
            from diffusers import StableDiffusionPipeline

        StableDiffusionPipeline(
            **self.networks,
            tokenizer=self.tokenizer,
            scheduler=self.noise_scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)

    def encode_text(self, prompts: Sequence[str], padding: TextPadding | None = None) -> torch.Tensor:
        """Encode prompts to text states; see ``TextTower.encode``.

        Shape:
            b prompts -> (b l c), in the base's precision, on its device.
        """
        return TextTower(self.text_encoder, self.tokenizer).encode(prompts, padding)

    def conditions(self, text: torch.Tensor, padding: TextPadding | None = None) -> Conditions:
        """Make the denoiser's conditions: the frames' texts, and the empty prompt for the unconditional branch.

        Args:
            text: Text states of the frames.
            padding: Padding of the empty prompt, as in ``encode_text``.

        Shape:
            text (b f l c).
        """
        empty = self.encode_text([""], padding)[:, None].expand_as(text)
        return {UNCONDITIONAL: {"text": empty}, CONDITIONAL: {"text": text}}

    @torch.inference_mode()
    def decode_latents(self, latents: torch.Tensor, *, micro_batch: int = 8) -> torch.Tensor:
        """Decode latents to pixels, frame by frame; see ``Base.decode_latents``."""
        frames = rearrange(latents, "b f c h w -> (b f) c h w") / self.vae.config.scaling_factor
        pixels = [
            self.vae.decode(self.as_image(part), return_dict=False)[0].float().cpu()
            for part in torch.split(frames, micro_batch)
        ]
        video = rearrange(torch.cat(pixels), "(b f) c h w -> b f c h w", b=len(latents)).contiguous()
        check_finite(video, "while decoding")
        return video.clamp_(-1, 1)

    def denoiser(self) -> Denoiser:
        """Return the base's U-Net on clips: every frame is an image, unless an attached processor mixes them.

        Shape:
            latents (b f c h w), time (), text (b f l c) -> prediction (b f c h w).
        """

        def predict(latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
            prediction: torch.Tensor = self.unet(
                self.as_image(rearrange(latents, "b f c h w -> (b f) c h w")),
                time,
                encoder_hidden_states=rearrange(text, "b f l c -> (b f) l c"),
                return_dict=False,
            )[0]
            return rearrange(prediction, "(b f) c h w -> b f c h w", b=len(latents))

        return predict

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Sample every frame as a separate image, with the prompt of its clip."""
        noise = start_noise(streams, len(prompts), range(protocol.frames), self.latent_shape(protocol))
        return Sample(self.draw(noise, self.encode_text(prompts), protocol))

    def draw(self, noise: torch.Tensor, text: torch.Tensor, protocol: Protocol) -> torch.Tensor:
        """Sample pixels from start noise by DDIM with classifier-free guidance.

        Args:
            noise: Start noise of every frame.
            text: Text states of each clip's prompt.
            protocol: Steps, guidance and micro-batch.

        Shape:
            noise (b f c h w), text (b l c) -> (b f 3 H W), float32 on the CPU, in [-1, 1].

        Raises:
            NonFiniteError: A latent or pixel became NaN or infinite.
        """
        micro_batch, frames = self.micro_batch(protocol), noise.shape[1]
        latents = denoise(
            self.denoiser(),
            noise.to(self.device),
            self.conditions(repeat(text, "b l c -> b f l c", f=frames)),
            noise_scheduler=self.noise_scheduler,
            guide=ClassifierFree().build(protocol.guidance, frames),
            steps=protocol.steps,
            micro_batch=micro_batch,
        )
        return self.decode_latents(latents, micro_batch=micro_batch)


def meta_inputs(networks: Mapping[str, Any], protocol: Protocol) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Make the inputs of a denoiser for one clip, on the meta device.

    Args:
        networks: Networks of the base by name.
        protocol: Frames and size of a clip.

    Shape:
        latents (1 f c h w), time (1,), text states of the prompt (1 l c).
    """
    cell = latent_cell(networks["vae"].config)
    width, length = text_shape(networks)
    size = (protocol.height // cell, protocol.width // cell)
    with torch.device("meta"):
        return (
            torch.empty(1, protocol.frames, networks["unet"].config.in_channels, *size),
            torch.empty(1, dtype=torch.long),
            torch.empty(1, length, width),
        )


def _ddim(schedule: Mapping[str, Any]) -> DDIMScheduler:
    # Latents are not pixels: like Stable Diffusion's pipeline, never clip them, even if the schedule says so.
    ddim: DDIMScheduler = converted(schedule, DDIMScheduler, clip_sample=False)
    return ddim


def _tiny_networks(seed: int, num_tokens: int) -> dict[str, Any]:
    levels = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (4, 8, 8, 8),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = tiny_encoder(num_tokens)
        vae = AutoencoderKL(**levels, latent_channels=4, norm_num_groups=4, sample_size=32)
        unet = UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(8, 8, TINY_WIDTH, TINY_WIDTH),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=TINY_WIDTH,
            attention_head_dim=2,
        )
    return {"unet": unet, "vae": vae, "text_encoder": text}
