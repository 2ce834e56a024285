"""Trainings on one and two ranks: ZeRO stages agree, resuming is exact, failures have clear messages."""

import functools
import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks, start_ranks
from safetensors.torch import load_file

from models.seer import Seer
from tests.factories import make_spec
from tests.tolerance import bound
from trainables.cell_files import CHECKPOINTS, STOP, TRAINED
from trainables.trial_spec import RESULT, Result, TrialSpec

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fit")]

LR = 1e-3
STEPS = 12
EVERY = 3
"""Updates between two checkpoints."""
EDIT: dict[str, object] = {
    "training.steps": STEPS,
    "training.global_batch_size": 4,
    "training.lr": LR,
    "training.clips": 64,
    "text_decomposer.num_layers": 1,
    "text_decomposer.num_heads": 2,
    "text_decomposer.identity_steps": 2,
    "temporal_attention.num_heads": 2,
}


ROUNDING = bound(torch.float32, 20 * STEPS, size=1.3)
"""Of losses of up to 1.3: what comes behind the gradients of all steps, about 20 operations each (sums over clips,
ranks and micro-batches, two moments, a root, a quotient, the update), is done in another order."""


def spec(base: Path, *, edit: dict[str, object] | None = None, precision: str = "fp32", **scaling: Any) -> TrialSpec:
    return make_spec(
        system="seer",
        tree=Seer().edit({**EDIT, **(edit or {})}).model_dump(mode="json"),
        base=str(base),
        data={"layout": "shapes", "references": 16},
        protocol={"clips": 2, "frames": 4, "steps": 2, "guidance": 1.0, "height": 32, "width": 32},
        precision=precision,
        scaling={"report_every": 1, "checkpoint_every": EVERY, **scaling},
    )


def config(cell: TrialSpec, storage: Path, *, warm: bool = True) -> dict[str, Any]:
    return {"spec": cell.model_dump(mode="json"), "storage": str(storage), "warm": warm, "train": True}


def folder_of(cell: TrialSpec, storage: Path) -> Path:
    return storage / cell.study / "cells" / cell.cell_id


FEW_HELD_OUT = """
from trainables import train
train.HELD_OUT = 4
"""
"""Validation runs after every step here, and would take most of the time."""


def fit(cell: TrialSpec, storage: Path, before: str = "", *, warm: bool = True) -> Path:
    run_ranks(config(cell, storage, warm=warm), cell.scaling.workers, FEW_HELD_OUT + before)
    return folder_of(cell, storage)


def losses(folder: Path, name: str = "loss") -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line)["metrics"] for line in lines]
    return [metrics[name] for metrics in found if name in metrics]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / TRAINED)


@pytest.fixture(scope="module")
def undisturbed(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(spec(tiny_base_folder), tmp_path_factory.mktemp("undisturbed"))


def test_a_training_leaves_weights_clips_scores_and_no_checkpoint(undisturbed: Path) -> None:
    result = Result.model_validate_json((undisturbed / RESULT).read_bytes())
    assert (result.status, result.error, result.attempt) == ("done", "", 1)
    assert "motion_magnitude/farneback" in result.scores
    assert len(losses(undisturbed)) == STEPS
    assert len(losses(undisturbed, "identity_loss")) == 1
    assert losses(undisturbed, "validation_loss")[-1] < losses(undisturbed, "validation_loss")[0]
    assert losses(undisturbed, "lr")[0] == pytest.approx(1e-3, rel=0.01), "the warm-up is one step"
    assert losses(undisturbed, "lr")[-1] == pytest.approx(0, abs=1e-5)
    assert not (undisturbed / CHECKPOINTS).exists()


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_all_stages_on_two_workers_have_the_losses_of_one_worker(
    stage: int, undisturbed: Path, tiny_base_folder: Path, tmp_path: Path
) -> None:
    folder = fit(spec(tiny_base_folder, workers=2, zero={"stage": stage}), tmp_path)
    torch.testing.assert_close(losses(folder), losses(undisturbed), rtol=0, atol=ROUNDING)
    for name, weight in weights(undisturbed).items():
        # Where a gradient is all rounding, Adam's update has its full length and a direction of chance.
        torch.testing.assert_close(weights(folder)[name], weight, rtol=0, atol=2 * LR)


def test_accumulation_and_checkpointed_activations_change_no_loss(
    undisturbed: Path, tiny_base_folder: Path, tmp_path: Path
) -> None:
    folder = fit(spec(tiny_base_folder, micro_batch_size=1, gradient_checkpointing=True), tmp_path)
    torch.testing.assert_close(losses(folder), losses(undisturbed), rtol=0, atol=ROUNDING)


def test_without_the_cache_the_losses_are_the_same(undisturbed: Path, tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = fit(spec(tiny_base_folder, cache=False), tmp_path)
    assert not (tmp_path / "cache").exists()
    assert losses(folder) == losses(undisturbed)


@pytest.mark.parametrize("stage", [0, 3])
def test_bf16_trains_near_fp32(stage: int, undisturbed: Path, tiny_base_folder: Path, tmp_path: Path) -> None:
    folder = fit(spec(tiny_base_folder, precision="bf16", workers=2, zero={"stage": stage}), tmp_path)
    torch.testing.assert_close(losses(folder), losses(undisturbed), rtol=0.03, atol=0)
    found = torch.cat([weight.flatten() for weight in weights(folder).values()])
    assert found.dtype == torch.float32
    assert not torch.equal(found.bfloat16().float(), found), "the master copy is left, not what the passes rounded"


# ------------------------------------------------------------------------------------------------------------ going on

KILLED_AT = 8
"""After two checkpoints, and in the middle between them and the next."""
KILLED = """
from trainables import fit
own = fit.Fit._update
def update(self, step):
    if step == {step}:
        os.kill(os.getpid(), 9)
    return own(self, step)
if int(os.environ["RANK"]) == {rank}:
    fit.Fit._update = update
"""


def kill_at(cell: TrialSpec, storage: Path, step: int = KILLED_AT, rank: int = 0) -> Path:
    """Run until a rank kills itself at a step; the others are killed a second later."""
    before = FEW_HELD_OUT + KILLED.format(step=step, rank=rank)
    ranks = start_ranks(config(cell, storage), cell.scaling.workers, before)
    assert ranks[rank].ended(timeout=200) == -signal.SIGKILL
    time.sleep(1)
    for rank_process in ranks:
        rank_process.end()
    return folder_of(cell, storage)


@pytest.fixture(scope="module")
def killed(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage of the undisturbed cell, killed during training; no test may change it."""
    storage = tmp_path_factory.mktemp("killed")
    kill_at(spec(tiny_base_folder), storage)
    return storage


@pytest.fixture(scope="module")
def killed_of_two(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Storage of a cell of two ranks at a ZeRO stage, the second of which was killed; no test may change it."""

    @functools.cache
    def storage(stage: int) -> Path:
        folder = tmp_path_factory.mktemp(f"stage{stage}")
        kill_at(spec(tiny_base_folder, workers=2, zero={"stage": stage}), folder, rank=1)
        return folder

    return storage


def test_after_a_kill_the_training_goes_on_and_ends_bitwise_the_same(
    undisturbed: Path, killed: Path, tiny_base_folder: Path, tmp_path: Path
) -> None:
    cell, storage = spec(tiny_base_folder), tmp_path / "storage"
    shutil.copytree(killed, storage)
    folder = folder_of(cell, storage)
    assert [path.name for path in sorted((folder / CHECKPOINTS).glob("step-*"))] == ["step-00000003", "step-00000006"]
    fit(cell, storage)
    assert Result.model_validate_json((folder / RESULT).read_bytes()).attempt == 2
    assert losses(folder) == losses(undisturbed)
    mine, theirs = weights(folder), weights(undisturbed)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("stage", [2, 3])
def test_after_a_kill_of_one_of_two_ranks_it_ends_the_same(
    stage: int, undisturbed: Path, killed_of_two: Callable[[int], Path], tiny_base_folder: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    shutil.copytree(killed_of_two(stage), storage)
    folder = fit(spec(tiny_base_folder, workers=2, zero={"stage": stage}), storage)
    assert Result.model_validate_json((folder / RESULT).read_bytes()).attempt == 2
    torch.testing.assert_close(losses(folder), losses(undisturbed), rtol=0, atol=ROUNDING)


def test_moving_average_goes_on_from_the_checkpoint(undisturbed: Path, tiny_base_folder: Path, tmp_path: Path) -> None:
    cell = spec(tiny_base_folder, edit={"ema": {"kind": "updates", "decay": 0.9}})
    whole = fit(cell, tmp_path / "whole")
    kill_at(cell, tmp_path / "killed")
    again = fit(cell, tmp_path / "killed")
    mine, theirs = weights(again), weights(whole)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    last = weights(undisturbed)
    assert any(not torch.equal(mine[name], last[name]) for name in mine), "the average is not the last"


def test_half_a_checkpoint_is_not_seen(undisturbed: Path, killed: Path, tiny_base_folder: Path, tmp_path: Path) -> None:
    cell, storage = spec(tiny_base_folder), tmp_path / "storage"
    shutil.copytree(killed, storage)
    folder = folder_of(cell, storage)
    newest = folder / CHECKPOINTS / "step-00000006"
    newest.rename(folder / CHECKPOINTS / ".step-00000009")
    (folder / CHECKPOINTS / "step-00000010").mkdir()
    fit(cell, storage)
    assert losses(folder) == losses(undisturbed)


@pytest.mark.parametrize("stage", [0, 2])
def test_another_number_of_workers_is_refused_unless_universal(
    stage: int, undisturbed: Path, killed_of_two: Callable[[int], Path], tiny_base_folder: Path, tmp_path: Path
) -> None:
    for storage in (tmp_path / "refused", tmp_path / "universal"):
        shutil.copytree(killed_of_two(stage), storage)
    folder = fit(spec(tiny_base_folder, workers=1, zero={"stage": stage}), tmp_path / "refused")
    refused = Result.model_validate_json((folder / RESULT).read_bytes())
    assert refused.status == "failed"
    assert f"stage {stage}, workers 2; this group is precision fp32, stage {stage}, workers 1" in refused.error
    assert "zero: {resume: universal}" in refused.error
    universal = spec(tiny_base_folder, workers=1, zero={"stage": stage, "resume": "universal"})
    folder = fit(universal, tmp_path / "universal")
    assert Result.model_validate_json((folder / RESULT).read_bytes()).error == ""
    torch.testing.assert_close(losses(folder), losses(undisturbed), rtol=0, atol=ROUNDING)


def test_what_is_not_trained_is_warmed_up_all_the_same(
    undisturbed: Path, tiny_base_folder: Path, tmp_path: Path
) -> None:
    edit: dict[str, object] = {"trainable": "removed", "text_decomposer.identity_steps": 20}
    folder = fit(spec(tiny_base_folder, edit=edit), tmp_path)
    (warmed_up,) = losses(folder, "identity_loss")
    assert warmed_up < losses(undisturbed, "identity_loss")[0], "20 steps of warm-up rather than 2"
    assert losses(folder) == []
    found = weights(folder)
    assert found.keys() == {name for name in weights(undisturbed) if name.startswith("text.")}
    assert found["text.query"].any(), "the learnt query is 0 in a new decomposer"


# ------------------------------------------------------------------------------------------------------ what goes wrong


def test_a_training_that_is_told_to_stop_leaves_no_result(tiny_base_folder: Path, tmp_path: Path) -> None:
    cell = spec(tiny_base_folder, edit={"training.steps": 2000})
    folder = folder_of(cell, tmp_path)
    folder.mkdir(parents=True)
    (folder / STOP).touch()
    fit(cell, tmp_path)
    assert not (folder / RESULT).exists()


def test_a_loss_that_leaves_the_numbers_is_the_cells_result(tiny_base_folder: Path, tmp_path: Path) -> None:
    before = """
from trainables import fit
fit.Fit._loss = lambda self, batch: self.engine(**batch) * float("nan")
"""
    folder = fit(spec(tiny_base_folder, workers=2), tmp_path, before)
    result = Result.model_validate_json((folder / RESULT).read_bytes())
    assert result.status == "failed"
    assert result.error == f"NonFiniteError: the loss became nan at step 1 of {STEPS}"
    assert not (folder / CHECKPOINTS).exists()


def test_memory_that_does_not_suffice_says_which_micro_batch_to_try(tiny_base_folder: Path, tmp_path: Path) -> None:
    before = """
import torch
from trainables import fit
fit.Fit._loss = lambda self, batch: torch.empty(2**60)
"""
    folder = fit(spec(tiny_base_folder), tmp_path, before)
    result = Result.model_validate_json((folder / RESULT).read_bytes())
    assert result.error.startswith("OutOfMemoryError: micro-batch 4 does not fit into memory")
    assert result.error.endswith("-> resources: {micro_batch_size: 2}")


def test_a_full_disk_costs_a_checkpoint_and_not_the_training(
    undisturbed: Path, tiny_base_folder: Path, tmp_path: Path
) -> None:
    before = (
        FEW_HELD_OUT
        + """
import errno
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
write = TorchCheckpointEngine.save
def save(self, state_dict, path):
    if int(os.environ["RANK"]) == 1 and "step-00000006" in str(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    return write(self, state_dict, path)
TorchCheckpointEngine.save = save
"""
        + KILLED.format(step=KILLED_AT, rank=0)
    )
    cell = spec(tiny_base_folder, workers=2, zero={"stage": 2})
    ranks = start_ranks(config(cell, tmp_path), 2, before)
    assert ranks[0].ended(timeout=200) == -signal.SIGKILL
    ranks[1].ended(timeout=200)
    folder = folder_of(cell, tmp_path)
    assert "checkpoint at step 6 failed (OSError: [Errno 28] No space left on device)" in ranks[0].output()
    assert [path.name for path in (folder / CHECKPOINTS).iterdir()] == ["step-00000003"]
    fit(cell, tmp_path)
    torch.testing.assert_close(losses(folder), losses(undisturbed), rtol=0, atol=ROUNDING)


# -------------------------------------------------------------------------------------------------------------- on GPUs


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "zero",
    [
        {"stage": 0},
        {"stage": 2},
        {"stage": 2, "offload": "optimizer"},
        {"stage": 3},
        {"stage": 3, "offload": "optimizer_and_parameters"},
    ],
    ids=str,
)
def test_on_a_gpu_every_precision_trains_at_every_stage(
    zero: dict[str, Any], precision: str, tiny_base_folder: Path, tmp_path: Path
) -> None:
    cell = spec(tiny_base_folder, precision=precision, zero=zero, gpus_per_worker=1)
    folder = fit(cell, tmp_path)
    result = Result.model_validate_json((folder / RESULT).read_bytes())
    assert result.error == ""
    assert losses(folder, "validation_loss")[-1] < losses(folder, "validation_loss")[0]
