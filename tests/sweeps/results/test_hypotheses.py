"""What became of the hypotheses: supported, contradicted or open, by the numbers that the table has."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.plan import Plan, load
from sweeps.report.exports import to_json
from sweeps.report.markdown import to_markdown
from sweeps.report.page import to_html
from sweeps.report.table import build
from sweeps.results.record import Record
from sweeps.study.document import SpecError
from tests.factories import make_result, make_scores

STUDY = """\
name: claims
system: zs2
base: shapes
metrics: [clip_score, temporal_flickering]
seeds: 8
{more}
ablations:
  - {{part: attention, action: REMOVE, hypothesis: {hypothesis}}}
"""
WORSE = "{claim: it needs it, metric: clip_score, expect: worse}"


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Callable[..., Plan]:
    return lambda hypothesis, more="": load(write(STUDY.format(hypothesis=hypothesis, more=more)))


def records(plan: Plan, effect: float, spread: float = 0.1) -> dict[str, Record]:
    found = {}
    for cell in plan.cells:
        value = cell.seed + (effect + spread * (-1) ** cell.seed) * (cell.arm != "control")
        found[cell.id] = Record.of(make_result(cell.spec, scores=make_scores(plan.metrics, value)))
    return found


@pytest.mark.parametrize(
    ("expect", "effect", "outcome"),
    [
        ("worse", -1, "supported"),
        ("worse", 1, "contradicted"),
        ("worse", 0, "open"),
        ("better", 1, "supported"),
        ("lower", -1, "supported"),
        ("higher", -1, "contradicted"),
        ("different", 1, "supported"),
        ("different", -1, "supported"),
        ("different", 0, "open"),
        ("equivalent", 0, "supported"),
        ("equivalent", 5, "contradicted"),
    ],
)
def test_the_outcome_follows_from_the_corrected_test_and_the_side(
    expect: str, effect: float, outcome: str, planned: Callable[..., Plan]
) -> None:
    more = "margins: {clip_score: 0.5}" if expect == "equivalent" else ""
    plan = planned(WORSE.replace("worse", expect), more)
    (claim,) = build(plan, records(plan, effect)).claims
    assert claim.outcome == outcome
    assert claim.reading == f"{expect} by {plan.metrics[0].key}"
    assert "8 seeds" in claim.evidence
    if outcome == "open":
        assert claim.because == "Inconclusive. These 8 seeds could show differences of 0.13 or more (80 % power)"


def test_what_is_shown_to_make_no_difference_contradicts_a_claim_of_one(planned: Callable[..., Plan]) -> None:
    plan = planned(WORSE, "margins: {clip_score: 0.5}")
    (claim,) = build(plan, records(plan, 0)).claims
    assert (claim.outcome, claim.because) == ("contradicted", "equivalent within 0.5")


def test_words_alone_say_that_the_part_is_worth_something(planned: Callable[..., Plan]) -> None:
    plan = planned("frames come apart")
    (claim,) = build(plan, records(plan, -1)).claims
    assert (claim.claim, claim.outcome) == ("frames come apart", "supported")
    assert claim.reading == f"worse by {plan.metrics[0].key}"
    assert build(planned("''"), {}).claims == ()


def test_a_claim_without_a_value_is_open(planned: Callable[..., Plan]) -> None:
    plan = planned(WORSE)
    lost = {key: replace(record, scores={}, status="failed") for key, record in records(plan, 1).items()}
    (claim,) = build(plan, lost).claims
    assert (claim.outcome, claim.evidence) == ("open", "")


@pytest.mark.parametrize(
    ("differences", "because"),
    [
        ([-0.5] * 3 + [-9.0] + [-0.5] * 4, "worse, but the 95% interval includes zero (sign-flip test significant)"),
        ([-0.3, -0.01] * 3 + [-0.01, -0.3], "worse, but depends on a single seed (0)"),
    ],
)
def test_a_claim_that_depends_on_one_seed_says_so(
    differences: list[float], because: str, planned: Callable[..., Plan]
) -> None:
    plan = planned(WORSE)
    found = records(plan, 0.0, spread=0.0)
    key = plan.metrics[0].key
    for cell in plan.cells:
        if cell.arm != "control":
            scores = {**found[cell.id].scores, key: cell.seed + differences[cell.seed]}
            found[cell.id] = replace(found[cell.id], scores=scores)
    (claim,) = build(plan, found).claims
    assert claim.outcome == "supported"
    assert claim.because.split(". ")[0] == because


@pytest.mark.parametrize(("effect", "outcome"), [(0.0, "supported"), (0.45, "open"), (0.7, "contradicted")])
def test_only_an_interval_beyond_the_margin_contradicts_equivalence(
    effect: float, outcome: str, planned: Callable[..., Plan]
) -> None:
    """A difference that is significant and lies within the margin is no contradiction."""
    plan = planned(WORSE.replace("worse", "equivalent"), "margins: {clip_score: 0.5}")
    (claim,) = build(plan, records(plan, effect)).claims
    assert claim.outcome == outcome


def test_every_form_of_the_report_has_the_claims(planned: Callable[..., Plan]) -> None:
    plan = planned(WORSE)
    report = build(plan, records(plan, -1))
    for text in (to_html(report, [], []), to_markdown(report), to_json(report)):
        assert "it needs it" in text
        assert "supported" in text


@pytest.mark.parametrize(
    ("hypothesis", "where", "message"),
    [
        ("{claim: x, metric: fvd, expect: worse}", "ablations[0].hypothesis.metric", "one of the study's metrics"),
        ("{claim: x, expect: equivalent}", "ablations[0].hypothesis.expect", "add clip_score to margins"),
        ("{claim: x, expect: nicer}", "ablations[0].hypothesis.expect", "worse"),
        ("{expect: worse}", "ablations[0].hypothesis", "claim"),
        ("[a, b]", "ablations[0].hypothesis", "a string, or {claim, metric, expect}"),
    ],
)
def test_a_hypothesis_that_cannot_be_tested_is_refused(
    hypothesis: str, where: str, message: str, write: Callable[[str], Path]
) -> None:
    with pytest.raises(SpecError) as caught:
        load(write(STUDY.format(hypothesis=hypothesis, more="")))
    (problem,) = caught.value.problems
    assert problem.path.startswith(where)
    assert message in problem.message
