"""What a cell is trained by: workers, ZeRO, memory. Plain data; imports no torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.training import AdamW

Count = Annotated[int, Field(ge=1)]


def _gpus(number: float) -> float:
    if number > 1 and not number.is_integer():
        raise ValueError("a fraction of one GPU, or whole GPUs")
    return number


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Zero(_Block):
    """What DeepSpeed ZeRO spreads over the workers of a cell.

    Args:
        stage: 0 nothing, 1 optimizer states, 2 gradients too, 3 parameters too.
        offload: What lies in the processor's memory instead of the GPU's.
        resume: What a checkpoint of another number of workers is good for: refused, or converted (universal).
    """

    stage: Literal[0, 1, 2, 3] = Field(
        0, description="0 nothing, 1 optimizer states, 2 gradients too, 3 parameters too"
    )
    offload: Literal["none", "optimizer", "optimizer_and_parameters"] = Field(
        "none", description="into the processor's memory"
    )
    resume: Literal["same_workers", "universal"] = Field(
        "same_workers", description="universal: checkpoints of another number of workers are converted"
    )

    def problem(self) -> str:
        """What is impossible about it; empty where nothing is."""
        if self.offload == "optimizer" and self.stage == 0:
            return "offload: optimizer at stage 0 -> stage 1, 2 or 3"
        if self.offload == "optimizer_and_parameters" and self.stage != 3:
            return f"offload: optimizer_and_parameters at stage {self.stage} -> stage 3"
        return ""


def next_smaller(micro: int) -> int | None:
    """The largest micro-batch below one that divides it; None below 1."""
    return next((size for size in range(micro // 2, 0, -1) if micro % size == 0), None)


class Scaling(_Block):
    """The worker group of one cell; nothing here changes what is computed, but for rounding.

    Args:
        workers: Processes that train a cell together.
        cpus_per_worker: Processor cores of each.
        gpus_per_worker: GPUs of each; one where there is a GPU by default.
        zero: What is spread over them.
        micro_batch_size: Clips per worker and pass; the whole share of the batch by default.
        gradient_checkpointing: Whether activations are computed again in the backward pass, to save memory.
        cache: Whether latents and text states of training clips are kept on the storage.
        cache_gib: Bound on all that is kept; the files used longest ago go first.
        report_every: Updates between two reports.
        checkpoint_every: Updates between two checkpoints.
    """

    workers: Count = Field(1, description="processes that train one cell together")
    cpus_per_worker: Count = Field(1, description="processor cores of each")
    gpus_per_worker: Annotated[float, Field(ge=0), AfterValidator(_gpus)] | None = Field(
        None, description="GPUs of each, a fraction to share one; 1 where there is a GPU by default"
    )
    zero: Zero = Zero()
    micro_batch_size: Count | None = Field(None, description="clips per worker and pass")
    gradient_checkpointing: bool = Field(False, description="compute activations again, to save memory")
    cache: bool = Field(True, description="keep latents and text states of training clips")
    cache_gib: Annotated[float, Field(gt=0)] = Field(
        20.0, description="bound on all that is kept; training clips that take more are encoded anew at every step"
    )
    report_every: Count = Field(50, description="updates between two reports")
    checkpoint_every: Count = Field(500, description="updates between two checkpoints")

    @property
    def per_worker(self) -> dict[str, float]:
        """What Ray reserves for one worker, once its GPUs are decided."""
        return {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker or 0}

    def micro_batch(self, training: AdamW) -> int:
        """Clips per worker and pass."""
        return self.micro_batch_size or max(1, training.global_batch_size // self.workers)

    def accumulation(self, training: AdamW) -> int:
        """Passes per update: global batch = workers x micro-batch x passes."""
        return training.global_batch_size // (self.workers * self.micro_batch(training))

    def problem(self, training: AdamW) -> str:
        """Why the group cannot train, or the batch not be shared out; empty where it can."""
        if self.workers > 1 and not float(self.gpus_per_worker or 0).is_integer():
            return f"{self.workers} workers with {self.gpus_per_worker:g} GPUs each -> whole GPUs: a group has one each"
        per_pass = self.workers * self.micro_batch(training)
        if training.global_batch_size % per_pass == 0:
            return ""
        return (
            f"{training.global_batch_size} clips per update over {self.workers} workers x {self.micro_batch(training)} "
            f"-> a multiple of {per_pass}"
        )
