"""Robustness of each difference: to single seeds, to the choice of test, and the power of the seeds."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sweeps.results.comparison import ArmRow, is_context
from sweeps.statistics.paired import ALPHA, mean_interval, smallest_p, standard_deviation
from sweeps.statistics.power import seeds_for, smallest_difference
from trainables.metrics import MetricKey


class Assessment(StrEnum):
    """How robust a difference is, or what it depends on."""

    ROBUST = "robust"
    SINGLE_SEED = "single seed"
    SINGLE_TEST = "single test"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW_SEEDS = "too few seeds"


@dataclass(frozen=True)
class Robustness:
    """Robustness of one difference: one arm in one metric; p-values are two-sided and not corrected.

    Args:
        arm: Id of the arm.
        metric: Key of the metric.
        p_value: Sign-flip test, as in the table.
        p_corrected: The same after Holm's correction.
        p_t: Paired t test.
        p_wilcoxon: Wilcoxon's signed-rank test.
        excludes_zero: Whether the 95 % interval excludes zero.
        without_any: Whether it does, on the same side, with any one seed left out.
        seed: The most influential seed: without it the interval is nearest to zero, or farthest beyond it; None for
            fewer than 3 seeds.
        seeds_needed: Seeds that detect a difference of this size with 80 % power; None above 1,000.
        assessment: Conclusion from all of these.
        num_seeds: Number of pairs.
        smallest_difference: Smallest difference that these seeds detect with 80 % power, given the spread of the paired
            differences; None where no difference can be significant with so few seeds.
    """

    arm: str
    metric: str
    p_value: float
    p_corrected: float
    p_t: float
    p_wilcoxon: float
    excludes_zero: bool
    without_any: bool
    seed: int | None
    seeds_needed: int | None
    assessment: Assessment
    num_seeds: int
    smallest_difference: float | None

    @property
    def is_fragile(self) -> bool:
        """Whether a significant difference depends on a single seed or on the choice of test."""
        return self.assessment in (Assessment.SINGLE_SEED, Assessment.SINGLE_TEST)


def examine(
    rows: Sequence[ArmRow], metrics: Sequence[MetricKey], values: Mapping[str, Mapping[str, Mapping[int, float]]]
) -> tuple[Robustness, ...]:
    """Examine every difference of a table that has at least two pairs, except in metrics that only give context.

    Args:
        rows: The control, then the arms.
        metrics: Metrics of the table.
        values: Arm -> metric key -> seed -> value.
    """
    examined = []
    for metric in metrics:
        control = values.get(rows[0].id, {}).get(metric.key, {}) if rows and not is_context(metric) else {}
        compared = [row for row in rows[1:] if row.metrics[metric.key].difference is not None]
        for row in compared if control else ():
            arm = values.get(row.id, {}).get(metric.key, {})
            seeds = [seed for seed in arm if seed in control]
            summary = row.metrics[metric.key]
            if len(seeds) >= 2 and summary.p_value is not None and summary.p_corrected is not None:
                by_seed = {seed: arm[seed] - control[seed] for seed in seeds}
                ps = summary.p_value, summary.p_corrected
                examined.append(_examined(row.id, metric.key, by_seed, *ps, len(compared)))
    return tuple(examined)


def _examined(
    arm: str, metric: str, by_seed: Mapping[int, float], p_value: float, p_corrected: float, num_arms: int
) -> Robustness:
    from scipy import stats

    differences = list(by_seed.values())
    mean = math.fsum(differences) / len(differences)
    p_wilcoxon = float(stats.wilcoxon(differences).pvalue) if any(differences) else 1.0
    side = math.copysign(1, mean)
    # How far the interval is from zero, on the side of the difference, without each seed.
    distances = {seed: _distance([side * d for other, d in by_seed.items() if other != seed]) for seed in by_seed}
    seed = min(distances, key=lambda left: distances[left]) if len(by_seed) > 2 else None
    excludes = _distance([side * d for d in differences]) > 0
    stays = excludes and seed is not None and distances[seed] > 0
    sd, smallest = standard_deviation(differences), _smallest_standardised(len(differences), num_arms)
    p_t = _t_test(mean, sd, len(differences))
    needed = seeds_for(abs(mean), sd, num_arms)
    return Robustness(
        arm=arm,
        metric=metric,
        p_value=p_value,
        p_corrected=p_corrected,
        p_t=p_t,
        p_wilcoxon=p_wilcoxon,
        excludes_zero=excludes,
        without_any=stays,
        seed=seed,
        seeds_needed=needed,
        assessment=_assess(p_corrected, excludes, stays, max(p_t, p_wilcoxon), len(by_seed)),
        num_seeds=len(by_seed),
        smallest_difference=None if smallest is None else sd * smallest,
    )


def _t_test(mean: float, sd: float, n: int) -> float:
    """Compute the two-sided p-value of a paired t test: 2 P(T > |mean| sqrt(n) / sd), n - 1 degrees of freedom."""
    from scipy import special  # scipy.stats checks its arguments for longer than it computes

    if sd == 0:
        return 0.0 if mean else 1.0
    return 2 * float(special.stdtr(n - 1, -abs(mean) * math.sqrt(n) / sd))


@functools.lru_cache(maxsize=64)
def _smallest_standardised(num_seeds: int, num_arms: int) -> float | None:
    """Return the smallest detectable difference in units of the standard deviation, to which it is proportional."""
    return smallest_difference(1.0, num_seeds, num_arms)


def _distance(differences: Sequence[float]) -> float:
    """Return the lower bound of the mean's interval; minus infinity for a single value."""
    low = mean_interval(differences).low
    return low if math.isfinite(low) else -math.inf


def _assess(p_corrected: float, excludes: bool, stays: bool, p_others: float, num_seeds: int) -> Assessment:
    if p_corrected > ALPHA:
        too_few = excludes and smallest_p(num_seeds) > ALPHA
        return Assessment.TOO_FEW_SEEDS if too_few else Assessment.INCONCLUSIVE
    if not stays:
        return Assessment.SINGLE_SEED
    return Assessment.SINGLE_TEST if p_others > ALPHA else Assessment.ROBUST
