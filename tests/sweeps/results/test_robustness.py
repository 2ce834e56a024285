"""Robustness of a difference, against scipy and by simulation."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sweeps.plan.units import Units
from sweeps.report.exports import to_json
from sweeps.report.page import to_html
from sweeps.report.table import Report
from sweeps.report.verdicts import robustness_words
from sweeps.results.pairing import Inference
from sweeps.results.robustness import Robustness, _examined
from sweeps.results.significance import smallest_shown
from sweeps.statistics.bootstrap import bootstrap_p
from sweeps.statistics.families import Correction, smallest_of
from sweeps.statistics.max_t import max_t
from sweeps.statistics.paired import ALPHA, holm, paired_difference
from sweeps.statistics.power import smallest_difference
from sweeps.statistics.signed_rank import wilcoxon_p

INFERENCE = Inference({"m": Units("seed", "trained")})


def examined(
    differences: Sequence[float], p_corrected: float = 0.01, num_arms: int = 1, inference: Inference = INFERENCE
) -> Robustness:
    by_seed = {10 + k: difference for k, difference in enumerate(differences)}
    p_value = paired_difference(differences, [0.0] * len(differences)).p_value
    (p_bootstrap,), (p_wilcoxon,) = bootstrap_p([differences]), wilcoxon_p(np.array([differences]))
    ps = p_value, p_corrected, p_wilcoxon, p_bootstrap, p_value
    sd = float(np.std(differences, ddof=1))
    least = smallest_shown(sd, len(differences), (num_arms, 1), inference, 1.0)
    return _examined("arm", "m", by_seed, *ps, least, inference, (), smallest_of(len(differences), inference.test))


def test_other_tests_are_scipys() -> None:
    differences = [0.5, 0.7, -0.1, 0.9, 0.3, 0.6, 0.2, 0.8]
    one = examined(differences)
    assert one.p_t == pytest.approx(stats.ttest_rel(differences, [0.0] * 8).pvalue)
    assert one.p_wilcoxon == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert one.p_value == pytest.approx(
        stats.permutation_test((np.array(differences),), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    )
    assert one.skewness == pytest.approx(stats.skew(differences, bias=False))


def test_one_seed_that_decides_is_named() -> None:
    stable = examined([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 0.98])
    assert (stable.excludes_zero, stable.without_any) == (True, True)
    assert robustness_words(stable) == "robust: no single seed decides, and the other tests agree"
    differences = [0.30, 0.02, 0.28, 0.01, 0.30, 0.29]
    hanging = examined(differences)
    assert hanging.excludes_zero
    assert hanging.without_any is False
    lows = [stats.ttest_1samp(np.delete(differences, k), 0.0).confidence_interval(0.95).low for k in range(6)]
    assert min(lows) < 0
    assert hanging.unit == str(10 + int(np.argmin(lows)))
    assert robustness_words(hanging).startswith(f"depends on a single seed ({hanging.unit})")


def test_what_is_not_shown_says_what_could_have_been() -> None:
    few = examined([1.0, 1.1, 0.9, 1.0], p_corrected=0.38, num_arms=3)
    assert robustness_words(few) == (
        "The interval excludes zero, but 4 seeds are too few for the test (smallest p 0.12)"
    )
    nothing = examined([0.1, -0.1, 0.1, -0.1], p_corrected=1.0)
    assert robustness_words(nothing) == "Inconclusive. 4 seeds are too few for the test (smallest p 0.12)"
    differences = [0.3, -0.1, 0.2, -0.2, 0.1, -0.3, 0.25, -0.15]
    eight = examined(differences, p_corrected=1.0)
    smallest = smallest_difference(float(np.std(differences, ddof=1)), 8, 1, "max_t")
    assert eight.smallest_difference == pytest.approx(smallest)
    assert robustness_words(eight) == (
        f"Inconclusive. These 8 seeds could show differences of {eight.smallest_difference:.2g} or more (80 % power)"
    )


def test_differences_that_are_not_symmetric_are_named() -> None:
    collapsed = examined([0.1, 0.2, 0.15, 0.12, 0.18, 0.11, -3.0, 0.16], p_corrected=0.03)
    assert collapsed.outlying == "16"
    assert collapsed.is_skewed
    words = robustness_words(collapsed)
    assert "Differences are skewed (skewness -2.8) and with an outlying seed (16)" in words
    assert f"bootstrap p {collapsed.p_bootstrap:.2g}" in words


@pytest.mark.parametrize(
    ("units", "arms", "correction"), [(6, 1, "max_t"), (6, 4, "max_t"), (8, 3, "holm"), (12, 3, "max_t")]
)
def test_the_smallest_difference_has_the_power_that_is_said(units: int, arms: int, correction: Correction) -> None:
    effect = smallest_difference(1.0, units, arms, correction)
    assert effect is not None
    rng, studies, found = np.random.default_rng(7), 300, 0
    for _ in range(studies):
        d = (rng.normal(size=(arms, units)) - rng.normal(size=units)) / np.sqrt(2)
        d[0] += effect
        if correction == "max_t":
            p = max_t(d)[0]
        else:
            p = holm([paired_difference(row, [0.0] * units).p_value for row in d])[0]
        found += p <= ALPHA
    assert found / studies == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / studies))


def test_too_few_units_could_show_nothing() -> None:
    assert smallest_difference(1.0, 5, 1, "max_t") is None
    assert smallest_difference(1.0, 6, 12, "max_t") is not None
    assert smallest_difference(1.0, 6, 12, "holm") is None
    assert smallest_difference(0.0, 8, 1, "max_t") == 0.0
    many, half = (smallest_difference(1.0, n, 2, "max_t") for n in (400, 100))
    assert many == pytest.approx(half / 2)


def test_differences_that_are_all_equal_break_nothing() -> None:
    assert examined([0.0, 0.0, 0.0]).p_wilcoxon == 1.0
    same = examined([0.5, 0.5, 0.5])
    assert same.p_t == 0.0
    assert same.excludes_zero
    assert examined([5.0] * 8).assessment == "robust", "the bootstrap can tell nothing of equal differences"


def test_the_bootstrap_is_compared_with_sign_flips_and_is_not_bound_by_them() -> None:
    bootstrap = replace(INFERENCE, test="bootstrap_t")
    few = examined([1.0, 1.1, 0.9, 1.0], p_corrected=0.02, inference=bootstrap)
    assert few.assessment == "single test", "sign flips cannot agree with 4 seeds"
    assert examined([1.0, 1.1, 0.9, 1.0], p_corrected=0.2, inference=bootstrap).assessment == "inconclusive"
    assert few.smallest_difference is None


def test_the_smallest_difference_is_that_of_the_study_s_own_level() -> None:
    whole, part = (smallest_shown(1.0, 8, (2, 1), INFERENCE, share) for share in (1.0, 0.17))
    assert whole is not None
    assert part is not None
    assert part > 1.4 * whole
    over = replace(INFERENCE, correction="holm", over="arms_and_metrics")
    assert smallest_shown(1.0, 6, (1, 1), over, 1.0) is not None
    assert smallest_shown(1.0, 6, (2, 1), over, 1.0) is None
    assert smallest_shown(1.0, 6, (1, 2), INFERENCE, 1.0) is None


def test_page_and_json_have_them(report: Report) -> None:
    found = report.robustness
    assert {one.arm for one in found} <= {row.id for row in report.rows[1:]}
    assert all(one.metric != "motion_magnitude/farneback" for one in found), "it gives context and no claim"
    assert len(json.loads(to_json(report))["robustness"]) == len(found) > 0
    page = to_html(report, [], [])
    assert '<h2 id="robustness">Robustness</h2>' in page
    assert robustness_words(found[0]) in page
