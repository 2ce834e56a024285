"""The card of a base: for machines (``card.json``), for people (``README.md``), and a picture."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.bases import Protocol
from trainables.data.scenes import COLOURS, SHAPES
from trainables.pretraining.fitting import Clock
from trainables.pretraining.networks import Networks
from trainables.pretraining.quality import Quality, balanced_captions, generate
from trainables.pretraining.saving import write_json

ASKED = {
    "vae_psnr_db": 28.0,
    "clip_picks_of_16": 0.90,
    "generated_shape": 0.80,
    "generated_colour": 0.95,
}
"""What the base is meant to reach."""


def write_card(folder: Path, *, protocol: Protocol, quality: Quality, clock: Clock, record: dict[str, Any]) -> None:
    """Write ``card.json`` and ``README.md``.

    Args:
        folder: The base.
        protocol: Defaults of a study on it.
        quality: Measured figures.
        clock: Times per stage.
        record: How it was trained.
    """
    training = record | {
        "wall_seconds": {name: round(value, 1) for name, value in clock.wall.items()},
        "cpu_seconds": {name: round(value, 1) for name, value in clock.cpu.items()},
        "wall_minutes": round(sum(clock.wall.values()) / 60, 1),
        "cpu_minutes": round(sum(clock.cpu.values()) / 60, 1),
    }
    figures = {name: round(value, 4) for name, value in quality.model_dump().items()}
    card = {
        "name": "shapes",
        "data": "shapes",
        "surrogate": True,
        "protocol": protocol.model_dump(exclude_none=True),
        "extractors": {"clip": "clip", "clips": "classifier"},
        "training": training,
        "quality": figures,
        "asked": ASKED,
    }
    write_json(folder / "card.json", card)
    (folder / "README.md").write_text(_words(protocol, figures, training), encoding="utf-8")


def write_picture(nets: Networks, path: Path, *, protocol: Protocol, scale: int = 4) -> None:
    """Generated frames: a row per shape, three to a colour."""
    captions = [c for c in balanced_captions(len(SHAPES) * len(COLOURS)) for _ in range(3)]
    pixels = generate(nets, captions, steps=protocol.steps, guidance=protocol.guidance, seed=1).numpy()
    grid = pixels.reshape(len(SHAPES), -1, *pixels.shape[1:]).swapaxes(1, 2)
    grid = np.concatenate(list(grid.reshape(len(SHAPES), pixels.shape[1], -1, 3)))
    Image.fromarray(grid.repeat(scale, 0).repeat(scale, 1)).save(path)


def _words(protocol: Protocol, figures: dict[str, float], training: dict[str, Any]) -> str:
    missed = [name for name, asked in ASKED.items() if figures[name] < asked]
    rows = "\n".join(
        f"| `{name}` | {value:.4g} | {f'>= {ASKED[name]:.4g}' if name in ASKED else ''} |"
        for name, value in figures.items()
    )
    times = "\n".join(
        f"| {name} | {training['steps'].get(name, '')} | {training['batch'].get(name, '')} "
        f"| {training['wall_seconds'][name]:.0f} | {training['cpu_seconds'][name]:.0f} |"
        for name in training["wall_seconds"]
    )
    return _README.format(
        rows=rows,
        times=times,
        verdict="Missed: " + ", ".join(missed) + "." if missed else "All are reached.",
        shapes=", ".join(SHAPES),
        num_shapes=len(SHAPES),
        colours=", ".join(COLOURS),
        num_colours=len(COLOURS),
        generated=int(figures["generated_frames"]),
        p=protocol,
        t=training,
    )


_README = """# The embedded base `shapes`

A small text-to-image latent diffusion model in Stable Diffusion layout, with the CLIP and the clip classifier that
judge it: enough to run every study without downloading anything. It is a stand-in for a real base, and its scores
carry names of their own (`clip_score/shapes_clip`, `fd/shapes_clip`, `fd/shapes_r3d`).

![Generated frames: a row per shape, three to a colour](samples.png)

## Data
Procedural clips of {p.height} x {p.width} px and {p.frames} frames (`trainables/data/shapes.py`), rendered to
lossless H.264 (yuv444p) and read back with decord. {num_shapes} shapes ({shapes}) in {num_colours} colours ({colours})
move, grow, turn or stay, in one or two phases ("a red circle moves right, then drops"). Background hue, brightness and
texture, size and fill vary widely, and these captions leave them open. {t[training_clips]} clips train;
{t[held_out_clips]} others measure (another random stream; seed {t[seed]}).

## Networks
- `vae`: `AutoencoderKL`, f = 4, 4 latent channels, trained on frames.
- `clip`: `CLIPModel`, trained on frames with captions half of which also mention some open attributes ("a large banded
  red circle on a dark moss checked background drops"), so that its embedding carries them. Its image tower is trained
  some more in the end (`vision`), against the text tower as it is.
- `text_encoder`: `CLIPTextModel`, the text tower of `clip`.
- `unet`: `UNet2DConditionModel` with attention at both resolutions, trained on latents of frames with captions that
  leave the open attributes open, 10 % of them empty, for guidance.
- `classifier`: `models.video_classifier.VideoClassifier`, trained on clips, 30 % of them frozen: shape, colour and
  motion from 64 features. It shares nothing with the other networks.

## Defaults of a study
{p.clips} clips of {p.frames} frames, {p.steps} DDIM steps, guidance {p.guidance}, {p.height} x {p.width} px.

## Quality, on held-out clips and {generated} generated frames
| figure | measured | asked |
|---|---|---|
{rows}

{verdict} Shape and colour of generated frames are judged by `classifier`, each frame as a frozen clip. The figures are
those of the float16 weights as shipped; `tests/models/test_shapes_base.py` recomputes them.

## Training
`{t[command]}`: {t[wall_minutes]} minutes on {t[threads]} CPU threads, {t[cpu_minutes]} minutes of CPU time
({t[built]}).

| stage | steps | batch | wall s | CPU s |
|---|---|---|---|---|
{times}
"""
