"""Training loop of the pretraining stages, and its progress clock."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn


def begin(fraction: float, seed: int, threads: int | None) -> None:
    """Set torch's threads and seed for a training.

    Args:
        fraction: Fraction of the full training, in (0, 1].
        seed: Seed of the initial weights.
        threads: CPU threads; all by default.

    Raises:
        ValueError: The fraction is not in its range.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction: {fraction} -> a number above 0, up to 1")
    torch.set_num_threads(threads or os.cpu_count() or 1)
    torch.set_flush_denormal(True)  # denormal moments of dead weights slow Adam down severalfold
    torch.manual_seed(seed)


@dataclass
class Clock:
    """Seconds per stage, and an estimate of the remaining time.

    Args:
        shares: Expected seconds per stage in order; once a stage runs, only their proportions matter.
    """

    shares: dict[str, float]
    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _began: tuple[float, float] = (0.0, 0.0)
    _printed: float = 0.0

    def start(self, stage: str) -> None:
        """Start a stage."""
        assert stage in self.shares, stage
        self._stage, self._began, self._printed = stage, (time.perf_counter(), time.process_time()), 0.0
        print(f"{stage} ...", flush=True)

    def progress(self, share: float, words: str, every: float = 15.0) -> None:
        """Print the progress of the stage, at most once in ``every`` seconds."""
        spent = time.perf_counter() - self._began[0]
        if spent - self._printed < every or share <= 0:
            return
        self._printed = spent
        whole = spent / share
        done = sum(self.shares[name] for name in self.wall) + self.shares[self._stage] * share
        pace = (sum(self.wall.values()) + spent) / done
        later = [s for name, s in self.shares.items() if name not in self.wall and name != self._stage]
        left = whole - spent + pace * sum(later)
        print(f"  {self._stage} {share:4.0%}  {words}  {left / 60:.1f} min left in total", flush=True)

    def stop(self, words: str = "") -> None:
        """End the stage and record its time."""
        self.wall[self._stage] = time.perf_counter() - self._began[0]
        self.cpu[self._stage] = time.process_time() - self._began[1]
        print(f"  {self._stage} done in {self.wall[self._stage]:.0f} s  {words}", flush=True)


def fit(
    model: nn.Module,
    loss: Callable[[int], torch.Tensor],
    *,
    steps: int,
    lr: float,
    clock: Clock,
    weight_decay: float = 0.01,
    ema: float = 0.995,
    parameters: Iterable[nn.Parameter] | None = None,
) -> None:
    """Train with AdamW, a short warm-up, a cosine schedule to zero, and averaged weights in the final model.

    Args:
        model: Trained in place, then set to evaluation mode.
        loss: Loss of the step with the given number; draws its own batch.
        steps: Updates, at least 1.
        lr: Peak learning rate.
        clock: Receives the progress.
        weight_decay: Weight decay of AdamW.
        ema: Decay of the averaged weights, in [0, 1).
        parameters: Trained parameters; all by default.
    """
    trained = list(parameters if parameters is not None else model.parameters())
    optimizer = torch.optim.AdamW(trained, lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)
    lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1, pct_start=0.06)
    averaged: Any = EMAModel(trained, decay=ema, use_ema_warmup=True, power=0.8)
    model.train()
    smooth = 0.0
    for step in range(steps):
        value = loss(step)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        lr_scheduler.step()
        averaged.step(trained)
        keep = min(0.98, step / (step + 1))
        smooth = keep * smooth + (1 - keep) * value.item()
        clock.progress((step + 1) / steps, f"step {step + 1}/{steps}  loss {smooth:.4f}")
    averaged.copy_to(trained)
    model.eval()
