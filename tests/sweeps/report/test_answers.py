"""The answer in sentences: what differs, by how much, and what else could have been shown."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

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


def test_metrics_have_their_usual_names(planned: Callable[[str], Plan]) -> None:
    plan = planned(STUDY + ARMS)
    assert [metric_words(metric) for metric in plan.metrics][:1] == ["temporal consistency"]
    assert "CLIP score" in [metric_words(metric) for metric in plan.metrics]
