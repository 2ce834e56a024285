"""Card of a base: ``card.json``, ``README.md`` and a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

from models.bases import Protocol
from trainables.data.scenes import COLOURS, SHAPES
from trainables.pretraining.fitting import Clock
from trainables.pretraining.networks import Networks
from trainables.pretraining.quality import Quality, balanced_captions, generate
from trainables.pretraining.saving import write_json

TARGETS = {
    "vae_psnr_db": 28.0,
    "clip_picks_of_16": 0.90,
    "generated_shape": 0.80,
    "generated_colour": 0.95,
}
"""Required quality of the base."""


def write_card(folder: Path, *, protocol: Protocol, quality: Quality, clock: Clock, record: dict[str, Any]) -> None:
    """Write ``card.json`` and ``README.md``.

    Args:
        folder: Folder of the base.
        protocol: Defaults of a study on it.
        quality: Measured quality.
        clock: Times per stage.
        record: Settings of the training.
    """
    training = with_times(record, clock)
    figures = rounded(quality)
    card = {
        "name": "shapes",
        "data": "shapes",
        "surrogate": True,
        "protocol": protocol.model_dump(exclude_none=True),
        "extractors": {"clip": "clip", "clips": "classifier"},
        "training": training,
        "quality": figures,
        "asked": TARGETS,
    }
    write_json(folder / "card.json", card)
    (folder / "README.md").write_text(_readme(protocol, figures, training), encoding="utf-8")


def write_picture(nets: Networks, path: Path, *, protocol: Protocol, scale: int = 4) -> None:
    """Generate a picture of frames: one row per shape, three frames per colour."""
    captions = [c for c in balanced_captions(len(SHAPES) * len(COLOURS)) for _ in range(3)]
    pixels = generate(nets, captions, steps=protocol.steps, guidance=protocol.guidance, seed=1).numpy()
    grid = pixels.reshape(len(SHAPES), -1, *pixels.shape[1:]).swapaxes(1, 2)
    grid = np.concatenate(list(grid.reshape(len(SHAPES), pixels.shape[1], -1, 3)))
    Image.fromarray(grid.repeat(scale, 0).repeat(scale, 1)).save(path)


def _readme(protocol: Protocol, figures: dict[str, float], training: dict[str, Any]) -> str:
    return _README.format(
        rows=figure_rows(figures, TARGETS),
        times=time_rows(training),
        verdict=verdict(figures, TARGETS),
        shapes=", ".join(SHAPES),
        num_shapes=len(SHAPES),
        colours=", ".join(COLOURS),
        num_colours=len(COLOURS),
        generated=int(figures["generated_frames"]),
        p=protocol,
        t=training,
    )


def with_times(record: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Add the times per stage and in total to the record of a training."""
    return record | {
        "wall_seconds": {name: round(value, 1) for name, value in clock.wall.items()},
        "cpu_seconds": {name: round(value, 1) for name, value in clock.cpu.items()},
        "wall_minutes": round(sum(clock.wall.values()) / 60, 1),
        "cpu_minutes": round(sum(clock.cpu.values()) / 60, 1),
    }


def rounded(quality: BaseModel) -> dict[str, float]:
    """Return the figures of a card."""
    return {name: round(value, 4) for name, value in quality.model_dump().items()}


def figure_rows(figures: Mapping[str, float], targets: Mapping[str, float]) -> str:
    """Make the rows of the table of figures: name, value, target."""
    return "\n".join(
        f"| `{name}` | {value:.4g} | {f'>= {targets[name]:.4g}' if name in targets else ''} |"
        for name, value in figures.items()
    )


def time_rows(training: Mapping[str, Any]) -> str:
    """Make the rows of the table of stages: name, steps, batch size, seconds."""
    return "\n".join(
        f"| {name} | {training['steps'].get(name, '')} | {training['batch'].get(name, '')} "
        f"| {training['wall_seconds'][name]:.0f} | {training['cpu_seconds'][name]:.0f} |"
        for name in training["wall_seconds"]
    )


def verdict(figures: Mapping[str, float], targets: Mapping[str, float]) -> str:
    """Name the targets that are missed."""
    missed = [name for name, target in targets.items() if figures[name] < target]
    return "Targets missed: " + ", ".join(missed) + "." if missed else "All targets are reached."


_README = """# The embedded base `shapes`

A small text-to-image latent diffusion model in Stable Diffusion layout, with the CLIP and the clip classifier for its
metrics: every study runs without any download. It stands in for a real base, so its scores have their own names
(`clip_score/shapes_clip`, `fd/shapes_clip`, `fd/shapes_r3d`).

![Generated frames: one row per shape, three frames per colour](samples.png)

## Data
Procedural clips of {p.height} x {p.width} px and {p.frames} frames (`trainables/data/shapes.py`), rendered to
lossless H.264 (yuv444p) and read back with decord. {num_shapes} shapes ({shapes}) in {num_colours} colours ({colours})
move, grow, turn or stay, in one or two phases ("a red circle moves right, then drops"). Background hue, brightness and
texture, size and fill vary widely and are not in these captions. {t[training_clips]} clips are for training,
{t[held_out_clips]} others for measuring (another random stream; seed {t[seed]}).

## Networks
- `vae`: `AutoencoderKL`, f = 4, 4 latent channels, trained on frames.
- `clip`: `CLIPModel`, trained on frames; half of the captions also mention some open attributes ("a large banded red
  circle on a dark moss checked background drops"), so that its embedding represents them. At the end its image tower is
  trained further (`vision`), against the frozen text tower.
- `text_encoder`: `CLIPTextModel`, the text tower of `clip`.
- `unet`: `UNet2DConditionModel` with attention at both resolutions, trained on latents of frames with captions without
  open attributes, 10 % of them empty, for guidance.
- `classifier`: `models.video_classifier.VideoClassifier`, trained on clips, 30 % of them frozen: shape, colour and
  motion from 64 features. It shares no weights with the other networks.

## Defaults of a study
{p.clips} clips of {p.frames} frames, {p.steps} DDIM steps, guidance {p.guidance}, {p.height} x {p.width} px.

## Quality, on held-out clips and {generated} generated frames
| figure | measured | target |
|---|---|---|
{rows}

{verdict} `classifier` judges shape and colour of generated frames, each frame as a frozen clip. The figures are of the
float16 weights as shipped; `tests/models/test_shapes_base.py` recomputes them.

## Training
`{t[command]}`: {t[wall_minutes]} minutes on {t[threads]} CPU threads, {t[cpu_minutes]} minutes of CPU time
({t[built]}).

| stage | steps | batch | wall s | CPU s |
|---|---|---|---|---|
{times}
"""
