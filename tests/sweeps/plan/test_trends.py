"""Trends over ordered values: weights of a line through the arms and the control."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sweeps.plan import Plan, load
from sweeps.study.designs import TREND, Contrast

HEAD = "name: t\nsystem: zs2\nbase: shapes\nmetrics: [clip_score]\nseeds: 4\nablations:\n"


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Callable[[str], Plan]:
    return lambda text: load(write(HEAD + text))


def trends(plan: Plan) -> list[Contrast[str]]:
    return [contrast for contrast in plan.contrasts if contrast.kind == TREND]


def test_a_trend_is_the_slope_times_the_range(planned: Callable[[str], Plan]) -> None:
    plan = planned("  - {part: attention.mu, action: VALUES, values: [0.1, 0.3, 0.6]}\n")
    (found,) = trends(plan)
    control = plan.arms[0].system.model_dump()["attention"]["mu"]
    values = {"control": control, **{f"attention.mu={value}": value for value in (0.1, 0.3, 0.6)}}
    assert found.name == "attention.mu"
    assert found.weights.keys() == values.keys()
    assert sum(found.weights.values()) == pytest.approx(0, abs=1e-12)
    scores = dict(zip(values, np.random.default_rng(0).normal(size=4), strict=True))
    slope = np.polyfit(list(values.values()), list(scores.values()), 1)[0]
    width = max(values.values()) - min(values.values())
    assert sum(weight * scores[arm] for arm, weight in found.weights.items()) == pytest.approx(slope * width)


def test_two_values_and_kinds_have_none(planned: Callable[[str], Plan]) -> None:
    assert trends(planned("  - {part: attention.mu, action: VALUES, values: [0.1]}\n")) == []
    assert trends(planned("  - {part: noise, action: REMOVE}\n  - {part: attention, action: REMOVE}\n")) == []


def test_a_value_that_is_the_controls_is_merged_and_counts_once(planned: Callable[[str], Plan]) -> None:
    plan = planned("  - {part: attention.mu, action: VALUES, values: [0.1, 0.3, 0.98]}\n")
    (found,) = trends(plan)
    assert len(found.weights) == len(plan.arms)
