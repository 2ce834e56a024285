"""Quality of a base, measured on held-out clips and on generated frames."""

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
    """Quality figures of a base; accuracies are in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vae_psnr_db: float
    """Peak signal-to-noise ratio over held-out decoded frames, pixels rounded."""
    clip_picks_of_16: float
    """Accuracy of CLIP on held-out frames: picking the true caption among 16 that differ in shape or colour."""
    classifier_shape: float
    classifier_colour: float
    classifier_motion: float
    """Accuracy of the classifier on held-out clips (motion: on their halves)."""
    generated_shape: float
    generated_colour: float
    """Fraction of generated frames in which the independent classifier finds the shape or colour of the caption."""
    generated_frames: int


def measure(nets: Networks, corpus: Corpus, *, steps: int, guidance: float, num_generated: int = 192) -> Quality:
    """Measure all figures.

    Args:
        nets: Networks in evaluation mode.
        corpus: Held-out clips.
        steps: Denoising steps of generated frames.
        guidance: Classifier-free guidance scale.
        num_generated: Frames to generate, balanced over shapes and colours.
    """
    shape, colour, motion = classifier_accuracy(nets, corpus)
    images = generate(nets, balanced_captions(num_generated), steps=steps, guidance=guidance)
    generated_shape, generated_colour = caption_accuracy(nets, images)
    return Quality(
        vae_psnr_db=vae_psnr(nets, corpus),
        clip_picks_of_16=clip_picks(nets, corpus),
        classifier_shape=shape,
        classifier_colour=colour,
        classifier_motion=motion,
        generated_shape=generated_shape,
        generated_colour=generated_colour,
        generated_frames=num_generated,
    )


@torch.inference_mode()
def vae_psnr(nets: Networks, corpus: Corpus) -> float:
    """Compute the peak signal-to-noise ratio of reconstructions in decibels, over every fourth frame."""
    error, count = 0.0, 0
    for pixels in torch.split(corpus.clips[:, ::4].flatten(0, 1), 64):
        latents = nets.vae.encode(as_float(pixels)).latent_dist.mean
        decoded = as_pixels(nets.vae.decode(latents).sample)
        error += (decoded.double() - pixels.double()).square().sum().item()
        count += pixels.numel()
    return float(10 * np.log10(255.0**2 * count / error))


@torch.inference_mode()
def clip_picks(nets: Networks, corpus: Corpus) -> float:
    """Compute CLIP's accuracy on two frames per clip: the true caption among 16 that differ in shape or colour."""
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
    """Compute the classifier's accuracy: shape, colour, motion."""
    outputs = [nets.classifier(as_float(part)) for part in torch.split(corpus.clips, 64)]

    def accuracy(head: str) -> float:
        logits = torch.cat([getattr(output, head) for output in outputs])
        correct: torch.Tensor = logits.argmax(-1) == getattr(corpus, head)
        return correct.float().mean().item()

    return accuracy("shape"), accuracy("colour"), accuracy("motion")


def balanced_captions(count: int) -> list[str]:
    """Make captions that cycle through all pairs of shape and colour, and through the motions."""
    pairs = (_PAIRS[index % len(_PAIRS)] for index in range(count))
    return [study_caption(*pair, (MOTIONS[index % len(MOTIONS)],)) for index, pair in enumerate(pairs)]


@torch.inference_mode()
def generate(nets: Networks, captions: Sequence[str], *, steps: int, guidance: float, seed: int = 0) -> torch.Tensor:
    """Generate one frame per caption with diffusers' pipeline, each from its own noise.

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
def caption_accuracy(nets: Networks, pixels: torch.Tensor) -> tuple[float, float]:
    """Fractions of frames generated for ``balanced_captions`` with the right shape and colour, seen as frozen clips."""
    frozen = as_float(pixels)[:, None].expand(-1, 8, -1, -1, -1)
    outputs = [nets.classifier(part) for part in torch.split(frozen, 64)]
    pair = torch.arange(len(pixels)) % len(_PAIRS)
    shape = torch.cat([output.shape for output in outputs]).argmax(-1) == pair // len(COLOURS)
    colour = torch.cat([output.colour for output in outputs]).argmax(-1) == pair % len(COLOURS)
    return shape.float().mean().item(), colour.float().mean().item()
