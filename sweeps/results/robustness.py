"""What a reviewer asks of a difference: whether one seed or the choice of test decides it, and how many seeds would."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sweeps.results.comparison import ArmRow, is_context
from sweeps.statistics.paired import ALPHA, mean_interval, smallest_p, standard_deviation
from sweeps.statistics.power import seeds_for
from trainables.metrics import MetricKey


class Standing(StrEnum):
    """Whether a difference would stand, and if not, on what it depends."""

    STANDS = "stands"
    ONE_SEED = "one seed"
    ONE_TEST = "one test"
    NOT_SHOWN = "not shown"
    TOO_FEW_SEEDS = "too few seeds"


@dataclass(frozen=True)
class Robustness:
    """One metric of one arm, looked at from other sides; p-values are two-sided and not corrected.

    Args:
        arm: Which.
        metric: Its key.
        p_value: Sign-flip test, as in the table.
        p_corrected: The same after Holm's correction.
        p_t: Paired t test.
        p_wilcoxon: Wilcoxon's signed-rank test.
        excludes_zero: Whether the 95 % interval excludes zero.
        without_any: Whether it does, on the same side, with any one seed left out.
        seed: The seed without which it comes nearest to zero, or farthest beyond; None for fewer than 3 seeds.
        seeds_needed: Seeds at which such a difference would be found with a chance of 80 %; None above 1,000.
        standing: What all this amounts to.
        num_seeds: Pairs that were looked at.
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
    standing: Standing
    num_seeds: int


def examine(
    rows: Sequence[ArmRow], metrics: Sequence[MetricKey], values: Mapping[str, Mapping[str, Mapping[int, float]]]
) -> tuple[Robustness, ...]:
    """Look at every difference of a table that has at least two pairs; measures that only give context are left out.

    Args:
        rows: The control, then the arms.
        metrics: The table's.
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
    same = all(difference == differences[0] for difference in differences)
    p_t = (0.0 if differences[0] else 1.0) if same else float(stats.ttest_1samp(differences, 0.0).pvalue)
    p_wilcoxon = float(stats.wilcoxon(differences).pvalue) if any(differences) else 1.0
    side = math.copysign(1, mean)
    # How far the interval is from zero, on the side of the difference, without each seed.
    distances = {seed: _distance([side * d for other, d in by_seed.items() if other != seed]) for seed in by_seed}
    seed = min(distances, key=lambda left: distances[left]) if len(by_seed) > 2 else None
    excludes = _distance([side * d for d in differences]) > 0
    stays = excludes and seed is not None and distances[seed] > 0
    needed = seeds_for(abs(mean), standard_deviation(differences), num_arms)
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
        standing=_standing(p_corrected, excludes, stays, max(p_t, p_wilcoxon), len(by_seed)),
        num_seeds=len(by_seed),
    )


def _distance(differences: Sequence[float]) -> float:
    """Lower bound of the mean's interval; minus infinity where there is none."""
    low = mean_interval(differences).low
    return low if math.isfinite(low) else -math.inf


def _standing(p_corrected: float, excludes: bool, stays: bool, p_others: float, num_seeds: int) -> Standing:
    if p_corrected > ALPHA:
        too_few = excludes and smallest_p(num_seeds) > ALPHA
        return Standing.TOO_FEW_SEEDS if too_few else Standing.NOT_SHOWN
    if not stays:
        return Standing.ONE_SEED
    return Standing.ONE_TEST if p_others > ALPHA else Standing.STANDS
