"""Evaluation of one cell on one worker: sampling, then metrics."""

import functools
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import SYSTEMS
from models.backbones import Base, load_base
from models.bases import find_base, read_card
from models.contracts import FurtherReader
from models.streams import Streams
from trainables import predictions
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
from trainables.data.layout import REFERENCES, ClipSet
from trainables.failures import classify, in_words
from trainables.groups import groups_of
from trainables.inputs import (
    REPAIRED,
    Predict,
    built,
    check_content,
    clips_of,
    continued_clips,
    described_clips,
    prompts,
    real_clips,
    size,
    tree_of,
)
from trainables.inside import inside_of
from trainables.metrics import resolve
from trainables.metrics.clips import over_frames
from trainables.metrics.inside import Inside
from trainables.metrics.motion import motion_magnitude
from trainables.metrics.score import Scorer
from trainables.metrics.truth import Continuation
from trainables.provenance import code_hash, commit, environment, scoring_hash, weights_of
from trainables.scaling import Scaling
from trainables.trial_spec import Failure, LostWorkerError, Result, Score, TrialSpec

log = logging.getLogger(__name__)


class Workbench:
    """State that a warm worker keeps between cells: bases and scorers, each loaded once.

    It does not depend on the arm: parts are attached for one cell and then removed, so that warm and cold workers give
    the same results.

    Args:
        references: Folder for reference clips, shared by all cells under one storage.
        cache: Cache shared by the workers, such as of reference features; without it each worker computes its own.
        states: Folder of predicted states, shared by all cells under one storage; without it each cell predicts anew.
    """

    def __init__(self, references: Path, cache: Cache | None = None, states: Path | None = None) -> None:
        self.references = references
        self.cache = cache
        self._states = states
        self._bases: dict[tuple[str, str, str], Base] = {}
        self._scorers: dict[str, Scorer] = {}
        self._motion: dict[str, list[float]] = {}

    @classmethod
    def on(cls, storage: Path, scaling: Scaling, *, shared: bool) -> Self:
        """Make a workbench under the folder of all studies.

        Args:
            storage: Folder of all studies.
            scaling: Gives the size limit of the cache.
            shared: Whether to use the cache shared by the workers.
        """
        cache = Cache(storage / FOLDER, int(scaling.cache_gib * 2**30)) if shared else None
        return cls(storage / REFERENCES, cache, storage / predictions.FOLDER if shared else None)

    def base(self, spec: TrialSpec) -> Base:
        """Load the cell's base at its requested precision, once."""
        key = (spec.base, spec.text_encoder, spec.precision)
        if key not in self._bases:
            self._bases[key] = load_base(spec.ref, device="auto", precision=spec.precision)
        return self._bases[key]

    def scorer(self, spec: TrialSpec) -> Scorer:
        """Make the scorer for the cell's metrics, once."""
        base = spec.scoring_base or spec.base
        key = f"{spec.metrics} {spec.extractors} {base} {spec.data} {spec.content} {size(spec)}"
        if key not in self._scorers:
            card = read_card(find_base(base, SYSTEMS[spec.system].family))
            keys = [resolve(family, card, spec.extractors, base) for family in spec.metrics]
            references = functools.cache(functools.partial(self._references, spec))
            self._scorers[key] = Scorer(
                keys,
                lambda: references().all(),
                keep=functools.partial(self._features, spec),
                decoders=lambda: references().decoders,
            )
        return self._scorers[key]

    def motion(self, spec: TrialSpec) -> list[float]:
        """Return the motion magnitude of each reference clip, computed once."""

        def compute() -> Arrays:
            return {"motion": over_frames(motion_magnitude(self._references(spec).all()))}

        key = f"{spec.data} {spec.content} {size(spec)}"
        if key not in self._motion:
            self._motion[key] = self._features(spec, {"measure": "motion_magnitude"}, compute)["motion"].tolist()
        return self._motion[key]

    def predicting(self, spec: TrialSpec) -> Predict:
        """Return what predicts states of a cell's clips, from its file where they were predicted before."""
        return lambda predictor, clips: predictions.predict(predictor, spec.ref, clips, size(spec), self._states)

    def keep(self, depends_on: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """Return arrays by their dependencies, from the cache if there is one."""
        return compute() if self.cache is None else self.cache.arrays(depends_on, compute)

    def _references(self, spec: TrialSpec) -> ClipSet:
        return clips_of(spec).reference_clips(size(spec), self.references)

    def _features(self, spec: TrialSpec, depends_on: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """Compute features of reference clips, or read them from the cache."""
        if self.cache is None:  # the identity of the clips takes as long as reading them
            return compute()
        clips = {"clips": clips_of(spec).reference_identity(), "size": size(spec), "code": scoring_hash()}
        return self.keep({"what": "reference features", **clips, **depends_on}, compute)


def run_cell(
    spec: TrialSpec, folder: Path, bench: Workbench, train: Callable[[], bool] = lambda: True
) -> Result | None:
    """Sample the cell's clips unless they exist, score them, and write the result to ``folder``.

    Any exception becomes a failed result with its reason, so that the worker can run further cells.

    Args:
        spec: The cell.
        folder: Its folder.
        bench: Loaded bases and scorers.
        train: Called before sampling; returns False if the training was stopped early. A stopped cell gets no result
            here.

    Raises:
        LostWorkerError: Another process of the worker group was lost, which is not a result of the cell.
    """
    outcome = _Outcome()
    try:
        outcome.attempt = begin_attempt(folder)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        check_content(spec, bench.references)
        texts = prompts(spec, bench.references)  # checks the clips, so before training
        groups = groups_of(spec, bench.references, functools.partial(bench.motion, spec))
        real = functools.cache(functools.partial(real_clips, spec, bench.references))
        with _timed(outcome.seconds, "load"):  # extractors first: a wrong one is reported before sampling
            scorer = bench.scorer(spec)
        outcome.drawn = read_clips(folder)
        if outcome.drawn is not None:
            outcome.seconds |= seconds_of(folder)
        else:
            with _timed(outcome.seconds, "train"):
                if not train():
                    return None
            outcome.drawn = _draw(spec, folder, bench, texts, real, outcome.seconds)
        with _timed(outcome.seconds, "score"):
            truth = _continuation(spec, real()) if scorer.needs_continuation else None
            drawn, least = outcome.drawn, spec.by.least if spec.by else 0
            inside = _inside(spec, folder, bench, scorer.inside) if scorer.inside else None
            outcome.scores = scorer.score(drawn.clips, drawn.prompts, truth, groups, least, inside)
    except LostWorkerError:
        raise
    except Exception as reason:
        outcome.error, outcome.failure = in_words(reason), classify(reason)
        log.warning("cell %s (%s, seed %d) failed", spec.cell_id, spec.arm, spec.seed, exc_info=True)
    if (folder / STOP).exists():  # stopped after its training: the driver has written a result
        return None
    result = outcome.result(spec)
    leave_result(folder, result)
    return result


@dataclass
class _Outcome:
    """Partial result of a running cell."""

    seconds: dict[str, float] = field(default_factory=dict)
    drawn: Drawn | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    error: str = ""
    failure: Failure | Literal[""] = ""
    attempt: int = 1

    def result(self, spec: TrialSpec) -> Result:
        """Make the cell's result, with its provenance."""
        drawn = self.drawn
        peak = {"peak_gib": torch.cuda.max_memory_allocated() / 2**30} if torch.cuda.is_available() else {}
        provenance = {"commit": commit(), "base_hash": weights_of(spec), **environment()}
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


def _draw(
    spec: TrialSpec,
    folder: Path,
    bench: Workbench,
    texts: Sequence[str],
    real: Callable[[], NDArray[np.uint8] | None],
    seconds: dict[str, float],
) -> Drawn:
    """Sample and save the cell's clips."""
    with _timed(seconds, "load"):
        base = bench.base(spec)
        given = real()
        trained = _trained(spec, folder)
        continued = _read_by(spec, bench)
    with _timed(seconds, "sample"):
        drawn = sample(spec, base, texts, given, trained, None if continued is None else continued.further)
    if continued is not None and REPAIRED in continued.labels:
        share = float(np.mean([*map(int, continued.labels[REPAIRED])]))
        drawn = replace(drawn, statistics={**drawn.statistics, "states_repaired": share})
    with _timed(seconds, "save"):
        save_clips(drawn, folder)
    return drawn


def _read_by(spec: TrialSpec, bench: Workbench) -> ClipSet | None:
    """Return the continued clips with the further texts that the system reads; None if it reads none."""
    if not tree_of(spec).further_texts:
        return None
    return continued_clips(spec, bench.references, bench.predicting(spec))


def _trained(spec: TrialSpec, folder: Path) -> Mapping[str, Tensor] | None:
    """Return the trained weights of a cell; None for a system without training."""
    return trained_weights(folder) if SYSTEMS[spec.system].is_trained else None


def _inside(spec: TrialSpec, folder: Path, bench: Workbench, reads: Collection[str]) -> Inside:
    """Return what metrics read of the cell's model; it is built again, so that stored clips can be scored later."""
    trained = _trained(spec, folder)
    clips = continued_clips(spec, bench.references, bench.predicting(spec))
    real = described_clips(spec, bench.references)
    return inside_of(spec, reads, clips, real, bench.base(spec), trained)


def _continuation(spec: TrialSpec, real: NDArray[np.uint8] | None) -> Continuation | None:
    """Return the true clips with the number of given frames; None for a system that continues no clips."""
    if real is None:
        return None
    return Continuation(real, SYSTEMS[spec.system].model_validate(spec.tree).given_frames)


def sample(
    spec: TrialSpec,
    base: Base,
    texts: Sequence[str],
    real: NDArray[np.uint8] | None = None,
    trained: Mapping[str, Tensor] | None = None,
    further: Mapping[str, Sequence[str]] | None = None,
) -> Drawn:
    """Build the cell's system on the base and sample its clips.

    Args:
        spec: The cell.
        base: The loaded base.
        texts: One prompt per clip.
        real: Clips whose first frames are given, for a system that continues clips; uint8 (b f h w 3).
        trained: Trained weights, for a trained system.
        further: Further texts of the clips by name, for a system that reads some.
    """
    tree, model = tree_of(spec), built(spec, base, trained)
    given = None if real is None else to_video(real[:, : tree.given_frames])
    streams = Streams(spec.seed)
    if tree.further_texts:
        sampled = cast(FurtherReader, model).sample(texts, streams, spec.protocol, given, further)
    else:
        sampled = model.sample(texts, streams, spec.protocol, given)
    statistics = {name: float(np.mean(values)) for name, values in sampled.statistics.items()}
    return Drawn(to_pixels(sampled.video), statistics, code_hash(spec.system), tuple(texts))


def fit_torch(threads: int) -> None:
    """Set the number of threads of torch and OpenCV, and disable TF32 in cuDNN convolutions.

    torch enables TF32 by default; its 10 mantissa bits are closer to bf16 than to float32.
    """
    import cv2

    torch.backends.cudnn.allow_tf32 = False

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def to_pixels(video: Tensor) -> NDArray[np.uint8]:
    """Round model video in [-1, 1] to pixels in [0, 255].

    Seer's released evaluation truncates instead, so that its pixels are darker by half a level on average.

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
