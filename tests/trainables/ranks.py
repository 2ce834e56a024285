"""Trainings on gloo groups of a few processes, without Ray: what ``train_loop_per_worker`` does on each rank."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

RANK = """
import json, os, sys, warnings
warnings.filterwarnings("ignore")
from pathlib import Path
import torch, torch.distributed as dist
torch.set_num_threads(1)
dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
from trainables import worker
job = json.loads(sys.argv[1])
exec(job["before"])
worker.train_loop_per_worker(job["config"])
dist.barrier()
dist.destroy_process_group()
"""


def start_ranks(config: dict[str, Any], world: int, port: int, before: str = "") -> list[subprocess.Popen[str]]:
    """Start the processes of a group.

    Args:
        config: What the worker is given.
        world: How many.
        port: Where they meet, on loopback.
        before: Python that each runs before the training.
    """
    job = json.dumps({"config": config, "before": before})
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", RANK, job],
            env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]


def run_ranks(config: dict[str, Any], world: int, port: int, before: str = "", timeout: float = 240) -> None:
    """Run a group to its end.

    Raises:
        AssertionError: A process failed; its last words are the message.
    """
    processes = start_ranks(config, world, port, before)
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
        for process, output in zip(processes, outputs, strict=True):
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def free_port() -> int:
    """A port that nobody listens on, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
