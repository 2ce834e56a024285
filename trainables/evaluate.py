"""Held-out generation, then metrics: what one worker does for one cell."""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import SYSTEMS
from models.backbones import Base, load_base
from models.bases import BaseRef, base_hash, find_base, read_card
from models.contracts import TrainedModel
from models.streams import Streams
from trainables.cache import FOLDER, Arrays, Cache
from trainables.cell_files import (
    STOP,
    Drawn,
    begin_attempt,
    leave_result,
    read_clips,
    save_clips,
    seconds_of,
    trained_weights,
)
from trainables.data.frames import to_video
from trainables.failures import classify
from trainables.inputs import clips_of, prompts, real_clips, size
from trainables.metrics import resolve
from trainables.metrics.score import Scorer
from trainables.provenance import code_hash, commit, environment, scoring_hash
from trainables.scaling import Scaling
from trainables.trial_spec import Failure, LostWorkerError, Result, Score, TrialSpec

log = logging.getLogger(__name__)


class Workbench:
    """What a warm worker keeps between cells: loaded bases and scorers, each loaded once.

    Nothing in it depends on an arm: parts are attached for one cell and taken off again, so that a warm worker gives
    what a cold one gives.

    Args:
        references: Folder for reference clips, shared by all cells under one storage.
        cache: What workers share, such as the features of reference clips; without it each computes its own.
    """

    def __init__(self, references: Path, cache: Cache | None = None) -> None:
        self.references = references
        self.cache = cache
        self._bases: dict[tuple[str, str], Base] = {}
        self._scorers: dict[str, Scorer] = {}
        self._hashes: dict[str, str] = {}

    @classmethod
    def on(cls, storage: Path, scaling: Scaling, *, shared: bool) -> Self:
        """A workbench under the folder of all studies.

        Args:
            storage: The folder.
            scaling: How much the cache may hold.
            shared: Whether it takes part in the cache that workers share.
        """
        cache = Cache(storage / FOLDER, int(scaling.cache_gib * 2**30)) if shared else None
        return cls(storage / "references", cache)

    @staticmethod
    def ref(spec: TrialSpec) -> BaseRef:
        """Where the cell's base is."""
        return find_base(spec.base, SYSTEMS[spec.system].family)

    def base_hash(self, spec: TrialSpec) -> str:
        """Identity of the base's weights; empty where they cannot be read (then the cell has failed for it)."""
        if spec.base not in self._hashes:
            try:
                self._hashes[spec.base] = base_hash(self.ref(spec))
            except (OSError, ValueError):
                return ""
        return self._hashes[spec.base]

    def base(self, spec: TrialSpec) -> Base:
        """The cell's base at its requested precision."""
        key = (spec.base, spec.precision)
        if key not in self._bases:
            self._bases[key] = load_base(self.ref(spec), device="auto", precision=spec.precision)
        return self._bases[key]

    def scorer(self, spec: TrialSpec) -> Scorer:
        """The extractors and reference features for the cell's metrics."""
        key = f"{spec.metrics} {spec.extractors} {spec.base} {spec.data} {size(spec)}"
        if key not in self._scorers:
            card = read_card(self.ref(spec))
            keys = [resolve(family, card, spec.extractors, spec.base) for family in spec.metrics]
            self._scorers[key] = Scorer(
                keys, lambda: self._references(spec), keep=functools.partial(self._features, spec)
            )
        return self._scorers[key]

    def keep(self, depends_on: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """Arrays by what they depend on, from the cache where there is one."""
        return compute() if self.cache is None else self.cache.arrays(depends_on, compute)

    def _references(self, spec: TrialSpec) -> NDArray[np.uint8]:
        return clips_of(spec).reference_clips(size(spec), self.references).all()

    def _features(self, spec: TrialSpec, depends_on: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """Features of reference clips."""
        if self.cache is None:  # to know the clips takes as long as to read them
            return compute()
        clips = {"clips": clips_of(spec).reference_identity(), "size": size(spec), "code": scoring_hash()}
        return self.keep({"what": "reference features", **clips, **depends_on}, compute)


def run_cell(
    spec: TrialSpec, folder: Path, bench: Workbench, train: Callable[[], bool] = lambda: True
) -> Result | None:
    """Sample the cell's clips unless they are kept from before, score them, and leave the result in ``folder``.

    Whatever goes wrong becomes a failed result with its reason: the worker survives and other cells go on.

    Args:
        spec: The cell.
        folder: Its folder.
        bench: What is loaded already.
        train: Comes first where the clips are to be drawn; False is a training that was stopped before its end. A
            cell that was told to stop has no result from here.

    Raises:
        LostWorkerError: Another process of the worker group is gone, which is no result of the cell.
    """
    found = _Outcome()
    try:
        found.attempt = begin_attempt(folder)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        asked = prompts(spec, bench.references)  # before an hour of training, too: it looks at the clips
        with _timed(found.seconds, "load"):  # the extractors first: a wrong one is told before an hour of sampling
            scorer = bench.scorer(spec)
        found.drawn = read_clips(folder)
        if found.drawn is not None:
            found.seconds |= seconds_of(folder)
        else:
            with _timed(found.seconds, "train"):
                if not train():
                    return None
            found.drawn = _draw(spec, folder, bench, asked, found.seconds)
        with _timed(found.seconds, "score"):
            found.scores = scorer.score(found.drawn.clips, found.drawn.prompts)
    except LostWorkerError:
        raise
    except Exception as reason:
        found.error, found.failure = f"{type(reason).__name__}: {reason}", classify(reason)
        log.warning("cell %s (%s, seed %d) failed", spec.cell_id, spec.arm, spec.seed, exc_info=True)
    if (folder / STOP).exists():  # told to stop after its training: what told it has left a result
        return None
    result = found.result(spec, bench.base_hash(spec))
    leave_result(folder, result)
    return result


@dataclass
class _Outcome:
    """What there is of a cell by now."""

    seconds: dict[str, float] = field(default_factory=dict)
    drawn: Drawn | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    error: str = ""
    failure: Failure | Literal[""] = ""
    attempt: int = 1

    def result(self, spec: TrialSpec, base_hash: str) -> Result:
        """The same as the cell's result, with what it ran on."""
        drawn = self.drawn
        peak = {"peak_gib": torch.cuda.max_memory_allocated() / 2**30} if torch.cuda.is_available() else {}
        provenance = {"commit": commit(), "base_hash": base_hash, **environment()}
        return Result(
            cell_id=spec.cell_id,
            spec=spec,
            status="failed" if self.error else "done",
            error=self.error,
            failure=self.failure,
            attempt=self.attempt,
            prompts=drawn.prompts if drawn else (),
            scores=self.scores,
            statistics={**(drawn.statistics if drawn else {}), **peak},
            seconds=self.seconds,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            provenance={"code_hash": drawn.code_hash if drawn else code_hash(spec.system), **provenance},
        )


def _draw(spec: TrialSpec, folder: Path, bench: Workbench, asked: Sequence[str], seconds: dict[str, float]) -> Drawn:
    """Sample the cell's clips and keep them."""
    with _timed(seconds, "load"):
        base = bench.base(spec)
        real = real_clips(spec, bench.references)
        trained = trained_weights(folder) if SYSTEMS[spec.system].is_trained else None
    with _timed(seconds, "sample"):
        drawn = sample(spec, base, asked, real, trained)
    with _timed(seconds, "save"):
        save_clips(drawn, folder)
    return drawn


def sample(
    spec: TrialSpec,
    base: Base,
    asked: Sequence[str],
    real: NDArray[np.uint8] | None = None,
    trained: Mapping[str, Tensor] | None = None,
) -> Drawn:
    """Build the cell's system on the base and draw its clips.

    Args:
        spec: The cell.
        base: Loaded.
        asked: One prompt per clip.
        real: The clips whose first frames are given, for a system that continues clips; uint8 (b f h w 3).
        trained: What a training left, for a system that is trained.
    """
    tree = SYSTEMS[spec.system].model_validate(spec.tree)
    model = tree.build(base, spec.seed)
    if trained is not None:
        cast(TrainedModel, model).load(trained)
    given = None if real is None else to_video(real[:, : tree.given_frames])
    sampled = model.sample(asked, Streams(spec.seed), spec.protocol, given)
    statistics = {name: float(np.mean(values)) for name, values in sampled.statistics.items()}
    return Drawn(to_pixels(sampled.video), statistics, code_hash(spec.system), tuple(asked))


def fit_torch(threads: int) -> None:
    """As many threads as this process has processors; and float32 is float32, in convolutions on GPUs too.

    torch would compute those in TF32 unless told otherwise, whose 10 bits are nearer to bf16.
    """
    import cv2

    torch.backends.cudnn.allow_tf32 = False

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def to_pixels(video: Tensor) -> NDArray[np.uint8]:
    """Round model video in [-1, 1] to pixels in [0, 255].

    Shape:
        video (b f c h w) -> (b f h w c) uint8.
    """
    pixels = ((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 1, 3, 4, 2).contiguous().numpy()


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
