from dataclasses import replace

import pytest

from sweeps.report import texts
from sweeps.report.table import Report
from sweeps.results.comparison import ArmRow, Summary
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import sampled_text

CLIP, FD = "clip_score/shapes_clip", "fd/shapes_clip"


def row(name: str, summary: Summary, **counts: int) -> ArmRow:
    lost = {"failed": 0, "diverged": 0, "pruned": 0, "missing": 0, "other_code": 0} | counts
    return ArmRow(name, "control" if name == "control" else "arm", "", {CLIP: summary}, **lost)


CONTROL = row("control", Summary(mean=70.5123, sd=2.0, n=3, low_mean=65.2, high_mean=75.8))
ARM = row(
    "arm",
    Summary(
        mean=71.0, sd=2.0, n=3, low_mean=66.0, high_mean=76.0, difference=0.4877, low=-0.2, high=1.1754,
        p_value=0.25, p_corrected=0.25, smallest_p=0.25, verdict=Verdict.INCONCLUSIVE, pairs=3,
    ),
)  # fmt: skip


def test_a_column_shows_two_digits_of_its_middle_interval() -> None:
    control, arm = texts.entries([CONTROL, ARM], CLIP)
    assert control.mean == "70.5 ± 5.3"
    assert (control.change, control.verdict) == ("", "")
    assert (arm.mean, arm.change) == ("71.0 ± 5.0", "+0.49 [-0.20, +1.18]")


def test_what_does_not_exist_is_left_out() -> None:
    lonely = row("one seed", Summary(mean=0.0123456, n=1, difference=-0.5, p_value=1.0, p_corrected=1.0))
    nothing = row("nothing", Summary())
    first, second = texts.entries([lonely, nothing], CLIP)
    assert (first.mean, first.change) == ("0.01235", "-0.5000")
    assert (second.mean, second.change) == (texts.NOTHING, "")


def test_no_difference_has_no_minus() -> None:
    same = replace(ARM.metrics[CLIP], difference=-0.0001, low=-0.5, high=0.5)
    assert texts.entries([CONTROL, row("same", same)], CLIP)[1].difference == "+0.00"


@pytest.mark.parametrize(("p", "mark"), [(0.05, "*"), (0.0500001, ""), (None, "")])
def test_marks_stand_only_after_the_correction(p: float | None, mark: str) -> None:
    summary = replace(ARM.metrics[CLIP], p_value=0.0001, p_corrected=p)
    entry = texts.entries([CONTROL, row("arm", summary)], CLIP)[1]
    assert entry.mark == mark
    assert entry.change.endswith("]" + mark)


def test_a_verdict_without_evidence_is_no_finding() -> None:
    inconclusive = texts.entries([CONTROL, ARM], CLIP)[1]
    assert (inconclusive.verdict, inconclusive.finding) == ("inconclusive (3 seeds)", "")
    equivalent = replace(ARM.metrics[CLIP], verdict=Verdict.EQUIVALENT, margin=0.5)
    assert texts.entries([CONTROL, row("arm", equivalent)], CLIP)[1].finding == "equivalent within 0.5"


def test_losses_are_named_and_the_whole_has_none() -> None:
    assert texts.marked(CONTROL) == "control"
    damaged = row("x", Summary(), failed=1, diverged=5, pruned=2, missing=3, other_code=4)
    assert texts.marked(damaged) == "x (1 failed, 5 diverged, 2 pruned, 3 missing, 4 with other code)"


def test_seeds_are_a_range_where_metrics_differ() -> None:
    one = ARM.metrics[CLIP]
    assert texts.pairs(ARM) == "3"
    assert texts.pairs(replace(ARM, metrics={CLIP: one, FD: replace(one, n=1)})) == "1–3"


@pytest.mark.parametrize(
    ("p", "text"), [(None, ""), (0.0004, "< 0.001"), (0.001, "0.001"), (0.0312, "0.031"), (0.25, "0.25"), (1, "1.00")]
)
def test_p_values_have_two_digits(p: float | None, text: str) -> None:
    assert texts.p_text(p) == text


def test_heads_point_to_the_better_side_and_context_to_none(report: Report) -> None:
    heads = [texts.head(metric) for metric in report.metrics]
    assert heads == [f"{CLIP} ↑", "temporal_consistency/shapes_clip ↑", "motion_magnitude/farneback", f"{FD} ↓"]
    assert [texts.aim(metric) for metric in report.metrics][1:] == [
        "higher is better", "context only, no better side", "lower is better"
    ]  # fmt: skip


def test_remarks_explain_marks_only_where_there_are_any(report: Report, one_objective: Report) -> None:
    assert "\n".join(texts.remarks(report)).startswith(f"{texts.LEGEND}\n{report.caption}\n")
    assert "\n".join(texts.remarks(one_objective)).startswith(one_objective.caption)


def test_remarks_say_what_winners_are(report: Report) -> None:
    assert report.search is not None
    winners = [row for row in report.search.confirmed if row.changes]
    assert texts.remarks(report)[-len(winners) :] == [f"{winner.id}: {winner.changes}" for winner in winners]
    assert any("attention.mu" in winner.changes for winner in winners)


def test_a_search_lists_its_front_or_the_best_of_each_arm(report: Report, one_objective: Report) -> None:
    assert report.search is not None
    assert one_objective.search is not None
    search = report.plan.search
    assert search is not None
    done = sum(search.num_trials(space) - 1 for space in search.arms)  # in each arm one failed
    assert texts.search_heading(report.search) == f"Pareto front: {len(report.search.pareto)} of {done} finished trials"
    assert texts.search_heading(one_objective.search) == "Best trial of each arm (12 trials per arm)"
    assert texts.effort(replace(one_objective.search, trials_per_arm=1)) == "1 trial per arm"
    trial = report.search.trials[3]
    assert trial.status == "failed"
    assert texts.objective_values(report.search, trial) == [texts.NOTHING] * 2


def test_sampled_values_are_short() -> None:
    assert sampled_text({"mu": 0.123456789, "noise": "removed", "n": 4}) == "mu: 0.1235, noise: removed, n: 4"
