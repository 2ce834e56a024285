"""Fidelity and diversity of a set of clips, apart: precision, recall, and the Vendi score.

Legend: ``n`` real and ``m`` generated clips, ``d`` features per clip.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainables.metrics.distances import Matrix, as_features, same_width

NEIGHBOURS = 3
"""k of the k-th nearest neighbour whose distance is the radius of a clip's ball."""


def precision(real: npt.ArrayLike, fake: npt.ArrayLike) -> float:
    """Compute the share of generated clips that are near a real one.

        precision = mean over j of [ there is an i with |y_j - x_i| <= r_i ]
        r_i = |x_i - its k-th nearest other x|,   k = 3

    In [0, 1], larger is better.

    Shape:
        real (n d), fake (m d) -> float; n at least 4, m at least 1.

    Raises:
        ValueError: A set is not a finite matrix, the widths differ, or there are too few real clips.

    Source: Kynkaanniemi et al. (arXiv 1904.06991), improved precision; departures: none here, see the features.
    """
    return _covered(as_features(real, "real"), as_features(fake, "fake", at_least=1))


def recall(real: npt.ArrayLike, fake: npt.ArrayLike) -> float:
    """Compute the share of real clips that are near a generated one: ``precision`` with both sets exchanged.

    In [0, 1], larger is better. It rises with the number of generated clips, so compare only equal numbers.

    Shape:
        real (n d), fake (m d) -> float; n at least 1, m at least 4.

    Raises:
        ValueError: As for ``precision``, or there are too few generated clips.

    Source: Kynkaanniemi et al. (arXiv 1904.06991), improved recall; departures: sets of unequal size.
    """
    return _covered(as_features(fake, "fake"), as_features(real, "real", at_least=1))


def vendi_score(real: npt.ArrayLike, fake: npt.ArrayLike) -> float:
    """Compute the Vendi score: the effective number of different clips in a set.

        Vendi = exp(-sum_i l_i log l_i),   l = eigenvalues of K / m,   K_ij = cos(y_i, y_j)

    In [1, min(m, d)], larger is more diverse: 1 if all clips are alike, m if all are orthogonal. It rises with the
    number of clips, so compare only equal numbers.

    Args:
        real: Not used: the score is that of the generated clips alone.
        fake: Features of the generated clips.

    Shape:
        fake (m d) -> float.

    Raises:
        ValueError: Not a finite matrix, or features of zeros.

    Source: Friedman and Dieng (arXiv 2210.02410); departures: none here, see the features.
    """
    rows = as_features(fake, "fake", at_least=1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("features of zeros have no direction -> check the feature extractor")
    # The squared singular values of the units are the eigenvalues of K, without forming it.
    values = np.square(np.linalg.svd(rows / lengths, compute_uv=False)) / len(rows)
    values = values[values > 0]
    return float(np.exp(-np.sum(values * np.log(values))))


def _covered(centres: Matrix, points: Matrix) -> float:
    """Compute the share of points inside the ball of at least one centre."""
    from scipy.spatial.distance import cdist

    same_width(centres.shape[1], points.shape[1])
    if len(centres) <= NEIGHBOURS:
        raise ValueError(
            f"{len(centres)} clips have no {NEIGHBOURS} neighbours each -> at least {NEIGHBOURS + 1} clips"
        )
    # The nearest one is the centre itself.
    radii = np.partition(cdist(centres, centres), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
    return float((cdist(points, centres) <= radii).any(axis=1).mean())
