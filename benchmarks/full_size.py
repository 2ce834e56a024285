"""Memory, time and GPU utilisation of the systems at the full size of Stable Diffusion v1.5.

Weights are random, since only their sizes matter. Every case runs in a separate process. FLOPs are those of the model,
counted once without activation checkpointing; the peak is the card's measured rate for large matrix products.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.commands import free_port
from benchmarks.figures import ROOT, conclude, table

if TYPE_CHECKING:
    from models.bases import Precision
    from models.bases.stable_diffusion import StableDiffusion

FRAMES, TRAINED_SIZE, DRAWN_FRAMES, DRAWN_SIZE = 16, 256, 8, 512
"""Sizes of Seer's clips in its ``full`` profiles, and of ZS²'s clips on its base."""
WARM, TIMED = 3, 8
TRAININGS: list[dict[str, Any]] = [
    {"precision": "bf16", "micro": 1, "stage": 0},
    {"precision": "bf16", "micro": 4, "stage": 0},
    {"precision": "bf16", "micro": 4, "stage": 0, "checkpointing": True},
    {"precision": "bf16", "micro": 8, "stage": 0, "checkpointing": True},
    {"precision": "bf16", "micro": 4, "stage": 2},
    {"precision": "bf16", "micro": 4, "stage": 2, "offload": "optimizer"},
    {"precision": "bf16", "micro": 4, "stage": 3},
    {"precision": "bf16", "micro": 4, "stage": 3, "offload": "optimizer_and_parameters"},
    {"precision": "bf16", "micro": 4, "stage": 0, "trainable": "all", "checkpointing": True},
    {"precision": "fp16", "micro": 4, "stage": 2},
    {"precision": "fp32", "micro": 4, "stage": 2},
]
DRAWINGS: list[dict[str, Any]] = [
    {"precision": precision, "clips": clips} for precision in ("bf16", "fp16", "fp32") for clips in (1, 8)
]
SPEED = {"tflops": "TFLOP/s", "share": "share of peak", "peak": "peak GiB"}
MEASURED: dict[str, tuple[list[dict[str, Any]], str, dict[str, str]]] = {
    "training": (
        TRAININGS,
        f"Training of Seer on clips of {FRAMES} x {TRAINED_SIZE} x {TRAINED_SIZE}, with one worker over nccl.",
        {"seconds": "s per step", "clips_per_second": "clips per s", **SPEED}
        | {"state": "state GiB", "expected": "predicted state GiB"},
    ),
    "drawing": (
        DRAWINGS,
        f"Sampling with ZS², clips of {DRAWN_FRAMES} x {DRAWN_SIZE} x {DRAWN_SIZE}, 50 guided steps, and decoding.",
        {"seconds": "s per clip", **SPEED},
    ),
}


def main() -> int:
    """Measure every case and save the results with the date and the machine; with --case, run one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=MEASURED)
    parser.add_argument("--case", help="run only this case, and print its measurements as JSON", metavar="JSON")
    arguments = parser.parse_args()
    if arguments.case:
        warnings.filterwarnings("ignore")
        print(json.dumps({"training": training, "drawing": drawing}[arguments.workload](json.loads(arguments.case))))
        return 0
    cases, description, columns = MEASURED[arguments.workload]
    measurements = [(case, measured(arguments.workload, case)) for case in cases]
    card = next(values["card"] for _, values in measurements if "card" in values)
    setting = f"{description} Random weights in the shape of Stable Diffusion v1.5, on one {card}."
    rows = [_row(case, values, tuple(columns)) for case, values in measurements]
    return conclude(f"full_size_{arguments.workload}", setting, table(("case", *columns.values()), rows), [])


def _row(case: dict[str, Any], values: dict[str, Any], keys: tuple[str, ...]) -> tuple[object, ...]:
    words = ", ".join(f"{key} {value}" for key, value in case.items() if value is not True)
    words += ", checkpointing" * case.get("checkpointing", False)
    return (words, *(values.get(key, values.get("failed", "")) for key in keys))


def measured(workload: str, case: dict[str, Any]) -> dict[str, Any]:
    """Run one case in a separate process; return its measurements, or the failure."""
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    rendezvous |= {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}
    command = [sys.executable, "-m", "benchmarks.full_size", workload, "--case", json.dumps(case)]
    environment = {**os.environ, **rendezvous}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode:
        values = {"failed": "out of memory" if "OutOfMemory" in done.stderr else "failed"}
        print(done.stderr[-1500:], file=sys.stderr)
    else:
        values = dict(json.loads(done.stdout.strip().splitlines()[-1]))
    print(workload, json.dumps(case), json.dumps(values), file=sys.stderr, flush=True)
    return values


def training(case: dict[str, Any]) -> dict[str, Any]:
    """Measure training steps of Seer."""
    import torch
    import torch.distributed as dist

    from models.seer import Seer
    from models.training import AdamW
    from trainables.fit import checkpoint_activations
    from trainables.memory import model_state
    from trainables.scaling import Scaling, Zero
    from trainables.zero import deepspeed_config, start_engine, state_bytes

    torch.cuda.set_device(0)
    dist.init_process_group("nccl")
    micro, precision = case["micro"], case["precision"]
    settings = AdamW(steps=1000, global_batch_size=micro)
    zero = Zero.model_validate({"stage": case["stage"], "offload": case.get("offload", "none")})
    scaling = Scaling(zero=zero, gradient_checkpointing=case.get("checkpointing", False))
    tree = Seer().edit({"trainable": case["trainable"]} if "trainable" in case else {})
    network = tree.build(random_base("fp32", ("unet", "text_encoder"))).network.train()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    weights = list(network.parameters())
    total, trained = (sum(w.numel() for w in weights if w.requires_grad or not only) for only in (False, True))
    flops = micro * _flops(network, lambda loss: loss.backward(), *_batch(1))
    network.zero_grad(set_to_none=True)
    if scaling.gradient_checkpointing:
        checkpoint_activations(network)
    engine = start_engine(network, settings, deepspeed_config(settings, scaling, precision))
    del network
    batch, times, state = _batch(micro), [], {}
    torch.cuda.empty_cache()
    for step in range(WARM + TIMED):
        if step == WARM:
            torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        began = time.perf_counter()
        loss = engine(*batch)
        engine.backward(loss)
        if step == WARM - 1:
            state = state_bytes(engine)
        engine.step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    assert torch.isfinite(loss)
    seconds = statistics.median(times[WARM:])
    expected = model_state(total, trained, 0, scaling, precision, gpu=True)
    return _about(flops / seconds, precision) | {
        "seconds": seconds,
        "clips_per_second": micro / seconds,
        "state": sum(state.values()) / 2**30,
        "expected": (expected.on_device + expected.offloaded) / 2**30,
        "trained": trained,
    }


def drawing(case: dict[str, Any]) -> dict[str, Any]:
    """Measure sampling with ZS²."""
    import torch

    from models.bases import Protocol
    from models.streams import Streams
    from models.zs2 import ZS2
    from trainables.evaluate import fit_torch

    fit_torch(8)
    precision, clips, steps = case["precision"], case["clips"], 50
    base = random_base(precision, ("unet", "vae", "text_encoder"))
    side = DRAWN_SIZE // base.pixels_per_latent
    latents = torch.randn(1, DRAWN_FRAMES, 4, side, side, device=base.device, dtype=base.dtype)
    text = torch.randn(1, DRAWN_FRAMES, 77, 768, device=base.device, dtype=base.dtype)
    with torch.inference_mode():
        flops = 2 * steps * clips * _flops(base.denoiser(), abs, latents, torch.tensor(500), text)
    model, prompts = ZS2().build(base), [f"a red circle {k}" for k in range(clips)]
    protocol = Protocol(clips=clips, frames=DRAWN_FRAMES, steps=2, height=DRAWN_SIZE, width=DRAWN_SIZE)
    model.sample(prompts, Streams(0), protocol)
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    began = time.perf_counter()
    model.sample(prompts, Streams(0), protocol.model_copy(update={"steps": steps}))
    seconds = time.perf_counter() - began
    return _about(flops / seconds, precision) | {"seconds": seconds / clips}


def _about(flops_per_second: float, precision: str) -> dict[str, Any]:
    import torch

    return {
        "tflops": flops_per_second / 1e12,
        "share": flops_per_second / matrix_rate(precision),
        "peak": torch.cuda.max_memory_allocated() / 2**30,
        "card": torch.cuda.get_device_name(),
    }


def matrix_rate(precision: str) -> float:
    """Measure the FLOP/s of this card for matrix products of 8,192 by 8,192, with torch's default settings."""
    import torch

    from models.backbones import DTYPES

    size = 8192
    left, right = (torch.randn(size, size, device="cuda", dtype=DTYPES[precision]) for _ in range(2))
    times = []
    for _ in range(13):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        torch.mm(left, right)
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return float(2 * size**3 / statistics.median(times[3:]))


def _flops(call: Callable[..., Any], then: Callable[[Any], Any], *given: Any) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        then(call(*given))
    return int(counter.get_total_flops())


def _batch(clips: int) -> list[Any]:
    import torch

    side = TRAINED_SIZE // 8
    latents, noise = (torch.randn(clips, FRAMES, 4, side, side, device="cuda") for _ in range(2))
    return [latents, torch.randn(clips, 77, 768, device="cuda"), noise, torch.arange(clips, device="cuda") * 100 + 50]


def random_base(precision: "Precision", needed: tuple[str, ...]) -> "StableDiffusion":
    """Build a base of the size of Stable Diffusion v1.5 with random weights, on the GPU.

    Args:
        precision: Precision of the networks.
        needed: Names of the networks that get weights; the others stay on the meta device.
    """
    import torch

    from models.backbones import DTYPES
    from models.bases import find_base
    from models.bases.stable_diffusion import StableDiffusion

    ref, dtype = find_base("stable-diffusion-v1-5"), DTYPES[precision]
    networks, tiny = StableDiffusion.on_meta(ref), StableDiffusion.tiny()
    for name in needed:
        network = networks[name].to_empty(device="cuda")
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        if name == "text_encoder":
            for module in network.modules():
                if hasattr(module, "position_ids"):
                    module.position_ids = torch.arange(77, device="cuda")[None]
        networks[name] = network.to(dtype).eval().requires_grad_(False)
        if name != "text_encoder":
            networks[name].to(memory_format=torch.channels_last)
    settings = {"tokenizer": tiny.tokenizer, "noise_scheduler": tiny.noise_scheduler}
    return StableDiffusion(ref=ref, **networks, **settings, device=torch.device("cuda"), dtype=dtype)


if __name__ == "__main__":
    sys.exit(main())
