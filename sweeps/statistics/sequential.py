"""Group-sequential analyses: when to look at a study, and which share of the level each look spends.

A study with ``seeds: {min, max, stop: decided}`` is analysed at a few numbers of seeds, the looks. An arm leaves the
study at the look that decides it, or that makes a decision unlikely. A study whose seeds were changed after its end was
analysed as well: the looks of its earlier ends count. ``sweeps.statistics.families.p_values`` corrects over looks.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sweeps.statistics.paired import ALPHA, smallest_p

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
        seeds: Seeds of each look; at the last one all of them.
        shares: Share of the level that each look spends; they add up to at most 1.
        leaving: Whether arms may leave at these looks.
        earlier: The seeds of the looks at which the study had ended before its seeds were changed.
    """

    seeds: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...]
    leaving: bool = True
    earlier: frozenset[tuple[int, ...]] = frozenset()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Number of seeds at each look."""
        return tuple(map(len, self.seeds))

    def until(self, seeds: Collection[int]) -> list[tuple[tuple[int, ...], float]]:
        """Return seeds and share of each look that these seeds allow."""
        looks = zip(self.seeds, self.shares, strict=True)
        return [(at, share) for at, share in looks if set(at) <= set(seeds)]

    def share_of(self, seeds: Collection[int]) -> float:
        """Return the share of the first look that has all of these seeds."""
        looks = zip(self.seeds, self.shares, strict=True)
        return next((share for at, share in looks if set(seeds) <= set(at)), self.shares[-1])

    def is_futile(self, look: int, p: float) -> bool:
        """Whether an arm leaves at a look for want of any sign of an effect; never at the last.

        Args:
            look: Number of the look, from 0.
            p: Corrected p-value of this look alone.
        """
        return self.leaving and look < len(self.seeds) - 1 and p > FUTILE[min(look, len(FUTILE) - 1)]


def looks(seeds: Sequence[int], least: int, units_per_seed: int = 1, arms: int = 1) -> Looks:
    """Choose the looks so that each of them can reject.

    The first is at the fewest seeds, at least ``least``, at which differences of one sign are significant:
    2^(1 - n) <= 0.17 * 0.05 / arms with n units. The second is midway between the first and the last.

    Args:
        seeds: All seeds.
        least: Smallest number of seeds, at most all.
        units_per_seed: Units of each seed.
        arms: Number of arms that the smallest p is multiplied by: 1 for max-T, all for Holm's correction.
    """
    first, most = least, len(seeds)
    while first < most and smallest_p(first * units_per_seed) > SHARES[0] * ALPHA / max(1, arms):
        first += 1
    middle = (first + most) // 2
    if first >= most:
        found = {most: 1.0}
    elif middle == first:
        found = {first: SHARES[0], most: 1 - SHARES[0]}
    else:
        found = dict(zip((first, middle, most), SHARES, strict=True))
    return Looks(tuple(tuple(seeds[:number]) for number in found), tuple(found.values()))


def with_earlier(planned: Looks, ends: Sequence[Looks]) -> Looks:
    """Return the looks of a study with those at which it had ended before; all shares are reduced alike.

        h_k <- h_k / max(1, sum_i h_i)   over the looks planned now and the earlier ones

    Since nobody had planned to go on, each end has spent the whole share that its looks had. An end without a seed of
    the present ones was another sample, and does not count.

    Args:
        planned: Looks of the present seeds.
        ends: Looks of each earlier end.
    """
    every = set(planned.seeds[-1])
    shares = dict(zip(planned.seeds, planned.shares, strict=True))
    earlier = {
        at: share for end in ends for at, share in zip(end.seeds, end.shares, strict=True) if not every.isdisjoint(at)
    }
    shares |= {at: max(share, shares.get(at, 0.0)) for at, share in earlier.items()}
    total = max(1.0, sum(shares.values()))
    ordered = sorted(shares, key=lambda at: (at == planned.seeds[-1], len(at)))
    past = frozenset(at for at in earlier if at != planned.seeds[-1])
    return Looks(tuple(ordered), tuple(shares[at] / total for at in ordered), planned.leaving, past)
