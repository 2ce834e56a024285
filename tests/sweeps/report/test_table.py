import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweeps.plan import Plan, load
from sweeps.plan.cells import Cell
from sweeps.report.page import _facts, cells_done
from sweeps.report.table import Report, _frames_of_base, build
from sweeps.report.verdicts import verdict_words
from sweeps.results.comparison import ArmRow, Summary
from sweeps.results.record import Record
from sweeps.statistics.max_t import max_t
from sweeps.statistics.paired import holm
from sweeps.statistics.sequential import Looks
from tests.factories import ACROSS_STUDY, make_record
from trainables.provenance import commit

HEAD = """\
name: reported
question: Is the table right?
system: zs2
base: shapes
metrics: [temporal_flickering, fid]
protocol: {clips: 2, frames: 3}
"""
ARMS = """\
ablations:
  - {part: noise, action: REMOVE}
  - {part: attention, action: REMOVE}
  - {part: attention.mu, action: VALUES, values: [0.5]}
"""
FLICKERING, MOTION, FID = "temporal_flickering/vbench_formula", "motion_magnitude/farneback", "fd/shapes_clip"

Planned = Callable[[str], Plan]
Value = Callable[[Cell], float]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda text: load(write(HEAD + text))


def record(cell: Cell, value: float = 0.0, **changed: object) -> Record:
    """A done cell with one value for each metric: as given, larger by 10, and with the other sign."""
    return make_record(cell, {FLICKERING: value, MOTION: value + 10, FID: -value}, **changed)


def done(plan: Plan, value: Value) -> dict[str, Record]:
    return {cell.id: record(cell, value(cell)) for cell in plan.cells}


def cell_of(plan: Plan, arm: str, seed: int) -> Cell:
    return next(cell for cell in plan.cells if (cell.arm, cell.seed) == (arm, seed))


def row_of(report: Report, arm: str) -> ArmRow:
    return next(row for row in report.rows if row.id == arm)


def noisy(effects: Mapping[str, float]) -> Value:
    """A common draw of the seed, an effect of the arm, and a little that is the cell's own."""

    def value(cell: Cell) -> float:
        own = np.random.default_rng([cell.seed, *cell.arm.encode()]).normal()
        return float(np.random.default_rng(cell.seed).normal() + effects.get(cell.arm, 0) + 0.1 * own)

    return value


# ---------------------------------------------------------------------------------------------------------------- rows


def test_a_row_has_what_scipy_finds(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 7")
    report = build(plan, done(plan, noisy({"noise=removed": 0.5})))
    arm, control = (list(report.values[name][FLICKERING].values()) for name in ("noise=removed", "control"))
    found = row_of(report, "noise=removed").metrics[FLICKERING]
    test = stats.ttest_rel(arm, control)
    assert (found.mean, found.sd, found.n) == pytest.approx((np.mean(arm), np.std(arm, ddof=1), 7))
    assert (found.low_mean, found.high_mean) == pytest.approx(stats.t.interval(0.95, 6, np.mean(arm), stats.sem(arm)))
    assert found.difference == pytest.approx(np.mean(arm) - np.mean(control))
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.correlation == pytest.approx(stats.pearsonr(arm, control).statistic)
    assert found.p_value == found.smallest_p == 2 / 2**7


def test_the_control_is_compared_with_nothing(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 3")
    control = build(plan, done(plan, noisy({}))).rows[0]
    summary = control.metrics[FID]
    assert (control.id, control.role, control.changes) == ("control", "control", "")
    assert summary.low_mean is not None
    assert summary == Summary(summary.mean, summary.sd, 3, summary.low_mean, summary.high_mean)


def test_values_are_those_of_the_rows(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: [4, 9]")
    report = build(plan, done(plan, lambda cell: float(cell.seed)))
    assert list(report.values) == [row.id for row in report.rows]
    assert report.values["control"] == {
        FLICKERING: {4: 4.0, 9: 9.0},
        MOTION: {4: 14.0, 9: 19.0},
        FID: {4: -4.0, 9: -9.0},
    }


def test_rows_say_what_they_change(planned: Planned) -> None:
    plan = planned("seeds: 1\narms: {both: {noise: removed, attention.mu: 0.5}}")
    assert row_of(build(plan, {}), "both").changes == "noise: removed, attention.mu: 0.5"


def test_p_is_corrected_over_the_arms_of_a_metric(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 8")
    records = done(plan, noisy({"noise=removed": 1, "attention=removed": 0.05}))
    late = cell_of(plan, "attention.mu=0.5", 0)
    for cell in plan.cells:  # one arm lacks one metric: that family is smaller
        if cell.arm == late.arm:
            records[cell.id].scores.pop(FID)
    report = build(plan, records)
    after_holm = build(replace(plan, study=plan.study.model_copy(update={"correction": "holm"})), records)
    for key, num_tested in ((FLICKERING, 3), (FID, 2)):
        tested = [row.metrics[key] for row in report.rows if row.metrics[key].p_value is not None]
        assert len(tested) == num_tested
        pairs = report.pairs[key].values()
        assert [s.p_corrected for s in tested] == max_t([list(of_arm.differences.values()) for of_arm in pairs])
        others = [row.metrics[key] for row in after_holm.rows if row.metrics[key].p_value is not None]
        assert [s.p_corrected for s in others] == holm([s.p_value for s in tested if s.p_value is not None])
    assert row_of(report, late.arm).metrics[FID] == Summary()
    assert row_of(report, late.arm).missing == 0


def test_what_is_lost_is_counted_and_its_seed_left_out(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 6")
    records = done(plan, lambda cell: cell.seed + (0.5 + 0.1 * cell.seed) * (cell.arm != "control"))
    lost = cell_of(plan, "noise=removed", 2)
    records[lost.id] = record(
        lost, status="failed", scores={}, error="NonFiniteError: NaN at step 3", failure="diverged"
    )
    late = cell_of(plan, "noise=removed", 1)
    records[late.id] = record(late, status="failed", scores={}, error="OSError: no space", failure="infrastructure")
    slow = cell_of(plan, "attention=removed", 1)
    records[slow.id] = replace(records[slow.id], retries=1)
    stopped = cell_of(plan, "noise=removed", 3)
    records[stopped.id] = record(stopped, status="pruned")
    del records[cell_of(plan, "attention=removed", 0).id]
    del records[cell_of(plan, "control", 5).id]
    report = build(plan, records)
    noise, attention, mu = report.rows[1:]
    assert (noise.failed, noise.lost, noise.diverged, noise.pruned, noise.missing) == (0, 1, 1, 1, 0)
    assert (attention.failed, attention.pruned, attention.missing) == (0, 0, 1)
    assert (mu.failed, mu.pruned, mu.missing) == (0, 0, 0)
    assert [row.metrics[FLICKERING].n for row in report.rows] == [5, 3, 5, 6]
    assert noise.metrics[FLICKERING].difference == pytest.approx(0.5 + 0.1 * (0 + 4) / 2)
    assert attention.metrics[FLICKERING].difference == pytest.approx(0.5 + 0.1 * (1 + 2 + 3 + 4) / 4)
    assert mu.metrics[FLICKERING].smallest_p == 2 / 2**5
    assert report.errors == (
        "noise=removed seed 1 (infrastructure): OSError: no space",
        "noise=removed seed 2 (diverged): NonFiniteError: NaN at step 3",
    )
    assert any("1 of 22 cells ran out of memory and were repeated in smaller batches." in note for note in report.notes)


def test_a_number_that_is_none_is_a_missing_one(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 2")
    records = done(plan, lambda cell: 1.0)
    records[plan.cells[0].id].scores[FID] = math.nan
    report = build(plan, records)
    assert (report.rows[0].metrics[FID].n, report.rows[0].metrics[FLICKERING].n) == (1, 2)


def test_only_the_plans_cells_count(planned: Planned) -> None:
    wide, narrow = planned(ARMS + "seeds: 5"), planned(ARMS + "seeds: 3")
    records = done(wide, noisy({}))
    assert build(narrow, records) == build(narrow, {cell.id: records[cell.id] for cell in narrow.cells})


def test_nothing_done_is_a_table_without_numbers(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 3")
    report = build(plan, {})
    assert all(row.missing == 3 and {summary.mean for summary in row.metrics.values()} == {None} for row in report.rows)
    assert "Nothing is compared" in report.caption
    assert report.search is None


def test_one_seed_has_differences_and_no_evidence(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 1")
    found = build(plan, done(plan, noisy({}))).rows[1].metrics[FID]
    assert found.difference is not None
    assert (found.low, found.sd, found.p_value, found.correlation) == (None, None, 1.0, None)
    assert verdict_words(found) == "inconclusive (1 seed)"


# ------------------------------------------------------------------------------------------------------------ verdicts


def test_verdicts_follow_the_direction_and_context_has_none(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 8")
    report = build(plan, done(plan, noisy({"noise=removed": 2, "attention=removed": -2})))
    verdicts = {key: [verdict_words(row.metrics[key]) for row in report.rows] for key in (FLICKERING, MOTION, FID)}
    nothing = "inconclusive (8 seeds)"
    assert verdicts == {
        FLICKERING: ["", "better", "worse", nothing],
        MOTION: ["", "higher", "lower", nothing],
        FID: ["", "better", "worse", nothing],
    }


def test_an_interval_without_zero_is_no_verdict(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 4")
    found = build(plan, done(plan, noisy({"noise=removed": 2}))).rows[1].metrics[FLICKERING]
    assert found.low is not None
    assert found.low > 1
    assert verdict_words(found) == "inconclusive (4 seeds)"


def test_a_margin_shows_equivalence(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 6\nmargins: {temporal_flickering: 0.4}")
    report = build(plan, done(plan, noisy({"noise=removed": 2})))
    assert [verdict_words(row.metrics[FLICKERING]) for row in report.rows[2:]] == ["equivalent within 0.4"] * 2
    assert [verdict_words(row.metrics[FID]) for row in report.rows[2:]] == ["inconclusive (6 seeds)"] * 2
    assert f"Equivalent within a margin ({FLICKERING} 0.4)" in report.caption


def test_equivalence_is_corrected_for_the_number_of_arms(planned: Planned) -> None:
    # The difference has mean 0 and spread s: one-sided p at the margin is 0.03, below 0.05 and above 0.05 / 3.
    spread = float(np.std([-1, 1, -1, 1, -1, 1], ddof=1) / math.sqrt(6))
    margin = round(float(stats.t.isf(0.03, 5)) * spread, 6)
    for text, verdict in (
        ("arms: {x: {noise: removed}}\n", f"equivalent within {margin:g}"),
        (ARMS, "inconclusive (6 seeds)"),
    ):
        plan = planned(f"{text}seeds: 6\nmargins: {{fid: {margin}}}")
        report = build(plan, done(plan, lambda cell: (-1.0) ** cell.seed * (cell.arm != "control")))
        assert verdict_words(report.rows[1].metrics[FID]).startswith(verdict)


# ------------------------------------------------------------------------------------------------------ caption, notes


def test_the_caption_says_how_the_numbers_came_about(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 8")
    report = build(plan, done(plan, noisy({})))
    correlations = [row.metrics[FID].correlation for row in report.rows[1:]]
    low, middle, high = sorted(c for c in correlations if c is not None)
    for words in (
        "Means over 8 seeds of 2 clips x 3 frames, with 95% t intervals",
        "paired by seed, with its 95% paired t interval, not corrected for the number of arms.",
        "Unit seed (results have no values by clip): temporal_flickering/vbench_formula",
        "two-sided sign-flip test over the units (exact up to 16 pairs, 100,000 random sign patterns above)",
        "corrected by step-down max-T over the arms of each metric",
        "Without any effect, at least one star in these 3 families has a probability of at most 0.15.",
        "Smallest p that these seeds can reach: 0.0078.",
        f"{FID} median {middle:.2f} ({low:.2f} to {high:.2f})",
        *(f"{metric.key}: {metric.words}." for metric in plan.metrics),
        f"Results computed with code c0de; table written at commit {commit()}.",
    ):
        assert words in report.caption
    assert report.notes == plan.notes


def test_too_few_seeds_are_said(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 3")
    caption = build(plan, done(plan, noisy({"noise=removed": 9}))).caption
    assert "can reach: 0.25. Too few seeds for any arm to be significant at 0.05." in caption


def test_seeds_that_are_too_few_for_so_many_arms_are_said(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 6\ncorrection: holm")
    caption = build(plan, done(plan, noisy({"noise=removed": 9}))).caption
    assert (
        "can reach: 0.031; corrected over 3 comparisons: 0.094. Too few seeds for any arm to be significant" in caption
    )


def test_metrics_that_reach_differently_are_told_apart(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 8")
    records = done(plan, noisy({}))
    for cell in plan.cells:
        if cell.seed > 3:
            records[cell.id].scores.pop(FID)
    caption = build(plan, records).caption
    assert f"{FLICKERING}, {MOTION}: Smallest p that these seeds can reach: 0.0078" in caption
    assert f"{FID}: Smallest p that these seeds can reach: 0.12. Too few seeds" in caption


def test_requested_cells_are_counted_where_arms_leave_before_others(planned: Planned) -> None:
    """One arm is decided after 10 seeds; the other shows a sign of an effect there, and stays for all 16."""
    text = "ablations: [{part: noise, action: REMOVE}, {part: attention, action: REMOVE}]\n"
    plan = planned(text + "seeds: {min: 4, max: 16, stop: decided}")
    signs = {
        "control": [0.0] * 16,
        "noise=removed": [9 + seed / 10 for seed in range(16)],
        "attention=removed": [-1.0, -1.0] + [1.0] * 14,  # p = 0.11 at 10 seeds
    }
    report = build(plan, done(plan, lambda cell: signs[cell.arm][cell.seed]))
    assert [len(seeds) for seeds in report.reached.of_arm.values()] == [16, 10, 16]
    assert cells_done(report) == "42 of 42"
    assert dict(_facts(report))["arms × seeds"] == "3 × 10 to 16"


def test_chance_of_a_star_counts_every_family_and_has_no_independence(planned: Planned) -> None:
    """In each of 3 metrics the arms, the main effects and the interaction: 5 % each, however they depend."""
    text = "ablations: [{part: noise, action: REMOVE}, {part: attention, action: REMOVE}]\ndesign: factorial\nseeds: 8"
    plan = planned(text)
    caption = build(plan, done(plan, noisy({}))).caption
    assert "at least one star in these 9 families has a probability of at most 0.45." in caption


def test_an_extension_is_said_and_corrected_for(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 12")
    records, key = done(plan, noisy({"noise=removed": 9})), FLICKERING
    alone = build(plan, records)
    eight, twelve = (Looks((tuple(range(n)),), (1.0,)) for n in (8, 12))
    extended = build(replace(plan, ends=(eight, twelve)), records)
    row, other = row_of(extended, "noise=removed").metrics[key], row_of(alone, "noise=removed").metrics[key]
    assert row.p_corrected == pytest.approx(2 * other.p_corrected)
    assert row.low < other.low < other.high < row.high
    assert "The study has ended before, with 8 seeds: each of its analyses" in extended.caption
    assert "and over 2 analyses" in extended.caption
    assert build(replace(plan, ends=(twelve,)), records).caption == alone.caption, "one end is no extension"
    other_seeds = Looks(((98, 99),), (1.0,))
    assert build(replace(plan, ends=(other_seeds,)), records).caption == alone.caption, "another sample"


def test_all_comparisons_may_be_one_family(planned: Planned) -> None:
    arms, together = (planned(f"{ARMS}seeds: 8\ncorrect_over: {over}") for over in ("arms", "arms_and_metrics"))
    records = done(arms, noisy({"noise=removed": 0.6}))
    one, other = (build(plan, records) for plan in (arms, together))
    for row, of_all in zip(one.rows[1:], other.rows[1:], strict=True):
        assert of_all.metrics[FLICKERING].p_corrected >= row.metrics[FLICKERING].p_corrected
        assert of_all.metrics[MOTION].p_corrected == row.metrics[MOTION].p_corrected, "it gives context, and no claim"
        assert of_all.metrics[FLICKERING].p_value == row.metrics[FLICKERING].p_value
    claims = [metric for metric in other.metrics if metric.key != MOTION]
    d = [list(p.differences.values()) for metric in claims for p in other.pairs[metric.key].values()]
    assert [row.metrics[metric.key].p_corrected for metric in claims for row in other.rows[1:]] == max_t(d)
    assert "corrected by step-down max-T over all arms and metrics" in other.caption
    assert "these 2 families has a probability of at most 0.1." in other.caption


def test_results_of_other_code_are_counted_against_the_newest(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 4")
    records = done(plan, noisy({}))
    for seed in (0, 1):
        cell = cell_of(plan, "noise=removed", seed)
        records[cell.id] = replace(records[cell.id], code_hash="old")
    report = build(plan, records)
    assert [row.other_code for row in report.rows] == [0, 2, 0, 0]
    assert (
        "2 of 16 cells were computed with other code than the newest result; they may not be comparable."
        in report.notes
    )
    newest = cell_of(plan, "noise=removed", 0)
    records[newest.id] = replace(records[newest.id], finished="2026-01-01T00:00:00+00:00")
    report = build(plan, records)
    assert [row.other_code for row in report.rows] == [4, 2, 4, 4]
    assert "Results computed with code old" in report.caption


def test_what_was_scored_otherwise_than_the_control_is_left_out_and_said(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 4")
    records = done(plan, noisy({}))
    for seed in (1, 2):
        records[cell_of(plan, "noise=removed", seed).id].settings[FID] = "b"
    report = build(plan, records)
    rows = {row.id: row for row in report.rows}
    assert [rows[arm].metrics[FID].n for arm in ("control", "noise=removed", "attention=removed")] == [4, 2, 4]
    assert rows["noise=removed"].metrics[FLICKERING].n == 4
    assert sorted(report.values["noise=removed"][FID]) == [0, 3]
    (note,) = [note for note in report.notes if note.startswith(f"{FID}: 2 values excluded")]
    assert "not comparable with the control's" in note
    assert not any(FLICKERING in note for note in report.notes)


def test_an_arm_scored_otherwise_in_every_cell_has_no_difference(planned: Planned) -> None:
    plan = planned(ARMS + "seeds: 4")
    records = done(plan, noisy({}))
    for seed in range(4):
        records[cell_of(plan, "control", seed).id].settings[FID] = "another number of clips"
    rows = build(plan, records).rows
    assert [row.metrics[FID].n for row in rows] == [4, 0, 0, 0]
    assert all(row.metrics[FID].difference is None and row.metrics[FID].verdict is None for row in rows)
    assert rows[1].metrics[FLICKERING].difference is not None


@pytest.mark.slow
@pytest.mark.alone
def test_ten_thousand_cells_take_seconds(planned: Planned) -> None:
    values = [i / 1000 for i in range(624)]
    plan = planned(f"seeds: 16\nablations: [{{part: attention.mu, action: VALUES, values: {values}}}]")
    records = done(plan, noisy({}))
    assert len(records) == 10_000
    start = time.process_time()
    report = build(plan, records)
    assert time.process_time() - start < 5
    assert len(report.rows) == 625


def test_each_system_has_code_of_its_own(write: Callable[[str], Path]) -> None:
    plan = load(write(ACROSS_STUDY))
    keys = [metric.key for metric in plan.metrics]
    code = {"control": "e0", "position=removed": "e0", "seer": "5ee"}
    records = {c.id: make_record(c, dict.fromkeys(keys, 1.0), code_hash=code[c.arm]) for c in plan.cells}
    report = build(plan, records)
    assert [row.other_code for row in report.rows] == [0, 0, 0]
    assert not any("other code" in note for note in report.notes)
    assert "Results computed with code e0 and 5ee;" in report.caption
    old = next(cell for cell in plan.cells if (cell.arm, cell.seed) == ("seer", 0))
    records[old.id] = replace(records[old.id], code_hash="01d")
    report = build(plan, records)
    assert [row.other_code for row in report.rows] == [0, 0, 1]
    assert any(note.startswith("1 of 6 cells were computed with other code") for note in report.notes)


def test_an_arm_of_another_system_stands_in_the_table_with_what_it_is(write: Callable[[str], Path]) -> None:
    plan = load(write(ACROSS_STUDY))
    values = {"control": 1.0, "position=removed": 2.0, "seer": 4.0}
    keys = [metric.key for metric in plan.metrics]
    records = {c.id: make_record(c, dict.fromkeys(keys, values[c.arm] + c.seed)) for c in plan.cells}
    report = build(plan, records)
    row = row_of(report, "seer")
    assert row.metrics[keys[0]].difference == 3.0
    assert row.changes.startswith("system: seer, base: shapes, protocol: {steps: 9}, training:")
    facts = dict(_facts(report))
    assert facts["system"] == "exvideo; seer (seer)"
    assert facts["base"] == "shapes_video; shapes (seer)"
    assert _frames_of_base(plan) is None, "the bases were trained on different numbers of frames"
