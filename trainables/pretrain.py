"""``python -m trainables.pretrain``: train the embedded base ``shapes`` from scratch, on procedural clips."""

import argparse
import os
import shutil
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from models.bases import FOLDER, Protocol
from trainables.pretraining.card import write_card, write_picture
from trainables.pretraining.corpus import Corpus, load_corpus
from trainables.pretraining.fitting import Clock
from trainables.pretraining.networks import Networks, build_networks
from trainables.pretraining.quality import Quality, measure
from trainables.pretraining.saving import load_networks, save_networks
from trainables.pretraining.stages import train_classifier, train_clip, train_unet, train_vae, train_vision

PROTOCOL = Protocol(clips=8, frames=8, steps=20, guidance=4.0, height=32, width=32)


@dataclass(frozen=True)
class NetworkTraining:
    """Training of one network: steps, batch size, and approximate seconds on two cores."""

    train: Callable[..., None]
    steps: int
    batch: int
    seconds: float


RECIPES = {
    "vae": NetworkTraining(train_vae, steps=2500, batch=32, seconds=340),
    "clip": NetworkTraining(train_clip, steps=2800, batch=64, seconds=500),
    "classifier": NetworkTraining(train_classifier, steps=1500, batch=32, seconds=150),
    "unet": NetworkTraining(train_unet, steps=3600, batch=32, seconds=900),
    "vision": NetworkTraining(train_vision, steps=1200, batch=64, seconds=150),
}
TRAINING_CLIPS = 4096
HELD_OUT_CLIPS = 512


def pretrain(
    out: Path, *, fraction: float = 1.0, seed: int = 0, data: Path = Path("runs/pretrain"), threads: int | None = None
) -> Quality:
    """Render, train, measure and write a base folder; an existing folder is replaced only after success.

    Args:
        out: The base folder.
        fraction: Fraction of the full training steps and clips, in (0, 1]; values below 1 only test the procedure.
        seed: Seed of the scenes, the initial weights and all batches.
        data: Folder of the rendered clips; it can be deleted afterwards.
        threads: CPU threads; all by default.

    Returns:
        Quality of the saved weights.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction: {fraction} -> a number above 0, up to 1")
    torch.set_num_threads(threads or os.cpu_count() or 1)
    torch.set_flush_denormal(True)  # denormal moments of dead weights slow Adam down severalfold
    torch.manual_seed(seed)
    clock = Clock({"clips": 60.0} | {name: stage.seconds for name, stage in RECIPES.items()} | {"quality": 40.0})
    clock.start("clips")
    training = load_corpus(data, max(256, round(TRAINING_CLIPS * fraction)), "train", seed)
    held_out = load_corpus(data, max(64, round(HELD_OUT_CLIPS * fraction)), "test", seed)
    clock.stop(f"{len(training)} + {len(held_out)} clips")
    nets = build_networks()
    _train(nets, training, fraction, seed, clock)
    part = out.resolve().with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        save_networks(nets, part)
        clock.start("quality")
        saved = load_networks(part)
        quality = measure(saved, held_out, steps=PROTOCOL.steps, guidance=PROTOCOL.guidance)
        write_picture(saved, part / "samples.png", protocol=PROTOCOL)
        clock.stop()
        write_card(
            part,
            protocol=PROTOCOL,
            quality=quality,
            clock=clock,
            record={
                "command": " ".join(["python -m trainables.pretrain", *sys.argv[1:]]),
                "built": "in one run",
                "seed": seed,
                "fraction": fraction,
                "training_clips": len(training),
                "held_out_clips": len(held_out),
                "threads": torch.get_num_threads(),
                "steps": {name: _scaled(stage.steps, fraction) for name, stage in RECIPES.items()},
                "batch": {name: stage.batch for name, stage in RECIPES.items()},
            },
        )
        _swap(part, out.resolve())
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return quality


def _train(nets: Networks, corpus: Corpus, fraction: float, seed: int, clock: Clock) -> None:
    """Run all stages in order; each has its own generator, so that their lengths are independent."""
    for number, (name, stage) in enumerate(RECIPES.items()):
        rng = torch.Generator().manual_seed(1000 * (seed + 1) + number)
        clock.start(name)
        stage.train(nets, corpus, steps=_scaled(stage.steps, fraction), batch=stage.batch, rng=rng, clock=clock)
        clock.stop()


def _scaled(steps: int, fraction: float) -> int:
    return max(1, round(steps * fraction))


def _swap(new: Path, out: Path) -> None:
    """Replace a folder by a finished one; code files in the old folder are kept."""
    old = new.with_name(f"{new.name}.old")
    if out.exists():
        for file in out.glob("*.py"):
            shutil.copy2(file, new / file.name)
        os.rename(out, old)
    os.rename(new, out)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m trainables.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER / "shapes", help="base folder (default: %(default)s)")
    parser.add_argument("--fraction", type=float, default=1.0, help="fraction of the full training, in (0, 1]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("runs/pretrain"), help="folder of the rendered clips")
    options = parser.parse_args()
    print(
        pretrain(options.out, fraction=options.fraction, seed=options.seed, data=options.data).model_dump_json(indent=2)
    )


if __name__ == "__main__":
    main()
