"""Training objectives of the image-to-video base: temporal autoencoder and video U-Net."""

import torch
from torch.nn import functional as F

from models.bases.stable_video_diffusion import motion_buckets, motion_of
from trainables.pretraining.corpus import Corpus, as_float
from trainables.pretraining.fitting import Clock, fit
from trainables.pretraining.video_networks import VideoNetworks

_QUARTERS = 0.75
_TAUGHT = 0.5  # weight of the squared difference to the latents of ``shapes``
_SCALING_CLIPS = 512
_WITHOUT_IMAGE = 0.1
_SIGMA = (0.3, 1.5)  # mean and standard deviation of the natural logarithm of the noise level
_AUGMENTATION = (-3.5, 0.75)  # likewise of the noise added to the image
_WITHOUT_AUGMENTATION = 0.25
_FPS = (4, 31)  # the scenes have no time scale: the number is to have no effect

_CLEAR = 0.7  # quantile of the motion of bucket 127


def train_temporal_vae(
    nets: VideoNetworks, corpus: Corpus, *, steps: int, batch: int, rng: torch.Generator, clock: Clock
) -> None:
    """Train the autoencoder by squared error, at first on quarters of half clips, of more scenes, then on clips.

    The latents are the encoder's means with a little noise; a weak penalty keeps them near a standard normal. On
    quarters they are also pulled to those of ``shapes``: no weight could be taken over, since groups and widths differ,
    but with known latents encoder and decoder learn at once (after 110 steps the error is 0.067 instead of 0.151). At
    the end ``scaling_factor`` is set so that latents have standard deviation 1.
    """
    assert nets.teacher is not None
    vae, teacher, frames = nets.vae, nets.teacher, corpus.clips.shape[1]
    on_quarters = round(_QUARTERS * steps)

    def loss(step: int) -> torch.Tensor:
        in_part = step < on_quarters
        clip = torch.randint(len(corpus), (batch if in_part else max(1, batch // 4),), generator=rng)
        video, num_frames = corpus.videos(clip), frames
        if in_part:
            side, num_frames = video.shape[-1] // 2, frames // 2
            top, left = torch.randint(side + 1, (2,), generator=rng).tolist()
            start = int(torch.randint(frames - num_frames + 1, (1,), generator=rng))
            video = video[:, start : start + num_frames, :, top : top + side, left : left + side]
        video = video.flatten(0, 1).contiguous()
        posterior = vae.encode(video).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=rng)
        decoded = vae.decode(posterior.mean + 0.02 * noise, num_frames=num_frames).sample
        penalty = posterior.mean.square().mean() + (posterior.logvar + 7.8).square().mean()  # log 0.02^2 = -7.8
        value: torch.Tensor = F.mse_loss(decoded, video) + 1e-5 * penalty
        if in_part:
            with torch.no_grad():
                known = teacher.encode(video).latent_dist.mean
            value = value + _TAUGHT * F.mse_loss(posterior.mean, known)
        return value

    fit(vae, loss, steps=steps, lr=2e-3, clock=clock, weight_decay=0.0, ema=0.99)
    vae.register_to_config(scaling_factor=1.0 / encode_clips(nets, corpus.clips[:_SCALING_CLIPS]).std().item())


def train_video_unet(
    nets: VideoNetworks, corpus: Corpus, *, steps: int, batch: int, rng: torch.Generator, clock: Clock
) -> None:
    """Train the U-Net to continue the first frames of clips, in the preconditioning of EDM with v-prediction.

        z_s = z + s eps,   input z_s / sqrt(s^2 + 1),   time ln(s) / 4,   target v = (eps - s z) / sqrt(s^2 + 1)

    An equal weight of all v is EDM's weight of clean latents. ln(s) is normal. In some clips image and its latent are
    0, for guidance.

    Source: EDM (arXiv 2206.00364), table 1 with data of standard deviation 1; Stable Video Diffusion (arXiv
    2311.15127). Departures: a distribution of s for small latents; the frame rate is drawn, as it has no meaning here.
    """
    scale = nets.vae.config.scaling_factor
    latents = (encode_clips(nets, corpus.clips) * scale).half()
    images = embed_first_frames(nets, corpus)
    buckets = motion_buckets(motion(corpus.clips), clear_motion(corpus))

    def loss(step: int) -> torch.Tensor:
        clip = torch.randint(len(corpus), (batch,), generator=rng)
        clean, first = latents[clip].float(), corpus.frames(clip, torch.zeros_like(clip))
        augmentation = _log_normal(batch, *_AUGMENTATION, rng)
        augmentation[torch.rand(batch, generator=rng) < _WITHOUT_AUGMENTATION] = 0.0
        noisy_first = first + augmentation[:, None, None, None] * torch.randn(first.shape, generator=rng)
        with torch.no_grad():
            beside = nets.vae.encode(noisy_first).latent_dist.mean
        with_image = (torch.rand(batch, generator=rng) >= _WITHOUT_IMAGE).float()
        beside = (with_image[:, None, None, None] * beside)[:, None].expand_as(clean)
        micro = torch.stack(
            [torch.randint(*_FPS, (batch,), generator=rng).float() - 1, buckets[clip], augmentation], dim=1
        )
        sigma = _log_normal(batch, *_SIGMA, rng)
        s, noise = sigma[:, None, None, None, None], torch.randn(clean.shape, generator=rng)
        total = (s.square() + 1).sqrt()
        predicted = nets.unet(
            torch.cat([(clean + s * noise) / total, beside], dim=2),
            sigma.log() / 4,
            (with_image[:, None] * images[clip])[:, None],
            added_time_ids=micro,
        ).sample
        return F.mse_loss(predicted, (noise - s * clean) / total)

    fit(nets.unet, loss, steps=steps, lr=2e-3, clock=clock, ema=0.998)


def _log_normal(count: int, mean: float, std: float, rng: torch.Generator) -> torch.Tensor:
    """Draw values whose logarithm is normal."""
    return torch.exp(mean + std * torch.randn(count, generator=rng))


@torch.inference_mode()
def encode_clips(nets: VideoNetworks, clips: torch.Tensor) -> torch.Tensor:
    """Encode all frames to the means of their latents, without the scaling factor.

    Shape:
        (n f h w 3) uint8 -> (n f c h w).
    """
    parts = [nets.vae.encode(as_float(part)).latent_dist.mean for part in torch.split(clips.flatten(0, 1), 64)]
    return torch.cat(parts).reshape(*clips.shape[:2], *parts[0].shape[1:]).clone()


@torch.inference_mode()
def embed_first_frames(nets: VideoNetworks, corpus: Corpus) -> torch.Tensor:
    """Embed the first frame of every clip by CLIP, as the base does for sampling.

    Shape:
        (n c).
    """
    parts = [nets.image_encoder(as_float(part)).image_embeds for part in torch.split(corpus.clips[:, 0], 256)]
    return torch.cat(parts).clone()


def motion(clips: torch.Tensor) -> torch.Tensor:
    """Compute the motion of clips, as the base is told it.

    Shape:
        (n f h w 3) uint8 -> (n).
    """
    return torch.cat([motion_of(as_float(part)) for part in torch.split(clips, 256)])


def clear_motion(corpus: Corpus) -> float:
    """Return the motion of bucket 127: above it are mostly shapes that change their place."""
    return motion(corpus.clips).quantile(_CLEAR).item()
