"""Time of AID's network with all adapters, compared with the same network without any.

Both have the condition and the new cross-attention. A denoising pass and a training step (forward and backward pass)
are timed in one process with one thread; rounds alternate between the two networks, and each ratio is of neighbouring
rounds.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure, conclude, table

ADAPTERS = ("spatial_adapter", "short_term_adapter", "long_term_adapter")
CLIPS = 4


def main() -> int:
    """Measure and save the results with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="rounds of each network")
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    whole, without = networks()
    rows, figures = [], []
    for what, step in (("denoising pass", denoising_pass), ("training step", training_step)):
        seconds = [
            (_seconds(step, whole, arguments.steps), _seconds(step, without, arguments.steps))
            for _ in range(arguments.rounds + 1)
        ][1:]  # the first round warms up
        ratio = statistics.median(one / other for one, other in seconds)
        rows.append((what, *(statistics.median(times) for times in zip(*seconds, strict=True)), ratio))
        figures.append(Figure(f"{what} with all adapters, relative to none", ratio, "at most", 1.10))
    head = ("", "all adapters, s", "no adapter, s", "ratio")
    setting = f"AID's control on base shapes_video: {CLIPS} clips of 8 frames, one thread, fp32."
    return conclude("adapters", setting, table(head, rows), figures)


def networks() -> tuple[Any, Any]:
    """Build AID's network with its inputs, with all adapters and without any."""
    import torch

    from models.aid import AID
    from models.backbones import load_base
    from models.contracts import Clips
    from models.streams import Draws, Streams

    base = load_base(AID.find_base("shapes_video"), precision="fp32")
    video = torch.rand(CLIPS, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    clips = Clips(video, ["a red circle drops"] * CLIPS)
    found = []
    for removed in ((), ADAPTERS):
        tree = AID().edit({"states": "repeat", **dict.fromkeys(removed, "removed")})
        model = tree.build(base)
        batch = model.batch(model.encode(clips), Draws(Streams(0), range(CLIPS)))
        found.append((model.network.train(), batch))
    return found[0], found[1]


def denoising_pass(built: Any) -> None:
    """Predict v of a batch, without its loss."""
    import torch

    network, batch = built
    with torch.inference_mode():
        context = network.context(
            batch["latents"].shape[1], text=batch["text"], states=batch["states"], visual=batch["visual"]
        )
        conditions = {name: batch[name] for name in ("image", "beside", "micro")}
        network.predict(batch["latents"], batch["sigma"].log() / 4, **context, **conditions)


def training_step(built: Any) -> None:
    """Compute the gradients of a batch."""
    network, batch = built
    network(**batch).backward()
    network.zero_grad()


def _seconds(step: Callable[[Any], None], built: Any, steps: int) -> float:
    """Return the seconds per step of a round."""
    began = time.perf_counter()
    for _ in range(steps):
        step(built)
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    sys.exit(main())
