"""Memory per rank and time per step of each ZeRO stage.

Groups of gloo ranks with one thread each train all weights of Seer on the shapes base, with the same engine as studies.
Bytes are counted between backward pass and update. DeepSpeed's own estimate is for half precision with its buffers.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from typing import Any

from benchmarks.commands import free_port
from benchmarks.figures import ROOT, Figure, conclude, table

STEPS = {"fp32": 20, "bf16": 6}
"""Losses are compared in fp32; bf16 is slow on CPUs without bf16 units, so few steps measure bytes and times."""
BATCH = 4
KINDS = ("parameters", "gradients", "master", "moments")


def main() -> int:
    """Measure and save the results with the date and the machine; with --rank, run one rank of a group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="sizes of the worker groups")
    parser.add_argument("--rank", help="run one rank of a group", nargs=3, metavar=("RANK", "STAGE", "PRECISION"))
    arguments = parser.parse_args()
    if arguments.rank:
        rank, stage, precision = arguments.rank
        print(json.dumps(measure(int(stage), precision)) if rank == "0" else measure(int(stage), precision) and "")
        return 0
    measured = {}
    for precision, workers, stage in itertools.product(STEPS, arguments.workers, range(4)):
        began = time.perf_counter()
        measured[precision, workers, stage] = group(workers, stage, precision)
        seconds = time.perf_counter() - began
        print(f"{precision}, {workers} workers, stage {stage}: {seconds:.0f} s", file=sys.stderr, flush=True)
    head = ("precision, workers, stage", *KINDS, "without gradients, MiB", "DeepSpeed's estimate, MiB", "s per step")
    rows = [
        (
            f"{precision}, {workers}, {stage}",
            *(values["bytes"][kind] for kind in KINDS),
            held(values) / 2**20,
            estimate(values["trained"], workers, stage) / 2**20,
            values["seconds"],
        )
        for (precision, workers, stage), values in measured.items()
    ]
    trained = next(iter(measured.values()))["trained"]
    setting = f"Seer on base shapes, all weights trained: {trained:,} parameters, batch {BATCH}."
    return conclude("zero", setting, table(head, rows), list(figures(measured)))


def figures(measured: dict[tuple[str, int, int], dict[str, Any]]) -> list[Figure]:
    """Compare the measurements with their targets."""
    ratios = [("bf16", 0.55), ("fp32", 0.70)]
    targets = [
        Figure(
            f"{precision}, 2 workers: parameters, master and moments of stage 3, relative to stage 0",
            held(measured[precision, 2, 3]) / held(measured[precision, 2, 0]),
            "at most",
            ratio,
        )
        for precision, ratio in ratios
        if (precision, 2, 3) in measured
    ]
    for workers in sorted({workers for _, workers, _ in measured}):
        stages = [measured["fp32", workers, stage]["losses"] for stage in range(4)]
        largest = max(abs(a - b) for losses in stages for a, b in zip(losses, stages[0], strict=True))
        targets.append(
            Figure(
                f"fp32, {workers} workers: difference of losses over {STEPS['fp32']} steps", largest, "at most", 1e-4
            )
        )
    return targets


def held(values: dict[str, Any]) -> int:
    """Return the bytes of parameters, master copy and moments on a rank."""
    return sum(values["bytes"][kind] for kind in KINDS if kind != "gradients")


def estimate(parameters: int, workers: int, stage: int) -> int:
    """Return DeepSpeed's estimate of bytes per GPU in half precision; stages 0 and 1 use that of stage 2."""
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    if stage == 3:
        _, bytes_per_gpu, _ = estimate_zero3_model_states_mem_needs(
            parameters, 0, workers, cpu_offload=False, cpu_offload_params=False
        )
    else:
        _, bytes_per_gpu = estimate_zero2_model_states_mem_needs(parameters, workers if stage else 1, cpu_offload=False)
    return int(bytes_per_gpu)


def group(workers: int, stage: int, precision: str) -> dict[str, Any]:
    """Run a worker group and return the measurements of its first rank.

    Raises:
        RuntimeError: A rank failed.
    """
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    rendezvous |= {"WORLD_SIZE": str(workers), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.zero", "--rank", str(rank), str(stage), precision],
            env={**os.environ, **rendezvous, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(workers)
    ]
    try:
        outputs = [process.communicate(timeout=600) for process in ranks]
    finally:
        for process in ranks:
            if process.poll() is None:
                process.kill()
                process.communicate()
    if any(process.returncode for process in ranks):
        raise RuntimeError("\n".join(errors[-2000:] for _, errors in outputs))
    return dict(json.loads(outputs[0][0].strip().splitlines()[-1]))


def measure(stage: int, precision: str) -> dict[str, Any]:
    """Train on this rank, and count bytes and time."""
    warnings.filterwarnings("ignore")
    import torch
    import torch.distributed as dist

    from models.backbones import load_base
    from models.bases import find_base
    from models.seer import Seer
    from models.streams import Streams
    from models.training import AdamW
    from trainables.scaling import Scaling, Zero
    from trainables.zero import deepspeed_config, start_engine, state_bytes

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    world, rank = dist.get_world_size(), dist.get_rank()
    training = AdamW(steps=STEPS[precision], global_batch_size=BATCH, lr=1e-3)
    scaling = Scaling(workers=world, zero=Zero.model_validate({"stage": stage}))
    tree = Seer().edit({"trainable": "all", "text_decomposer.num_layers": 2})
    network = tree.build(load_base(find_base("shapes"), precision="fp32")).network.train()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    config = deepspeed_config(training, scaling, precision)
    engine = start_engine(network, training, config)
    trained = sum(getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters())
    streams, losses, times, counted = Streams(0), [], [], {}
    own = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    for step in range(training.steps):
        latents, noise = (
            torch.from_numpy(streams.normal(name, step, shape=(BATCH, 8, 4, 8, 8)))[own]
            for name in ("latents", "noise")
        )
        text = torch.from_numpy(streams.normal("text", step, shape=(BATCH, 24, 96)))[own]
        time_step = torch.tensor([streams.integers("time", step, k, high=1000) for k in range(BATCH)])[own]
        began = time.perf_counter()
        loss = engine(latents, text, noise, time_step)
        engine.backward(loss)
        if step == training.steps - 1:
            counted = state_bytes(engine)
        engine.step()
        times.append(time.perf_counter() - began)
        mean = loss.detach().float() / world
        dist.all_reduce(mean)
        losses.append(float(mean))
    return {
        "bytes": counted,
        "losses": losses,
        "seconds": statistics.fmean(times[len(times) // 2 :]),
        "trained": trained,
    }


if __name__ == "__main__":
    sys.exit(main())
