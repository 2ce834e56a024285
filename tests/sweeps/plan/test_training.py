"""What a study says of training: its values are the tree's own, and what cannot be is told before anything runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.training import AdamW
from sweeps.plan import Plan, load
from sweeps.study.document import SpecError

Write = Callable[[str], Path]
HEAD = """\
name: trained
system: seer
base: shapes
metrics: [fvd]
seeds: 2
"""
TRAINING = "training: {steps: 100, global_batch_size: 8}\n"
ABLATIONS = "ablations: [{part: text_decomposer, action: REMOVE}]\n"


@pytest.fixture
def planned(write: Write) -> Callable[[str], Plan]:
    return lambda text: load(write(text))


def trainings(plan: Plan) -> dict[str, AdamW]:
    found = {cell.arm: cell.spec.training for cell in plan.cells}
    return {arm: training for arm, training in found.items() if training is not None}


def test_training_is_laid_on_every_arm_and_can_be_moved_like_any_part(planned: Callable[[str], Plan]) -> None:
    more = "control: {training.lr: 0.01}\nablations: [{part: training.lr, action: VALUES, values: [0.1, 0.01]}]\n"
    plan = planned(HEAD + TRAINING + more)
    assert trainings(plan) == {
        "control": AdamW(steps=100, global_batch_size=8, lr=0.01, clip_over="unet"),
        "training.lr=0.1": AdamW(steps=100, global_batch_size=8, lr=0.1, clip_over="unet"),
    }
    assert plan.notes == ("training.lr=0.01 is identical to control: merged, not run twice",)


def test_cells_are_the_same_whatever_they_are_trained_by(planned: Callable[[str], Plan]) -> None:
    group = (
        "resources: {workers: 2, zero: {stage: 3}, micro_batch_size: 2, gradient_checkpointing: true, cache: false}\n"
    )
    plain, grouped = planned(HEAD + TRAINING + ABLATIONS), planned(HEAD + TRAINING + ABLATIONS + group)
    assert [cell.id for cell in plain.cells] == [cell.id for cell in grouped.cells]
    longer = planned(HEAD + TRAINING.replace("100", "200") + ABLATIONS)
    assert not {cell.id for cell in plain.cells} & {cell.id for cell in longer.cells}
    scaling = grouped.cells[0].spec.scaling
    assert (scaling.workers, scaling.zero.stage, scaling.cache) == (2, 3, False)


def test_a_search_moves_training_and_parts_together(planned: Callable[[str], Plan]) -> None:
    more = "search: {space: seer_training, trials_per_arm: 3, trial_scheduler: {kind: asha}}\n"
    plan = planned(HEAD + TRAINING + ABLATIONS + more)
    assert plan.search is not None
    sample = {"training.lr": 0.001, "training.warm_up": 0.1, "temporal_attention.largest": 4}
    cell = plan.search.trial("text_decomposer=removed", 0, sample)
    assert cell.spec.training == AdamW(steps=100, global_batch_size=8, lr=0.001, warm_up=0.1, clip_over="unet")
    assert cell.spec.tree["temporal_attention"]["largest"] == 4
    assert any("stopped by their intermediate loss on held-out clips" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        (HEAD + ABLATIONS, 2, "system", "training.steps is missing -> training: {steps: 400}"),
        (HEAD + "training: {lr: 0.1}\n" + ABLATIONS, 6, "training", "training.steps is missing"),
        (HEAD + "training: {steps: 0}\n" + ABLATIONS, 6, "training.steps", "0 -> a whole number, at least 1"),
        (HEAD + "training: {steps: 3, lrr: 1}\n" + ABLATIONS, 6, "training.lrr", "did you mean lr?"),
        (HEAD + TRAINING + ABLATIONS + "resources: {workers: 3}\n", 8, "resources.workers", "a multiple of 6"),
        (
            HEAD + TRAINING + ABLATIONS + "resources: {workers: 2, micro_batch_size: 3}\n",
            8,
            "resources.micro_batch_size",
            "8 clips per update over 2 workers x 3 -> a multiple of 6",
        ),
        (HEAD + TRAINING + ABLATIONS + "resources: {zero: {stage: 4}}\n", 8, "resources.zero.stage", "4 -> 0, 1, 2, 3"),
        (
            HEAD + TRAINING + ABLATIONS + "resources: {zero: {stage: 0, offload: optimizer}}\n",
            8,
            "resources.zero",
            "offload: optimizer at stage 0 -> stage 1, 2 or 3",
        ),
        (
            HEAD + TRAINING + ABLATIONS + "resources: {precision: fp16, gpus_per_worker: 0}\n",
            8,
            "resources.precision",
            "fp16 without a GPU -> fp32 or bf16",
        ),
        (
            HEAD + TRAINING + ABLATIONS + "data: {layout: prompts, prompts: [a cat]}\n",
            8,
            "data",
            "seer continues real clips, and data prompts has no clips",
        ),
        (
            HEAD + TRAINING + ABLATIONS + "protocol: {frames: 2}\n",
            8,
            "protocol.frames",
            "2 frames, 2 of them given -> more than 2",
        ),
        (
            HEAD + TRAINING + ABLATIONS + "resources: {workers: 2, gpus_per_worker: 0.5}\n",
            8,
            "resources.workers",
            "2 workers with 0.5 GPUs each -> whole GPUs",
        ),
    ],
)
def test_what_cannot_be_trained_is_told_at_its_place(
    text: str, line: int, path: str, message: str, write: Write
) -> None:
    with pytest.raises(SpecError) as error:
        load(write(text))
    found = [(problem.line, problem.path) for problem in error.value.problems if message in problem.message]
    assert found == [(line, path)], error.value
