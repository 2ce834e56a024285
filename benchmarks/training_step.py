"""Time of a training step of ExVideo compared with a plain loop over the same network, batches and optimizer.

Both train in one process with one thread: the engine as in a study (DeepSpeed, stage 0, fp32), and torch's AdamW with
clipping. Rounds alternate between the two, and each ratio is of neighbouring rounds.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks.commands import free_port
from benchmarks.figures import ROOT, Figure, conclude, table

if TYPE_CHECKING:
    from models.contracts import Tensors, TrainedModel
    from trainables.data.encoded import Batches
    from trainables.trial_spec import TrialSpec

STUDY = ROOT / "sweeps" / "exvideo" / "identity_conv.yaml"


def main() -> int:
    """Measure and save the results with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="rounds of each of the two loops")
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import torch.distributed as dist

    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks for it
    rendezvous = f"tcp://127.0.0.1:{free_port()}"
    dist.init_process_group("gloo", init_method=rendezvous, rank=0, world_size=1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            engine, plain = loops(Path(folder))
            seconds = [
                (_seconds(engine, number, arguments.steps), _seconds(plain, number, arguments.steps))
                for number in range(arguments.rounds + 1)
            ][1:]  # the first round warms up
    finally:
        dist.destroy_process_group()
    ratios = [of_engine / of_plain for of_engine, of_plain in seconds]
    rows = [
        (f"round {k}", *times, ratio) for k, (times, ratio) in enumerate(zip(seconds, ratios, strict=True), start=1)
    ]
    rows.append(
        ("median", *(statistics.median(times) for times in zip(*seconds, strict=True)), statistics.median(ratios))
    )
    head = ("round", "engine, s per step", "plain loop, s per step", "ratio")
    figure = Figure("step of the engine, relative to the plain loop", statistics.median(ratios), "at most", 1.05)
    setting = "ExVideo's control on base shapes_video: 24 frames, 4 clips per step, one thread."
    return conclude("training_step", setting, table(head, rows), [figure])


def loops(folder: Path) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """Make a step of the engine and a step of the plain loop, each on a copy of the model."""
    import torch

    from models.bases import precision_in_full
    from sweeps.plan import load
    from trainables.fit import Fit

    torch.set_num_threads(1)
    spec = load(STUDY).cells[0].spec
    batches = _KeptBatches(spec, _model(spec), folder)
    engine = Fit(spec, _model(spec), cast("Batches", batches), {}, folder, precision_in_full("fp32", gpu=False))
    training, network = engine.training, _model(spec).network.train()
    optimizer = torch.optim.AdamW(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        lr=training.lr,
        betas=(training.beta1, training.beta2),
        eps=training.eps,
        weight_decay=training.weight_decay,
    )

    def of_engine(step: int) -> float:
        return engine._update(step)[0]

    def plain(step: int) -> float:
        first = step * training.global_batch_size
        loss: torch.Tensor = network(**batches.batch(range(first, first + training.global_batch_size)))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), training.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return of_engine, plain


def _model(spec: "TrialSpec") -> "TrainedModel":
    from models import SYSTEMS
    from models.backbones import load_base
    from models.bases import find_base

    system = SYSTEMS[spec.system]
    base = load_base(find_base(spec.base, system.family), precision="fp32")
    return cast("TrainedModel", system.model_validate(spec.tree).build(base, spec.seed))


class _KeptBatches:
    """A few batches, made before the steps are timed: to encode clips costs the same in both loops."""

    def __init__(self, spec: "TrialSpec", model: "TrainedModel", folder: Path, count: int = 4) -> None:
        from models.streams import Streams
        from trainables.data.encoded import Batches, Encoded
        from trainables.inputs import clips_of, size

        assert spec.training is not None
        clips = clips_of(spec).training_clips(size(spec), 16, folder)
        made, per_step = Batches(model, Encoded(model, clips, {}), Streams(0)), spec.training.global_batch_size
        self.num_clips = made.num_clips
        self._kept = [made.batch(range(k * per_step, (k + 1) * per_step)) for k in range(count)]

    def batch(self, places: range) -> "Tensors":
        """Return the batch of a step."""
        return self._kept[places.start // len(places) % len(self._kept)]


def _seconds(step: Callable[[int], float], number: int, steps: int) -> float:
    """Return the seconds per step of a round."""
    began = time.perf_counter()
    for k in range(steps):
        step(number * steps + k)
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    sys.exit(main())
