"""Units of the comparisons: what is drawn decides, a study may say otherwise, and prompts are dealt out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.plan import Plan, load
from sweeps.plan.units import drawn_unit, number_of_units
from sweeps.results.arm_values import values_of
from sweeps.results.record import Record, prompt_hash
from sweeps.results.units import choose_units, unit_words
from sweeps.study.document import SpecError
from tests.factories import make_record

HEAD = "name: u\nsystem: zs2\nbase: shapes\nmetrics: [clip_score, fvd]\nseeds: 4\nprotocol: {clips: 8}\n"
ARMS = "ablations: [{part: noise, action: REMOVE}]\n"
TRAINED = (
    "name: u\nsystem: seer\nbase: shapes\nmetrics: [clip_score, fvd]\nseeds: 4\nprotocol: {clips: 8}\n"
    "training: {steps: 9}\nablations: [{part: temporal_attention, action: REMOVE}]\n"
)


def listed(number: int) -> str:
    return f"data: {{layout: prompts, prompts: [{', '.join(f'prompt {k}' for k in range(number))}]}}\n"


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Callable[[str], Plan]:
    return lambda text: load(write(text))


@pytest.mark.parametrize(
    ("text", "kind", "reason", "number"),
    [
        (HEAD + ARMS, "clip", "drawn per clip", 32),
        (TRAINED, "seed", "trained", 4),
        (HEAD.replace(", fvd", "") + ARMS + listed(12), "prompt", "listed prompts", 12),
        (HEAD.replace(", fvd", "") + ARMS + listed(40), "prompt", "listed prompts", 32),
        (HEAD.replace(", fvd", "") + ARMS + listed(5), "clip", "few prompts", 32),
        (HEAD + ARMS + "unit: {kind: seed, reason: they share a background}\n", "seed", "study", 4),
    ],
)
def test_the_unit_follows_from_what_is_drawn(
    text: str, kind: str, reason: str, number: int, planned: Callable[[str], Plan]
) -> None:
    plan = planned(text)
    first, *others = plan.metrics
    found = drawn_unit(plan, first)
    assert (found.kind, found.reason) == (kind, reason)
    assert number_of_units(plan, found.kind) == number
    for metric in others:
        if metric.family == "fvd":
            assert drawn_unit(plan, metric).kind == "seed", "one value per cell"


def test_a_unit_needs_a_reason(write: Callable[[str], Path]) -> None:
    for wrong in ("unit: clip", "unit: {kind: clip}", "unit: {kind: frame, reason: many}"):
        with pytest.raises(SpecError, match="unit"):
            load(write(HEAD + ARMS + wrong + "\n"))


@pytest.mark.parametrize(
    ("text", "kind", "allowed"),
    [
        (HEAD + ARMS, "prompt", "clip or seed, or data: {layout: prompts, prompts: [...]}"),
        (TRAINED, "prompt", "seed, or no unit"),
        (TRAINED, "clip", "seed, or no unit"),
    ],
)
def test_a_unit_that_the_study_does_not_draw_is_refused(
    text: str, kind: str, allowed: str, write: Callable[[str], Path]
) -> None:
    with pytest.raises(SpecError) as caught:
        load(write(f"{text}unit: {{kind: {kind}, reason: so it is}}\n"))
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("unit.kind", len(text.splitlines()) + 1)
    assert problem.message.startswith(f"{kind}: ")
    assert problem.message.endswith(f" -> {allowed}")
    assert load(write(f"{text}unit: {{kind: seed, reason: so it is}}\n")).study.unit is not None
    prompts = HEAD.replace(", fvd", "") + ARMS + listed(3)
    assert load(write(f"{prompts}unit: {{kind: {kind}, reason: so it is}}\n")).study.unit is not None


def test_the_plan_says_how_often_each_prompt_occurs(planned: Callable[[str], Plan]) -> None:
    head = HEAD.replace(", fvd", "")
    assert "prompts: dealt out over the seeds; all of 8 prompts, each 4 times" in planned(head + ARMS + listed(8)).notes
    assert (
        "prompts: dealt out over the seeds; all of 12 prompts, each 2 to 3 times"
        in planned(head + ARMS + listed(12)).notes
    )
    many = planned(head + ARMS + listed(40)).notes
    assert "prompts: dealt out over the seeds; only 32 of 40 prompts, each 1 time" in many
    later = planned((head + ARMS + listed(100)).replace("seeds: 4", "seeds: [5, 6]")).notes
    assert "prompts: dealt out over the seeds; only 16 of 100 prompts, each 1 time" in later, "they are not the first"
    few = planned(head + ARMS + listed(3)).notes
    assert any("3 are too few to be the units of a test" in note for note in few)
    assert not any(note.startswith("prompts") for note in planned(HEAD + ARMS).notes)


def test_a_prompt_has_the_mean_of_its_clips(planned: Callable[[str], Plan]) -> None:
    plan = planned(HEAD.replace(", fvd", "") + ARMS + listed(12))
    key = plan.metrics[0].key

    def record(cell_arm: str, seed: int) -> dict[str, Record]:
        cell = next(cell for cell in plan.cells if (cell.arm, cell.seed) == (cell_arm, seed))
        texts = [plan.prompts[(seed * 8 + k) % 12] for k in range(8)]
        values = [float(100 * seed + k) for k in range(8)]
        scores = {key: sum(values) / 8}
        return {cell.id: make_record(cell, scores, per_clip={key: values}, prompts=[prompt_hash(t) for t in texts])}

    records = record("control", 0) | record("control", 1)
    control, _ = values_of(plan, records, dict.fromkeys(("control", "noise=removed"), (0, 1)))
    by_prompt = control.by_unit(key, "prompt")
    assert len(by_prompt) == 12
    assert by_prompt[prompt_hash("prompt 0")] == (0 + 104) / 2
    assert by_prompt[prompt_hash("prompt 8")] == 100
    assert control.by_unit(key, "prompt", seeds=(0,)) == {prompt_hash(f"prompt {k}"): float(k) for k in range(8)}
    assert choose_units(plan, [control], plan.metrics)[key].kind == "prompt"
    assert unit_words(prompt_hash("prompt 8"), plan.prompts) == '"prompt 8"'
    assert (unit_words(3, ()), unit_words((3, 5), ())) == ("3", "seed 3, clip 5")
