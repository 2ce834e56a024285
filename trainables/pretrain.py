"""``python -m trainables.pretrain``: train an embedded base, or the small Llava, on procedural clips."""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from models.bases import FOLDER, Protocol
from trainables.pretraining.card import write_card, write_picture
from trainables.pretraining.corpus import Corpus, load_corpus
from trainables.pretraining.fitting import Clock, begin
from trainables.pretraining.llava import pretrain_llava
from trainables.pretraining.networks import Networks, build_networks
from trainables.pretraining.quality import measure
from trainables.pretraining.saving import load_networks, replaced, save_networks
from trainables.pretraining.stages import train_classifier, train_clip, train_unet, train_vae, train_vision
from trainables.pretraining.video_card import write_video_card, write_video_picture
from trainables.pretraining.video_networks import NUM_FRAMES, VideoNetworks, build_video_networks
from trainables.pretraining.video_quality import measure as measure_video
from trainables.pretraining.video_saving import load_video_networks, save_video_networks
from trainables.pretraining.video_stages import clear_motion, train_temporal_vae, train_video_unet

SHAPES = FOLDER / "shapes"
LLAVA = "shapes_llava"
"""Name of the model that predicts states on the base ``shapes_video``."""


@dataclass(frozen=True)
class NetworkTraining:
    """Training of one network: steps, batch size, and approximate seconds on two cores."""

    train: Callable[..., None]
    steps: int
    batch: int
    seconds: float


@dataclass(frozen=True)
class Pretraining:
    """Training of one base.

    Args:
        protocol: Sampling settings of its measurement, and defaults of a study on it.
        stages: Training of its networks, in order.
        build: Makes the untrained networks.
        finish: Saves, measures and describes the trained networks in a folder. Takes networks, training and held-out
            clips, this folder and its later path, clock, and record of the training; returns the quality.
        quality_seconds: Approximate seconds of ``finish`` on two cores.
        frames_per_motion: Pace of the clips; None: the motions span the clip.
        training_clips: Number of training clips.
        held_out_clips: Number of clips for measuring.
        fewest_clips: Fewest training and held-out clips of a shortened training.
    """

    protocol: Protocol
    stages: Mapping[str, NetworkTraining]
    build: Callable[[], Any]
    finish: Callable[..., BaseModel]
    quality_seconds: float
    frames_per_motion: int | None = None
    training_clips: int = 4096
    held_out_clips: int = 512
    fewest_clips: tuple[int, int] = (256, 64)


def pretrain(
    out: Path,
    *,
    base: str = "shapes",
    fraction: float = 1.0,
    seed: int = 0,
    data: Path = Path("runs/pretrain"),
    threads: int | None = None,
) -> BaseModel:
    """Render, train, measure and write a base folder; an existing folder is replaced only after success.

    Args:
        out: The base folder.
        base: Name of the base, one of ``BASES``.
        fraction: Fraction of the full training steps and clips, in (0, 1]; values below 1 only test the procedure.
        seed: Seed of the scenes, the initial weights and all batches.
        data: Folder of the rendered clips; it can be deleted afterwards.
        threads: CPU threads; all by default.

    Returns:
        Quality of the saved weights.
    """
    begin(fraction, seed, threads)
    todo = BASES[base]
    seconds = {name: stage.seconds for name, stage in todo.stages.items()}
    clock = Clock({"clips": 60.0} | seconds | {"quality": todo.quality_seconds})
    clock.start("clips")
    pace = todo.frames_per_motion
    how = (seed, todo.protocol.frames, pace)
    fewest, fewest_held_out = todo.fewest_clips
    training = load_corpus(data, max(fewest, round(todo.training_clips * fraction)), "train", *how)
    held_out = load_corpus(data, max(fewest_held_out, round(todo.held_out_clips * fraction)), "test", *how)
    clock.stop(f"{len(training)} + {len(held_out)} clips")
    nets = todo.build()
    _train(nets, training, todo.stages, fraction, seed, clock)
    record = {
        "command": " ".join(["python -m trainables.pretrain", *sys.argv[1:]]),
        "built": "in one run",
        "seed": seed,
        "fraction": fraction,
        "training_clips": len(training),
        "held_out_clips": len(held_out),
        "threads": torch.get_num_threads(),
        "steps": {name: _scaled(stage.steps, fraction) for name, stage in todo.stages.items()},
        "batch": {name: stage.batch for name, stage in todo.stages.items()},
    }
    if pace is not None:
        record["frames_per_motion"] = pace
    with replaced(out) as part:
        return todo.finish(nets, training, held_out, part, out.resolve(), clock, record)


def _train(
    nets: Any, corpus: Corpus, stages: Mapping[str, NetworkTraining], fraction: float, seed: int, clock: Clock
) -> None:
    """Run all stages in order; each has its own generator, so that their lengths are independent."""
    for number, (name, stage) in enumerate(stages.items()):
        rng = torch.Generator().manual_seed(1000 * (seed + 1) + number)
        clock.start(name)
        stage.train(nets, corpus, steps=_scaled(stage.steps, fraction), batch=stage.batch, rng=rng, clock=clock)
        clock.stop()


def _finish_shapes(
    nets: Networks, training: Corpus, held_out: Corpus, part: Path, out: Path, clock: Clock, record: dict[str, Any]
) -> BaseModel:
    protocol = BASES["shapes"].protocol
    save_networks(nets, part)
    clock.start("quality")
    saved = load_networks(part)
    quality = measure(saved, held_out, steps=protocol.steps, guidance=protocol.guidance)
    write_picture(saved, part / "samples.png", protocol=protocol)
    clock.stop()
    write_card(part, protocol=protocol, quality=quality, clock=clock, record=record)
    return quality


def _finish_shapes_video(
    nets: VideoNetworks,
    training: Corpus,
    held_out: Corpus,
    part: Path,
    out: Path,
    clock: Clock,
    record: dict[str, Any],
) -> BaseModel:
    protocol = BASES["shapes_video"].protocol
    save_video_networks(nets, part)
    clock.start("quality")
    saved = load_video_networks(part, SHAPES)
    few = record["fraction"] < 1  # each clip takes many evaluations of the U-Net
    quality = measure_video(saved, held_out, protocol, num_generated=8 if few else 128)
    write_video_picture(saved, held_out, part / "samples.png", protocol=protocol, clips=2 if few else 12)
    clock.stop()
    write_video_card(
        part,
        out=out,
        shapes=SHAPES,
        protocol=protocol,
        quality=quality,
        nets=saved,
        clock=clock,
        record=record | {"clear_motion": clear_motion(training)},
    )
    return quality


BASES: dict[str, Pretraining] = {
    "shapes": Pretraining(
        protocol=Protocol(clips=8, frames=8, steps=20, guidance=4.0, height=32, width=32),
        stages={
            "vae": NetworkTraining(train_vae, steps=2500, batch=32, seconds=340),
            "clip": NetworkTraining(train_clip, steps=2800, batch=64, seconds=500),
            "classifier": NetworkTraining(train_classifier, steps=1500, batch=32, seconds=150),
            "unet": NetworkTraining(train_unet, steps=3600, batch=32, seconds=900),
            "vision": NetworkTraining(train_vision, steps=1200, batch=64, seconds=150),
        },
        build=build_networks,
        finish=_finish_shapes,
        quality_seconds=40,
    ),
    "shapes_video": Pretraining(
        protocol=Protocol(clips=8, frames=NUM_FRAMES, steps=20, guidance=2.0, height=32, width=32),
        stages={
            "vae": NetworkTraining(train_temporal_vae, steps=1600, batch=8, seconds=500),
            "unet": NetworkTraining(train_video_unet, steps=2400, batch=8, seconds=1650),
        },
        build=partial(build_video_networks, SHAPES),
        finish=_finish_shapes_video,
        quality_seconds=170,
        frames_per_motion=NUM_FRAMES,
        held_out_clips=256,
        fewest_clips=(64, 16),
    ),
}
"""Training of every embedded base, by name."""


def _scaled(steps: int, fraction: float) -> int:
    return max(1, round(steps * fraction))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m trainables.pretrain", description=__doc__)
    parser.add_argument(
        "--base", choices=(*BASES, LLAVA), default="shapes", help="what to train (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="base folder (default: the folder of the embedded base)")
    parser.add_argument("--fraction", type=float, default=1.0, help="fraction of the full training, in (0, 1]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("runs/pretrain"), help="folder of the rendered clips")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    options = parser.parse_args()
    out, how = options.out or FOLDER / options.base, {"fraction": options.fraction, "seed": options.seed}
    how["threads"] = options.threads
    train = pretrain_llava if options.base == LLAVA else partial(pretrain, base=options.base, data=options.data)
    quality = train(out, **how)
    print(quality.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
