"""Scoring of a cell's clips; each network is loaded once, and applied once per cell and once to the references."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trainables.cache import Arrays
from trainables.data.scenes import ATTRIBUTES
from trainables.grouping import Group
from trainables.metrics import (
    METRICS,
    ExtractorRef,
    MetricKey,
    flow,
    interpolation,
    motion,
    similarity,
    truth,
)
from trainables.metrics.clips import as_clips, over_frames
from trainables.metrics.extractors import ClassifierExtractor, ClipExtractor, FrameExtractor, ImageTextExtractor
from trainables.metrics.inside import FOLDS, RIDGES, Inside, chance, frame_labels, phase_labels, probe, state_accuracy
from trainables.metrics.loading import Network, load_extractor
from trainables.metrics.order import motion_accuracy
from trainables.metrics.raft import Raft, dynamic_degree
from trainables.metrics.sets import MEASURES, floor_at, value_of, warning_of
from trainables.metrics.truth import Continuation
from trainables.trial_spec import Floor, GroupScore, Score, Uncertainty

Pixels: TypeAlias = npt.NDArray[np.uint8]
Features: TypeAlias = npt.NDArray[np.float64]
Keep: TypeAlias = Callable[[Mapping[str, Any], Callable[[], Arrays]], Arrays]
Networks: TypeAlias = Mapping[ExtractorRef, Network]

DIGITS = 6
"""Significant digits of means by frame, which are drawn and not tested; results stay small."""

_FLOW = {"flow": flow.FLOW, "largest_side": flow.LARGEST_SIDE}
_ON_PIXELS: dict[str, tuple[Callable[[Pixels], Features], dict[str, Any]]] = {
    "temporal_flickering": (motion.temporal_flickering, {"static_filter": "none"}),
    "motion_magnitude": (motion.motion_magnitude, _FLOW),
    "motion_smoothness": (
        interpolation.half_warp_smoothness,
        {**_FLOW, "interpolation": "half of the flow, both ways"},
    ),
    "warp_error": (motion.warp_error, {**_FLOW, "occlusion": flow.OCCLUSION}),
}
_AGAINST_TRUTH: dict[str, tuple[Callable[[Pixels, Continuation], Features], dict[str, Any]]] = {
    "psnr": (truth.psnr, {"largest": truth.LARGEST_PSNR}),
    "ssim": (truth.ssim, truth.SSIM),
}
_BETWEEN_FRAMES: dict[str, Callable[[Features], Features]] = {
    "temporal_consistency": similarity.temporal_consistency,
    "video_coherence": similarity.video_coherence,
    "subject_consistency": similarity.consistency_with_first,
    "background_consistency": similarity.consistency_with_first,
}
_BY_FRAME = ("imaging_quality", "aesthetic_quality")
"""Metrics whose network gives the value of a frame."""
_LABELS: dict[str, Callable[[Inside, int], Sequence[Sequence[object]]]] = {
    "condition_frame": frame_labels,
    "condition_phase": phase_labels,
}


class Scorer:
    """Scorer for a fixed list of metrics and one set of reference clips.

    Args:
        keys: Resolved metrics, without duplicates.
        references: Returns the reference clips, uint8 (n f h w c), of the size of the scored clips. Called once, at the
            first distance; optional if no metric needs references.
        device: A torch device; ``auto`` is the GPU if there is one.
        keep: Returns arrays by their dependencies, computed or from a cache; computes them by default.
        decoders: Returns the library that reads the frames of each reference clip; empty for clips that are rendered
            here. Called with ``references``.

    Raises:
        ValueError: A network is missing or wrong, or a metric needs references and there are none.
    """

    def __init__(
        self,
        keys: Sequence[MetricKey],
        references: Callable[[], Pixels] | None = None,
        device: str = "auto",
        keep: Keep = lambda depends_on, compute: compute(),
        decoders: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._keys = tuple(keys)
        compared = [key for key in keys if METRICS[key.family].needs_references]
        if compared and references is None:
            raise ValueError(f"{compared[0].family} compares with reference clips, which this data does not have")
        self._references = references
        self._keep = keep
        self._decoders = decoders
        self._decoded_by: dict[str, int] = {}
        self._compared = {key.extractor for key in compared if key.extractor is not None}
        self._networks: dict[ExtractorRef, Network] = {}
        for key in keys:
            if key.extractor is not None and key.extractor not in self._networks:
                self._networks[key.extractor] = load_extractor(key, device)
        self._real: dict[ExtractorRef, Features] = {}
        self._real_clips: tuple[int, ...] = ()
        self._floors: dict[tuple[MetricKey, int], Floor | None] = {}

    @property
    def inside(self) -> frozenset[str]:
        """What the metrics read of the model: ``states``, ``condition``."""
        return frozenset(inside for key in self._keys if (inside := METRICS[key.family].inside))

    @property
    def needs_continuation(self) -> bool:
        """Whether a metric compares with the true continuation of the given frames."""
        return any(METRICS[key.family].needs_continuation for key in self._keys)

    def score(
        self,
        clips: Pixels,
        prompts: Sequence[str],
        continuation: Continuation | None = None,
        groups: Sequence[Group] = (),
        least: int = 2,
        inside: Inside | None = None,
    ) -> dict[str, Score]:
        """Score the clips of one cell.

        Args:
            clips: Decoded frames as they were generated.
            prompts: One per clip; CLIP score and motion accuracy read them.
            continuation: The true clips, for a system that continues clips; only PSNR and SSIM read them.
            groups: Groups of the clips, which have values of their own as well.
            least: Fewest clips of a group, and fewest reference clips, for its distance between sets.
            inside: States and condition of the clips, for metrics that read them.

        Returns:
            One score per metric, under its full key.

        Shape:
            clips uint8 (b f h w c).

        Raises:
            ValueError: Clips of wrong type or shape, too few frames or clips for a metric, or not the size of the
                reference clips or true continuations, or these are missing.
        """
        views = _Views(as_clips(clips), prompts, self._networks, continuation, inside)
        return {key.key: self._score(key, views, groups, least) for key in self._keys}

    def _score(self, key: MetricKey, views: _Views, groups: Sequence[Group], least: int) -> Score:
        parameters: dict[str, Any] = {
            "clips": views.clips.shape[0],
            "frames": views.clips.shape[1],
            "size": list(views.clips.shape[2:4]),
            "libraries": _libraries(),
        }
        if key.extractor is not None:
            parameters["extractor"] = self._about(key.extractor)
        if METRICS[key.family].per == "set":
            value, uncertainty = self._distance(key, views, parameters)
            per_clip, per_frame, floor = None, None, self._floor(key, len(views.clips))
            of_group = functools.partial(self._distance_of_group, key, views, least)
        else:
            values, uncertainty, floor = _values(key, views, parameters), None, None
            of_clips = over_frames(values)
            value, per_clip = float(of_clips.mean()), of_clips.tolist()
            of_group = functools.partial(_mean_of_group, of_clips)
            per_frame = [None if np.isnan(mean) else float(f"{mean:.{DIGITS}g}") for mean in values.mean(axis=0)]
        return Score(
            value=value,
            per_clip=per_clip,
            per_frame=per_frame,
            uncertainty=uncertainty,
            floor=floor,
            groups=_by_name(groups, of_group),
            direction=key.direction,
            surrogate=key.surrogate,
            parameters=parameters,
        )

    def _distance(self, key: MetricKey, views: _Views, parameters: dict[str, Any]) -> tuple[float, Uncertainty | None]:
        """Compute the distance of the cell's features to the references'; its settings are added to ``parameters``."""
        assert key.extractor is not None
        real, fake = self._reference_rows(key.extractor), views.rows(key.extractor)
        if self._real_clips[1:] != views.clips.shape[1:]:
            raise ValueError(
                f"{key.key}: reference clips have the shape {self._real_clips[1:]}, clips of this cell "
                f"{views.clips.shape[1:]} (frames, height, width, colours) -> clips of the same size"
            )
        clips, references, num_features = len(views.clips), self._real_clips[0], fake.shape[1]
        numbers = {"references": references, "n_real": len(real), "n_fake": len(fake), "num_features": num_features}
        parameters |= {**numbers, **MEASURES[key.family].settings}
        if self._decoded_by:
            parameters["decoders"] = dict(self._decoded_by)
        if warning := warning_of(key.family, min(clips, references), num_features):
            parameters["warning"] = warning
        return value_of(key.family, real, fake, clips)

    def _floor(self, key: MetricKey, clips: int) -> Floor | None:
        """Measure so many reference clips against the others, once."""
        assert key.extractor is not None
        if (key, clips) not in self._floors:
            real, about = self._reference_rows(key.extractor), self._about(key.extractor)

            def compute() -> Arrays:
                floor = floor_at(key.family, real, clips, len(real) // self._real_clips[0])
                return {"floor": np.array([] if floor is None else [floor.mean, floor.sd, floor.draws])}

            kept = self._keep({"extractor": about, "floor": key.family, "of": clips}, compute)["floor"].tolist()
            self._floors[key, clips] = Floor(mean=kept[0], sd=kept[1], draws=int(kept[2])) if kept else None
        return self._floors[key, clips]

    def _distance_of_group(self, key: MetricKey, views: _Views, least: int, group: Group) -> float | None:
        """Compute the distance of a group's clips to its reference clips; None where either are too few."""
        fewest, family = min(len(group.clips), len(group.references)), METRICS[key.family]
        if fewest < max(least, family.least_clips) or family.clips_per_feature:
            return None
        assert key.extractor is not None
        distance = MEASURES[key.family].distance
        real, fake = self._reference_rows(key.extractor), views.rows(key.extractor)
        return distance(
            _rows_of(real, self._real_clips[0], group.references), _rows_of(fake, len(views.clips), group.clips)
        )

    def _reference_rows(self, ref: ExtractorRef) -> Features:
        """Compute features (n d) of the reference clips, which are read at most once for all networks, and not kept."""
        if not self._real:
            references = self._references
            assert references is not None
            views = functools.cache(lambda: _Views(as_clips(references()), (), self._networks))
            for known in self._compared:
                kept = self._keep(
                    {"extractor": self._about(known)}, functools.partial(self._reference_arrays, views, known)
                )
                self._real[known], self._real_clips = kept["rows"], tuple(kept["shape"].tolist())
                self._decoded_by = dict(sorted(Counter(kept["decoders"].tolist()).items()))
        return self._real[ref]

    def _about(self, ref: ExtractorRef) -> dict[str, Any]:
        """Return what identifies a network's features."""
        network = self._networks[ref]
        return {"name": network.name, "sha256": network.sha256, **network.parameters}

    def _reference_arrays(self, views: Callable[[], _Views], ref: ExtractorRef) -> Arrays:
        """Compute the cached arrays of the reference clips for one network: features, shape and decoders of clips."""
        rows, shape = views().rows(ref), np.array(views().clips.shape)
        return {"rows": rows, "shape": shape, "decoders": np.array(self._decoders(), np.str_)}


class _Views:
    """Features of clips by network; features that several metrics use are computed once."""

    def __init__(
        self,
        clips: Pixels,
        prompts: Sequence[str],
        networks: Networks,
        continuation: Continuation | None = None,
        inside: Inside | None = None,
    ) -> None:
        self.clips = clips
        self.continuation = continuation
        self.inside = inside
        self._prompts = prompts
        self._networks = networks
        self._pixels: dict[ExtractorRef, Features] = {}
        self._text: dict[ExtractorRef, Features] = {}

    def frames(self, ref: ExtractorRef) -> Features:
        """Compute features of frames (b f d)."""
        network = self._networks[ref]
        assert isinstance(network, FrameExtractor)
        if ref not in self._pixels:
            self._pixels[ref] = network.embed_frames(self.clips)
        return self._pixels[ref]

    def rows(self, ref: ExtractorRef) -> Features:
        """Compute the rows (n d) of a distance: one per clip for a clip extractor, else one per frame."""
        network = self._networks[ref]
        if isinstance(network, FrameExtractor):
            return self.frames(ref).reshape(-1, network.num_features)
        assert isinstance(network, ClipExtractor)
        if ref not in self._pixels:
            self._pixels[ref] = network.embed_clips(self.clips)
        return self._pixels[ref]

    def smoothness(self, ref: ExtractorRef) -> Features:
        """Compute motion smoothness (b f) with a network that interpolates frames."""
        network = self._networks[ref]
        assert isinstance(network, interpolation.Interpolator)
        return interpolation.motion_smoothness(self.clips, network.middle)

    def dynamics(self, ref: ExtractorRef) -> Features:
        """Compute dynamic degree (b f) with a network of optical flow."""
        network = self._networks[ref]
        assert isinstance(network, Raft)
        return dynamic_degree(self.clips, network.flow)

    def motions(self, ref: ExtractorRef) -> Features:
        """Compute motion accuracy (b f) with a classifier."""
        network = self._networks[ref]
        assert isinstance(network, ClassifierExtractor)
        return motion_accuracy(self.clips, self._prompts, network.motions)

    def text(self, ref: ExtractorRef) -> Features:
        """Compute features of prompts (b d)."""
        network = self._networks[ref]
        assert isinstance(network, ImageTextExtractor)
        if ref not in self._text:
            self._text[ref] = network.embed_text(self._prompts)
        return self._text[ref]


def _by_name(groups: Sequence[Group], value: Callable[[Group], float | None]) -> dict[str, dict[str, GroupScore]]:
    """Compute the values of the groups, by grouping and name."""
    scores: dict[str, dict[str, GroupScore]] = {}
    for group in groups:
        of_grouping = scores.setdefault(group.grouping, {})
        of_grouping[group.name] = GroupScore(value=value(group), clips=len(group.clips))
    return scores


def _mean_of_group(of_clips: Features, group: Group) -> float | None:
    """Average the values of a group's clips; None without clips."""
    return float(of_clips[list(group.clips)].mean()) if group.clips else None


def _rows_of(rows: Features, clips: int, numbers: Sequence[int]) -> Features:
    """Select the rows of some clips (n d), each of which has as many rows.

    Shape:
        rows (clips * r, d) -> (len(numbers) * r, d).
    """
    return rows.reshape(clips, -1, rows.shape[1])[list(numbers)].reshape(-1, rows.shape[1])


def _values(key: MetricKey, views: _Views, parameters: dict[str, Any]) -> Features:
    """Compute values by frame (b f), NaN without a value; settings of a measure are added to ``parameters``."""
    if key.family in _AGAINST_TRUTH:
        against, settings = _AGAINST_TRUTH[key.family]
        if views.continuation is None:
            raise ValueError(f"{key.family} compares with the true continuation, which this cell does not have")
        parameters |= {**settings, "given_frames": views.continuation.given}
        return against(views.clips, views.continuation)
    if METRICS[key.family].inside is not None:
        return _of_inside(key, views, parameters)
    if key.extractor is None:
        measure, settings = _ON_PIXELS[key.family]
        parameters |= settings
        return measure(views.clips)
    if (by_network := _BY_NETWORK.get(key.family)) is not None:
        return by_network(views, key.extractor)
    frames = views.frames(key.extractor)
    if key.family == "clip_score":
        return similarity.clip_score(frames, views.text(key.extractor))
    return frames[..., 0] if key.family in _BY_FRAME else _BETWEEN_FRAMES[key.family](frames)


def _of_inside(key: MetricKey, views: _Views, parameters: dict[str, Any]) -> Features:
    """Compute values by frame of the states or the condition of the clips."""
    inside, frames = views.inside, views.clips.shape[1]
    if inside is None:
        raise ValueError(f"{key.family} reads what the model was given and made, which this cell does not have")
    if METRICS[key.family].inside == "states":
        attribute = key.family.removeprefix("state_")
        return state_accuracy(inside, frames, attribute if attribute in ATTRIBUTES else None)
    assert inside.condition is not None
    labels = _LABELS[key.family](inside, frames)
    parameters |= {"probe": "ridge regression", "ridges": list(RIDGES), "folds": FOLDS, "chance": chance(labels)}
    return probe(inside.condition, labels)


_BY_NETWORK: dict[str, Callable[[_Views, ExtractorRef], Features]] = {
    "motion_smoothness": _Views.smoothness,
    "dynamic_degree": _Views.dynamics,
    "motion_accuracy": _Views.motions,
}
"""Metrics whose network sees more than one frame."""


def _libraries() -> dict[str, str]:
    """Return versions of the libraries that influence values."""
    import cv2
    import torch
    import transformers

    return {module.__name__: str(module.__version__) for module in (cv2, np, torch, transformers)}
