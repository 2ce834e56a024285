"""Robustness of each difference: to single seeds, to the choice of test, and the power of the seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sweeps.results.arm_values import Key
from sweeps.results.comparison import ArmRow, finite
from sweeps.results.pairing import Inference, Pairs, family
from sweeps.results.significance import family_of, smallest_shown
from sweeps.results.units import unit_words
from sweeps.statistics.bootstrap import bootstrap_p
from sweeps.statistics.families import Method, p_values
from sweeps.statistics.paired import ALPHA, CONFIDENCE, mean_interval, standard_deviation
from sweeps.statistics.shape import is_skewed, outlying, skewness
from sweeps.statistics.signed_rank import wilcoxon_p
from sweeps.study.fields import Unit
from trainables.metrics import MetricKey, is_context

_NEGLIGIBLE = 1e-6
"""Spread of differences, relative to their mean, below which they are equal."""


class Assessment(StrEnum):
    """How robust a difference is, or what it depends on."""

    ROBUST = "robust"
    SINGLE_UNIT = "single unit"
    SINGLE_TEST = "single test"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW_UNITS = "too few units"


@dataclass(frozen=True)
class Robustness:
    """Robustness of one difference: one arm in one metric; p-values are two-sided and not corrected.

    Args:
        arm: Id of the arm.
        metric: Key of the metric.
        kind: Unit of the comparison.
        p_value: The study's test, as in the table.
        p_corrected: The same after the study's correction.
        p_t: Paired t test.
        p_wilcoxon: Wilcoxon's signed-rank test.
        p_bootstrap: Studentised bootstrap, which needs no symmetry.
        p_sign_flip: Sign-flip test.
        excludes_zero: Whether the 95 % interval excludes zero.
        without_any: Whether it does, on the same side, with any one unit left out.
        unit: The most influential unit: without it the interval is nearest to zero, or farthest beyond it; None for
            fewer than 3 units.
        assessment: Conclusion from all of these.
        num_units: Number of pairs.
        smallest_difference: Smallest difference that these units show with 80 % power by the study's own test, given
            the spread of the paired differences; None where it can reach the level with no difference, and for the
            bootstrap.
        skewness: Of the differences; None for fewer than 3, or without spread.
        outlying: The unit whose difference lies farthest from the others', where it lies far; else None.
        test: The test of ``p_value``.
        smallest_p: Smallest ``p_value`` that these units can reach.
    """

    arm: str
    metric: str
    kind: Unit
    p_value: float
    p_corrected: float
    p_t: float
    p_wilcoxon: float
    p_bootstrap: float
    p_sign_flip: float
    excludes_zero: bool
    without_any: bool
    unit: str | None
    assessment: Assessment
    num_units: int
    smallest_difference: float | None
    skewness: float | None
    outlying: str | None
    test: Method
    smallest_p: float

    @property
    def is_fragile(self) -> bool:
        """Whether a significant difference depends on a single unit or on the choice of test."""
        return self.assessment in (Assessment.SINGLE_UNIT, Assessment.SINGLE_TEST)

    @property
    def is_skewed(self) -> bool:
        """Whether the differences are so asymmetric that the sign-flip test's error may exceed its level."""
        return self.skewness is not None and is_skewed(self.skewness, self.num_units)

    @property
    def is_asymmetric(self) -> bool:
        """Whether the differences are skewed, or one of them is outlying."""
        return self.is_skewed or self.outlying is not None


def examine(
    rows: Sequence[ArmRow],
    metrics: Sequence[MetricKey],
    pairs: Mapping[str, Mapping[str, Pairs]],
    inference: Inference,
    seeds: Mapping[str, Sequence[int]],
    prompts: Sequence[str],
) -> tuple[Robustness, ...]:
    """Examine every difference of a table that has at least two pairs, except in metrics that only give context.

    Args:
        rows: The control, then the arms.
        metrics: Metrics of the table.
        pairs: Metric key -> arm -> its pairs with the control.
        inference: Units, analyses and correction.
        seeds: Arm -> seeds that it has reached.
        prompts: Prompts that the study lists, to name units.
    """
    examined = []
    for metric in metrics:
        of_arms = {} if is_context(metric) else pairs.get(metric.key, {})
        together = family(of_arms.values())
        flips = [test.p_value for test in p_values([together], (1.0,), len(of_arms), correction="holm")]
        others = zip(wilcoxon_p(together.differences), bootstrap_p(together.differences), flips, strict=True)
        by_arm = dict(zip(of_arms, others, strict=True))
        keys, number = family_of(metric, metrics, inference)
        size = sum(len(pairs.get(key, {})) for key in keys), number
        for row in rows[1:]:
            summary, of_arm = row.metrics[metric.key], of_arms.get(row.id, Pairs())
            smallest = summary.smallest_p
            if len(of_arm) < 2 or summary.p_value is None or summary.p_corrected is None or smallest is None:
                continue
            ps = summary.p_value, summary.p_corrected, *by_arm[row.id]
            sd = standard_deviation(list(of_arm.differences.values()))
            least = smallest_shown(sd, len(of_arm), size, inference, inference.share(seeds[row.id]))
            examined.append(_examined(row.id, metric.key, of_arm.differences, *ps, least, inference, prompts, smallest))
    return tuple(examined)


def _examined(
    arm: str,
    metric: str,
    by_unit: Mapping[Key, float],
    p_value: float,
    p_corrected: float,
    p_wilcoxon: float,
    p_bootstrap: float,
    p_sign_flip: float,
    least: float | None,
    inference: Inference,
    prompts: Sequence[str],
    smallest: float,
) -> Robustness:
    differences = list(by_unit.values())
    mean, sd, n = math.fsum(differences) / len(differences), standard_deviation(differences), len(differences)
    side = math.copysign(1, mean)
    # How far the interval is from zero, on the side of the difference, without each unit.
    distances = dict(zip(by_unit, _distances([side * d for d in differences]), strict=True)) if n > 2 else {}
    unit = min(distances, key=lambda left: distances[left]) if distances else None
    excludes = _distance([side * d for d in differences]) > 0
    stays = excludes and unit is not None and distances[unit] > 0
    p_t = _t_test(mean, sd, n)
    others = [p_t, p_wilcoxon]
    if inference.test == "bootstrap_t":
        others.append(p_sign_flip)
    elif sd > _NEGLIGIBLE * abs(mean):  # else every sample is alike, and the bootstrap tells nothing
        others.append(p_bootstrap)
    far = outlying(differences)
    return Robustness(
        arm=arm,
        metric=metric,
        kind=inference.unit(metric),
        p_value=p_value,
        p_corrected=p_corrected,
        p_t=p_t,
        p_wilcoxon=p_wilcoxon,
        p_bootstrap=p_bootstrap,
        p_sign_flip=p_sign_flip,
        excludes_zero=excludes,
        without_any=stays,
        unit=None if unit is None else unit_words(unit, prompts),
        assessment=_assess(p_corrected, excludes, stays, max(others), smallest),
        num_units=n,
        smallest_difference=least,
        skewness=finite(skewness(differences)),
        outlying=None if far is None else unit_words(list(by_unit)[far], prompts),
        test=inference.test,
        smallest_p=smallest,
    )


def _t_test(mean: float, sd: float, n: int) -> float:
    """Compute the two-sided p-value of a paired t test: 2 P(T > |mean| sqrt(n) / sd), n - 1 degrees of freedom."""
    from scipy import special  # scipy.stats checks its arguments for longer than it computes

    if sd == 0:
        return 0.0 if mean else 1.0
    return 2 * float(special.stdtr(n - 1, -abs(mean) * math.sqrt(n) / sd))


def _distances(differences: Sequence[float]) -> list[float]:
    """Return the lower bounds of the mean's interval with each of the values left out."""
    import numpy as np
    from scipy.special import stdtrit

    values, n = np.asarray(differences), len(differences) - 1
    means = (values.sum() - values) / n
    squares = ((values - values.mean()) ** 2).sum() - (values - values.mean()) ** 2 * (n + 1) / n
    halves = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * np.sqrt(squares.clip(min=0) / (n - 1) / n)
    return [float(bound) for bound in means - halves]


def _distance(differences: Sequence[float]) -> float:
    """Return the lower bound of the mean's interval; minus infinity for a single value."""
    low = mean_interval(differences).low
    return low if math.isfinite(low) else -math.inf


def _assess(p_corrected: float, excludes: bool, stays: bool, p_others: float, smallest: float) -> Assessment:
    if p_corrected > ALPHA:
        too_few = excludes and smallest > ALPHA
        return Assessment.TOO_FEW_UNITS if too_few else Assessment.INCONCLUSIVE
    if not stays:
        return Assessment.SINGLE_UNIT
    return Assessment.SINGLE_TEST if p_others > ALPHA else Assessment.ROBUST
