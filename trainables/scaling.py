"""Settings of a cell's worker group: workers, ZeRO, memory. Plain data; imports no torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.bases import Count
from models.training import AdamW


def _gpus(number: float) -> float:
    if number > 1 and not number.is_integer():
        raise ValueError("a fraction of one GPU, or a whole number")
    return number


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Zero(_Block):
    """DeepSpeed ZeRO: sharding of the training state over the workers of a cell.

    Args:
        stage: Shards 0 nothing, 1 optimizer states, 2 also gradients, 3 also parameters.
        offload: State kept in CPU memory instead of GPU memory.
        resume: Whether a checkpoint of another number of workers is refused or converted (universal).
    """

    stage: Literal[0, 1, 2, 3] = Field(
        0, description="shards 0 nothing, 1 optimizer states, 2 also gradients, 3 also parameters"
    )
    offload: Literal["none", "optimizer", "optimizer_and_parameters"] = Field(
        "none", description="state kept in CPU memory"
    )
    resume: Literal["same_workers", "universal"] = Field(
        "same_workers", description="universal: checkpoints of another number of workers are converted"
    )

    def problem(self) -> str:
        """Describe an impossible combination; empty if there is none."""
        if self.offload == "optimizer" and self.stage == 0:
            return "offload: optimizer at stage 0 -> stage 1, 2 or 3"
        if self.offload == "optimizer_and_parameters" and self.stage != 3:
            return f"offload: optimizer_and_parameters at stage {self.stage} -> stage 3"
        return ""


def next_smaller(micro: int) -> int | None:
    """Largest proper divisor of a micro-batch; None for 1."""
    return next((size for size in range(micro // 2, 0, -1) if micro % size == 0), None)


class Scaling(_Block):
    """Worker group of one cell; changes results by rounding only.

    Args:
        workers: Processes that train one cell.
        cpus_per_worker: CPU cores per worker.
        gpus_per_worker: GPUs per worker; by default 1 if there is a GPU.
        zero: Sharding over the workers.
        micro_batch_size: Clips per worker and pass; by default the worker's share of the batch.
        gradient_checkpointing: Whether to recompute activations in the backward pass, to save memory.
        cache: Whether to keep latents and text states of training clips on the storage.
        cache_gib: Size limit of the cache; the least recently used files are removed first.
        report_every: Updates between two reports.
        checkpoint_every: Updates between two checkpoints.
    """

    workers: Count = Field(1, description="processes that train one cell")
    cpus_per_worker: Count = Field(1, description="CPU cores per worker")
    gpus_per_worker: Annotated[float, Field(ge=0), AfterValidator(_gpus)] | None = Field(
        None, description="GPUs per worker, a fraction to share one; by default 1 if there is a GPU"
    )
    zero: Zero = Zero()
    micro_batch_size: Count | None = Field(None, description="clips per worker and pass")
    gradient_checkpointing: bool = Field(False, description="recompute activations, to save memory")
    cache: bool = Field(True, description="keep latents and text states of training clips")
    cache_gib: Annotated[float, Field(gt=0)] = Field(
        20.0, description="size limit of the cache; larger sets of training clips are encoded at every step"
    )
    report_every: Count = Field(50, description="updates between two reports")
    checkpoint_every: Count = Field(500, description="updates between two checkpoints")

    @property
    def per_worker(self) -> dict[str, float]:
        """Ray resources of one worker, once its GPUs are known."""
        return {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker or 0}

    def micro_batch(self, training: AdamW) -> int:
        """Clips per worker and pass."""
        return self.micro_batch_size or max(1, training.global_batch_size // self.workers)

    def accumulation(self, training: AdamW) -> int:
        """Passes per update: global batch = workers x micro-batch x passes."""
        return training.global_batch_size // (self.workers * self.micro_batch(training))

    def problem(self, training: AdamW) -> str:
        """Describe why the group cannot train or the batch cannot be divided; empty if it can."""
        if self.workers > 1 and not float(self.gpus_per_worker or 0).is_integer():
            return f"{self.workers} workers with {self.gpus_per_worker:g} GPUs each -> whole GPUs for each worker"
        per_pass = self.workers * self.micro_batch(training)
        if training.global_batch_size % per_pass == 0:
            return ""
        return (
            f"{training.global_batch_size} clips per update over {self.workers} workers x {self.micro_batch(training)} "
            f"-> a multiple of {per_pass}"
        )
