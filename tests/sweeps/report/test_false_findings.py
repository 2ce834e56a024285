"""Simulated studies with known effects through the real planner: what the table claims, and how often it is wrong.

A cell's value is ``effect + sqrt(r) shared(metric, seed) + sqrt(1 - r) own(cell)`` with standard normal draws: r is the
correlation that pairing finds, and a difference has the standard deviation ``sqrt(2 (1 - r))``.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import floor, sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweeps.plan import Plan, load
from sweeps.report.table import Report, build
from sweeps.results.comparison import ArmRow
from sweeps.results.ledger import Ledger
from sweeps.results.record import Record
from sweeps.statistics.paired import ALPHA, smallest_p
from tests.factories import make_record, make_result, make_scores, save_result
from trainables.metrics import is_context

STUDY = """\
name: simulated
system: zs2
base: shapes
metrics: [clip_score, temporal_consistency, video_coherence, temporal_flickering, fid, kid, fvd, kvd]
seeds: {seeds}
ablations:
  - {{part: attention.mu, action: VALUES, values: {values}}}
"""
CLAIMS = ("better", "worse", "higher", "lower")
SHAPES = [(arms, seeds) for arms in (2, 5, 10) for seeds in (3, 6, 8, 16)]

Planned = Callable[[int, int], Plan]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """The plan of a study with so many arms and seeds; its nine metrics are nine families of tests."""
    folder, known = tmp_path_factory.mktemp("studies"), dict[tuple[int, int], Plan]()

    def plan(arms: int, seeds: int) -> Plan:
        if (arms, seeds) not in known:
            path = folder / "study.yaml"
            path.write_text(STUDY.format(seeds=seeds, values=[i / arms for i in range(arms)]))
            known[arms, seeds] = load(path)
        return known[arms, seeds]

    return plan


@dataclass(frozen=True)
class World:
    """How simulated cells come out; ``still`` is a control without a draw of its own, so that arms are independent."""

    effects: Mapping[int, float] = field(default_factory=dict)  # place of an arm -> its effect
    correlation: float = 0.5
    failures: float = 0.0
    still: bool = False


def simulate(plan: Plan, world: World, rng: np.random.Generator) -> dict[str, Record]:
    num_arms, num_seeds, num_metrics = len(plan.arms), len(plan.study.seeds), len(plan.metrics)
    shared = sqrt(world.correlation) * rng.normal(size=(num_seeds, 1, num_metrics))
    own = sqrt(1 - world.correlation) * rng.normal(size=(num_seeds, num_arms, num_metrics))
    own[:, 0] *= not world.still
    values = shared + own
    for arm, effect in world.effects.items():
        values[:, arm] += effect
    failed = rng.random(num_seeds * num_arms) < world.failures
    keys = [metric.key for metric in plan.metrics]
    return {
        cell.id: make_record(cell, {}, status="failed", error="out of luck")
        if lost
        else make_record(cell, dict(zip(keys, scores, strict=True)), settings={})
        for cell, lost, scores in zip(plan.cells, failed, values.reshape(-1, num_metrics).tolist(), strict=True)
    }


def families(plan: Plan, world: World, repeats: int, seed: int) -> list[list[ArmRow]]:
    """The arms' rows of many simulated studies."""
    rng = np.random.default_rng(seed)
    return [list(build(plan, simulate(plan, world, rng)).rows[1:]) for _ in range(repeats)]


def false_alarms(studies: list[list[ArmRow]], world: World) -> int:
    """Families (one for each metric of each study) in which an arm without an effect is said to have one."""
    return sum(
        any(row.metrics[key].verdict in CLAIMS for place, row in enumerate(rows, 1) if not world.effects.get(place))
        for rows in studies
        for key in rows[0].metrics
    )


def attainable(seeds: int) -> float:
    """Chance of a false alarm among arms without an effect, whatever their number.

    All arms of a seed are flipped together, so that the smallest p is uniform on {1 .. N} / N with N = 2^(n - 1)
    patterns up to mirror images.
    """
    patterns = 2 ** (seeds - 1)
    return floor(patterns * ALPHA + 1e-9) / patterns


def most(families: int, level: float) -> int:
    """What a true level exceeds once in 10,000 times."""
    return int(stats.binom.ppf(1 - 1e-4, families, level))


def check_false_alarms(plan: Plan, repeats: int) -> None:
    seeds = len(plan.study.seeds)
    in_reach = smallest_p(seeds) <= ALPHA
    for number, world in enumerate((World(failures=0.03), World(effects={1: 50.0}, correlation=0.8))):
        studies = families(plan, world, repeats, seed=number)
        found = false_alarms(studies, world)
        assert found <= most(repeats * len(plan.metrics), ALPHA)
        assert in_reach or found == 0
    claimed = Counter(summary.verdict in CLAIMS for rows in studies for summary in rows[0].metrics.values())
    assert claimed[in_reach] == claimed.total()  # the arm with a large effect: always where it can be, else never


def check_level(plan: Plan, repeats: int) -> None:
    world = World(still=True)
    count = repeats * len(plan.metrics)
    level = attainable(len(plan.study.seeds))
    found = false_alarms(families(plan, world, repeats, seed=2), world)
    low, high = stats.binom.interval(1 - 2e-4, count, level)
    assert low <= found <= high


def check_coverage(plan: Plan, repeats: int) -> None:
    covered = [
        summary.low <= 0.7 <= summary.high
        for rows in families(plan, World({1: 0.7, 2: 0.7}, failures=0.03), repeats, seed=3)
        for row in rows
        for summary in row.metrics.values()
        if summary.low is not None and summary.high is not None
    ]
    assert len(covered) > 17 * repeats
    assert 0.93 <= np.mean(covered) <= 0.97


# --------------------------------------------------------------------------------------------------------- false alarms


@pytest.mark.parametrize(("arms", "seeds"), SHAPES)
def test_false_alarms_are_rare(planned: Planned, arms: int, seeds: int) -> None:
    check_false_alarms(planned(arms, seeds), repeats=12)


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "seeds"), SHAPES)
def test_false_alarms_are_rare_in_many_studies(planned: Planned, arms: int, seeds: int) -> None:
    check_false_alarms(planned(arms, seeds), repeats=200)


@pytest.mark.parametrize(("arms", "seeds"), [(1, 6), (2, 8), (5, 16)])
def test_the_level_is_what_can_be_attained(planned: Planned, arms: int, seeds: int) -> None:
    check_level(planned(arms, seeds), repeats=30)


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "seeds"), [(1, 6), *(shape for shape in SHAPES if attainable(shape[1]))])
def test_the_level_is_what_can_be_attained_in_many_studies(planned: Planned, arms: int, seeds: int) -> None:
    check_level(planned(arms, seeds), repeats=150)


def test_what_can_be_attained() -> None:
    assert attainable(6) == 1 / 32
    assert attainable(8) == 6 / 128
    for _, seeds in SHAPES:
        assert attainable(seeds) <= ALPHA
        assert (attainable(seeds) > 0) == (smallest_p(seeds) <= ALPHA)


# ---------------------------------------------------------------------------------------------------- intervals, power


@pytest.mark.parametrize("seeds", [3, 6, 16])
def test_intervals_cover_the_effect(planned: Planned, seeds: int) -> None:
    check_coverage(planned(2, seeds), repeats=60)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 6, 8, 16])
def test_intervals_cover_the_effect_in_many_studies(planned: Planned, seeds: int) -> None:
    check_coverage(planned(2, seeds), repeats=600)


def found_effects(plan: Plan, effect: float, correlation: float) -> float:
    studies = families(plan, World({1: effect}, correlation), repeats=12, seed=4)
    return float(np.mean([summary.verdict in CLAIMS for rows in studies for summary in rows[0].metrics.values()]))


def test_power_rises_with_the_effect_and_with_the_correlation(planned: Planned) -> None:
    plan = planned(2, 8)
    by_effect = [found_effects(plan, effect, 0.5) for effect in (0.0, 0.8, 1.6, 3.2)]
    by_correlation = [found_effects(plan, 0.8, correlation) for correlation in (0.0, 0.5, 0.9)]
    assert all(np.diff(by_effect) > 0.05)
    assert all(np.diff(by_correlation) > 0.05)
    assert by_effect[-1] > 0.95


def test_effects_have_the_right_side(planned: Planned) -> None:
    plan = planned(2, 8)
    (rows,) = families(plan, World({1: 9.0, 2: -9.0}), repeats=1, seed=5)
    for metric in plan.metrics:
        up = "higher" if is_context(metric) else "better" if metric.direction == "max" else "worse"
        down = {"higher": "lower", "better": "worse", "worse": "better"}[up]
        assert [row.metrics[metric.key].verdict for row in rows] == [up, down]


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_the_pairings_correlation_is_measured(planned: Planned, correlation: float) -> None:
    studies = families(planned(2, 16), World(correlation=correlation), repeats=10, seed=6)
    measured = [summary.correlation for rows in studies for row in rows for summary in row.metrics.values()]
    assert np.median(np.array(measured, float)) == pytest.approx(correlation, abs=0.1)


# -------------------------------------------------------------------------------------------------------------- on disk


def test_the_table_is_the_same_from_disk(planned: Planned, tmp_path: Path) -> None:
    plan, ledger = planned(2, 6), Ledger(tmp_path / "simulated")
    records = simulate(plan, World({1: 2.0}, failures=0.2), np.random.default_rng(7))
    results = []
    for cell in plan.cells:
        record = records[cell.id]
        result = make_result(
            cell.spec,
            status=record.status,
            error=record.error,
            scores=make_scores(plan.metrics, record.scores) if record.scores else {},
            finished=record.finished,
            provenance={"code_hash": record.code_hash},
        )
        save_result(result, ledger.cell_folder(cell.id))
        results.append(result)
    expected = build(plan, records)
    assert expected.errors

    def alike(found: Report) -> bool:  # but for the effort: simulated records know of no clips
        return replace(found, effort=expected.effort) == expected

    ledger.append(results[::2])  # half of them from the index, half from their own files
    assert alike(build(plan, ledger.records()))
    ledger.append(results[1::2])
    assert alike(build(plan, Ledger(ledger.folder).records()))
