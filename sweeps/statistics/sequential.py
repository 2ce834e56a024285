"""Looks at a study on its way: when to look, and p-values that stay valid however often one has looked.

A study with ``seeds: {min, max, stop: decided}`` is looked at after a few numbers of seeds, and ends where every arm is
decided. The chance of a false finding is spent over the looks, a share at each, and is counted over the patterns of
signs themselves, so that it holds for any distribution that is symmetric without an effect.
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
"""Shares of the level that are spent at the first and the middle look; the last one has the rest.

At the first look nothing but differences of one sign can be found, so it comes as soon as its share pays for those.
More there, or more looks, costs moderate effects more power than it saves large ones cells.
"""
CONTINUATIONS = 4
"""Above 16 pairs, every pattern of the first 16 is gone on with so many drawn at random."""
_STEPS = 30
_SEED = 0


@dataclass(frozen=True)
class Looks:
    """When a study is looked at.

    Args:
        seeds: Seeds after which, rising; the last is all there are.
        shares: Of the level, what is spent at each; they add up to 1.
    """

    seeds: tuple[int, ...]
    shares: tuple[float, ...]

    def share_at(self, seeds: int) -> float:
        """The share of the look that so many seeds lead to."""
        return next((share for at, share in zip(self.seeds, self.shares, strict=True) if at >= seeds), self.shares[-1])


def looks(least: int, most: int, arms: int) -> Looks:
    """When to look, so that every look can find something.

    The first is after the fewest seeds n, at least ``least``, at which differences of one sign are found in the
    strictest of the tests: 2^(1 - n) <= 0.32 * 0.05 / arms. The second lies in the middle between it and the last.

    Args:
        least: Fewest seeds.
        most: All there are, at least ``least``.
        arms: That are compared with the control.
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
    """The smallest level at which a test that looks several times would have found a difference by now.

        p = inf {a : #{e in E_k : |sum_{s <= n_k} e_s d_s| >= |sum_{s <= n_k} d_s|} <= a h_k 2^n  for some look k}

    where E_k are the patterns of signs e that no earlier look has found. At level a, look k finds those with the
    largest sums, at most a share a h_k of all; together the looks find at most a share a. What is found at one level is
    found at every higher one, and at every later look. So P(p <= a) <= a whenever one stops and for whatever reason,
    and Holm's correction of such p-values holds too. With a single look it is the sign-flip test's p.

    Exact for up to 16 pairs; above, each pattern of the first 16 is continued by 4 drawn with a fixed seed.

    Args:
        arm: One value per seed, in the order of the seeds.
        control: The control's values at the same seeds.
        pairs: How many of them each look has seen, the looks that have been; rising.
        shares: Of the level, what each of them spends.

    Returns:
        A p-value, 1 where no look has been.

    Raises:
        ValueError: As ``sweeps.statistics.paired.paired_difference``.

    Source: alpha spending: Lan and DeMets (1983); sequential p-values: Liu and Anderson (2008).
    """
    differences = paired(arm, control)
    reached = [(number, share) for number, share in zip(pairs, shares, strict=False) if number]
    sums = [_sums(differences, number) for number, _ in reached]
    tied, spent = rounding(arm, control), [share for _, share in reached]
    low, high = 0.0, 1.0
    if not _found(sums, spent, high, tied):
        return 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _found(sums, spent, middle, tied) else (middle, high)
    return high


def looked_at(
    arm: Sequence[float], control: Sequence[float], seeds: Sequence[int], looks: Looks | None, asked: int
) -> Difference:
    """A paired difference whose interval and p-value hold however often a study was looked at by now.

    The interval is a t interval at 1 - 0.05 h, with the share h of the look that the study is at or comes to next:
    together the intervals of all looks miss no more often than one at 95 %.

    Args:
        arm: One value per seed.
        control: The control's at the same seeds.
        seeds: Which seeds these are, rising; numbers from 0 where there are looks.
        looks: When the study is looked at; None where it is not.
        asked: Seeds that have been asked for by now.
    """
    if looks is None:
        return paired_difference(arm, control)
    reached = [sum(seed < at for seed in seeds) for at in looks.seeds if at <= asked]
    found = paired_difference(arm, control, confidence(looks, asked))
    p, smallest = sequential_p(arm, control, reached, looks.shares), smallest_sequential_p(reached, looks.shares)
    return found._replace(p_value=p, smallest_p=smallest)


def confidence(looks: Looks | None, asked: int) -> float:
    """Of one interval: 95 %, or what this look leaves of it.

    Args:
        looks: When the study is looked at; None where it is not.
        asked: Seeds that have been asked for by now.
    """
    return CONFIDENCE if looks is None else 1 - ALPHA * looks.share_at(asked)


def _found(sums: "Sequence[Array]", shares: Sequence[float], level: float, tied: float) -> bool:
    """Whether a look finds the signs as they are, which are the first pattern; sums within ``tied`` are equal."""
    import numpy as np

    number = len(sums[0]) if sums else 0
    left = np.ones(number, dtype=bool)
    for of_look, share in zip(sums, shares, strict=True):
        budget = math.floor(level * share * number * (1 + 1e-9))
        if budget < 1:
            continue
        if budget >= number:
            return True
        there = np.where(left, of_look, -1.0)
        bound = np.partition(there, number - budget - 1)[number - budget - 1]
        found = left & (of_look > bound + tied)  # all that are tied with the first that is too many stay
        if found[0]:
            return True
        left &= ~found
    return False


def _sums(values: Sequence[float], number: int) -> "Array":
    """|sum of the first ``number`` differences| under every pattern of signs."""
    import numpy as np

    signs = _patterns(len(values))[:number]
    return np.abs(np.tensordot(np.asarray(values[:number], dtype=float), signs, axes=1))


@functools.lru_cache(maxsize=8)
def _patterns(n: int) -> "npt.NDArray[np.int8]":
    """Patterns of n signs (n, patterns), the first all +; of a pattern and its opposite only one."""
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
    """What ``sequential_p`` could be at best after the looks that have been.

    min_k 2^(1 - n_k) / h_k
    """
    reached = zip(pairs, shares, strict=False)
    return min(1.0, *(smallest_p(number) / share for number, share in reached if number), 1.0)
