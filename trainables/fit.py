"""Training loop that every rank of a worker group runs: batches, updates, reports, checkpoints."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist

from models import SYSTEMS
from models.contracts import Tensors, TrainedModel
from models.system import NonFiniteError, is_out_of_memory
from models.training import AdamW, TrainedSystem
from trainables.cell_files import STOP, save_weights
from trainables.checkpoints import Checkpoints
from trainables.data.encoded import Batches
from trainables.failures import OutOfMemoryError
from trainables.scaling import next_smaller
from trainables.spool import Spool
from trainables.trial_spec import LostWorkerError, TrialSpec
from trainables.zero import backward, deepspeed_config, full_weights, gradient_norm, start_engine


@dataclass
class Ema:
    """Moving average of the trained weights, in float32 on the CPU of the first rank.

    a <- d a + (1 - d) w
    """

    decay: float
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def update(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Average in the weights after an update."""
        for name, weight in weights.items():
            if name in self.weights:
                self.weights[name].lerp_(weight, 1 - self.decay)
            else:
                self.weights[name] = weight.clone()


class Fit:
    """Training of one cell on one rank.

    Args:
        spec: The cell, with its training.
        model: Initialised, identical on every rank.
        batches: Training clips.
        held_out: Held-out clips, for the validation loss.
        folder: The cell's folder.
        precision: Precision of the passes; never "auto".
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
        # DeepSpeed broadcasts weights byte by byte, so they must be contiguous.
        model.network.train().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.engine = start_engine(
            model.network, self.training, deepspeed_config(self.training, self.scaling, precision)
        )
        tree = cast(TrainedSystem, SYSTEMS[spec.system].model_validate(spec.tree))
        averaging = tree.ema.build(math.ceil(batches.num_clips / self.training.global_batch_size))
        self.interval, decay = averaging or (self.training.steps + 1, 0.0)
        self.ema = Ema(decay) if self.interval <= self.training.steps else None  # else no step of the average comes

    def run(self) -> bool:
        """Train to the end and save the weights; return False if training was stopped early.

        Raises:
            NonFiniteError: The loss became NaN or infinite.
            RuntimeError: A pass failed, or another rank was lost; see ``explained``.
            CheckpointError: The existing checkpoint cannot be resumed.
        """
        training, scaling = self.training, self.scaling
        step, own = self.checkpoints.load(self.engine)
        if self.ema and self.rank == 0 and "ema" in own:
            self.ema.weights = own["ema"]
        began, since, saving = time.perf_counter(), step, 0.0
        while step < training.steps:
            loss, stopped = self._update(step)
            step += 1
            if self.ema and step % self.interval == 0:
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
                began += saving  # not counted as update time
        self._save_weights()
        return True

    def _update(self, step: int) -> tuple[float, bool]:
        """Make one update; return the loss of the global batch, and whether to stop the training."""
        micro, accumulation = self.scaling.micro_batch(self.training), self.scaling.accumulation(self.training)
        total = 0.0
        for k in range(accumulation):
            first = step * self.training.global_batch_size + (k * self.world + self.rank) * micro
            batch = self.batches.batch(range(first, first + micro))
            loss = self._loss(batch)
            backward(self.engine, loss)
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
            norm = gradient_norm(self.engine)
            rates = {"lr": self.engine.get_lr()[0], "seconds_per_step": seconds}
            spent = {"validation_seconds": time.perf_counter() - began}
            spent |= {"checkpoint_seconds": saving} if saving else {}
            metrics = {"loss": loss, "validation_loss": validation, **rates, **spent}
            self.spool.append(step, metrics if norm is None else {**metrics, "grad_norm": norm})

    @torch.no_grad()
    def _validation_loss(self) -> float:
        """Compute the mean loss on held-out clips, with the same noise and timesteps at every report and in every arm.

        It uses the micro-batch of training, so that it needs no more memory than a training step.
        """
        clips = _num_clips(self.held_out)
        share = clips // self.world if clips % self.world == 0 else clips  # else each rank computes all of them
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

    def _save_weights(self) -> None:
        weights = self.ema.weights if self.ema else full_weights(self.engine)
        if self.rank == 0:
            save_weights(self.folder, weights)
        self.checkpoints.remove()
        dist.barrier()


def _num_clips(batch: Tensors) -> int:
    return len(next(iter(batch.values())))


FURTHER = "resources: {gradient_checkpointing: true}, ZeRO stage 3 or offload, or fewer or smaller frames"
"""What saves memory where one clip at a time does not fit."""


def explained(error: RuntimeError, micro: int) -> RuntimeError:
    """Convert an error of a pass into an out-of-memory or lost-worker error with a remedy; else return it unchanged."""
    first_line = str(error).partition("\n")[0]
    if isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in first_line:
        return LostWorkerError(first_line)
    if not is_out_of_memory(error):
        return error
    smaller = next_smaller(micro)
    advice = f"resources: {{micro_batch_size: {smaller}}}" if smaller else FURTHER
    return OutOfMemoryError(f"micro-batch {micro} does not fit into memory ({first_line}) -> {advice}")


def checkpoint_activations(network: Any) -> None:
    """Enable gradient checkpointing in all blocks that support it."""
    for module in network.modules():
        if hasattr(module, "enable_gradient_checkpointing"):
            module.enable_gradient_checkpointing()
