"""Cells that diverge: rates are compared, and a difference among the survivors must hold with them ranked last."""

from collections.abc import Callable
from pathlib import Path

import pytest
from scipy import stats

from sweeps.plan import Plan, load
from sweeps.report.table import build
from sweeps.results.arm_values import ArmValues, values_of
from sweeps.results.divergence import divergences, ranked
from sweeps.results.pairing import Pairs
from sweeps.results.record import Record
from sweeps.statistics.paired import paired_difference
from tests.factories import make_record

STUDY = """\
name: d
system: zs2
base: shapes
metrics: [clip_score]
seeds: 8
unit: {{kind: seed, reason: no clips here}}
{more}ablations:
  - {{part: noise, action: REMOVE}}
  - {{part: attention, action: REMOVE}}
"""
Planned = Callable[[str], Plan]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda more="": load(write(STUDY.format(more=more)))


def recorded(plan: Plan, diverged: dict[str, set[int]], effect: float = 1.0) -> dict[str, Record]:
    """The arm without noise is better by the effect at every seed; cells in ``diverged`` have no value."""
    key, records = plan.metrics[0].key, {}
    for cell in plan.cells:
        value = cell.seed + (effect + 0.01 * cell.seed) * (cell.arm == "noise=removed")
        if cell.seed in diverged.get(cell.arm, ()):
            records[cell.id] = make_record(cell, {}, status="failed", error="nan", failure="diverged")
        else:
            records[cell.id] = make_record(cell, {key: value})
    return records


def arms_of(plan: Plan, records: dict[str, Record]) -> list[ArmValues]:
    return values_of(plan, records, dict.fromkeys((arm.id for arm in plan.arms), plan.study.all_seeds))


def test_rates_are_compared_by_the_exact_test(planned: Planned) -> None:
    plan = planned()
    found = divergences(arms_of(plan, recorded(plan, {"noise=removed": {0, 1, 2, 3, 4, 5, 6}, "control": {6}})))
    of_noise, of_attention = found
    assert (of_noise.diverged, of_noise.of_control, of_noise.seeds) == (7, 1, 8)
    assert of_noise.p_corrected == pytest.approx(2 * stats.binomtest(6, 6).pvalue)
    assert (of_attention.diverged, of_attention.of_control) == (0, 1)
    assert divergences(arms_of(plan, recorded(plan, {}))) == ()


def test_a_difference_among_survivors_must_hold_with_the_others_ranked_last(planned: Planned) -> None:
    key = planned("").metrics[0].key
    for more, verdict in (("", "inconclusive"), ("diverged: worst\n", "inconclusive")):
        plan = planned(more)
        row = build(plan, recorded(plan, {"noise=removed": {6, 7}})).rows[1].metrics[key]
        assert row.pairs == 6
        assert row.verdict == verdict, "6 of 6 survivors are better, which alone would be significant"
    whole = planned("")
    assert build(whole, recorded(whole, {})).rows[1].metrics[key].verdict == "better"
    caption = build(whole, recorded(whole, {"noise=removed": {6, 7}})).caption
    assert "noise=removed diverged at 2 of 8 seeds, the control at 0 (exact McNemar test" in caption
    assert "Means over 6 to 8 seeds" in caption


def test_a_control_that_diverges_makes_no_arm_worse(planned: Planned) -> None:
    plan = planned("")
    row = build(plan, recorded(plan, {"control": {0, 1}}, effect=-1.0)).rows[1].metrics[plan.metrics[0].key]
    assert (row.pairs, row.verdict) == (6, "inconclusive")


@pytest.mark.parametrize(("direction", "sign"), [("max", -1), ("min", 1)])
def test_ranks_put_the_diverged_at_the_worst_end(direction: str, sign: int, planned: Planned) -> None:
    plan = planned("")
    control, arm, _ = arms_of(plan, recorded(plan, {"noise=removed": {2}, "control": {5}}))
    key = plan.metrics[0].key
    pairs = Pairs.of(arm.by_unit(key, "seed"), control.by_unit(key, "seed"))
    found = ranked(pairs, arm, control, "seed", direction, None).differences  # type: ignore[arg-type]
    assert found[2] == sign * 7.5
    assert found[5] == -sign * 7.5
    assert sorted(value for seed, value in found.items() if seed not in (2, 5)) == [1, 2, 3, 4, 5, 6]
    assert paired_difference(list(found.values()), [0.0] * 8).p_value <= 1
