"""Cells that diverge: rates are compared, and a difference among the survivors must hold with them ranked last."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweeps.plan import Plan, load
from sweeps.report.answers import answers
from sweeps.report.exports import to_json
from sweeps.report.markdown import to_markdown
from sweeps.report.page import to_html
from sweeps.report.plots import plots
from sweeps.report.table import build
from sweeps.report.terminal import print_terminal
from sweeps.results.arm_values import ArmValues, values_of
from sweeps.results.divergence import divergences, ranked
from sweeps.results.pairing import WeightedSum
from sweeps.results.record import Record, prompt_hash
from sweeps.results.stopping import reached_seeds
from sweeps.statistics.paired import ALPHA, paired_difference
from sweeps.statistics.sequential import SHARES
from sweeps.statistics.verdicts import Verdict
from tests.factories import make_record

STUDY = """\
name: d
system: zs2
base: shapes
metrics: [clip_score]
seeds: {seeds}
unit: {{kind: seed, reason: no clips here}}
{more}ablations:
  - {{part: noise, action: REMOVE}}
  - {{part: attention, action: REMOVE}}
"""
Planned = Callable[..., Plan]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda more="", seeds="8", study=STUDY: load(write(study.format(more=more, seeds=seeds)))


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
    difference = WeightedSum(((control, -1.0), (arm, 1.0)), key, "seed")
    found = ranked(difference, direction).differences  # type: ignore[arg-type]
    assert found[2] == sign * 7.5
    assert found[5] == -sign * 7.5
    assert sorted(value for seed, value in found.items() if seed not in (2, 5)) == [1, 2, 3, 4, 5, 6]
    sums = [sum(np.multiply(signs, list(found.values()))) for signs in itertools.product((-1, 1), repeat=8)]
    expected = np.mean([abs(one) >= 1 + 2 + 3 + 4 + 5 + 6 for one in sums])
    assert paired_difference(list(found.values()), [0.0] * 8).p_value == expected, "7.5 and -7.5 cancel out"
    of_some = ranked(difference, direction, seeds=range(5)).differences  # type: ignore[arg-type]
    assert of_some == {0: 1, 1: 2, 3: 3, 4: 4, 2: sign * 5}


def test_a_seed_that_the_other_side_has_not_ended_counts_for_neither(planned: Planned) -> None:
    plan = planned()
    records = recorded(plan, {"noise=removed": {2, 3}})
    for cell in plan.cells:
        if (cell.arm, cell.seed) == ("control", 2):
            del records[cell.id]
    control, arm, _ = arms_of(plan, records)
    difference = WeightedSum(((control, -1.0), (arm, 1.0)), plan.metrics[0].key, "seed")
    assert ranked(difference, "max").differences[3] == -7
    assert 2 not in ranked(difference, "max").differences


@pytest.mark.parametrize(("diverged", "more", "verdict"), [(9, "", "inconclusive"), (12, "diverged: worst\n", "worse")])
def test_an_arm_of_which_most_seeds_diverge_is_not_better(
    diverged: int, more: str, verdict: str, planned: Planned
) -> None:
    """Its few survivors all are."""
    plan = planned(more, seeds="16")
    row = build(plan, recorded(plan, {"noise=removed": set(range(diverged))})).rows[1].metrics[plan.metrics[0].key]
    assert (row.pairs, row.difference is not None and row.difference > 0) == (16 - diverged, True)
    assert row.verdict == verdict
    if not more:
        assert (row.p_value, row.p_corrected) == (1.0, 1.0), "the two tests contradict each other"


def test_of_a_worse_arm_the_survivors_and_the_diverged_agree(planned: Planned) -> None:
    plan = planned(seeds="16")
    row = build(plan, recorded(plan, {"noise=removed": {0, 1, 2}}, effect=-2.0)).rows[1].metrics[plan.metrics[0].key]
    assert (row.verdict, row.p_value) == (Verdict.WORSE, 2 / 2**13), "of the survivors, the larger of the two"


def test_ranked_last_an_arm_without_any_survivor_is_worse(planned: Planned, capsys: pytest.CaptureFixture[str]) -> None:
    hypothesis = "REMOVE, hypothesis: {{claim: it needs it, expect: lower}}}}\n  - {{part: attention"
    plan = planned("diverged: worst\n", study=STUDY.replace("REMOVE}}\n  - {{part: attention", hypothesis))
    report = build(plan, recorded(plan, {"noise=removed": set(range(8))}))
    _, row, other = (row.metrics[plan.metrics[0].key] for row in report.rows)
    assert (row.verdict, row.p_value, row.difference, row.pairs) == (Verdict.WORSE, 2 / 2**8, None, 0)
    assert other.verdict is Verdict.INCONCLUSIVE
    assert [claim.outcome for claim in report.claims] == ["supported"]
    words = "Removing the dependency noise makes CLIP score worse with the seeds that diverged ranked last (p ="
    assert any(answer.startswith(words) for answer in answers(report))
    print_terminal(report)
    for form in (
        capsys.readouterr().out,
        to_markdown(report),
        to_json(report),
        to_html(report, list(plots(report)), []),
    ):
        assert "worse" in form


def test_an_arm_that_leaves_at_a_look_since_it_diverged_has_its_verdict(planned: Planned) -> None:
    plan = planned("diverged: worst\n", seeds="{min: 4, max: 16, stop: decided}")
    records = recorded(plan, {"noise=removed": set(range(16))})
    assert reached_seeds(plan, records).decided == {"noise=removed"}
    row = build(plan, records).rows[1].metrics[plan.metrics[0].key]
    assert (row.verdict, row.p_value) == (Verdict.WORSE, 2**-7 / SHARES[0])


def test_no_margin_is_wide_enough_for_a_cell_that_diverged(planned: Planned) -> None:
    for more in ("", "diverged: worst\n"):
        plan = planned(more + "margins: {clip_score: 500}\n", seeds="16")
        key = plan.metrics[0].key
        assert build(plan, recorded(plan, {})).rows[1].metrics[key].verdict is Verdict.EQUIVALENT
        row = build(plan, recorded(plan, {"noise=removed": {3}})).rows[1].metrics[key]
        assert (row.verdict is Verdict.EQUIVALENT, row.margin) == (False, None)


def test_an_effect_must_hold_with_the_diverged_ranked_last_too(planned: Planned) -> None:
    """Both arms without noise are better among the survivors; one of them diverges at half of the seeds."""
    for more in ("design: factorial\n", "design: factorial\ndiverged: worst\n"):
        plan = planned(more, seeds="16")
        key = plan.metrics[0].key
        whole = {row.name: row.metrics[key] for row in build(plan, factorial(plan, set())).contrasts}
        lost = {row.name: row.metrics[key] for row in build(plan, factorial(plan, set(range(9)))).contrasts}
        assert whole["noise=removed"].p_corrected <= ALPHA
        assert lost["noise=removed"].effect.difference > 0
        assert lost["noise=removed"].effect.n == 7
        assert lost["noise=removed"].p_corrected == 1.0
        caption = build(plan, factorial(plan, set(range(9)))).caption
        assert "Effects are among the seeds at which none of their arms diverged" in caption


def factorial(plan: Plan, diverged: set[int]) -> dict[str, Record]:
    """Records of two crossed removals; the arm without both diverges at some seeds."""
    records = {}
    for cell in plan.cells:
        value = cell.seed + (1 + 0.01 * cell.seed) * ("noise" in cell.spec.arm or len(cell.arm) > 20)
        if len(cell.arm) > 20 and cell.seed in diverged:
            records[cell.id] = make_record(cell, {}, status="failed", error="nan", failure="diverged")
        else:
            records[cell.id] = make_record(cell, {plan.metrics[0].key: value})
    return records


# ----------------------------------------------------------------------------------------------- units below the seed

PROMPTS = """name: d
system: zs2
base: shapes
metrics: [clip_score]
seeds: {seeds}
protocol: {{clips: 4}}
data: {{layout: prompts, prompts: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]}}
{more}ablations:
  - {{part: noise, action: REMOVE}}
"""


def by_clip(plan: Plan, diverged: set[int], effect: float) -> dict[str, Record]:
    """Records with values by clip; the arm diverges at some seeds."""
    key, records = plan.metrics[0].key, {}
    for cell in plan.cells:
        rng = np.random.default_rng([cell.seed, cell.arm == "control"])
        values = (rng.normal(size=4) + effect * (cell.arm != "control")).tolist()
        at = [(4 * cell.seed + k) % len(plan.prompts) for k in range(4)] if plan.prompts else []
        prompts = [prompt_hash(plan.prompts[place]) for place in at]
        if cell.arm != "control" and cell.seed in diverged:
            records[cell.id] = make_record(cell, {}, status="failed", error="nan", failure="diverged")
        else:
            records[cell.id] = make_record(cell, {key: sum(values) / 4}, per_clip={key: values}, prompts=prompts)
    return records


def test_a_prompt_whose_clip_diverged_is_ranked_last(planned: Planned) -> None:
    plan = planned(seeds="4", study=PROMPTS)
    key = plan.metrics[0].key
    whole, lost = (build(plan, by_clip(plan, seeds, 2.0)) for seeds in (set[int](), {1, 2}))
    row = whole.rows[1].metrics[key]
    assert (row.unit, row.pairs, row.verdict) == ("prompt", 16, Verdict.BETTER)
    row = lost.rows[1].metrics[key]
    assert (row.unit, row.pairs, row.verdict) == ("prompt", 8, Verdict.INCONCLUSIVE)
    assert row.low is not None
    assert row.low > 0, "the surviving prompts alone would be better"
    control, arm = values_of(plan, by_clip(plan, {1, 2}, 2.0), dict.fromkeys(("control", "noise=removed"), range(4)))
    found = ranked(WeightedSum(((control, -1.0), (arm, 1.0)), key, "prompt"), "max").differences
    assert sorted(map(abs, found.values())) == [1, 2, 3, 4, 5, 6, 7, 8] + [12.5] * 8
    assert found[prompt_hash("e")] == -12.5
    assert "a significant difference must also hold with them ranked last" in lost.caption


@pytest.mark.parametrize("study", [PROMPTS, PROMPTS.replace("data", "# data")])
def test_cells_diverge_as_a_whole_so_that_seeds_are_ranked(study: str, planned: Planned) -> None:
    """One seed of six would be four clips or prompts at the worst end."""
    plan = planned("diverged: worst\n", seeds="6", study=study)
    report = build(plan, by_clip(plan, {1}, 0.0))
    row = report.rows[1].metrics[plan.metrics[0].key]
    assert (row.unit, row.pairs, row.verdict) == ("seed", 5, Verdict.INCONCLUSIVE)
    assert "Unit seed (cells diverge as a whole, and count as the worst)" in report.caption
    assert build(plan, by_clip(plan, set(), 0.0)).rows[1].metrics[plan.metrics[0].key].unit != "seed"
