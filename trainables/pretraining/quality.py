"""What a base can do, measured on held-out clips and on frames it generates."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from pydantic import BaseModel, ConfigDict

from models.streams import Streams
from trainables.data.scenes import CANVAS, COLOURS, MOTIONS, SHAPES, study_caption
from trainables.pretraining.corpus import Corpus, as_float, as_pixels
from trainables.pretraining.networks import Networks, embed_images, embed_texts

_CHOICES = 16
_PAIRS = tuple((shape, colour) for shape in SHAPES for colour in COLOURS)


class Quality(BaseModel):
    """Figures of a base; shares lie in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vae_psnr_db: float
    """Of the mean squared error over held-out decoded frames, pixels rounded."""
    clip_picks_of_16: float
    """Share of held-out frames for which CLIP scores the true caption highest of 16 that differ in shape or colour."""
    classifier_shape: float
    classifier_colour: float
    classifier_motion: float
    """Shares of held-out clips (motion: of their halves) that the classifier names rightly."""
    generated_shape: float
    generated_colour: float
    """Shares of generated frames in which the independent classifier sees what was asked for."""
    generated_frames: int


def measure(nets: Networks, corpus: Corpus, *, steps: int, guidance: float, num_generated: int = 192) -> Quality:
    """All figures.

    Args:
        nets: In evaluation mode.
        corpus: Held-out clips.
        steps: Denoising steps of generated frames.
        guidance: Classifier-free guidance scale.
        num_generated: Frames to generate, spread evenly over shapes and colours.
    """
    shape, colour, motion = classifier_accuracy(nets, corpus)
    images = generate(nets, balanced_captions(num_generated), steps=steps, guidance=guidance)
    asked_shape, asked_colour = asked_for(nets, images)
    return Quality(
        vae_psnr_db=vae_psnr(nets, corpus),
        clip_picks_of_16=clip_picks(nets, corpus),
        classifier_shape=shape,
        classifier_colour=colour,
        classifier_motion=motion,
        generated_shape=asked_shape,
        generated_colour=asked_colour,
        generated_frames=num_generated,
    )


@torch.inference_mode()
def vae_psnr(nets: Networks, corpus: Corpus) -> float:
    """Peak signal-to-noise ratio of reconstructions in decibels, over every fourth frame."""
    error, count = 0.0, 0
    for pixels in torch.split(corpus.clips[:, ::4].flatten(0, 1), 64):
        latents = nets.vae.encode(as_float(pixels)).latent_dist.mean
        decoded = as_pixels(nets.vae.decode(latents).sample)
        error += (decoded.double() - pixels.double()).square().sum().item()
        count += pixels.numel()
    return float(10 * np.log10(255.0**2 * count / error))


@torch.inference_mode()
def clip_picks(nets: Networks, corpus: Corpus) -> float:
    """Share of frames (two per clip) whose true caption scores highest of 16 that differ in shape or colour."""
    hits = 0
    for index, scene in enumerate(corpus.scenes):
        others = [pair for pair in _PAIRS if pair != (scene.shape, scene.colour)]
        order = Streams(0).generator("clip_picks", index).permutation(len(others))[: _CHOICES - 1]
        captions = [
            scene.caption(),
            *(study_caption(shape, colour, scene.motions) for shape, colour in (others[i] for i in order)),
        ]
        similarity = embed_images(nets.clip, as_float(corpus.clips[index, [0, -1]])) @ embed_texts(nets, captions).T
        hits += int((similarity.argmax(1) == 0).sum())
    return hits / (2 * len(corpus))


@torch.inference_mode()
def classifier_accuracy(nets: Networks, corpus: Corpus) -> tuple[float, float, float]:
    """Shares of clips named rightly: shape, colour, motion."""
    said = [nets.classifier(as_float(part)) for part in torch.split(corpus.clips, 64)]

    def share(head: str) -> float:
        logits = torch.cat([getattr(one, head) for one in said])
        right: torch.Tensor = logits.argmax(-1) == getattr(corpus, head)
        return right.float().mean().item()

    return share("shape"), share("colour"), share("motion")


def balanced_captions(count: int) -> list[str]:
    """Captions that go through all pairs of shape and colour, and through the motions."""
    pairs = (_PAIRS[index % len(_PAIRS)] for index in range(count))
    return [study_caption(*pair, (MOTIONS[index % len(MOTIONS)],)) for index, pair in enumerate(pairs)]


@torch.inference_mode()
def generate(nets: Networks, captions: Sequence[str], *, steps: int, guidance: float, seed: int = 0) -> torch.Tensor:
    """One frame per caption, by diffusers' own pipeline, each from its own noise.

    Shape:
        (b h w 3) uint8.
    """
    pipeline = StableDiffusionPipeline(
        vae=nets.vae,
        text_encoder=nets.clip.text_model,
        tokenizer=nets.tokenizer,
        unet=nets.unet,
        scheduler=nets.noise_scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    shape = (nets.unet.config.in_channels, nets.unet.config.sample_size, nets.unet.config.sample_size)
    parts = []
    for start in range(0, len(captions), 32):
        some = list(captions[start : start + 32])
        noise = np.stack([Streams(seed).normal("quality", start + k, shape=shape) for k in range(len(some))])
        images = pipeline(
            some,
            height=CANVAS,
            width=CANVAS,
            num_inference_steps=steps,
            guidance_scale=guidance,
            latents=torch.from_numpy(noise),
            output_type="pt",
        ).images
        parts.append(as_pixels(images * 2 - 1))
    return torch.cat(parts)


@torch.inference_mode()
def asked_for(nets: Networks, pixels: torch.Tensor) -> tuple[float, float]:
    """Shares of frames made for ``balanced_captions`` that show the shape and the colour, judged as frozen clips."""
    frozen = as_float(pixels)[:, None].expand(-1, 8, -1, -1, -1)
    said = [nets.classifier(part) for part in torch.split(frozen, 64)]
    pair = torch.arange(len(pixels)) % len(_PAIRS)
    shape = torch.cat([one.shape for one in said]).argmax(-1) == pair // len(COLOURS)
    colour = torch.cat([one.colour for one in said]).argmax(-1) == pair % len(COLOURS)
    return shape.float().mean().item(), colour.float().mean().item()
