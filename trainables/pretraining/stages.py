"""Training objectives of the networks: one function per stage."""

from functools import partial

import numpy as np
import torch
from torch.nn import functional as F
from transformers import CLIPModel

from trainables.data.scenes import COLOURS, MOTIONS, SHAPES, study_caption
from trainables.pretraining.corpus import Corpus, as_float
from trainables.pretraining.fitting import Clock, fit
from trainables.pretraining.networks import Networks, embed_images, embed_texts

_EMPTY_CAPTIONS = 0.1
_FROZEN_CLIPS = 0.3
_QUARTERS = 0.75


def train_vae(nets: Networks, corpus: Corpus, *, steps: int, batch: int, rng: torch.Generator, clock: Clock) -> None:
    """Train the autoencoder by squared error, at first on quarters of frames (four times as many steps per second).

    The latents are the encoder's means with a little noise; a weak penalty keeps them near a standard normal.
    """
    vae = nets.vae.to(memory_format=torch.channels_last)
    on_quarters = round(_QUARTERS * steps)

    def loss(step: int) -> torch.Tensor:
        image = corpus.frames(*_pick(corpus, batch if step < on_quarters else batch // 2, rng))
        if step < on_quarters:
            half = image.shape[-1] // 2
            top, left = torch.randint(half + 1, (2,), generator=rng).tolist()
            image = image[..., top : top + half, left : left + half]
        image = image.contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(image).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=rng)
        decoded = vae.decode(posterior.mean + 0.02 * noise).sample
        penalty = posterior.mean.square().mean() + (posterior.logvar + 7.8).square().mean()  # log 0.02^2 = -7.8
        value: torch.Tensor = F.mse_loss(decoded, image) + 1e-5 * penalty
        return value

    fit(vae, loss, steps=steps, lr=2e-3, clock=clock, weight_decay=0.0, ema=0.99)
    vae.to(memory_format=torch.contiguous_format)


def train_clip(nets: Networks, corpus: Corpus, *, steps: int, batch: int, rng: torch.Generator, clock: Clock) -> None:
    """Train both towers of CLIP contrastively; the text tower is frozen afterwards."""
    draws = np.random.default_rng(int(torch.randint(2**31, (1,), generator=rng)))

    def loss(step: int) -> torch.Tensor:
        clip, image, texts = _with_captions(corpus, batch, rng, draws)
        return _contrast(nets.clip, corpus, clip, image, embed_texts(nets, texts))

    fit(nets.clip, loss, steps=steps, lr=1.5e-3, clock=clock, weight_decay=0.1)


def train_vision(nets: Networks, corpus: Corpus, *, steps: int, batch: int, rng: torch.Generator, clock: Clock) -> None:
    """Continue to train the image tower of CLIP against the frozen text tower, which conditions the U-Net."""
    draws = np.random.default_rng(int(torch.randint(2**31, (1,), generator=rng)))

    def loss(step: int) -> torch.Tensor:
        clip, image, texts = _with_captions(corpus, batch, rng, draws)
        with torch.no_grad():
            embedded = embed_texts(nets, texts)
        return _contrast(nets.clip, corpus, clip, image, embedded)

    image_tower = [*nets.clip.vision_model.parameters(), *nets.clip.visual_projection.parameters()]
    fit(nets.clip, loss, steps=steps, lr=1e-3, clock=clock, weight_decay=0.1, parameters=image_tower)


def _with_captions(
    corpus: Corpus, batch: int, rng: torch.Generator, draws: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Draw clip numbers, one frame each (half of them mirrored) and captions, followed by all shape-colour pairs.

    Half of the captions are rich. The pairs are study captions that differ only in shape and colour; in a batch alone
    the background separates captions more easily than the shape.
    """
    clip, frame = _pick(corpus, batch, rng)
    texts = [
        corpus.rich_caption(c, draws) if rich else corpus.scenes[c].caption()
        for c, rich in zip(clip.tolist(), draws.random(batch) < 0.5, strict=True)
    ]
    motions = corpus.scenes[int(clip[0])].motions
    texts += [study_caption(shape, colour, motions) for shape in SHAPES for colour in COLOURS]
    flip = torch.rand(batch, generator=rng) < 0.5
    image = corpus.frames(clip, frame)
    return clip, torch.where(flip[:, None, None, None], image.flip(-1), image), texts


def _contrast(
    model: CLIPModel, corpus: Corpus, clip: torch.Tensor, image: torch.Tensor, texts: torch.Tensor
) -> torch.Tensor:
    """Compute the symmetric cross-entropy over the captions of the batch, plus that over the shape-colour pairs."""
    logits = model.logit_scale.exp() * embed_images(model, image) @ texts.T
    own, pairs = torch.split(logits, [len(clip), len(texts) - len(clip)], dim=1)
    target = torch.arange(len(clip))
    among_captions = (F.cross_entropy(own, target) + F.cross_entropy(own.T, target)) / 2
    return among_captions + F.cross_entropy(pairs, corpus.shape[clip] * len(COLOURS) + corpus.colour[clip])


def train_classifier(
    nets: Networks, corpus: Corpus, *, steps: int, batch: int, rng: torch.Generator, clock: Clock
) -> None:
    """Train the classifier of shape, colour and motion on clips, some of them frozen, with light blur and noise.

    It is also applied to generated single frames, which are softer than rendered ones.
    """
    stays = torch.tensor(MOTIONS.index("stays"))

    def loss(step: int) -> torch.Tensor:
        clip, frame = _pick(corpus, batch, rng)
        video = corpus.videos(clip)
        frozen = torch.rand(batch, generator=rng) < _FROZEN_CLIPS
        still = video[torch.arange(batch), frame][:, None].expand_as(video)
        video = _worsen(torch.where(frozen[:, None, None, None, None], still, video), rng)
        motion = torch.where(frozen[:, None], stays, corpus.motion[clip])
        logits = nets.classifier(video)
        of_motion = F.cross_entropy(logits.motion.flatten(0, 1), motion.flatten())
        of_shape = F.cross_entropy(logits.shape, corpus.shape[clip])
        return of_shape + F.cross_entropy(logits.colour, corpus.colour[clip]) + of_motion

    fit(nets.classifier, loss, steps=steps, lr=2e-3, clock=clock, weight_decay=0.05)


def train_unet(nets: Networks, corpus: Corpus, *, steps: int, batch: int, rng: torch.Generator, clock: Clock) -> None:
    """Train the U-Net on single frames with study captions, some of them empty, encoded by the frozen text tower."""
    latents = encode_frames(nets, corpus)
    captions = ["", *sorted({scene.caption() for scene in corpus.scenes})]
    states = encode_captions(nets, captions)
    number = torch.tensor([captions.index(scene.caption()) for scene in corpus.scenes])

    def loss(step: int) -> torch.Tensor:
        clip, frame = _pick(corpus, batch, rng)
        clean = latents[clip, frame].float()
        noise = torch.randn(clean.shape, generator=rng)
        time = torch.randint(nets.noise_scheduler.config.num_train_timesteps, (batch,), generator=rng)
        caption = torch.where(torch.rand(batch, generator=rng) < _EMPTY_CAPTIONS, 0, number[clip])
        noisy = nets.noise_scheduler.add_noise(clean, noise, time)
        return F.mse_loss(nets.unet(noisy, time, states[caption]).sample, noise)

    fit(nets.unet, loss, steps=steps, lr=1.5e-3, clock=clock, ema=0.999)


@torch.inference_mode()
def encode_frames(nets: Networks, corpus: Corpus) -> torch.Tensor:
    """Encode all frames to latents with standard deviation 1; sets the autoencoder's ``scaling_factor``.

    Shape:
        (n f c h w) float16.
    """
    encode = partial(_latent_means, nets)
    latents = torch.cat([encode(as_float(part.flatten(0, 1))) for part in torch.split(corpus.clips, 64)])
    factor = 1.0 / latents.std().item()
    nets.vae.register_to_config(scaling_factor=factor)
    return (latents * factor).half().reshape(*corpus.clips.shape[:2], *latents.shape[1:])


def _latent_means(nets: Networks, images: torch.Tensor) -> torch.Tensor:
    means: torch.Tensor = nets.vae.encode(images).latent_dist.mean
    return means


@torch.inference_mode()
def encode_captions(nets: Networks, captions: list[str]) -> torch.Tensor:
    """Encode captions to token states, as the pipeline does.

    Shape:
        (n l c).
    """
    tokens = nets.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    parts = [nets.clip.text_model(ids).last_hidden_state for ids in torch.split(tokens.input_ids, 256)]
    return torch.cat(parts).clone()


def _pick(corpus: Corpus, batch: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw clip numbers and frame numbers."""
    clip = torch.randint(len(corpus), (batch,), generator=rng)
    return clip, torch.randint(corpus.clips.shape[1], (batch,), generator=rng)


def _worsen(video: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Blur with a random weight of a 3 x 3 mean, and add noise."""
    blurred = F.avg_pool2d(video.flatten(0, 1), 3, 1, 1, count_include_pad=False).reshape(video.shape)
    share = torch.rand(len(video), 1, 1, 1, 1, generator=rng) * 0.6
    grain = torch.randn(video.shape, generator=rng) * torch.rand(len(video), 1, 1, 1, 1, generator=rng) * 0.08
    return video.lerp(blurred, share) + grain
