"""Corrected tests of a family of paired differences, at one analysis or over several looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sweeps.statistics.bootstrap import SAMPLES, bootstrap_p, bootstrap_t
from sweeps.statistics.max_t import max_t
from sweeps.statistics.paired import holm, sign_flip, smallest_p

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

Correction = Literal["max_t", "holm"]
Method = Literal["sign_flip", "bootstrap_t"]
CorrectOver = Literal["arms", "arms_and_metrics"]


@dataclass(frozen=True)
class Family:
    """Paired differences of several arms at one look.

    Args:
        differences: One row per arm, one column per unit; NaN where an arm has no pair.
        rounding: By how much two equal sums of an arm's signed differences may differ.
    """

    differences: "Array"
    rounding: tuple[float, ...]


@dataclass(frozen=True)
class PValues:
    """Tests of one arm.

    Args:
        p_value: Sign-flip test, valid at every look so far.
        p_corrected: The same after correction over the family.
        smallest_p: Smallest ``p_value`` that its pairs can reach.
        p_latest: Corrected p-value of the last look alone, without the correction over looks.
    """

    p_value: float
    p_corrected: float
    smallest_p: float
    p_latest: float


def p_values(
    looks: Sequence[Family],
    shares: Sequence[float],
    arms: int,
    *,
    test: Method = "sign_flip",
    correction: Correction = "max_t",
) -> list[PValues]:
    """Test the arms of a family, corrected over arms and looks.

        p = min_k p_k / h_k   over the looks k at which the arm has new pairs

    where look k spends a share h_k of the level (Bonferroni over the looks; they add up to 1). So P(p <= a) <= a under
    any stopping rule. With a single look it is that look's. The pairs of an arm that has left are not tested again.

    Args:
        looks: The family at each look so far, always with the same arms; before the first look every p-value is 1.
        shares: Share of the level that each of these looks spends.
        arms: Number of arms.
        test: Sign flips, or the studentised bootstrap.
        correction: Step-down over the family, or Holm's.
    """
    single, corrected, smallest = [1.0] * arms, [1.0] * arms, [1.0] * arms
    latest, before = [1.0] * arms, [0] * arms
    for family, share in zip(looks, shares, strict=True):
        alone = [_alone(row, tied, test) for row, tied in zip(family.differences, family.rounding, strict=True)]
        ps, pairs = [p for p, _ in alone], [number for _, number in alone]
        if correction == "holm":
            together = holm(ps)
        elif test == "bootstrap_t":
            together = bootstrap_t(family.differences)
        else:
            together = max_t(family.differences, family.rounding)
        for place in (place for place in range(arms) if pairs[place] > before[place]):
            before[place], latest[place] = pairs[place], together[place]
            single[place] = min(single[place], ps[place] / share)
            corrected[place] = min(corrected[place], latest[place] / share)
            smallest[place] = min(smallest[place], smallest_of(pairs[place], test) / share)
    return [PValues(*numbers) for numbers in zip(single, corrected, smallest, latest, strict=True)]


def _alone(row: "Array", tied: float, test: Method) -> tuple[float, int]:
    """Return an arm's own p-value and its number of pairs."""
    import numpy as np

    differences = row[~np.isnan(row)].tolist()
    if not differences:
        return 1.0, 0
    p = bootstrap_p([differences])[0] if test == "bootstrap_t" else sign_flip(differences, tied)
    return p, len(differences)


def smallest_of(units: int, test: Method) -> float:
    """Return the smallest p-value that so many pairs can reach: 2^(1 - n) by sign flips, 1 / 2,000 by the bootstrap."""
    if test == "bootstrap_t":
        return 1 / (SAMPLES + 1) if units >= 2 else 1.0
    return smallest_p(units)
