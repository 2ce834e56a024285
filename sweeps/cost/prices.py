"""What the stages of a cell take, measured on short cells, and what a cell of any length then costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from trainables.files import json_hash
from trainables.trial_spec import TrialSpec

MOST_CLIPS = 64
"""Clips of a short cell at most; drawing and scoring grow with their number."""
SHORT, LONG = 2, 6
"""Denoising steps of the two cells whose difference is the price of a step."""
UPDATES = 8
"""Updates of a short training, with a report every 2 and one checkpoint."""
LEAST_SPREAD = 0.1


def shape_of(spec: TrialSpec) -> str:
    """What decides a cell's price, but for how many updates, clips and denoising steps it has.

    Two arms are of one shape where they differ in numbers that are not whole: a momentum or a learning rate costs the
    same whatever it is, a kind of part or a number of layers does not.
    """
    tree = {**spec.tree}
    if isinstance(tree.get("training"), dict):
        tree["training"] = {"batch": tree["training"]["global_batch_size"]}
    about = {
        "tree": _without_fractions(tree),
        "scaling": spec.scaling.model_dump(mode="json", exclude={"report_every", "checkpoint_every"}),
        **spec.model_dump(mode="json", include={"system", "base", "data", "precision", "metrics", "extractors"}),
        "size": (spec.protocol.frames, spec.protocol.height, spec.protocol.width, spec.protocol.guidance > 1),
    }
    return json_hash(about)


def _without_fractions(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_fractions(inner) for key, inner in value.items() if not isinstance(inner, float)}
    return value


@dataclass(frozen=True)
class Timed:
    """One short cell as it was timed.

    Args:
        steps: Denoising steps.
        clips: Drawn and scored.
        wall: Seconds from its start to its end, as the driver saw it.
        seconds: Of its stages, by its result.
        points: What its training reported on its way, in order.
    """

    steps: int
    clips: int
    wall: float
    seconds: Mapping[str, float]
    points: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class Price:
    """What a cell of one shape takes, in seconds.

    Args:
        first: More of the first cell of a warm worker: libraries, base, extractors.
        around: Outside its stages: the trial, and for a training the start of its worker group.
        load: Base and extractors, where each cell loads them.
        prepare: Of a training, all but its updates, reports and checkpoints.
        update: One update of the weights.
        report: One validation on the way.
        checkpoint: One of them.
        draw: A clip, whatever the number of steps: text, decoding.
        step: One denoising step of a clip.
        save: A clip.
        score: A clip.
        spread: How much of a price is uncertain, as a share of it.
    """

    first: float
    around: float
    load: float
    prepare: float
    update: float
    report: float
    checkpoint: float
    draw: float
    step: float
    save: float
    score: float
    spread: float

    def of(self, spec: TrialSpec) -> float:
        """Seconds of a cell that is not the first of its worker.

        around + load + prepare + U update + (U // r) report + (U // c) checkpoint
        + clips (draw + S step + save + score)
        """
        return self.around + self.inside(spec)

    def inside(self, spec: TrialSpec) -> float:
        """The same without what is around its stages, in which its worker waits or does not yet stand."""
        clips, steps = spec.protocol.clips, spec.protocol.steps
        drawn = clips * (self.draw + steps * self.step + self.save + self.score)
        return self.load + self.training(spec) + drawn

    def training(self, spec: TrialSpec) -> float:
        """Seconds of its training."""
        if spec.training is None:
            return 0.0
        updates, scaling = spec.training.steps, spec.scaling
        reports, checkpoints = updates // scaling.report_every, updates // scaling.checkpoint_every
        return self.prepare + updates * self.update + reports * self.report + checkpoints * self.checkpoint


def priced(cells: Sequence[Timed], *, trained: bool) -> Price:
    """Work prices out from short cells of one shape.

    Args:
        cells: Two with different numbers of steps; before them, where cells share a worker, the worker's first.
        trained: Whether each cell has a worker group of its own, which loads and trains.
    """
    first, short, long = cells[0], cells[-2], cells[-1]
    step = max(0.0, (long.seconds["sample"] - short.seconds["sample"]) / (long.steps - short.steps)) / long.clips
    draw = max(0.0, long.seconds["sample"] / long.clips - long.steps * step)
    updates, report, checkpoint, spread = _training(long.points)
    train = long.seconds.get("train", 0.0)
    made = sum(point["updates"] for point in long.points)
    prepare = max(0.0, train - made * updates - len(long.points) * report - checkpoint) if trained else 0.0
    around = fmean(cell.wall - sum(cell.seconds.values()) for cell in (short, long))
    return Price(
        first=0.0 if trained else max(0.0, first.wall - (long.wall + short.wall) / 2),
        around=max(0.0, around),
        load=(short.seconds["load"] + long.seconds["load"]) / 2,
        prepare=prepare,
        update=updates,
        report=report,
        checkpoint=checkpoint,
        draw=draw,
        step=step,
        save=long.seconds["save"] / long.clips,
        score=(short.seconds["score"] + long.seconds["score"]) / 2 / long.clips,
        spread=max(LEAST_SPREAD, spread),
    )


def _training(points: Sequence[Mapping[str, float]]) -> tuple[float, float, float, float]:
    """Seconds of an update, of a report and of a checkpoint, and how far the updates scatter; the first are slow."""
    if not points:
        return 0.0, 0.0, 0.0, 0.0
    settled = [point["seconds_per_step"] for point in points[1:]] or [points[0]["seconds_per_step"]]
    update = fmean(settled)
    reports = [point["validation_seconds"] for point in points[1:] if "validation_seconds" in point]
    checkpoints = [point["checkpoint_seconds"] for point in points if "checkpoint_seconds" in point]
    spread = (max(settled) - min(settled)) / (2 * update) if update else 0.0
    return update, fmean(reports or [0.0]), fmean(checkpoints or [0.0]), spread
