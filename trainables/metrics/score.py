"""Scores of one cell's clips: each network is loaded once, sees a cell once, and sees the references once in all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trainables.cache import Arrays
from trainables.metrics import FAMILIES, ExtractorRef, MetricKey, distances, motion, similarity
from trainables.metrics.extractors import ClipExtractor, FrameExtractor, ImageTextExtractor, load_extractor
from trainables.trial_spec import Score, Uncertainty

Pixels: TypeAlias = npt.NDArray[np.uint8]
Features: TypeAlias = npt.NDArray[np.float64]
Keep: TypeAlias = Callable[[Mapping[str, Any], Callable[[], Arrays]], Arrays]
Networks: TypeAlias = Mapping[ExtractorRef, FrameExtractor | ClipExtractor]

_ON_PIXELS: dict[str, tuple[Callable[[Pixels], Features], dict[str, Any]]] = {
    "temporal_flickering": (motion.temporal_flickering, {"static_filter": "none"}),
    "motion_magnitude": (motion.motion_magnitude, {"flow": motion.FLOW, "largest_side": motion.LARGEST_SIDE}),
}
_BETWEEN_FRAMES: dict[str, Callable[[Features], Features]] = {
    "temporal_consistency": similarity.temporal_consistency,
    "video_coherence": similarity.video_coherence,
}
_FRECHET = (distances.frechet_distance, {"ddof": 1})
_MMD = (distances.polynomial_mmd, {"kernel": distances.KERNEL, "estimator": "unbiased, all pairs"})
_BETWEEN_SETS: dict[str, tuple[Callable[[Features, Features], float], dict[str, Any]]] = {
    "fid": _FRECHET,
    "fvd": _FRECHET,
    "kid": _MMD,
    "kvd": _MMD,
}


class Scorer:
    """Scores cells by a fixed list of metrics, against one set of reference clips.

    Args:
        keys: Resolved metrics, each once.
        references: Gives the reference clips, uint8 (n f h w c), of the size of those to be scored. Called once, at the
            first distance; may be left out where no metric needs references.
        device: ``auto`` is the GPU where there is one; else a torch device.
        keep: Gives the arrays that depend on some plain values, computed or kept from before; by default computed.

    Raises:
        ValueError: A network is absent or another one, or a metric needs references and there are none.
    """

    def __init__(
        self,
        keys: Sequence[MetricKey],
        references: Callable[[], Pixels] | None = None,
        device: str = "auto",
        keep: Keep = lambda depends_on, compute: compute(),
    ) -> None:
        self._keys = tuple(keys)
        compared = [key for key in keys if FAMILIES[key.family].needs_references]
        if compared and references is None:
            raise ValueError(f"{compared[0].family} compares with reference clips, and this data has none")
        self._references = references
        self._keep = keep
        self._compared = {key.extractor for key in compared if key.extractor is not None}
        self._networks: dict[ExtractorRef, FrameExtractor | ClipExtractor] = {}
        for key in keys:
            if key.extractor is not None and key.extractor not in self._networks:
                self._networks[key.extractor] = load_extractor(key, device)
        self._real: dict[ExtractorRef, Features] = {}
        self._real_clips: tuple[int, ...] = ()

    def score(self, clips: Pixels, prompts: Sequence[str]) -> dict[str, Score]:
        """Score the clips of one cell.

        Args:
            clips: Decoded frames as they were generated.
            prompts: One per clip; only CLIP score reads them.

        Returns:
            One score per metric, under its full key.

        Shape:
            clips uint8 (b f h w c).

        Raises:
            ValueError: Clips of a wrong type or shape, too few frames or clips for a metric, or another size than the
                reference clips.
        """
        views = _Views(motion.as_clips(clips), prompts, self._networks)
        return {key.key: self._score(key, views) for key in self._keys}

    def _score(self, key: MetricKey, views: _Views) -> Score:
        parameters: dict[str, Any] = {
            "clips": views.clips.shape[0],
            "frames": views.clips.shape[1],
            "size": list(views.clips.shape[2:4]),
            "libraries": _libraries(),
        }
        if key.extractor is not None:
            network = self._networks[key.extractor]
            parameters["extractor"] = {"name": network.name, "sha256": network.sha256, **network.parameters}
        if FAMILIES[key.family].per == "set":
            value, uncertainty = self._distance(key, views, parameters)
            per_clip = None
        else:
            values, uncertainty = _values(key, views, parameters), None
            value, per_clip = float(values.mean()), [float(number) for number in values]
        return Score(
            value=value,
            per_clip=per_clip,
            uncertainty=uncertainty,
            direction=key.direction,
            surrogate=key.surrogate,
            parameters=parameters,
        )

    def _distance(self, key: MetricKey, views: _Views, parameters: dict[str, Any]) -> tuple[float, Uncertainty | None]:
        """Distance of the cell's features to those of the references; its settings are written to ``parameters``."""
        assert key.extractor is not None
        distance, settings = _BETWEEN_SETS[key.family]
        real, fake = self._reference_rows(key.extractor), views.rows(key.extractor)
        if self._real_clips[1:] != views.clips.shape[1:]:
            raise ValueError(
                f"{key.key}: the reference clips have the shape {self._real_clips[1:]} and the clips of this cell "
                f"{views.clips.shape[1:]} (frames, height, width, colours): distances compare clips of one size"
            )
        num_features = fake.shape[1]
        parameters |= {"n_real": len(real), "n_fake": len(fake), "num_features": num_features, **settings}
        fewest = min(len(real), len(fake))
        if distance is distances.frechet_distance and fewest <= num_features:
            parameters["warning"] = (
                f"{fewest} rows for {num_features} features: mostly bias, so compare at equal n only"
            )
        rows_per_clip = len(fake) // views.clips.shape[0]
        found = distances.block_jackknife(distance, real, fake, rows_per_clip=rows_per_clip)
        if found is None:
            return distance(real, fake), None
        known = Uncertainty(**{name: getattr(found, name) for name in Uncertainty.model_fields})
        return found.value, known

    def _reference_rows(self, ref: ExtractorRef) -> Features:
        """Features (n d) of the reference clips, which are read at most once for all networks, and not kept."""
        if not self._real:
            references = self._references
            assert references is not None
            views = functools.cache(lambda: _Views(motion.as_clips(references()), (), self._networks))
            for known in self._compared:
                network = self._networks[known]
                about = {"name": network.name, "sha256": network.sha256, **network.parameters}
                kept = self._keep({"extractor": about}, functools.partial(_reference_arrays, views, known))
                self._real[known], self._real_clips = kept["rows"], tuple(kept["shape"].tolist())
        return self._real[ref]


def _reference_arrays(views: Callable[[], _Views], ref: ExtractorRef) -> Arrays:
    """What is kept of the reference clips for one network: their features, and the shape of the clips."""
    return {"rows": views().rows(ref), "shape": np.array(views().clips.shape)}


class _Views:
    """Clips as each network sees them; what several metrics look at is computed once."""

    def __init__(self, clips: Pixels, prompts: Sequence[str], networks: Networks) -> None:
        self.clips = clips
        self._prompts = prompts
        self._networks = networks
        self._pixels: dict[ExtractorRef, Features] = {}
        self._text: dict[ExtractorRef, Features] = {}

    def frames(self, ref: ExtractorRef) -> Features:
        """(b f d)."""
        network = self._networks[ref]
        assert isinstance(network, FrameExtractor)
        if ref not in self._pixels:
            self._pixels[ref] = network.embed_frames(self.clips)
        return self._pixels[ref]

    def rows(self, ref: ExtractorRef) -> Features:
        """The rows (n d) of a distance: clips for a network that sees clips, else all frames."""
        network = self._networks[ref]
        if isinstance(network, FrameExtractor):
            return self.frames(ref).reshape(-1, network.num_features)
        if ref not in self._pixels:
            self._pixels[ref] = network.embed_clips(self.clips)
        return self._pixels[ref]

    def text(self, ref: ExtractorRef) -> Features:
        """(b d)."""
        network = self._networks[ref]
        assert isinstance(network, ImageTextExtractor)
        if ref not in self._text:
            self._text[ref] = network.embed_text(self._prompts)
        return self._text[ref]


def _values(key: MetricKey, views: _Views, parameters: dict[str, Any]) -> Features:
    """One value per clip; the settings of a measure on pixels are written to ``parameters``."""
    if key.extractor is None:
        measure, settings = _ON_PIXELS[key.family]
        parameters |= settings
        return measure(views.clips)
    frames = views.frames(key.extractor)
    if key.family == "clip_score":
        return similarity.clip_score(frames, views.text(key.extractor))
    return _BETWEEN_FRAMES[key.family](frames)


def _libraries() -> dict[str, str]:
    """Versions of the libraries that a value may depend on."""
    import cv2
    import torch
    import transformers

    return {module.__name__: str(module.__version__) for module in (cv2, np, torch, transformers)}
