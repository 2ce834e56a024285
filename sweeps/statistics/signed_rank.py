"""Wilcoxon's signed-rank test of many arms at once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def wilcoxon_p(differences: "Array") -> list[float]:
    """Compute the two-sided p-value of Wilcoxon's signed-rank test for each arm by itself, by scipy.

    Rows without ties, zeros and missing pairs are tested in one call: scipy decides by all of them together whether it
    can be exact. An arm without any difference has 1.

    Args:
        differences: One row per arm, one column per unit; NaN where an arm has no pair.
    """
    import numpy as np
    from scipy import stats

    sizes = np.sort(np.abs(differences), axis=1)
    plain = ~np.isnan(sizes).any(axis=1) & (sizes > 0).all(axis=1) & (np.diff(sizes, axis=1) > 0).all(axis=1)
    ps = np.ones(len(differences))
    if plain.any():
        ps[plain] = stats.wilcoxon(differences[plain], axis=1).pvalue
    for place in np.flatnonzero(~plain):
        row = differences[place][~np.isnan(differences[place])]
        if row.any():
            ps[place] = stats.wilcoxon(row).pvalue
    return [float(p) for p in ps]
