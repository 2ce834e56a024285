"""Prices: seconds of each stage of a cell, measured on short cells, from which cells of any length are priced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from trainables.files import json_hash
from trainables.trial_spec import TrialSpec

MOST_CLIPS = 64
"""Maximum number of clips of a short cell; sampling and scoring times grow with it."""
SHORT, LONG = 2, 6
"""Denoising steps of the two cells whose difference gives the price of a step."""
UPDATES = 8
"""Number of updates of a short training."""
LEAST_SPREAD = 0.1


_DECIDING = {"system", "base", "text_encoder", "data", "precision", "metrics", "extractors", "scoring_base"}
"""Fields of a specification that decide the price of a cell, besides tree, worker group and size."""


def shape_of(spec: TrialSpec) -> str:
    """Return the shape of a cell: a hash of all that decides its price, except numbers of updates, clips and steps.

    Arms that differ only in fractional values, such as a momentum or a learning rate, have the same shape; arms that
    differ in a kind or a number of layers do not.
    """
    tree = {**spec.tree}
    if isinstance(tree.get("training"), dict):
        tree["training"] = {"batch": tree["training"]["global_batch_size"]}
    settings = {
        "tree": _without_fractions(tree),
        "scaling": spec.scaling.model_dump(mode="json", exclude={"report_every", "checkpoint_every"}),
        **spec.model_dump(mode="json", include=_DECIDING),
        "size": (spec.protocol.frames, spec.protocol.height, spec.protocol.width, spec.protocol.guidance > 1),
    }
    return json_hash(settings)


def _without_fractions(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_fractions(inner) for key, inner in value.items() if not isinstance(inner, float)}
    return value


@dataclass(frozen=True)
class Timed:
    """Measured times of a short cell.

    Args:
        steps: Number of denoising steps.
        clips: Number of clips.
        wall: Seconds from start to end, measured by the driver.
        seconds: Stage -> its seconds, from the result.
        points: Reports of its training, in order.
    """

    steps: int
    clips: int
    wall: float
    seconds: Mapping[str, float]
    points: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class Price:
    """Prices of the stages of one shape, in seconds.

    Args:
        first: Additional time of a worker's first cell: libraries, base, extractors.
        around: Time outside the stages: the trial, and for a training the start of its worker group.
        load: Loading base and extractors, if each cell loads them.
        prepare: Training without updates, reports and checkpoints.
        update: One update of the weights.
        report: One validation.
        checkpoint: One checkpoint.
        draw: Sampling one clip, without its denoising steps: text encoding, decoding.
        step: One denoising step of one clip.
        save: Saving one clip.
        score: Scoring one clip.
        spread: Relative uncertainty of the price, dimensionless.
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
        """Return the seconds of a cell that is not the first of its worker.

        around + load + prepare + U update + (U // r) report + (U // c) checkpoint
        + clips (draw + S step + save + score)
        """
        return self.around + self.inside(spec)

    def inside(self, spec: TrialSpec) -> float:
        """Return the seconds of a cell's stages, without the time around them, in which its workers do not run."""
        clips, steps = spec.protocol.clips, spec.protocol.steps
        drawn = clips * (self.draw + steps * self.step + self.save + self.score)
        return self.load + self.training(spec) + drawn

    def training(self, spec: TrialSpec) -> float:
        """Return the seconds of a cell's training; 0 without training."""
        if spec.training is None:
            return 0.0
        updates, scaling = spec.training.steps, spec.scaling
        reports, checkpoints = updates // scaling.report_every, updates // scaling.checkpoint_every
        return self.prepare + updates * self.update + reports * self.report + checkpoints * self.checkpoint


def priced(cells: Sequence[Timed], *, trained: bool) -> Price:
    """Compute prices from short cells of one shape.

    Args:
        cells: Two cells with different numbers of steps; before them, if cells share a worker, its first cell.
        trained: Whether each cell has its own worker group, which loads and trains.
    """
    first, short, long = cells[0], cells[-2], cells[-1]
    step = max(0.0, (long.seconds["sample"] - short.seconds["sample"]) / (long.steps - short.steps)) / long.clips
    draw = max(0.0, long.seconds["sample"] / long.clips - long.steps * step)
    update, report, checkpoint, spread = _training(long.points)
    train = long.seconds.get("train", 0.0)
    num_updates = sum(point["updates"] for point in long.points)
    prepare = max(0.0, train - num_updates * update - len(long.points) * report - checkpoint) if trained else 0.0
    around = fmean(cell.wall - sum(cell.seconds.values()) for cell in (short, long))
    return Price(
        first=0.0 if trained else max(0.0, first.wall - (long.wall + short.wall) / 2),
        around=max(0.0, around),
        load=(short.seconds["load"] + long.seconds["load"]) / 2,
        prepare=prepare,
        update=update,
        report=report,
        checkpoint=checkpoint,
        draw=draw,
        step=step,
        save=long.seconds["save"] / long.clips,
        score=(short.seconds["score"] + long.seconds["score"]) / 2 / long.clips,
        spread=max(LEAST_SPREAD, spread),
    )


def _training(points: Sequence[Mapping[str, float]]) -> tuple[float, float, float, float]:
    """Return the seconds of an update, a report and a checkpoint, and the relative spread of updates.

    The first report is left out where possible, since first updates are slow.
    """
    if not points:
        return 0.0, 0.0, 0.0, 0.0
    settled = [point["seconds_per_step"] for point in points[1:]] or [points[0]["seconds_per_step"]]
    update = fmean(settled)
    reports = [point["validation_seconds"] for point in points[1:] if "validation_seconds" in point]
    checkpoints = [point["checkpoint_seconds"] for point in points if "checkpoint_seconds" in point]
    spread = (max(settled) - min(settled)) / (2 * update) if update else 0.0
    return update, fmean(reports or [0.0]), fmean(checkpoints or [0.0]), spread
