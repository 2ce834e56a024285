"""Trainings on gloo groups of a few processes, running ``train_loop_per_worker`` without Ray.

Ranks are forked from a server with all imports, which take longer than the tiny trainings. With a GPU they are spawned:
CUDA does not survive a fork.
"""

import multiprocessing
import os
import warnings
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Rank:
    """Process of a group, with the file of its output."""

    process: BaseProcess
    log: Path

    def ended(self, timeout: float) -> int:
        """Wait for the exit code; minus the signal if a signal ended the process.

        Raises:
            TimeoutError: The process is still running.
        """
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise TimeoutError(f"a rank is still running after {timeout} s: {self.output()[-3000:]}")
        return self.process.exitcode

    def output(self) -> str:
        """Return the output of the process."""
        return self.log.read_text() if self.log.exists() else ""

    def end(self) -> None:
        """Kill the process if it is still running."""
        self.process.kill()
        self.process.join()


def start_ranks(config: dict[str, Any], world: int, before: str = "") -> list[Rank]:
    """Start the processes of a group, which connect at a free local port.

    Args:
        config: Configuration of ``train_loop_per_worker``.
        world: Number of ranks.
        before: Python code that each rank runs before the training.
    """
    from tests.factories import FORKS, free_port  # which the ranks themselves need not import

    context = multiprocessing.get_context("spawn") if torch.cuda.is_available() else FORKS
    folder, port = Path(config["storage"]), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    ranks = []
    for number in range(world):
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
        own = {**meeting, "RANK": str(number), "LOCAL_RANK": str(number), "OMP_NUM_THREADS": "1"}
        log = folder / f"rank{number}.log"
        process = context.Process(target=_run, args=(config, before, {**os.environ, **own}, log), daemon=True)
        process.start()
        ranks.append(Rank(process, log))
    return ranks


def run_ranks(config: dict[str, Any], world: int, before: str = "", timeout: float = 240) -> None:
    """Run a group until all ranks have ended.

    Raises:
        AssertionError: A process failed; the message is the end of its output.
    """
    ranks = start_ranks(config, world, before)
    try:
        for rank in ranks:
            assert rank.ended(timeout) == 0, rank.output()[-3000:]
    finally:
        for rank in ranks:
            rank.end()


def _run(config: dict[str, Any], before: str, environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    from trainables.worker import train_loop_per_worker

    exec(before, {"os": os})
    train_loop_per_worker(config)
    dist.barrier()
    dist.destroy_process_group()
