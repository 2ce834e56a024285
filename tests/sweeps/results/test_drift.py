"""Means by frame index, over the seeds that the table uses."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sweeps.plan import Plan
from sweeps.report.table import Report, build
from sweeps.results.drift import drift
from sweeps.results.record import Record
from sweeps.statistics.paired import mean_interval
from tests.factories import make_result, make_scores, make_spec

Planned = Callable[[str], Plan]
Simulated = Callable[..., dict[str, Record]]
CONSISTENCY = "temporal_consistency/shapes_clip"


@pytest.fixture(scope="module")
def plan(planned: Planned) -> Plan:
    return planned("ablations: [{part: noise, action: REMOVE}]\nseeds: 4\n")


def test_every_frame_has_the_mean_and_interval_over_the_seeds(report: Report) -> None:
    assert [found.metric for found in report.drift] == [
        metric.key for metric in report.metrics if not metric.key.startswith("fd")
    ], "distances between sets have no values by frame"
    for found in report.drift:
        assert found.frames_of_base is None, "shapes is a base of pictures"
        assert [arm.arm for arm in found.arms] == [row.id for row in report.rows]
        for arm in found.arms:
            values = report.values[arm.arm][found.metric]
            assert arm.seeds == len(values), "the seeds of the table"
            expected = mean_interval([value + 0.5 for value in values.values()])
            assert (arm.mean[2], arm.low[2], arm.high[2]) == tuple(expected)
    (consistency,) = [found for found in report.drift if found.metric == CONSISTENCY]
    assert all(arm.mean[0] is arm.low[0] is None for arm in consistency.arms)


def test_the_mean_over_the_frames_is_the_tables(report: Report) -> None:
    for found in report.drift:
        if found.metric == CONSISTENCY:
            for arm, row in zip(found.arms, report.rows, strict=True):
                known = [mean for mean in arm.mean if mean is not None]
                assert sum(known) / 2 == pytest.approx(row.metrics[CONSISTENCY].mean)


def test_one_seed_has_no_interval_and_excluded_values_do_not_count(plan: Plan, simulated: Simulated) -> None:
    records = simulated(plan)
    first = {cell.id: records[cell.id] for cell in plan.cells if cell.seed == 0}
    assert all(arm.low == (None,) * 3 for found in build(plan, first).drift for arm in found.arms)
    others = {
        key: replace(record, settings={}) if record.arm != "control" and record.seed else record
        for key, record in records.items()
    }
    for found in build(plan, others).drift:
        assert [arm.seeds for arm in found.arms] == [4, 1]


def test_results_without_values_by_frame_have_no_drift(plan: Plan, simulated: Simulated) -> None:
    old = {key: replace(record, per_frame={}) for key, record in simulated(plan).items()}
    assert build(plan, old).drift == ()
    single = {
        key: replace(record, per_frame={name: [None, 1.0, None] for name in record.per_frame})
        for key, record in simulated(plan).items()
    }
    assert build(plan, single).drift == (), "one value is no line"
    assert drift([], plan.metrics, 25) == ()


def test_a_record_takes_the_means_of_its_result(plan: Plan) -> None:
    spec = make_spec()
    scores = make_scores(plan.metrics, 0.5)
    scores = {
        key: score.model_copy(update={"per_frame": [None, 0.25, 0.75]} if key == CONSISTENCY else {})
        for key, score in scores.items()
    }
    record = Record.of(make_result(spec, scores=scores))
    assert record.per_frame == {CONSISTENCY: [None, 0.25, 0.75]}
    trial = spec.model_copy(update={"stage": "search", "trial": 0})
    assert Record.of(make_result(trial, scores=scores)).per_frame == {}, "trials are not drawn by frame"
