"""Worker groups: division of the batch, ZeRO settings, DeepSpeed configuration, memory estimate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.training import AdamW
from trainables.memory import model_state
from trainables.scaling import Scaling, Zero
from trainables.zero import deepspeed_config


@given(workers=st.integers(1, 8), micro=st.integers(1, 8), passes=st.integers(1, 5))
def test_the_passes_follow_from_the_global_batch(workers: int, micro: int, passes: int) -> None:
    training = AdamW(global_batch_size=workers * micro * passes)
    scaling = Scaling(workers=workers, micro_batch_size=micro)
    assert scaling.problem(training) == ""
    assert scaling.accumulation(training) == passes
    whole = Scaling(workers=workers)
    assert (whole.micro_batch(training), whole.accumulation(training)) == (micro * passes, 1)


def test_a_batch_that_cannot_be_shared_out_says_why() -> None:
    message = Scaling(workers=3).problem(AdamW(global_batch_size=8))
    assert message == "8 clips per update over 3 workers x 2 -> a multiple of 6"
    assert Scaling(workers=2, micro_batch_size=3).problem(AdamW(global_batch_size=8)).endswith("a multiple of 6")


def test_a_part_of_a_gpu_is_for_one_worker_alone() -> None:
    training = AdamW(global_batch_size=8)
    assert Scaling(workers=1, gpus_per_worker=0.5).problem(training) == ""
    assert Scaling(workers=2, gpus_per_worker=2).problem(training) == ""
    assert Scaling(workers=2, gpus_per_worker=0.5).problem(training).startswith("2 workers with 0.5 GPUs each -> whole")


@pytest.mark.parametrize(
    ("stage", "offload", "problem"),
    [
        (0, "none", ""),
        (3, "optimizer_and_parameters", ""),
        (1, "optimizer", ""),
        (0, "optimizer", "stage 1, 2 or 3"),
        (2, "optimizer_and_parameters", "stage 3"),
    ],
)
def test_what_offload_needs(stage: int, offload: str, problem: str) -> None:
    found = Zero.model_validate({"stage": stage, "offload": offload}).problem()
    assert found.endswith(problem)
    assert bool(found) == bool(problem)


def test_there_are_four_stages() -> None:
    with pytest.raises(ValidationError):
        Zero.model_validate({"stage": 4})


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_what_deepspeed_would_choose_by_itself_is_written_out(stage: int) -> None:
    training, scaling = AdamW(global_batch_size=8, max_grad_norm=0.3), Scaling(workers=2, zero=Zero(stage=stage))
    config = deepspeed_config(training, scaling, "fp32")
    assert config["gradient_clipping"] == 0.3
    assert config["train_batch_size"] == 8 == 2 * config["train_micro_batch_size_per_gpu"]
    assert config["zero_optimization"]["stage"] == stage
    assert config["bf16"] == config["fp16"] == {"enabled": False}
    assert "optimizer" not in config, "ours is passed"
    assert deepspeed_config(training, scaling, "bf16")["bf16"] == {"enabled": True}
    assert deepspeed_config(AdamW(max_grad_norm=0), scaling, "fp32")["gradient_clipping"] == 0


# --------------------------------------------------------------------------------------------------------------- memory


def state(stage: int, workers: int, precision: str = "bf16", **zero: str) -> dict[str, int]:
    scaling = Scaling.model_validate({"workers": workers, "zero": {"stage": stage, **zero}})
    found = model_state(1000, 400, 50, scaling, precision, gpu=True)  # type: ignore[arg-type]
    return vars(found) | {"on_device": found.on_device}


def test_each_stage_shares_out_one_thing_more() -> None:
    whole = {"weights": 2000, "gradients": 800, "master": 1600, "moments": 3200, "others": 200, "offloaded": 0}
    assert state(0, 2) == whole | {"on_device": 7800}
    first = whole | {"master": 800, "moments": 1600}
    assert state(1, 2) == first | {"on_device": 5400}
    assert state(2, 2) == first | {"gradients": 400, "on_device": 5000}
    assert state(3, 2) == first | {"gradients": 400, "weights": 1000, "on_device": 4000}


def test_full_precision_has_a_master_copy_from_stage_1_on() -> None:
    assert state(0, 2, "fp32")["master"] == 0
    assert state(1, 2, "fp32")["master"] == 800
    assert state(0, 2, "fp32")["weights"] == 4000
    assert state(0, 1, "auto")["weights"] == 2000, "bf16 on a GPU"


def test_what_is_offloaded_is_not_on_the_device() -> None:
    assert state(2, 2, offload="optimizer")["on_device"] == 5000 - 800 - 1600
    assert state(3, 2, offload="optimizer_and_parameters")["on_device"] == 4000 - 800 - 1600 - 1000
