"""Measures of a cell's clips as a set, against the reference clips: value, interval, and floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trainables.metrics import kernels, manifolds
from trainables.metrics.distances import frechet_distance
from trainables.metrics.families import CLIPS_PER_FEATURE
from trainables.metrics.resampling import SIZES, SUBSETS, Distance, block_jackknife, floor_of, frechet_at_infinity
from trainables.trial_spec import Floor, Uncertainty

Features: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SetMeasure:
    """Measure of two sets of features.

    Args:
        distance: Function of the features of real and of generated clips.
        settings: Recorded with every value.
        has_interval: Whether its jackknife interval is valid.
        has_floor: Whether it can be measured on real clips as it is on a cell's.
    """

    distance: Distance
    settings: Mapping[str, Any] = field(default_factory=dict)
    has_interval: bool = False
    has_floor: bool = True


_FRECHET = SetMeasure(frechet_distance, {"ddof": 1}, has_interval=True)
_CUBIC = SetMeasure(kernels.polynomial_mmd, kernels.polynomial_mmd.settings, has_interval=True)

MEASURES: dict[str, SetMeasure] = {
    "fid": _FRECHET,
    "fvd": _FRECHET,
    "fvd_infinity": SetMeasure(
        frechet_at_infinity,
        {"ddof": 1, "fit": "linear in 1/N from N/2 to N", "sizes": SIZES, "subsets": SUBSETS},
        has_floor=False,
    ),
    "kid": _CUBIC,
    "kvd": _CUBIC,
    "jedi": SetMeasure(kernels.jedi_mmd, kernels.jedi_mmd.settings, has_interval=True),
    "cmmd": SetMeasure(kernels.cmmd, kernels.cmmd.settings, has_interval=True),
    "improved_precision": SetMeasure(manifolds.precision, {"neighbours": manifolds.NEIGHBOURS}),
    "improved_recall": SetMeasure(manifolds.recall, {"neighbours": manifolds.NEIGHBOURS}),
    "diversity": SetMeasure(manifolds.vendi_score, {"kernel": "cosine"}),
}
"""Measures by family."""


def value_of(family: str, real: Features, fake: Features, clips: int) -> tuple[float, Uncertainty | None]:
    """Compute the value of a measure, with its interval where that is valid.

    Args:
        family: Name of the measure.
        real: Features of the real clips.
        fake: Features of the cell's clips.
        clips: Number of the cell's clips.

    Shape:
        real (n d), fake (m d), m a multiple of ``clips``.
    """
    measure = MEASURES[family]
    if measure.has_interval:
        jackknife = block_jackknife(measure.distance, real, fake, rows_per_clip=len(fake) // clips)
        if jackknife is not None:
            uncertainty = Uncertainty(**{name: getattr(jackknife, name) for name in Uncertainty.model_fields})
            return jackknife.value, uncertainty
    return measure.distance(real, fake), None


def floor_at(family: str, real: Features, clips: int, rows_per_clip: int) -> Floor | None:
    """Measure real clips like those of a cell; None where there are too few of them.

    Args:
        family: Name of the measure.
        real: Features of the real clips.
        clips: Number of the cell's clips.
        rows_per_clip: Rows of one clip.

    Shape:
        real (n d).
    """
    if not MEASURES[family].has_floor:
        return None
    found = floor_of(MEASURES[family].distance, real, clips, rows_per_clip=rows_per_clip)
    return None if found is None else Floor(**found._asdict())


def warning_of(family: str, clips: int, num_features: int) -> str:
    """Word that a Frechet distance has few clips for its features; empty if it has enough."""
    if MEASURES[family].distance is not frechet_distance or clips >= CLIPS_PER_FEATURE * num_features:
        return ""
    bias = "mostly bias" if clips <= num_features else "strongly biased"
    return f"{clips} clips for {num_features} features: {bias}, so compare at equal numbers only; no interval"
