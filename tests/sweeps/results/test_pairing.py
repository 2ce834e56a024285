"""Pairs of arm and control: one clip of one seed is compared with itself, whatever else is missing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sweeps.plan import Plan, load
from sweeps.report.table import build
from sweeps.results.record import Record, prompt_hash
from tests.factories import make_record

STUDY = """\
name: p
system: zs2
base: shapes
metrics: [clip_score]
seeds: 4
protocol: {clips: 8}
data: {layout: prompts, prompts: [a, b, c, d, e, f, g, h]}
unit: {kind: prompt, reason: they are what it is about}
design: factorial
ablations:
  - {part: noise, action: REMOVE}
  - {part: attention, action: REMOVE}
"""


@pytest.fixture
def plan(write: Callable[[str], Path]) -> Plan:
    return load(write(STUDY))


def equal(plan: Plan, missing: dict[str, int], failure: str = "") -> dict[str, Record]:
    """Records of arms that are all alike; their values depend on the seed most. A seed of some arms has none."""
    key, records = plan.metrics[0].key, {}
    for cell in plan.cells:
        values = (10.0 * cell.seed + np.random.default_rng(cell.seed).normal(size=8)).tolist()
        prompts = [prompt_hash(prompt) for prompt in plan.prompts]
        if missing.get(cell.arm) != cell.seed:
            records[cell.id] = make_record(cell, {key: sum(values) / 8}, per_clip={key: values}, prompts=prompts)
        elif failure:
            records[cell.id] = make_record(cell, {}, status="failed", error="nan", failure=failure)
    return records


@pytest.mark.parametrize("failure", ["", "error", "diverged"])
@pytest.mark.parametrize("arm", ["noise=removed", "control"])
def test_an_equal_arm_differs_in_nothing_where_a_seed_of_one_side_is_missing(
    arm: str, failure: str, plan: Plan
) -> None:
    row = build(plan, equal(plan, {arm: 3}, failure)).rows[1].metrics[plan.metrics[0].key]
    assert (row.unit, row.pairs) == ("prompt", 8)
    assert (row.difference, row.p_value) == (0.0, 1.0)


def test_an_effect_of_equal_arms_is_nothing_where_a_seed_of_one_is_missing(plan: Plan) -> None:
    report = build(plan, equal(plan, {"attention=removed": 3}))
    for row in report.contrasts:
        effect = row.metrics[plan.metrics[0].key].effect
        assert (effect.difference, effect.n, effect.p_value) == (0.0, 8, 1.0)


def test_an_arm_that_left_is_compared_at_its_own_seeds(write: Callable[[str], Path]) -> None:
    plan = load(write(STUDY.replace("seeds: 4", "seeds: 8")))
    records = {i: r for i, r in equal(plan, {}).items() if r.arm != "noise=removed" or r.seed < 4}
    row = build(plan, records).rows[1].metrics[plan.metrics[0].key]
    assert (row.difference, row.p_value) == (0.0, 1.0)
