"""What each tuned value is worth: from an arm's best settings to the control's, one value at a time, measured."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from search_spaces import Value
from sweeps.plan import Cell, Plan, load
from sweeps.plan.search import SearchPlan
from sweeps.report import texts
from sweeps.report.exports import to_json
from sweeps.report.markdown import to_markdown
from sweeps.report.table import build
from sweeps.results.ablation_path import path_cells, steps_of
from sweeps.results.record import Record
from sweeps.results.status import listed
from sweeps.results.winners import confirmation
from sweeps.run.queue import Exhausted, Queue
from tests.factories import make_record

STUDY = """\
name: path
system: zs2
base: shapes
metrics: [temporal_flickering]
seeds: 1
arms: {x: {noise.candidates: 3}}
search:
  space: {attention.mu: {uniform: [0, 1]}, noise.threshold: {uniform: [0.001, 1]}}
  trials_per_arm: 12
  repeats: 1
  confirm: {top: 1, fresh_seeds: 6, path: true}
"""
FLICKERING, MOTION = "temporal_flickering/vbench_formula", "motion_magnitude/farneback"
BEST = {"control": (0.5, 0.4), "x": (0.2, 0.3)}
"""Best attention.mu and noise.threshold of each arm."""

Planned = Callable[[str], Plan]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda text: load(write(text))


def value(cell: Cell) -> float:
    """The threshold decides most; what seeds share, and a little that is the cell's own."""
    tree, (mu, threshold) = cell.spec.tree, BEST[cell.arm]
    loss = (tree["attention"].get("mu", 0.98) - mu) ** 2 + 30 * (tree["noise"].get("threshold", 0.01) - threshold) ** 2
    shared, own = np.random.default_rng(cell.seed).normal(), np.random.default_rng([*cell.id.encode()]).normal()
    return float(-loss + shared + 1e-3 * own)


def record(cell: Cell) -> Record:
    return make_record(cell, {FLICKERING: value(cell), MOTION: value(cell)})


def run(plan: Plan, records: Mapping[str, Record] | None = None) -> dict[str, Record]:
    """Run a study to its end, one cell at a time."""
    queue = Queue(plan, records or {})
    for _ in range(1000):
        try:
            cell = queue.next()
        except Exhausted:
            return queue.records
        if cell is not None:
            queue.ended(cell, record(cell))
    raise AssertionError("no end")


def search_of(plan: Plan) -> SearchPlan:
    assert plan.search is not None
    return plan.search


def winner_of(plan: Plan, records: Mapping[str, Record], arm: str) -> Mapping[str, Value]:
    cells = confirmation(search_of(plan), records)
    return next(cell.spec.sampled for cell in cells if cell.arm == arm and cell.spec.sampled)


def test_a_path_leads_from_the_best_settings_to_the_controls(planned: Planned) -> None:
    plan = planned(STUDY)
    search, records = search_of(plan), run(plan)
    of_control, of_x = (steps_of(search, space, records) for space in search.arms)
    best, end = winner_of(plan, records, "x"), winner_of(plan, records, "control")
    first, second = of_x
    assert first.name.startswith("noise.threshold: "), "the most important value is changed first"
    assert first.sample == {**best, "noise.threshold": end["noise.threshold"]}
    assert second.sample == end
    assert of_control[0].sample == {**end, "noise.threshold": 0.01}
    assert of_control[1].sample == {}, "the control as it stands, which the confirmation has run"
    cells = path_cells(search, records)
    assert cells is not None
    assert [(cell.arm, cell.spec.trial) for cell in cells[:3]] == [("control", 1), ("x", 1), ("x", 2)]
    assert len(cells) == 6 * 3 == sum(r.stage == "path" for r in records.values())
    assert {cell.seed for cell in cells} == set(search.confirm_seeds)
    assert not Queue(plan, records)


def test_each_step_is_the_paired_difference_from_the_one_before(planned: Planned) -> None:
    plan = planned(STUDY)
    search, records = search_of(plan), run(plan)
    report = build(plan, records)
    assert report.search is not None
    paths = {path.arm: path.steps for path in report.search.paths}
    assert list(paths) == ["control", "x"]
    best, end = winner_of(plan, records, "x"), winner_of(plan, records, "control")
    samples = [best, {**best, "noise.threshold": end["noise.threshold"]}, end]
    cells = [
        [search.step("x", number, sample, seed) for seed in search.confirm_seeds]
        for number, sample in enumerate(samples)
    ]
    means = [np.mean([value(cell) for cell in of_step]) for of_step in cells]
    for place, row in enumerate(paths["x"]):
        effect = row.metrics[FLICKERING]
        # A mean of six differences of values below 100, summed in another order.
        assert effect.effect.difference == pytest.approx(means[place + 1] - means[place], abs=100 * 20 * 2**-53)
        assert (effect.effect.n, effect.effect.p_value) == (6, 2 / 2**6)
    worth = [row.metrics[FLICKERING].effect.difference for row in paths["control"]]
    assert worth[0] < worth[1] < 0, "the threshold is worth more than mu"


def test_a_path_waits_for_all_searches_and_is_counted(planned: Planned) -> None:
    plan = planned(STUDY)
    search = search_of(plan)
    assert search.proposed()[-2:] == [("path", "control", 6), ("path", "x", 12)]
    assert Queue(plan, {}).total == 2 + 24 + 18 + 18
    records = run(plan)
    assert all(cell["state"] == "done" for cell in listed(plan, records))
    last = [r for r in records.values() if r.stage == "search"][-1]
    fewer = {key: r for key, r in records.items() if r is not last and r.stage != "path"}
    assert path_cells(search, fewer) is None
    again = run(plan, {key: r for key, r in records.items() if r.stage != "path"})
    assert again.keys() == records.keys()


FEW = (
    STUDY.replace("attention.mu: {uniform: [0, 1]}, noise.threshold: {uniform: [0.001, 1]}", "noise.candidates: VALUES")
    .replace("VALUES", "{int_uniform: [1, 30]}")
    .replace("arms: {x: {noise.candidates: 3}}", "arms: {x: {attention.mu: 0.5}}")
    .replace("trials_per_arm: 12", "trials_per_arm: 30\n  search_sampler: random")
)


def test_a_path_follows_searches_that_find_no_further_setting(planned: Planned) -> None:
    """The proposer gives up after 50 duplicates in a row, before it has drawn the last of 30 values."""
    plan = planned(FEW)
    search, records = search_of(plan), run(plan)
    assert sum(r.stage == "search" for r in records.values()) < 2 * 30
    assert sum(r.stage == "path" for r in records.values()) == 6
    report = build(plan, records)
    assert report.search is not None
    assert [path.arm for path in report.search.paths if path.steps[0].metrics] == ["control", "x"]
    assert not Queue(plan, records)
    without = {key: r for key, r in records.items() if r.stage != "path"}
    assert path_cells(search, without) is None, "the search may go on"
    assert run(plan, without).keys() == records.keys()


def test_without_the_key_there_is_no_path(planned: Planned) -> None:
    plan = planned(STUDY.replace(", path: true", ""))
    records = run(plan)
    assert {r.stage for r in records.values()} == {"plan", "search", "confirm"}
    assert path_cells(search_of(plan), records) is None
    assert plan.study.search is not None
    assert plan.study.search.confirm is not None
    assert "path" not in plan.study.search.confirm.model_dump()


def test_a_kind_is_one_step_with_the_values_inside_it(planned: Planned) -> None:
    kinds = "space: {attention: {kinds: [momentum, removed]}, attention.mu:"
    plan = planned(STUDY.replace("space: {attention.mu:", kinds).replace("trials_per_arm: 12", "trials_per_arm: 1"))
    search = search_of(plan)
    samples: dict[str, list[dict[str, Value]]] = {
        "control": [{"attention": "removed", "noise.threshold": 0.2}],
        "x": [{"attention": "momentum", "attention.mu": 0.5, "noise.threshold": 0.3}],
    }
    cells = [search.trial(arm, 0, sample) for arm, (sample,) in samples.items()]
    records = {cell.id: record(cell) for cell in cells}
    of_control, of_x = (steps_of(search, space, records) for space in search.arms)
    assert [step.name for step in of_x] == ["attention: momentum → removed", "noise.threshold: 0.3 → 0.2"]
    assert of_x[0].sample == {"attention": "removed", "noise.threshold": 0.3}
    assert of_control[0].name == "attention: removed → momentum, attention.mu: – → 0.98"
    assert of_control[-1].sample == {}


def test_all_formats_show_the_paths(planned: Planned) -> None:
    plan = planned(STUDY)
    report = build(plan, run(plan))
    heading = "Ablation path of x: change by each step from its best settings to the control's best settings"
    assert heading in to_markdown(report)
    assert [table.short for table in texts.contrast_tables(report)] == [
        "Ablation path of control",
        "Ablation path of x",
    ]
    steps = {path["arm"]: path["steps"] for path in json.loads(to_json(report))["search"]["paths"]}
    assert steps["x"][0]["name"].startswith("noise.threshold")
    assert any(note.startswith("Ablation paths: ") for note in report.search_notes)
