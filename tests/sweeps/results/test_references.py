"""Cells are scored again where a study asks for other reference clips, and keep their id and their clips."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeps.plan import Plan, load
from sweeps.results.ledger import Ledger, state
from sweeps.results.record import Record
from tests.factories import make_result, make_scores, save_result
from trainables.trial_spec import Floor, Result, Score

STUDY = """\
name: rescored
system: zs2
base: shapes
data: {{layout: shapes, references: {references}}}
metrics: [fvd, clip_score]
seeds: 1
ablations:
  - {{part: noise, action: REMOVE}}
"""
KEY = "fd/shapes_r3d"
NUMBERS = {"clips": 8, "frames": 8, "references": 300, "num_features": 64, "ddof": 1}

Planned = Callable[[int], Plan]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda references: load(write(STUDY.format(references=references)))


def result(plan: Plan, parameters: Mapping[str, Any], floor: Floor | None = None) -> Result:
    scores = make_scores(plan.metrics, 1.0)
    scores[KEY] = Score(
        value=5.0, direction="min", surrogate=True, parameters={"n_real": 300, **parameters}, floor=floor
    )
    return make_result(plan.cells[0].spec, scores=scores)


def test_other_references_are_another_score_of_the_same_cell(planned: Planned) -> None:
    few, many = planned(300), planned(2048)
    assert [cell.id for cell in few.cells] == [cell.id for cell in many.cells]
    record = Record.of(result(few, NUMBERS))
    assert record.references == 300
    assert state(record, few) == "done"
    assert state(record, many) == "rescore"
    other = Record.of(result(many, {**NUMBERS, "references": 2048}))
    assert record.settings[KEY] != other.settings[KEY], "the two are in no mean together"


def test_results_that_do_not_tell_their_numbers_are_scored_again(planned: Planned) -> None:
    plan = planned(300)
    record = Record.of(result(plan, {}))
    assert record.references is None
    assert state(record, plan) == "rescore"
    without = make_result(plan.cells[0].spec, scores=make_scores(plan.metrics, 1.0))
    assert Record.of(without).references == 0


def test_the_index_keeps_numbers_and_floor(planned: Planned, tmp_path: Path) -> None:
    plan = planned(300)
    ledger = Ledger(tmp_path / plan.study.name)
    found = result(plan, NUMBERS, Floor(mean=420.0, sd=70.0, draws=8))
    save_result(found, ledger.cell_folder(found.cell_id))
    ledger.append([found])
    record = ledger.records()[found.cell_id]
    assert record == Record.of(found)
    assert record.sets == {KEY: {**NUMBERS, "floor": 420.0, "floor_sd": 70.0}}
