"""Group-sequential analyses: when to look at a study, and which share of the level each look spends.

A study with ``seeds: {min, max, stop: decided}`` is analysed at a few numbers of seeds, the looks. An arm leaves the
study at the look that decides it, or that makes a decision unlikely. A study whose seeds were increased after its end
was analysed as well: each of its ends is a look. ``sweeps.statistics.families.tested`` corrects over looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.statistics.paired import ALPHA, CONFIDENCE, smallest_p

SHARES = (0.17, 0.2, 0.63)
"""Shares of the level that first, middle and last look spend.

At the first look all differences must have one sign, so it is at the fewest units whose share allows that, 8. A larger
first share costs more power for moderate effects than it saves cells for large ones.
"""
FUTILE = (0.4, 0.2)
"""At the first and the middle look, an arm leaves whose corrected p of that look alone is above this.

It cannot raise the error rate: an arm that leaves claims nothing.
"""


@dataclass(frozen=True)
class Looks:
    """Analyses of a study.

    Args:
        seeds: Numbers of seeds at the looks, increasing; the last is the maximum.
        shares: Share of the level that each look spends; they add up to 1.
        planned: Whether arms may leave at these looks; False for those of a study that was extended.
    """

    seeds: tuple[int, ...]
    shares: tuple[float, ...]
    planned: bool = True

    def share_at(self, seeds: int) -> float:
        """Return the share of the first look at or above this number of seeds."""
        return next((share for at, share in zip(self.seeds, self.shares, strict=True) if at >= seeds), self.shares[-1])

    def is_futile(self, look: int, p: float) -> bool:
        """Whether an arm leaves at a look for want of any sign of an effect; never at the last.

        Args:
            look: Number of the look, from 0.
            p: Corrected p-value of this look alone.
        """
        return self.planned and look < len(self.seeds) - 1 and p > FUTILE[look]


def looks(least: int, most: int, units_per_seed: int = 1, arms: int = 1) -> Looks:
    """Choose the looks so that each of them can reject.

    The first is at the fewest seeds, at least ``least``, at which differences of one sign are significant:
    2^(1 - n) <= 0.17 * 0.05 / arms with n units. The second is midway between the first and the last.

    Args:
        least: Smallest number of seeds.
        most: Largest number of seeds, at least ``least``.
        units_per_seed: Units of each seed.
        arms: Number of arms that the smallest p is multiplied by: 1 for max-T, all for Holm's correction.
    """
    first = least
    while first < most and smallest_p(first * units_per_seed) > SHARES[0] * ALPHA / max(1, arms):
        first += 1
    if first >= most:
        return Looks((most,), (1.0,))
    middle = (first + most) // 2
    if middle == first:
        return Looks((first, most), (SHARES[0], 1 - SHARES[0]))
    return Looks((first, middle, most), SHARES)


def extended(ends: Sequence[int]) -> Looks:
    """Return the analyses of a study that was extended: each end has the same share, since none was planned.

    Args:
        ends: Numbers of seeds at which the study was complete, increasing; the last is the present one.
    """
    return Looks(tuple(ends), (1 / len(ends),) * len(ends), planned=False)


def confidence(looks: Looks | None, requested: int) -> float:
    """Return the coverage of an interval: 95 %, or 1 - 0.05 h at a look with share h.

    Args:
        looks: Looks of the study; None for a fixed number of seeds.
        requested: Number of seeds that are requested so far.
    """
    return CONFIDENCE if looks is None else 1 - ALPHA * looks.share_at(requested)


def smallest_sequential_p(pairs: Sequence[int], shares: Sequence[float]) -> float:
    """Return the smallest p-value that the looks so far can reach: min_k 2^(1 - n_k) / h_k.

    Args:
        pairs: Number of pairs at each look so far.
        shares: Share of the level that each look spends.
    """
    reached = zip(pairs, shares, strict=False)
    return min(1.0, *(smallest_p(number) / share for number, share in reached if number), 1.0)
