import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics.paired import intraclass_correlation
from sweeps.statistics.shape import is_skewed, outlying, skewness


@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 2)), min_size=3, max_size=20).filter(lambda v: len({*v}) > 2))
def test_skewness_is_scipys(values: list[float]) -> None:
    assert skewness(values) == pytest.approx(float(stats.skew(values, bias=False)), abs=1e-9)


@pytest.mark.parametrize("n", [6, 16, 64])
def test_normal_samples_are_rarely_called_skewed_or_outlying(n: int) -> None:
    samples = np.random.default_rng(n).normal(size=(600, n)).tolist()
    assert sum(is_skewed(skewness(sample), n) for sample in samples) <= 25
    assert sum(outlying(sample) is not None for sample in samples) <= 35
    exponential = np.random.default_rng(n).exponential(size=(200, 24)).tolist()
    assert sum(is_skewed(skewness(sample), 24) for sample in exponential) > 100


def test_too_few_values_have_no_shape() -> None:
    assert math.isnan(skewness([1.0, 2.0]))
    assert math.isnan(skewness([1.0, 1.0, 1.0]))
    assert outlying([0.0, 0.0, 0.0, 9.0]) is None


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([0.1, 0.2, 0.15, 0.12, -9.0, 0.11], 4),
        ([0.1, 0.2, 0.15, 0.12, 0.3, 0.11], None),
        ([1.0, 1.0, 1.0, 1.0, 1.0, 5.0], None),
    ],
)
def test_a_value_far_from_the_others_is_found(values: list[float], place: int | None) -> None:
    assert outlying(values) == place


def test_the_correlation_within_groups_is_that_of_the_analysis_of_variance() -> None:
    groups = [[9.0, 2.0, 5.0, 8.0], [6.0, 1.0, 3.0, 2.0], [8.0, 4.0, 6.0, 8.0], [7.0, 1.0, 2.0, 6.0]]
    f = float(stats.f_oneway(*groups).statistic)
    assert intraclass_correlation(groups) == pytest.approx((f - 1) / (f + 3))
    assert intraclass_correlation([[1.0, 1.0], [2.0, 2.0]]) == 1.0
    assert math.isnan(intraclass_correlation([[1.0, 2.0]]))
    assert math.isnan(intraclass_correlation([[1.0], [2.0]]))
    assert math.isnan(intraclass_correlation([[1.0, 1.0], [1.0, 1.0]]))
