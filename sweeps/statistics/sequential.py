"""Group-sequential tests: when to look at a study, and p-values that are valid after any number of looks.

A study with ``seeds: {min, max, stop: decided}`` is analysed at a few numbers of seeds, the looks, and ends when every
arm is decided. Each look spends a share of the level (alpha spending). Errors are counted over the sign patterns, so
the test is valid for any distribution that is symmetric without an effect.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.statistics.paired import (
    ALPHA,
    CONFIDENCE,
    EXACT_PAIRS,
    Difference,
    paired,
    paired_difference,
    rounding,
    smallest_p,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

FIRST, MIDDLE = 0.32, 0.1
"""Shares of the level that the first and the middle look spend; the last look has the rest.

The first look can reject only where all differences have one sign, so it is at the fewest seeds whose share allows
that. A larger first share, or more looks, costs more power for moderate effects than it saves cells for large ones.
"""
CONTINUATIONS = 4
"""Above 16 pairs, number of random continuations of each pattern of the first 16."""
_STEPS = 30
_SEED = 0


@dataclass(frozen=True)
class Looks:
    """Looks of a study.

    Args:
        seeds: Numbers of seeds at the looks, increasing; the last is the maximum.
        shares: Share of the level that each look spends; they add up to 1.
    """

    seeds: tuple[int, ...]
    shares: tuple[float, ...]

    def share_at(self, seeds: int) -> float:
        """Return the share of the first look at or above this number of seeds."""
        return next((share for at, share in zip(self.seeds, self.shares, strict=True) if at >= seeds), self.shares[-1])


def looks(least: int, most: int, arms: int) -> Looks:
    """Choose the looks so that each of them can reject.

    The first is at the fewest seeds n, at least ``least``, at which differences of one sign are significant in the
    strictest of the tests: 2^(1 - n) <= 0.32 * 0.05 / arms. The second is midway between the first and the last.

    Args:
        least: Smallest number of seeds.
        most: Largest number of seeds, at least ``least``.
        arms: Number of arms that are compared with the control.
    """
    first = least
    while first < most and smallest_p(first) > FIRST * ALPHA / max(1, arms):
        first += 1
    if first >= most:
        return Looks((most,), (1.0,))
    middle = (first + most) // 2
    if middle == first:
        return Looks((first, most), (FIRST, 1 - FIRST))
    return Looks((first, middle, most), (FIRST, MIDDLE, 1 - FIRST - MIDDLE))


def sequential_p(
    arm: Sequence[float], control: Sequence[float], pairs: Sequence[int], shares: Sequence[float]
) -> float:
    """Compute the smallest level at which the group-sequential test has rejected by now.

        p = inf {a : #{e in E_k : |sum_{s <= n_k} e_s d_s| >= |sum_{s <= n_k} d_s|} <= a h_k 2^n  for some look k}

    where E_k are the sign patterns e that no earlier look has rejected. At level a, look k rejects those with the
    largest sums, at most a share a h_k of all patterns; all looks together reject at most a share a. A pattern that is
    rejected at one level is rejected at every higher level and stays rejected at later looks. So P(p <= a) <= a under
    any stopping rule, and Holm's correction of such p-values is valid. With a single look p is the sign-flip test's.

    Exact for up to 16 pairs; above, each pattern of the first 16 has 4 random continuations with a fixed seed.

    Args:
        arm: One value per seed, in the order of the seeds.
        control: The control's values at the same seeds.
        pairs: Number of pairs at each look so far, increasing.
        shares: Share of the level that each look spends.

    Returns:
        A p-value; 1 before the first look.

    Raises:
        ValueError: As ``sweeps.statistics.paired.paired_difference``.

    Source: alpha spending: Lan and DeMets (1983); sequential p-values: Liu and Anderson (2008).
    """
    differences = paired(arm, control)
    reached = [(number, share) for number, share in zip(pairs, shares, strict=False) if number]
    sums = [_sums(differences, number) for number, _ in reached]
    tied, spent = rounding(arm, control), [share for _, share in reached]
    low, high = 0.0, 1.0
    if not _is_rejected(sums, spent, high, tied):
        return 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _is_rejected(sums, spent, middle, tied) else (middle, high)
    return high


def sequential_difference(
    arm: Sequence[float], control: Sequence[float], seeds: Sequence[int], looks: Looks | None, requested: int
) -> Difference:
    """Compute a paired difference whose interval and p-value are valid after any number of looks.

    The interval is a t interval at 1 - 0.05 h, with the share h of the current or next look: the intervals of all
    looks together have 95 % coverage.

    Args:
        arm: One value per seed.
        control: The control's values at the same seeds.
        seeds: The seeds, increasing; numbered from 0 in a study with looks.
        looks: Looks of the study; None for a fixed number of seeds.
        requested: Number of seeds that are requested so far.
    """
    if looks is None:
        return paired_difference(arm, control)
    reached = [sum(seed < at for seed in seeds) for at in looks.seeds if at <= requested]
    difference = paired_difference(arm, control, confidence(looks, requested))
    p, smallest = sequential_p(arm, control, reached, looks.shares), smallest_sequential_p(reached, looks.shares)
    return difference._replace(p_value=p, smallest_p=smallest)


def confidence(looks: Looks | None, requested: int) -> float:
    """Return the coverage of an interval: 95 %, or 1 - 0.05 h at a look with share h.

    Args:
        looks: Looks of the study; None for a fixed number of seeds.
        requested: Number of seeds that are requested so far.
    """
    return CONFIDENCE if looks is None else 1 - ALPHA * looks.share_at(requested)


def _is_rejected(sums: "Sequence[Array]", shares: Sequence[float], level: float, tied: float) -> bool:
    """Whether a look rejects the observed signs, which are the first pattern; sums within ``tied`` are equal."""
    import numpy as np

    number = len(sums[0]) if sums else 0
    left = np.ones(number, dtype=bool)
    for of_look, share in zip(sums, shares, strict=True):
        budget = math.floor(level * share * number * (1 + 1e-9))
        if budget < 1:
            continue
        if budget >= number:
            return True
        candidates = np.where(left, of_look, -1.0)
        bound = np.partition(candidates, number - budget - 1)[number - budget - 1]
        rejected = left & (of_look > bound + tied)  # a tie with the first pattern beyond the budget is not rejected
        if rejected[0]:
            return True
        left &= ~rejected
    return False


def _sums(values: Sequence[float], number: int) -> "Array":
    """Compute |sum of the first ``number`` differences| under every sign pattern."""
    import numpy as np

    signs = _patterns(len(values))[:number]
    return np.abs(np.tensordot(np.asarray(values[:number], dtype=float), signs, axes=1))


@functools.lru_cache(maxsize=8)
def _patterns(n: int) -> "npt.NDArray[np.int8]":
    """Return sign patterns (n, patterns), the first all +; of a pattern and its opposite only one is included."""
    import numpy as np

    exact = min(n, EXACT_PAIRS)
    numbers = np.arange(2 ** (exact - 1))
    first = np.array([1 - 2 * (numbers >> place & 1) for place in range(exact - 1)], dtype=np.int8)
    signs = np.concatenate([np.ones((1, len(numbers)), dtype=np.int8), first.reshape(exact - 1, len(numbers))])
    if n == exact:
        return signs
    draws = np.random.default_rng(_SEED)
    rest = draws.choice(np.array([-1, 1], dtype=np.int8), size=(n - exact, CONTINUATIONS * len(numbers)))
    rest[:, 0] = 1
    return np.concatenate([np.repeat(signs, CONTINUATIONS, axis=1), rest])


def smallest_sequential_p(pairs: Sequence[int], shares: Sequence[float]) -> float:
    """Return the smallest ``sequential_p`` that the looks so far can reach.

    min_k 2^(1 - n_k) / h_k
    """
    reached = zip(pairs, shares, strict=False)
    return min(1.0, *(smallest_p(number) / share for number, share in reached if number), 1.0)
