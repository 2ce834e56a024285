"""Arms at their best settings: over independent searches there is a verdict, of one search each there is none."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sweeps.plan import Plan, load
from sweeps.plan.cells import Cell
from sweeps.report import texts
from sweeps.report.exports import to_json
from sweeps.report.markdown import to_markdown
from sweeps.report.page import to_html
from sweeps.report.plots import plots
from sweeps.report.table import Report, build
from sweeps.report.terminal import print_terminal
from sweeps.results.comparison import Summary
from sweeps.results.record import Record
from sweeps.results.search import SearchFindings
from sweeps.results.status import listed
from sweeps.statistics.combined import over_repeats, within_arm
from sweeps.statistics.paired import holm, paired_difference
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import counted
from tests.factories import make_record

STUDY = """\
name: tuned
system: zs2
base: shapes
metrics: [temporal_flickering]
seeds: 2
ablations:
  - {part: noise, action: REMOVE}
  - {part: noise, action: REPLACE, with: [shared]}
"""
SEARCH = """\
search:
  space: {attention.mu: {uniform: [0, 1]}}
  trials_per_arm: 3
  confirm: {top: 1, fresh_seeds: 6}
"""
FLICKERING, MOTION = "temporal_flickering/vbench_formula", "motion_magnitude/farneback"
EFFECTS = {"control": 0.0, "noise=removed": -9.0, "noise=shared": 0.1}

Planned = Callable[[str], Plan]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda text: load(write(STUDY + text))


def value(cell: Cell) -> float:
    """What seeds share, the effect of the arm, the luck of its searches, and a little that is the cell's own."""
    spec = cell.spec
    own = np.random.default_rng([cell.seed, spec.repeat, *cell.arm.encode(), len(spec.sampled)]).normal()
    luck = np.random.default_rng([spec.repeat, *cell.arm.encode()]).normal() if spec.sampled else 0.0
    return float(np.random.default_rng(cell.seed).normal() * 5 + EFFECTS[cell.arm] + 0.5 * luck + 0.1 * own)


def record(cell: Cell, score: float) -> Record:
    return make_record(cell, {FLICKERING: score, MOTION: -score})


def searched(plan: Plan, repeats: int) -> dict[str, Record]:
    """Cells, trials and confirmations, of the first repeats only."""
    search = plan.search
    assert search is not None
    cells = list(plan.cells)
    winners = []
    for repeat in range(repeats):
        of_repeat = {space.arm.id: [{"attention.mu": 0.2 + 0.1 * repeat}] for space in search.arms}
        for arm, (best,) in of_repeat.items():
            values = (0.1, best["attention.mu"], 0.9)
            cells += [search.trial(arm, number, {"attention.mu": mu}, repeat) for number, mu in enumerate(values)]
        winners.append(of_repeat)
    # The second trial of every search is its best.
    records = {cell.id: record(cell, value(cell) + 50 * (cell.spec.trial == 1)) for cell in cells}
    return records | {cell.id: record(cell, value(cell)) for cell in search.confirmation(*winners)}


def findings(report: Report) -> SearchFindings:
    assert report.search is not None
    return report.search


def rows_of(plan: Plan, records: Mapping[str, Record], arm: str) -> list[list[float]]:
    """An arm's values at the fresh seeds, one row per repeat."""
    assert plan.search is not None
    winners = [{arm: [{"attention.mu": 0.2 + 0.1 * repeat}]} for repeat in range(3)]
    cells = [cell for cell in plan.search.confirmation(*winners) if cell.arm == arm and cell.spec.sampled]
    return [
        [records[cell.id].scores[FLICKERING] for cell in cells if cell.spec.repeat == repeat] for repeat in range(3)
    ]


def test_tuned_arms_are_compared_over_their_searches(planned: Planned) -> None:
    plan = planned(SEARCH)
    records = searched(plan, 3)
    found = findings(build(plan, records))
    assert (found.repeats, [row.id for row in found.tuned]) == (3, ["control", "noise=removed", "noise=shared"])
    control, removed, shared = (row.metrics[FLICKERING] for row in found.tuned)
    rows = {arm: rows_of(plan, records, arm) for arm in EFFECTS}
    expected = [over_repeats(rows[arm], rows["control"]) for arm in ("noise=removed", "noise=shared")]
    for summary, mean in zip((removed, shared), expected, strict=True):
        assert (summary.difference, summary.low, summary.high) == mean.interval()
        assert summary.p_value == mean.p_value
    assert [removed.p_corrected, shared.p_corrected] == holm([mean.p_value for mean in expected])
    assert (removed.verdict, shared.verdict) == (Verdict.WORSE, Verdict.INCONCLUSIVE)
    assert {(s.unit, s.n) for s in (control, removed, shared)} == {("repeat", 3)}
    assert (removed.pairs, control.difference, control.verdict) == (3, None, None)
    assert (control.mean, control.low_mean, control.high_mean) == within_arm(rows["control"]).interval()
    assert found.tuned[1].changes == "attention.mu: 0.2 | attention.mu: 0.3 | attention.mu: 0.4"


def test_luck_of_a_search_is_no_effect_of_an_arm(planned: Planned) -> None:
    """The interval over the fresh seeds alone, of one search each, excludes zero for arms that differ by luck."""
    once, thrice = planned(SEARCH + "  repeats: 1\n"), planned(SEARCH)
    records = searched(thrice, 3)
    settings = findings(build(once, records)).tuned[2].metrics[FLICKERING]
    arms = findings(build(thrice, records)).tuned[2].metrics[FLICKERING]
    assert settings.low is not None
    assert settings.high is not None
    assert settings.low > 0 or settings.high < 0
    assert arms.low is not None
    assert arms.high is not None
    assert arms.low < 0 < arms.high


def test_one_search_compares_settings_and_gives_no_verdict(planned: Planned) -> None:
    plan = planned(SEARCH + "  repeats: 1\n")
    report = build(plan, searched(plan, 1))
    found = findings(report)
    for row in found.tuned:
        for summary in row.metrics.values():
            assert (summary.verdict, summary.p_value, summary.p_corrected, summary.margin) == (None,) * 4
    removed = found.tuned[1].metrics[FLICKERING]
    assert removed.difference is not None
    assert removed.difference < -5
    _, line, _ = texts.tuned_lines(report, FLICKERING)
    assert (line.verdict, line.at_best_settings.mark, line.at_best_settings.verdict) == ("these two settings", "", "")
    assert "these two settings" in to_markdown(report)
    assert any("there is no verdict on the arms" in note for note in report.search_notes)
    assert any("-> repeats: 3" in note for note in plan.notes)


def test_winners_of_all_repeats_are_compared_with_the_untuned_control(planned: Planned) -> None:
    plan = planned(SEARCH)
    found = findings(build(plan, searched(plan, 3)))
    assert [row.id for row in found.confirmed][:4] == [
        "control",
        "control winner 1 of repeat 1",
        "noise=removed winner 1 of repeat 1",
        "noise=shared winner 1 of repeat 1",
    ]
    assert len(found.confirmed) == 1 + 3 * 3
    assert [(trial.arm, trial.repeat, trial.number) for trial in found.pareto] == [
        (arm, repeat, 1) for repeat in range(3) for arm in EFFECTS
    ]


def test_an_arm_that_is_not_tuned_is_compared_as_it_stands(planned: Planned) -> None:
    plan = planned("  - {part: attention, action: REMOVE}\n" + SEARCH)
    EFFECTS["attention=removed"] = 3.0
    try:
        records = searched(plan, 3)
    finally:
        del EFFECTS["attention=removed"]
    row = findings(build(plan, records)).tuned[3]
    assert (row.id, row.changes) == ("attention=removed", "untuned")
    assert (row.metrics[FLICKERING].n, row.metrics[FLICKERING].pairs) == (1, 3)
    assert row.metrics[FLICKERING].verdict is Verdict.BETTER


@pytest.mark.parametrize("repeats", [1, 2])
def test_unfinished_repeats_have_no_test_before_the_second(planned: Planned, repeats: int) -> None:
    plan = planned(SEARCH)
    removed = findings(build(plan, searched(plan, repeats))).tuned[1].metrics[FLICKERING]
    assert removed.n == repeats
    assert (removed.p_value is None) is (repeats == 1)


def test_what_a_winner_lost_is_left_out_on_both_sides(planned: Planned) -> None:
    plan = planned(SEARCH)
    records = searched(plan, 3)
    lost = next(r for r in records.values() if (r.stage, r.arm, r.repeat) == ("confirm", "noise=removed", 2))
    records[lost.cell_id] = replace(lost, status="failed", scores={}, error="no luck")
    report = build(plan, records)
    row = findings(report).tuned[1]
    assert row.failed == 1
    rows = [[v for place, v in enumerate(r) if place != lost.seed - 10_000] for r in rows_of_all(plan, records)]
    expected = over_repeats(rows[:3], rows[3:])
    assert (row.metrics[FLICKERING].difference, row.metrics[FLICKERING].p_value) == (expected.mean, expected.p_value)
    assert f"noise=removed winner 1 of repeat 3 seed {lost.seed}: no luck" in report.errors


@pytest.mark.parametrize("more", ["", "diverged: worst\n"])
@pytest.mark.parametrize(("side", "seeds"), [("noise=removed", range(6)), ("noise=removed", [2]), ("control", [2])])
def test_a_repeat_whose_winner_diverged_decides_for_no_side(
    side: str, seeds: Sequence[int], more: str, planned: Planned
) -> None:
    """Left out, the two other repeats of an arm would be its better ones."""
    plan = planned(SEARCH + more)
    records = searched(plan, 3)
    for cell_id, one in records.items():
        if (one.stage, one.arm, one.repeat) == ("confirm", side, 2) and one.seed - 10_000 in seeds:
            records[cell_id] = replace(one, status="failed", failure="diverged", scores={}, error="nan")
    report = build(plan, records)
    _, removed, shared = findings(report).tuned
    of_arm = removed.metrics[FLICKERING]
    assert of_arm.difference is not None
    assert (of_arm.verdict, of_arm.p_value, of_arm.p_corrected, of_arm.margin) == (None,) * 4
    assert (shared.metrics[FLICKERING].verdict is None) is (side == "control")
    noted = [note for note in report.search_notes if "no verdict" in note]
    whom = "tuned arms have" if side == "control" else "it has"
    assert noted == [
        f"{side}: its winners diverged in {counted(len(seeds), 'cell')}, so {whom} no verdict; "
        "means and differences are of the others."
    ]
    assert to_markdown(report)


def test_a_search_that_found_nothing_but_divergence_leaves_no_verdict(planned: Planned) -> None:
    plan = planned(SEARCH)
    records = searched(plan, 3)
    for cell_id, one in list(records.items()):
        if (one.arm, one.repeat, one.stage) == ("noise=removed", 1, "search"):
            records[cell_id] = replace(one, status="failed", failure="diverged", scores={}, error="nan")
    report = build(plan, records)
    removed = findings(report).tuned[1].metrics[FLICKERING]
    assert (removed.n, removed.verdict, removed.p_value) == (2, None, None)
    assert any("1 of its 3 searches found no winner, so it has no verdict" in note for note in report.search_notes)


def rows_of_all(plan: Plan, records: dict[str, Record]) -> list[list[float]]:
    """Rows of the arm, then of the control, with 0 for a lost value."""
    whole = {key: replace(r, scores=r.scores or {FLICKERING: 0.0}) for key, r in records.items()}
    return [*rows_of(plan, whole, "noise=removed"), *rows_of(plan, whole, "control")]


def test_an_arm_is_equivalent_within_a_margin_over_its_searches(planned: Planned) -> None:
    wide, narrow = (planned(SEARCH + f"margins: {{temporal_flickering: {margin}}}\n") for margin in (30, 0.2))
    for plan, expected in ((wide, Verdict.EQUIVALENT), (narrow, Verdict.INCONCLUSIVE)):
        assert findings(build(plan, searched(plan, 3))).tuned[2].metrics[FLICKERING].verdict is expected


def test_holm_counts_all_metrics_where_the_study_asks_for_it(planned: Planned) -> None:
    plan = planned(SEARCH + "correct_over: arms_and_metrics\n")
    tuned = findings(build(plan, searched(plan, 3))).tuned
    claims: list[Summary] = [row.metrics[FLICKERING] for row in tuned[1:]]
    assert [s.p_corrected for s in claims] == holm([s.p_value for s in claims if s.p_value is not None])


def test_all_formats_tell_the_repeats(planned: Planned) -> None:
    plan = planned(SEARCH)
    report = build(plan, searched(plan, 3))
    written = json.loads(to_json(report))["search"]
    assert (written["repeats"], written["trials"][-1]["repeat"], written["pareto"][-1]["repeat"]) == (3, 2, 2)
    assert {metric["unit"] for row in written["tuned"] for metric in row["metrics"].values()} == {"repeat"}
    text = to_markdown(report)
    assert "## All arms tuned, 3 searches each" in text
    assert "inconclusive (3 repeats)" in text
    assert "3 searches per arm, up to 3 trials per arm in each" in text
    assert any("from about 3.5 standard deviations" in note for note in report.search_notes)


@pytest.mark.parametrize("objectives", ["", "  objectives: {temporal_flickering: max, motion_magnitude: max}\n"])
def test_pages_and_figures_show_the_repeats(
    planned: Planned, capsys: pytest.CaptureFixture[str], objectives: str
) -> None:
    plan = planned(SEARCH + objectives)
    report = build(plan, searched(plan, 3))
    drawn = list(plots(report))
    html = to_html(report, drawn, [])
    assert f"All arms tuned, 3 searches each: {FLICKERING}" in html
    assert "the best settings of each search" in html
    assert '<td class="number">3.1</td>' in html, "trial 1 of the third search"
    (figure,) = [plot for plot in drawn if plot.name in ("best_so_far", "pareto_front")]
    assert ("Pareto fronts of 3 searches" in figure.alt) is bool(objectives)
    print_terminal(report)
    shown = " ".join(capsys.readouterr().out.split())
    assert "All arms tuned, 3 searches each" in shown
    assert "each arm was searched 3 times independently" in shown


def test_a_single_search_of_a_study_agrees_with_the_paired_difference(planned: Planned) -> None:
    plan = planned(SEARCH + "  repeats: 1\n")
    records = searched(plan, 1)
    found = findings(build(plan, records)).tuned[1].metrics[FLICKERING]
    three = planned(SEARCH)
    arm, control = (rows_of(three, records | searched(three, 3), name)[0] for name in ("noise=removed", "control"))
    expected = paired_difference(arm, control)
    assert (found.difference, found.low, found.high) == (expected.difference, expected.low, expected.high)


def test_equal_winners_are_listed_once(planned: Planned) -> None:
    plan = planned(SEARCH)
    search = plan.search
    assert search is not None
    best = {space.arm.id: [{"attention.mu": 0.5}] for space in search.arms}
    cells = [search.trial(arm, 0, sample, repeat) for repeat in range(3) for arm, (sample,) in best.items()]
    records = {cell.id: record(cell, value(cell)) for cell in (*plan.cells, *cells)}
    records |= {cell.id: record(cell, 1.0) for cell in search.confirmation(best, best, best)}
    shown = listed(plan, records)
    assert sum(cell.get("seed") in search.confirm_seeds for cell in shown) == 6 + 3 * 6
    assert sum(cell["state"] == "proposed" for cell in shown) == 3 * 3 * 2, "trials alone"
