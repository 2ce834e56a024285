"""Card of an image-to-video base: ``card.json``, ``README.md`` and a picture."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models.backbones import num_parameters
from models.bases import FOLDER, Protocol
from trainables.data.scenes import COLOURS, MOTIONS, SHAPES
from trainables.pretraining.card import figure_rows, rounded, time_rows, verdict, with_times
from trainables.pretraining.corpus import Corpus
from trainables.pretraining.fitting import Clock
from trainables.pretraining.saving import write_json
from trainables.pretraining.video_networks import VideoNetworks
from trainables.pretraining.video_quality import VideoQuality, generate

VIDEO_TARGETS = {"vae_psnr_db": 26.0, "first_frame_psnr_db": 20.0, "generated_motion": 0.80}
"""Required quality of the base."""


def write_video_card(
    folder: Path,
    *,
    out: Path,
    shapes: Path,
    protocol: Protocol,
    quality: VideoQuality,
    nets: VideoNetworks,
    clock: Clock,
    record: dict[str, Any],
) -> None:
    """Write ``card.json`` and ``README.md``.

    Args:
        folder: Folder to write to.
        out: Later path of this folder, from which the card names the extractors in the base ``shapes``.
        shapes: Folder of the base ``shapes``.
        protocol: Defaults of a study on it.
        quality: Measured quality.
        nets: The saved networks, for their sizes.
        clock: Times per stage.
        record: Settings of the training.
    """
    training, figures = with_times(record, clock), rounded(quality)
    extractors = {"clip": "clip", "clips": "classifier"}
    card = {
        "name": "shapes_video",
        "data": {"layout": "shapes", "frames_per_motion": training["frames_per_motion"]},
        "surrogate": True,
        "protocol": protocol.model_dump(exclude_none=True),
        "extractors": {role: Path(os.path.relpath(shapes / name, out)).as_posix() for role, name in extractors.items()},
        "llava": Path(os.path.relpath(FOLDER / "shapes_llava", out)).as_posix(),
        "training": training,
        "quality": figures,
        "asked": VIDEO_TARGETS,
        "clear_motion": round(float(training["clear_motion"]), 6),
    }
    write_json(folder / "card.json", card)
    words = _README.format(
        rows=figure_rows(figures, VIDEO_TARGETS),
        times=time_rows(training),
        verdict=verdict(figures, VIDEO_TARGETS),
        shapes=", ".join(SHAPES),
        colours=", ".join(COLOURS),
        motions=", ".join(MOTIONS),
        generated=int(figures["generated_clips"]),
        unet=num_parameters(nets.unet) / 1e6,
        vae=num_parameters(nets.vae) / 1e6,
        schedule=nets.noise_scheduler.config,
        p=protocol,
        t=training,
    )
    (folder / "README.md").write_text(words, encoding="utf-8")


def write_video_picture(
    nets: VideoNetworks, corpus: Corpus, path: Path, *, protocol: Protocol, clips: int = 12, scale: int = 3
) -> None:
    """Generate a picture of clips: one per row, in two columns, each frame beside the one before.

    Args:
        nets: Networks in evaluation mode.
        corpus: Held-out clips; the last ones give the first frames.
        path: The picture.
        protocol: Frames, steps and guidance.
        clips: Number of clips, even.
        scale: Pixels of the picture per pixel of a frame, along each side.
    """
    made = generate(nets, corpus.clips[-clips:, 0], protocol, seed=1)
    rows = torch.cat(list(made.transpose(0, 1)), dim=2).numpy()  # (b h (f w) 3)
    halves = [np.concatenate(list(half)) for half in np.split(rows, 2)]
    gap = np.full((len(halves[0]), 4, 3), 255, np.uint8)
    grid = np.concatenate([halves[0], gap, halves[1]], axis=1)
    Image.fromarray(grid.repeat(scale, 0).repeat(scale, 1)).save(path)


_README = """# The embedded base `shapes_video`

A small image-to-video latent diffusion model in Stable Video Diffusion layout: it continues a first frame. Every study
of an image-to-video system runs on it without any download. It stands in for a real base, so its scores have their own
names (`clip_score/shapes_video_clip`, `fd/shapes_video_r3d`).

![Generated clips: one per row, in two columns; the first frame is given](samples.png)

## Data
Procedural clips of {p.height} x {p.width} px and {p.frames} frames (`trainables/data/shapes.py`), rendered to lossless
H.264 (yuv444p) and read back with decord: `data: {{layout: shapes, frames_per_motion: {t[frames_per_motion]}}}`. Shapes
({shapes}) in colours ({colours}) have one motion per {t[frames_per_motion]} frames, at a constant pace ({motions}).
Longer clips of the same scenes begin with these frames and have further motions. {t[training_clips]} clips are for
training, {t[held_out_clips]} others for measuring (another random stream; seed {t[seed]}).

## Networks
- `vae`: `AutoencoderKLTemporalDecoder`, f = 4, 4 latent channels, {vae:.2f} M parameters, trained on clips, at
  first with the latents of `shapes` as a second target.
- `unet`: `UNetSpatioTemporalConditionModel` with spatial and temporal attention at both resolutions and in the
  middle, {unet:.2f} M parameters. Trained with the preconditioning of EDM and v-prediction; in 10 % of the clips the
  image is 0, for guidance.
- `image_encoder`, `text_encoder`, `tokenizer`: the towers of `shapes`' CLIP. The U-Net takes no text; the text tower
  is for systems that add text.
- `../shapes_llava`: a small Llava that predicts what happens in a clip, for systems that read states.
- `scheduler`: `EulerDiscreteScheduler`, noise levels {schedule.sigma_min:g} to {schedule.sigma_max:g}, Karras spacing.
- Extractors for metrics: `clip` and `classifier` of `shapes`.

## Micro conditions
- Motion bucket: standard deviation of pixels over time, averaged over the clip, in proportion: {t[clear_motion]:.4f}
  (pixels in [0, 1]; 70 % of the training clips have less) is bucket 127. A clip that stays has bucket 0.
- Frame rate: drawn at random in training, since the scenes have no time scale; it has no effect.
- Augmentation: noise on the image, of the standard deviation that is given; its median in training is 0.03.

## Defaults of a study
{p.clips} clips of {p.frames} frames, {p.steps} Euler steps, guidance rising from 1 to {p.guidance} over the frames,
{p.height} x {p.width} px.

## Quality, on held-out clips and {generated} generated clips
| figure | measured | target |
|---|---|---|
{rows}

{verdict} The independent `classifier` of `shapes` judges motion, shape and colour. A clip has motion if another motion
than `stays` is found in one of its halves; a distorted shape can count as motion, so `generated_same_motion` and
`generated_shape` are read beside it. `rendered_*` are the same figures of the rendered clips with the same first
frames, `frozen_motion` that of their first frames repeated. `first_frame_psnr_db` compares the first generated frame
with the given one; `first_frame_kept` is the share of clips with at least 20 dB. The figures are of the float16 weights
as shipped; `tests/models/test_shapes_video_base.py` recomputes them.

## Training
`{t[command]}`: {t[wall_minutes]} minutes on {t[threads]} CPU threads, {t[cpu_minutes]} minutes of CPU time
({t[built]}).

| stage | steps | batch | wall s | CPU s |
|---|---|---|---|---|
{times}
"""
