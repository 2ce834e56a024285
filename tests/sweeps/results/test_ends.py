"""Ends of a study: what counts as an analysis that was made before."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sweeps.plan import Plan, load
from sweeps.report.table import build
from sweeps.results.ends import ENDS, note_end, with_ends
from sweeps.results.record import Record
from sweeps.results.stopping import reached_seeds
from tests.factories import make_result, make_scores

STUDY = """\
name: ends
system: zs2
base: shapes
metrics: [fid]
ablations: [{part: noise, action: REMOVE}]
"""
Planned = Callable[[str], Plan]
ADAPTIVE = "seeds: {min: 4, max: %d, stop: decided}"


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda text: load(write(f"{STUDY}{text}\n"))


def results(plan: Plan, effect: float, diverged: int = 0) -> dict[str, Record]:
    records = {}
    for place, cell in enumerate(plan.cells):
        value = effect * (cell.arm != "control") + 0.01 * ((place * 7) % 5)
        result = make_result(cell.spec, scores=make_scores(plan.metrics, value))
        if cell.arm != "control" and cell.seed < diverged:
            result = make_result(cell.spec, status="failed", error="NonFiniteError: nan", failure="diverged", scores={})
        records[cell.id] = Record.of(result)
    return records


def end(plan: Plan, folder: Path, records: Mapping[str, Record] | None = None) -> Plan:
    """A run to the end, which knows the ends before it."""
    known = with_ends(plan, folder)
    note_end(known, results(plan, 1.0) if records is None else records, folder)
    return known


def numbers(plan: Plan) -> list[int]:
    looks = reached_seeds(plan, {}).looks
    return [] if looks is None else [*looks.numbers]


def test_each_end_is_an_analysis_and_counts_once(planned: Planned, tmp_path: Path) -> None:
    for seeds, expected in ((8, []), (12, [8, 12]), (12, [8, 12]), (16, [8, 12, 16])):
        assert numbers(end(planned(f"seeds: {seeds}"), tmp_path)) == expected
    (tmp_path / ENDS).write_text("{")
    assert with_ends(planned("seeds: 16"), tmp_path).ends == (), "a damaged file is no reason to stop"


def test_what_could_have_shown_nothing_is_no_analysis(planned: Planned, tmp_path: Path) -> None:
    for seeds in (1, 2, 3):
        end(planned(f"seeds: {seeds}"), tmp_path)
    assert numbers(with_ends(planned("seeds: 8"), tmp_path)) == []


def test_an_unfinished_run_is_no_end_and_a_diverged_cell_is_an_outcome(planned: Planned, tmp_path: Path) -> None:
    plan = planned("seeds: 8")
    records = results(plan, 1.0)
    records.pop(plan.cells[5].id)
    end(plan, tmp_path, records)
    assert not (tmp_path / ENDS).exists()
    end(plan, tmp_path, results(plan, 1.0, diverged=2))
    assert numbers(with_ends(planned("seeds: 16"), tmp_path)) == [8, 16]


@pytest.mark.parametrize("other", ["protocol: {clips: 4}", "control: {noise.threshold: 0.5}"])
def test_another_control_is_another_study(planned: Planned, tmp_path: Path, other: str) -> None:
    end(planned("seeds: 8"), tmp_path)
    assert with_ends(planned(f"seeds: 16\n{other}"), tmp_path).ends == ()


def test_seeds_that_are_no_prefix_are_analysed_as_they_were(planned: Planned, tmp_path: Path) -> None:
    end(planned(f"seeds: {[*range(4, 12)]}"), tmp_path)
    looks = reached_seeds(with_ends(planned("seeds: 16"), tmp_path), {}).looks
    assert looks is not None
    assert looks.seeds[0] == tuple(range(4, 12))


@pytest.mark.parametrize("first", ["seeds: 8", ADAPTIVE % 16])
def test_an_adaptive_study_that_is_extended_has_spent_its_looks(planned: Planned, tmp_path: Path, first: str) -> None:
    plan = planned(first)
    end(plan, tmp_path, results(plan, 0.0))
    extended = with_ends(planned(ADAPTIVE % 32), tmp_path)
    records = results(extended, 0.0)
    reached = reached_seeds(extended, records)
    assert reached.looks is not None
    assert 8 in reached.looks.numbers
    assert sum(reached.looks.shares) == pytest.approx(1)
    assert "The study has ended before, with 8 seeds" in build(extended, records).caption
    fresh = build(planned(ADAPTIVE % 32), records)
    assert build(extended, records).rows[1].metrics[extended.metrics[0].key].p_value >= (
        fresh.rows[1].metrics[extended.metrics[0].key].p_value
    )
