"""Robustness of a difference, against scipy and by simulation."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from sweeps.report.exports import to_json
from sweeps.report.page import to_html
from sweeps.report.table import Report
from sweeps.report.verdicts import robustness_words
from sweeps.results.robustness import Robustness, _examined, examine
from sweeps.statistics.paired import paired_difference
from sweeps.statistics.power import seeds_for


def examined(differences: Sequence[float], p_corrected: float = 0.01, num_arms: int = 1) -> Robustness:
    by_seed = {10 + k: difference for k, difference in enumerate(differences)}
    p_value = paired_difference(differences, [0.0] * len(differences)).p_value
    return _examined("arm", "m", by_seed, p_value, p_corrected, num_arms)


def test_other_tests_are_scipys() -> None:
    differences = [0.5, 0.7, -0.1, 0.9, 0.3, 0.6, 0.2, 0.8]
    one = examined(differences)
    assert one.p_t == pytest.approx(stats.ttest_rel(differences, [0.0] * 8).pvalue)
    assert one.p_wilcoxon == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert one.p_value == pytest.approx(
        stats.permutation_test((np.array(differences),), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    )


def test_one_seed_that_decides_is_named() -> None:
    stable = examined([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 0.98])
    assert (stable.excludes_zero, stable.without_any) == (True, True)
    assert robustness_words(stable) == "robust: no single seed decides, and all three tests agree"
    differences = [0.30, 0.02, 0.28, 0.01, 0.30, 0.29]
    hanging = examined(differences)
    assert hanging.excludes_zero
    assert hanging.without_any is False
    lows = [stats.ttest_1samp(np.delete(differences, k), 0.0).confidence_interval(0.95).low for k in range(6)]
    assert min(lows) < 0
    assert hanging.seed == 10 + int(np.argmin(lows))
    assert robustness_words(hanging) == f"depends on a single seed ({hanging.seed})"


def test_what_is_not_shown_says_how_many_seeds_would() -> None:
    few = examined([1.0, 1.1, 0.9, 1.0], p_corrected=0.38, num_arms=3)
    assert robustness_words(few) == (
        "The interval excludes zero, but 4 seeds are too few for the test (smallest p 0.12). "
        "About 7 seeds would detect a difference of this size (80 % power)"
    )
    nothing = examined([0.1, -0.1, 0.1, -0.1], p_corrected=1.0)
    assert nothing.seeds_needed is None
    assert robustness_words(nothing) == "Inconclusive. 4 seeds are too few for the test (smallest p 0.12)"


@pytest.mark.parametrize(("effect", "num_arms"), [(1.0, 1), (0.7, 4), (2.0, 6)])
def test_so_many_seeds_have_the_power_that_is_said(effect: float, num_arms: int) -> None:
    n = seeds_for(effect, 1.0, num_arms)
    assert n is not None
    rng = np.random.default_rng(0)

    def power(seeds: int) -> float:
        samples = rng.normal(effect, 1.0, (4000, seeds))
        return float(np.mean(stats.ttest_1samp(samples, 0.0, axis=1).pvalue <= 0.05 / num_arms))

    assert power(n) >= 0.8 - 0.02
    assert 2 ** (1 - n) <= 0.05 / num_arms, "so many pairs can reach the level at all"
    if 2 ** (2 - n) <= 0.05 / num_arms:
        assert power(n - 1) < 0.8 + 0.02


def test_differences_that_are_all_equal_break_nothing() -> None:
    assert examined([0.0, 0.0, 0.0]).p_wilcoxon == 1.0
    same = examined([0.5, 0.5, 0.5])
    assert same.p_t == 0.0
    assert same.excludes_zero


def test_page_and_json_have_them(report: Report) -> None:
    found = examine(report.rows, report.metrics, report.values)
    assert {one.arm for one in found} <= {row.id for row in report.rows[1:]}
    assert all(one.metric != "motion_magnitude/farneback" for one in found), "it gives context and no claim"
    assert len(json.loads(to_json(report))["robustness"]) == len(found) > 0
    page = to_html(report, [], [])
    assert '<h2 id="robustness">Robustness</h2>' in page
    assert robustness_words(found[0]) in page
