import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.signed_rank import wilcoxon_p


def test_each_arm_is_tested_as_if_alone() -> None:
    d = np.round(np.random.default_rng(0).normal(0.3, 1, size=(12, 9)), 3)
    d[3, :2] = 0.0
    d[5, 0] = -d[5, 1]
    d[7, 4] = np.nan
    d[9] = 0.0
    expected = [stats.wilcoxon(row[~np.isnan(row)]).pvalue if np.nan_to_num(row).any() else 1.0 for row in d]
    assert wilcoxon_p(d) == pytest.approx(expected)
