"""Quality of an image-to-video base, measured on held-out clips and on clips that continue their first frames."""

import torch
from pydantic import BaseModel, ConfigDict

from models.bases import Protocol
from models.streams import Streams
from models.video_classifier import ClipPrediction, VideoClassifier
from trainables.data.scenes import MOTIONS
from trainables.pretraining.corpus import Corpus, as_float, as_pixels
from trainables.pretraining.video_networks import VideoNetworks

KEPT_DB = 20.0
"""Least peak signal-to-noise ratio of a first frame that counts as kept."""


class VideoQuality(BaseModel):
    """Quality figures of an image-to-video base; shares are in [0, 1].

    A clip has *motion* if the classifier of ``shapes`` finds another motion than ``stays`` in one of its halves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vae_psnr_db: float
    """Peak signal-to-noise ratio over held-out decoded clips, pixels rounded."""
    first_frame_psnr_db: float
    """Mean over generated clips of the peak signal-to-noise ratio of the first frame, against the given one."""
    first_frame_kept: float
    """Share of generated clips whose first frame has at least ``KEPT_DB``."""
    generated_motion: float
    """Share of generated clips with motion."""
    generated_same_motion: float
    """Share of generated clips with the same motion in both halves, as in all rendered ones."""
    generated_shape: float
    generated_colour: float
    """Share of generated clips with the scene's shape or colour in the last frame, seen as a frozen clip."""
    rendered_motion: float
    rendered_same_motion: float
    rendered_shape: float
    rendered_colour: float
    """The same shares of the rendered clips that begin with the same frames."""
    frozen_motion: float
    """Share with motion of the given first frames as frozen clips: the classifier's false alarms."""
    generated_clips: int


def measure(nets: VideoNetworks, corpus: Corpus, protocol: Protocol, *, num_generated: int = 128) -> VideoQuality:
    """Measure all figures.

    Args:
        nets: Networks in evaluation mode.
        corpus: Held-out clips.
        protocol: Frames, steps and guidance of generated clips.
        num_generated: Clips to generate, which continue the first frames of as many held-out clips.
    """
    num_generated = min(num_generated, len(corpus))
    rendered = corpus.clips[:num_generated]
    made = generate(nets, rendered[:, 0], protocol)
    decibels = psnr(made[:, 0], rendered[:, 0])
    frozen = rendered[:, :1].expand_as(rendered)
    of_made, of_rendered = (_shares(nets.classifier, corpus, clips) for clips in (made, rendered))
    return VideoQuality(
        vae_psnr_db=vae_psnr(nets, corpus),
        first_frame_psnr_db=decibels.mean().item(),
        first_frame_kept=(decibels >= KEPT_DB).double().mean().item(),
        **{f"generated_{name}": share for name, share in of_made.items()},
        **{f"rendered_{name}": share for name, share in of_rendered.items()},
        frozen_motion=_motion(classify(nets.classifier, frozen)),
        generated_clips=num_generated,
    )


@torch.inference_mode()
def vae_psnr(nets: VideoNetworks, corpus: Corpus) -> float:
    """Compute the peak signal-to-noise ratio of reconstructed clips in decibels."""
    error = 0.0
    for pixels in torch.split(corpus.clips, 8):
        latents = nets.vae.encode(as_float(pixels.flatten(0, 1))).latent_dist.mean
        decoded = as_pixels(nets.vae.decode(latents, num_frames=pixels.shape[1]).sample)
        error += (decoded.double() - pixels.flatten(0, 1).double()).square().sum().item()
    return float(10 * torch.tensor(255.0**2 * corpus.clips.numel() / error).log10())


def generate(nets: VideoNetworks, first: torch.Tensor, protocol: Protocol, seed: int = 0) -> torch.Tensor:
    """Generate clips that continue first frames, with the base's own sampling.

    Shape:
        (b h w 3) uint8 -> (b f h w 3) uint8.
    """
    prompts = [""] * len(first)
    return as_pixels(nets.base().sample(prompts, Streams(seed), protocol, as_float(first)[:, None]).video)


def psnr(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Compute the peak signal-to-noise ratio of every item in decibels.

    Shape:
        (b ...) uint8, twice -> (b), float64.
    """
    error = (one.double() - other.double()).square().flatten(1).mean(1)
    return 10 * (255.0**2 / error.clamp_min(1e-4)).log10()


@torch.inference_mode()
def classify(classifier: VideoClassifier, clips: torch.Tensor) -> ClipPrediction:
    """Classify clips (b f h w 3) uint8."""
    parts: list[ClipPrediction] = [classifier(as_float(part)) for part in torch.split(clips, 64)]
    return ClipPrediction(*(torch.cat(outputs) for outputs in zip(*parts, strict=True)))


def _motion(found: ClipPrediction) -> float:
    moves = (found.motion.argmax(-1) != MOTIONS.index("stays")).any(1)
    return moves.double().mean().item()


def _shares(classifier: VideoClassifier, corpus: Corpus, clips: torch.Tensor) -> dict[str, float]:
    """Compute the shares of clips of the first scenes of the corpus."""
    found, last = classify(classifier, clips), classify(classifier, clips[:, -1:].expand_as(clips))
    halves = found.motion.argmax(-1)
    return {
        "motion": _motion(found),
        "same_motion": (halves[:, 0] == halves[:, 1]).double().mean().item(),
        "shape": (last.shape.argmax(-1) == corpus.shape[: len(clips)]).double().mean().item(),
        "colour": (last.colour.argmax(-1) == corpus.colour[: len(clips)]).double().mean().item(),
    }
