"""One training, as every rank of a worker group runs it: batches, updates, reports, checkpoints."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from models.contracts import Tensors, TrainedModel
from models.system import NonFiniteError
from models.training import AdamW
from trainables.cell_files import STOP, leave_weights
from trainables.checkpoints import Checkpoints
from trainables.data.encoded import Batches
from trainables.failures import OutOfMemoryError, is_out_of_memory
from trainables.scaling import next_smaller
from trainables.spool import Spool
from trainables.trial_spec import LostWorkerError, TrialSpec
from trainables.zero import deepspeed_config, full_weights, start_engine


@dataclass
class Ema:
    """Moving average of the trained weights, in float32 on the CPU of the first rank.

    a <- d a + (1 - d) w
    """

    decay: float
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def update(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take in the weights after an update."""
        for name, weight in weights.items():
            if name in self.weights:
                self.weights[name].lerp_(weight, 1 - self.decay)
            else:
                self.weights[name] = weight.clone()


class Fit:
    """The training of one cell on one rank.

    Args:
        spec: The cell, with its training.
        model: Built and warmed up, the same on every rank.
        batches: Training clips.
        held_out: Clips that no training sees, for the validation loss.
        folder: The cell's folder.
        precision: Of the passes; never "auto".
    """

    def __init__(
        self,
        spec: TrialSpec,
        model: TrainedModel,
        batches: Batches,
        held_out: Tensors,
        folder: Path,
        precision: str,
    ) -> None:
        assert spec.training is not None
        self.training: AdamW = spec.training
        self.scaling = spec.scaling
        self.batches, self.held_out, self.folder = batches, held_out, folder
        self.spool = Spool(folder)
        self.checkpoints = Checkpoints(folder, spec.scaling, precision)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        if spec.scaling.gradient_checkpointing:
            checkpoint_activations(model.network)
        # DeepSpeed broadcasts weights byte by byte, which wants them in their own order in memory.
        model.network.train().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.engine = start_engine(
            model.network, self.training, deepspeed_config(self.training, self.scaling, precision)
        )
        self.ema = Ema(self.training.ema) if self.training.ema else None

    def run(self) -> bool:
        """Train to the end and leave the weights; False where it was stopped before.

        Raises:
            NonFiniteError: The loss left the finite numbers.
            RuntimeError: A pass failed, or another rank is gone; see ``in_words``.
            CheckpointError: The checkpoint that is there cannot be gone on from.
        """
        training, scaling = self.training, self.scaling
        step, own = self.checkpoints.load(self.engine)
        if self.ema and self.rank == 0 and "ema" in own:
            self.ema.weights = own["ema"]
        began, since, saving = time.perf_counter(), step, 0.0
        while step < training.steps:
            loss, stopped = self._update(step)
            step += 1
            if self.ema:
                weights = full_weights(self.engine)
                if self.rank == 0:
                    self.ema.update(weights)
            if not math.isfinite(loss) or stopped:
                self.checkpoints.remove()
                if stopped:
                    return False
                raise NonFiniteError(f"the loss became {loss} at step {step} of {training.steps}")
            if step % scaling.report_every == 0 or step == training.steps:
                seconds = (time.perf_counter() - began) / max(1, step - since)
                self._report(step, loss, seconds, saving)
                began, since, saving = time.perf_counter(), step, 0.0
            if step % scaling.checkpoint_every == 0 and step < training.steps:
                before = time.perf_counter()
                kept = {"ema": self.ema.weights} if self.ema and self.rank == 0 else {}
                self.checkpoints.save(self.engine, step, kept)
                saving = time.perf_counter() - before
                began += saving  # no part of an update
        self._leave_weights()
        return True

    def _update(self, step: int) -> tuple[float, bool]:
        """One update; the loss of the global batch, and whether the training is to end."""
        micro, accumulation = self.scaling.micro_batch(self.training), self.scaling.accumulation(self.training)
        total = 0.0
        for k in range(accumulation):
            first = step * self.training.global_batch_size + (k * self.world + self.rank) * micro
            batch = self.batches.batch(range(first, first + micro))
            loss = self._loss(batch)
            self.engine.backward(loss)
            self.engine.step()
            total += float(loss.detach())
        figures = torch.tensor([total / accumulation / self.world, float((self.folder / STOP).exists())])
        figures = figures.to(self.engine.device)
        dist.all_reduce(figures)
        return float(figures[0]), bool(figures[1] > 0)

    def _loss(self, batch: Tensors) -> torch.Tensor:
        loss: torch.Tensor = self.engine(**batch)
        return loss

    def _report(self, step: int, loss: float, seconds: float, saving: float) -> None:
        began = time.perf_counter()
        validation = self._validation_loss()
        if self.rank == 0:
            norm = self.engine.get_global_grad_norm()
            rates = {"lr": self.engine.get_lr()[0], "seconds_per_step": seconds}
            spent = {"validation_seconds": time.perf_counter() - began}
            spent |= {"checkpoint_seconds": saving} if saving else {}
            found = {"loss": loss, "validation_loss": validation, **rates, **spent}
            self.spool.append(step, found if norm is None else {**found, "grad_norm": float(norm)})

    @torch.no_grad()
    def _validation_loss(self) -> float:
        """Mean loss of held-out clips, their noise and timesteps being the same at every report, in every arm.

        In micro-batches, as many on each rank: what a training step fits, this fits too.
        """
        clips = _num_clips(self.held_out)
        share = clips // self.world if clips % self.world == 0 else clips  # else each rank does them all
        first, micro = self.rank * share % clips, self.scaling.micro_batch(self.training)
        total = torch.zeros((), device=self.engine.device)
        self.engine.eval()
        for start in range(first, first + share, micro):
            some = slice(start, min(start + micro, first + share))
            batch = {name: values[some] for name, values in self.held_out.items()}
            total += self._loss(batch).float() * _num_clips(batch)
        self.engine.train()
        dist.all_reduce(total)
        return float(total) / (self.world * share)

    def _leave_weights(self) -> None:
        kept = self.ema.weights if self.ema else full_weights(self.engine)
        if self.rank == 0:
            leave_weights(self.folder, kept)
        self.checkpoints.remove()
        dist.barrier()


def _num_clips(batch: Tensors) -> int:
    return len(next(iter(batch.values())))


def in_words(error: RuntimeError, micro: int) -> RuntimeError:
    """An error of a pass in words that help, where it is about memory or a rank that is gone; else itself."""
    first_line = str(error).partition("\n")[0]
    if isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in first_line:
        return LostWorkerError(first_line)
    if not is_out_of_memory(error):
        return error
    smaller = next_smaller(micro)
    advice = f"resources: {{micro_batch_size: {smaller}}}" if smaller else "ZeRO stage 3, or offload"
    return OutOfMemoryError(f"micro-batch {micro} does not fit the memory ({first_line}) -> {advice}")


def checkpoint_activations(network: Any) -> None:
    """Compute activations again in the backward pass, where the network's blocks know how."""
    for module in network.modules():
        if hasattr(module, "enable_gradient_checkpointing"):
            module.enable_gradient_checkpointing()
