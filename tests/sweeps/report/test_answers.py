"""The answer in sentences: what differs, by how much, and what else could have been shown."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from sweeps.plan import Plan
from sweeps.plan.cells import Cell
from sweeps.report.answers import answers
from sweeps.report.exports import to_json
from sweeps.report.markdown import to_markdown
from sweeps.report.page import to_html
from sweeps.report.table import build
from sweeps.report.terminal import print_terminal
from sweeps.results.record import Record
from sweeps.results.winners import confirmation
from sweeps.statistics.paired import ALPHA
from tests.factories import make_record

STUDY = """\
name: answered
question: What is it worth?
system: zs2
base: shapes
metrics: [temporal_consistency, clip_score]
protocol: {clips: 8}
seeds: 3
margins: {clip_score: 0.5}
"""
ARMS = """\
ablations:
  - {part: noise, action: REMOVE}
  - {part: attention, action: REPLACE, with: [cross_frame]}
  - {part: attention.mu, action: VALUES, values: [0.2, 0.4]}
"""
CONSISTENCY, CLIP = "temporal_consistency/shapes_clip", "clip_score/shapes_clip"

Effects = Mapping[tuple[str, str], float]
Planned = Callable[[str], Plan]


def scored(plan: Plan, effects: Effects, spread: float = 0.01) -> dict[str, Record]:
    """Cells with values by clip: clips differ, and differences by a little around each effect."""

    def values(cell: Cell, key: str) -> list[float]:
        shared = [math.sin(7 * cell.seed + k) for k in range(8)]
        own = [spread * math.cos(len(cell.arm) * (1 + cell.seed) + 3 * k) for k in range(8)]
        return [a + b + effects.get((cell.arm, key), 0.0) for a, b in zip(shared, own, strict=True)]

    records = {}
    for cell in plan.cells:
        per_clip = {metric.key: values(cell, metric.key) for metric in plan.metrics}
        means = {key: sum(of_clips) / 8 for key, of_clips in per_clip.items()}
        records[cell.id] = make_record(cell, means, per_clip=per_clip)
    return records


@pytest.fixture
def planned(write: Callable[[str], object]) -> Callable[[str], Plan]:
    from sweeps.plan import load

    return lambda text: load(write(text))  # type: ignore[arg-type]


def test_what_differs_is_said_in_sentences_and_nothing_else(planned: Callable[[str], Plan]) -> None:
    plan = planned(STUDY + ARMS)
    effects = {("noise=removed", CONSISTENCY): -0.04, ("attention.mu=0.2", CONSISTENCY): 0.05}
    effects |= {("attention.mu=0.4", CONSISTENCY): 0.025}
    found = answers(build(plan, scored(plan, effects)))
    first = next(sentence for sentence in found if sentence.startswith("Removing"))
    assert first.startswith("Removing the dependency noise lowers temporal consistency by 0.0398 [")
    assert "(worse, p < 0.001, 24 clips)" in first
    assert "leaves CLIP score as it is, within 0.5 (24 clips)" in first
    setting = "Setting attention.mu to 0.2 raises temporal consistency by 0.0"
    assert any(sentence.startswith(setting) for sentence in found)
    (trend,) = (sentence for sentence in found if sentence.startswith("Raising attention.mu from 0.2 to "))
    assert "lowers temporal consistency by" in trend
    assert found[-1].startswith("Nothing else in this study is shown to differ; it could show differences of ")


def test_without_a_finding_it_says_what_could_have_been_shown(planned: Callable[[str], Plan]) -> None:
    plan = planned(STUDY.replace("margins: {clip_score: 0.5}\n", "") + ARMS)
    report = build(plan, scored(plan, {}, spread=1.0))
    (only,) = answers(report)
    assert only.startswith("No arm is shown to differ from the control; it could show differences of ")
    assert answers(build(plan, {})) == []


def test_a_study_with_missing_cells_is_preliminary(planned: Callable[[str], Plan]) -> None:
    plan = planned(STUDY + ARMS)
    records = scored(plan, {("noise=removed", CONSISTENCY): -0.04})
    first, *_ = answers(build(plan, {cell.id: records[cell.id] for cell in plan.cells[:-1]}))
    assert first == "Preliminary, since cells are missing."


def test_every_form_begins_with_the_answer(planned: Callable[[str], Plan], capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(STUDY + ARMS)
    report = build(plan, scored(plan, {("noise=removed", CONSISTENCY): -0.04}))
    sentence = answers(report)[0]
    print_terminal(report)
    terminal = capsys.readouterr().out
    assert terminal.index("Removing the dependency noise") < terminal.index("mean ±")
    assert to_html(report, [], []).index(sentence[:40]) < to_html(report, [], []).index("<h2")
    assert to_markdown(report).index(sentence[:40]) < to_markdown(report).index("## Results")
    assert json.loads(to_json(report))["answers"] == answers(report)


def test_units_are_clips_unless_they_are_alike(planned: Callable[[str], Plan]) -> None:
    plan = planned(STUDY + ARMS)
    records = scored(plan, {("noise=removed", CONSISTENCY): -0.04})
    report = build(plan, records)
    assert report.rows[1].metrics[CONSISTENCY].pairs == 24
    assert "Unit clip (prompts are drawn per clip)" in report.caption
    shifted = {
        cell_id: replace(
            record,
            per_clip={
                key: [value + 0.5 * record.seed * (record.arm != "control") for value in values]
                for key, values in record.per_clip.items()
            },
        )
        for cell_id, record in records.items()
    }
    alike = build(plan, shifted)
    assert alike.inference.units[CONSISTENCY].reason == "alike"
    assert alike.rows[1].metrics[CONSISTENCY].pairs == 3
    assert "Unit seed (clips of a seed are alike)" in alike.caption


# ---------------------------------------------------------------------------------------------------------- divergence


SEEDS = """\
name: seeds
system: zs2
base: shapes
metrics: [clip_score, temporal_consistency]
seeds: 8
unit: {kind: seed, reason: no clips here}
"""
TWO = """\
ablations:
  - {part: noise, action: REMOVE}
  - {part: attention, action: REMOVE}
"""
Lost = Mapping[tuple[str, int], str]


def by_seed(plan: Plan, effects: Effects, lost: Lost = MappingProxyType({})) -> dict[str, Record]:
    """Cells with values by seed: differences are the effect, and a little that is above and below it equally often.

    A lost cell failed with this class of failure, or has no result where it is empty.
    """
    places = {arm.id: place for place, arm in enumerate(plan.arms)}
    records = {}
    for cell in plan.cells:
        place, failure = places[cell.arm], lost.get((cell.arm, cell.seed))
        own = cell.seed + place / 100 * (-1) ** (cell.seed >> place % 3)
        if failure is None:
            scores = {metric.key: own + effects.get((cell.arm, metric.key), 0.0) for metric in plan.metrics}
            records[cell.id] = make_record(cell, scores)
        elif failure:
            records[cell.id] = make_record(cell, {}, status="failed", error="x", failure=failure)
    return records


def all_of(arm: str, failure: str) -> Lost:
    return {(arm, seed): failure for seed in range(8)}


def test_an_arm_that_always_diverged_is_in_the_answer(planned: Planned) -> None:
    plan = planned(SEEDS + TWO)
    found = answers(build(plan, by_seed(plan, {}, all_of("noise=removed", "diverged"))))
    assert found[0] == "noise=removed diverged at 8 of 8 seeds, the control at 0 (p = 0.0078)."
    assert found[1] == "Not compared with the control, since a value is missing: noise=removed (8 diverged)."
    assert found[2].startswith("No other compared arm is shown to differ; it could show differences of ")
    assert not any("Nothing else" in sentence for sentence in found)


def test_an_arm_that_always_diverged_is_worse_where_that_is_ranked_last(planned: Planned) -> None:
    plan = planned(SEEDS + TWO + "diverged: worst\n")
    first, second, *_, last = answers(build(plan, by_seed(plan, {}, all_of("noise=removed", "diverged"))))
    assert first.startswith(
        "Removing the dependency noise makes CLIP score worse with the seeds that diverged ranked last"
    )
    assert second.startswith("noise=removed diverged at 8 of 8 seeds, the control at 0 ")
    assert last.split(";")[0] in (
        "Nothing else in this study is shown to differ",
        "No other compared arm is shown to differ",
    )


def test_an_arm_that_diverged_by_chance_is_named_and_is_no_finding(planned: Planned) -> None:
    plan = planned(SEEDS + TWO)
    found = answers(build(plan, by_seed(plan, {}, {("noise=removed", 3): "diverged"})))
    assert found[0] == "noise=removed diverged at 1 of 8 seeds, the control at 0 (p = 1.00)."
    assert found[1].startswith("No arm is shown to differ from the control; ")


def test_a_study_in_which_everything_diverged_has_an_answer(planned: Planned) -> None:
    plan = planned(SEEDS + TWO)
    lost = {
        **all_of("control", "diverged"),
        **all_of("noise=removed", "diverged"),
        **all_of("attention=removed", "diverged"),
    }
    found = answers(build(plan, by_seed(plan, {}, lost)))
    assert "noise=removed diverged at 8 of 8 seeds, the control at 8 (p = 1.00)." in found
    assert found[-1] == "Nothing is compared: the control has no value (8 diverged)."


def test_arms_without_a_value_are_named_with_the_reason(planned: Planned) -> None:
    plan = planned(SEEDS + TWO)
    lost = {**all_of("noise=removed", "error"), **all_of("attention=removed", "")}
    found = answers(build(plan, by_seed(plan, {}, lost)))
    assert found == [
        "Preliminary, since cells are missing.",
        "Not compared with the control, since a value is missing: noise=removed (8 failed), attention=removed "
        "(8 missing).",
    ]
    records = by_seed(plan, {})
    for record in records.values():
        if record.arm == "noise=removed":
            record.scores.pop(CLIP)
    (named,) = (sentence for sentence in answers(build(plan, records)) if sentence.startswith("Not compared"))
    assert named == "Not compared with the control in CLIP score, since a value is missing: noise=removed."


# ------------------------------------------------------------------------------------------------------- every star


MOTION = "motion_magnitude/farneback"


def test_a_star_in_a_context_metric_is_in_the_answer(planned: Planned) -> None:
    plan = planned(SEEDS + TWO)
    effects = {("noise=removed", MOTION): 3.0}
    first, *_ = answers(build(plan, by_seed(plan, effects)))
    assert first.startswith("Removing the dependency noise raises motion magnitude by 3.")
    assert "(p = 0.016, 8 seeds)" in first, "neither better nor worse"
    effects |= {("noise=removed", CLIP): 3.0, ("noise=removed", CONSISTENCY): 3.0}
    first, *_ = answers(build(plan, by_seed(plan, effects)))
    assert re.search(
        r" raises CLIP score .+\), raises temporal consistency .+\) and raises motion magnitude .+\)\.", first
    )


@pytest.mark.parametrize(("design", "effects", "words"), [
    ("factorial", {"noise=removed": 3.0, "noise=removed + attention=removed": 3.0},
     ["Averaged over the other changes, removing the dependency noise raises CLIP score by "]),
    ("factorial", {"noise=removed + attention=removed": 3.0},
     ["The interaction noise=removed x attention=removed raises CLIP score by "]),
    ("add_one_in", {"only noise": 3.0}, ["With all ablated parts removed, adding noise raises CLIP score by "]),
    ("shapley", {"noise=removed": -3.0, "noise=removed + attention=removed": -3.0},
     ["Averaged over the orders, adding noise raises CLIP score by "]),
])  # fmt: skip
def test_every_significant_effect_of_a_design_is_in_the_answer(
    design: str, effects: dict[str, float], words: list[str], planned: Planned
) -> None:
    plan = planned(f"{SEEDS}{TWO}design: {design}\n")
    report = build(plan, by_seed(plan, {(arm, CLIP): effect for arm, effect in effects.items()}))
    found = answers(report)
    for start in words:
        assert sum(sentence.startswith(start) for sentence in found) == 1
    starred = [row for row in report.contrasts if any(item.p_corrected <= ALPHA for item in row.metrics.values())]
    kinds = ("Averaged", "The interaction", "With all ablated parts")
    assert sum(sentence.startswith(kinds) for sentence in found) == len(starred) > 0


def test_equivalent_arms_are_no_arms_that_differ(planned: Planned) -> None:
    values = ", ".join(str(value / 10) for value in range(1, 10))
    head = SEEDS.replace(", temporal_consistency", "") + "margins: {clip_score: 0.5}\n"
    plan = planned(f"{head}ablations: [{{part: attention.mu, action: VALUES, values: [{values}]}}]\n")
    found = answers(build(plan, by_seed(plan, {})))
    assert sum("leaves CLIP score as it is, within 0.5 (8 seeds)" in sentence for sentence in found) == 8
    assert "1 more arm is equivalent; see the table." in found
    assert found[-1].startswith("No arm is shown to differ from the control")
    effects = {(arm.id, CLIP): 3.0 for arm in plan.arms[1:]}
    found = answers(build(plan, by_seed(plan, effects)))
    assert "1 more arm differs; see the table." in found
    assert found[-1].startswith("Nothing else in this study is shown to differ")


# ---------------------------------------------------------------------------------------------------------- robustness


def test_a_finding_that_is_skewed_says_so_and_leads_to_a_section(
    planned: Planned, capsys: pytest.CaptureFixture[str]
) -> None:
    """One seed is far beyond the others, on the same side: the verdict holds, and its symmetry does not."""
    hypothesis = "{part: noise, action: REMOVE, hypothesis: {claim: better, expect: better}}"
    plan = planned(f"{SEEDS}ablations: [{hypothesis}]\n")
    records = by_seed(plan, {("noise=removed", CLIP): 1.0})
    for record in records.values():
        if (record.arm, record.seed) == ("noise=removed", 5):
            record.scores[CLIP] += 4
    report = build(plan, records)
    first = answers(report)[0]
    assert "(better, p = 0.0078, 8 seeds) – " in first
    assert first.endswith("differences in CLIP score are not symmetric; see Robustness.")
    (claim,) = report.claims
    assert (claim.outcome, "skewed" in claim.because) == ("supported", True)
    print_terminal(report)
    terminal, markdown = capsys.readouterr().out, to_markdown(report)
    for form in (terminal, markdown):
        after = form.rpartition("Robustness")[2]
        assert "depends on the choice of test" in after
    assert "Differences are skewed (skewness +2.8) and with an outlying seed (5)" in markdown
    quiet = build(plan, by_seed(plan, {}))
    assert "## Robustness" not in to_markdown(quiet), "nothing is found, nothing is skewed"


def test_words_are_those_of_the_study_s_own_test(planned: Planned) -> None:
    """Four units are too few for sign flips, and not for the bootstrap."""
    plan = planned(
        SEEDS.replace("seeds: 8", "seeds: 4") + "ablations: [{part: noise, action: REMOVE}]\ntest: bootstrap_t\n"
    )
    records = by_seed(plan, {("noise=removed", CLIP): 1.0})
    for record in records.values():
        record.scores[CLIP] += record.seed**2 / 100 * (record.arm == "noise=removed")  # no two differences are equal
    report = build(plan, records)
    assert report.rows[1].metrics[CLIP].verdict == "better"
    page = to_html(report, [], [])
    assert page.index(">p, bootstrap<") < page.index(">p, t test<") < page.index(">p, sign-flip test<")
    assert "too few" not in page
    assert "sign-flip test significant" not in page


# -------------------------------------------------------------------------------------------------------------- search


SEARCH = """\
search:
  space: {attention.mu: {uniform: [0, 1]}}
  objectives: {clip_score: max}
  trials_per_arm: 3
  confirm: {top: 1, fresh_seeds: 6}
"""


def searched(plan: Plan, effects: Mapping[str, float], *, confirmed: bool = True) -> dict[str, Record]:
    """Cells, trials and confirmations; a tuned arm is better by its effect, and by a little luck of its searches."""
    search = plan.search
    assert search is not None

    def record(cell: Cell) -> Record:
        own = np.random.default_rng([cell.seed, cell.spec.repeat, *cell.arm.encode()]).normal() / 100
        value = (
            cell.seed + own + effects.get(cell.arm, 0.0) * (cell.spec.stage == "confirm" and bool(cell.spec.sampled))
        )
        return make_record(cell, {metric.key: value for metric in plan.metrics})

    trials = [
        search.trial(space.arm.id, number, {"attention.mu": (number + 1) / 10}, repeat)
        for space in search.arms
        for repeat in range(search.repeats)
        for number in range(search.num_trials(space))
    ]
    records = {cell.id: record(cell) for cell in (*plan.cells, *trials)}
    return records | {cell.id: record(cell) for cell in (confirmation(search, records) if confirmed else ())}


def test_tuned_arms_with_a_verdict_are_in_the_answer(planned: Planned) -> None:
    plan = planned(SEEDS.replace(", temporal_consistency", "") + TWO + SEARCH)
    report = build(plan, searched(plan, {"noise=removed": 5.0}))
    assert "star in these 3 families has a probability of at most 0.15." in report.caption, "arms, winners, tuned arms"
    found = answers(report)
    (tuned,) = (sentence for sentence in found if sentence.startswith("Each arm at its own best settings, "))
    assert tuned.startswith("Each arm at its own best settings, removing the dependency noise raises CLIP score by 5.0")
    assert ", 3 repeats)." in tuned
    assert found[-1].startswith("No arm is shown to differ from the control at the control's settings")


def test_a_single_search_of_each_arm_compares_these_two_settings(planned: Planned) -> None:
    plan = planned(SEEDS.replace(", temporal_consistency", "") + TWO + SEARCH + "  repeats: 1\n")
    found = answers(build(plan, searched(plan, {"noise=removed": 5.0})))
    tuned = [sentence for sentence in found if sentence.startswith("Each arm at the best settings of one search, ")]
    assert len(tuned) == 2
    assert re.search(r"removing the dependency noise raises CLIP score by [\d.]+ \[.+\] \(6 seeds\)", tuned[0])
    assert tuned[0].endswith(": this compares these two settings.")
    assert "better" not in tuned[0], "no verdict"


def test_a_search_without_arms_says_what_it_found(planned: Planned) -> None:
    plan = planned(SEEDS.replace(", temporal_consistency", "") + SEARCH)
    (winner, *_) = answers(build(plan, searched(plan, {"control": 5.0})))
    start = "At fresh seeds, compared with the untuned control, control winner 1 (attention.mu: 0."
    assert winner.startswith(start)
    assert "raises CLIP score by 5.0" in winner
    (none,) = answers(build(plan, searched(plan, {})))
    assert none == "No winner of the search is shown to differ from the untuned control at fresh seeds."
    best = answers(build(plan, searched(plan, {}, confirmed=False)))
    assert best[0].startswith("The best trial of control has CLIP score 0.")
    assert "not rerun at fresh seeds, so that its value is optimistic" in best[0]
    both = planned(SEEDS + SEARCH.replace("{clip_score: max}", "{clip_score: max, temporal_consistency: max}"))
    (front,) = answers(build(both, searched(both, {}, confirmed=False)))
    assert front == "Pareto front: 3 of 3 finished trials; none was rerun at fresh seeds."
