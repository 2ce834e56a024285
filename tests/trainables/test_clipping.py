"""Gradients clipped over the denoiser only: closed forms, on one rank and in every ZeRO stage on two."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from models.backbones import DTYPES
from models.training import AdamW
from tests.factories import FORKS, free_port
from tests.tolerance import bound
from trainables.clipping import clip_before_step, clipped_groups
from trainables.scaling import Scaling, Zero
from trainables.zero import backward, deepspeed_config, full_weights, gradient_norm, start_engine

MAX_NORM = 0.5
TRAINING = AdamW(
    steps=10**6, global_batch_size=4, lr=0.1, warm_up=0.0, weight_decay=0.0, beta1=0.0, beta2=0.0, eps=1.0,
    max_grad_norm=MAX_NORM, clip_over="unet",
)  # fmt: skip
"""Without moments, and with a large eps, so that an update shows the length of its gradient: -lr g / (|g| + 1)."""
GRADIENTS = {
    "unet.weight": torch.tensor([[3.0, -1.0, 2.0], [0.5, 4.0, -2.5]]),
    "unet.bias": torch.tensor([1.0, -2.0]),
    "text.weight": torch.tensor([[5.0, 0.25, -3.0]]),
    "text.bias": torch.tensor([7.0]),
}
START = 0.5


class Slope(nn.Module):
    """A loss that is linear in weight and bias, with given gradients."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(outputs, inputs)), nn.Parameter(torch.empty(outputs))

    def forward(self, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return (self.weight * weight.to(self.weight)).sum() + (self.bias * bias.to(self.bias)).sum()


class Linear(nn.Module):
    """Its loss has the gradients ``GRADIENTS`` times the mean of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.unet, self.text = Slope(3, 2), Slope(3, 1)
        for weight in self.parameters():
            nn.init.constant_(weight, START)

    def forward(self, scale: torch.Tensor) -> torch.Tensor:
        losses = [part(GRADIENTS[f"{name}.weight"], GRADIENTS[f"{name}.bias"]) for name, part in self.named_children()]
        return torch.stack(losses).sum() * scale.mean().to(losses[0])


def expected(max_norm: float) -> dict[str, torch.Tensor]:
    """The weights after one update, where the denoiser's gradients are clipped and the text's are not."""
    inside = torch.cat([grad.flatten() for name, grad in GRADIENTS.items() if name.startswith("unet.")])
    scale = min(1.0, max_norm / (float(inside.norm()) + 1e-6))
    clipped = {name: grad * (scale if name.startswith("unet.") else 1.0) for name, grad in GRADIENTS.items()}
    return {name: START - TRAINING.lr * grad / (grad.abs() + TRAINING.eps) for name, grad in clipped.items()}


@pytest.mark.parametrize("max_norm", [MAX_NORM, 100.0])
def test_an_update_clips_the_denoiser_by_its_own_norm(max_norm: float) -> None:
    network = Linear()
    groups = clipped_groups(network)
    optimizer = torch.optim.AdamW(groups, lr=TRAINING.lr, betas=(0.0, 0.0), eps=TRAINING.eps, weight_decay=0.0)
    clip_before_step(optimizer, max_norm, torch.device("cpu"), sharded=False)
    network(torch.ones(4)).backward()
    optimizer.step()
    for name, weight in expected(max_norm).items():
        found = network.get_parameter(name).detach()
        torch.testing.assert_close(found, weight, rtol=0, atol=bound(torch.float32, 20))


def test_groups_are_the_trained_parameters_and_a_network_without_a_denoiser_is_refused() -> None:
    network = Linear()
    assert [(len(group["params"]), group["clipped"]) for group in clipped_groups(network)] == [(2, True), (2, False)]
    network.unet.requires_grad_(False)
    assert [(len(group["params"]), group["clipped"]) for group in clipped_groups(network)] == [(2, False)]
    with pytest.raises(ValueError, match="clip_over: unet -> all, since the trained network has no part unet"):
        clipped_groups(nn.Linear(3, 2))


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_deepspeed_clips_nothing_where_the_optimizer_does(stage: int) -> None:
    scaling = Scaling(zero=Zero(stage=stage))  # type: ignore[arg-type]  # one of the four
    config = deepspeed_config(TRAINING, scaling, "fp32")
    assert config["gradient_clipping"] == 0
    assert ("sub_group_size" in config["zero_optimization"]) == (stage == 3)
    whole = deepspeed_config(TRAINING.model_copy(update={"clip_over": "all"}), scaling, "fp32")
    assert whole["gradient_clipping"] == MAX_NORM
    assert "sub_group_size" not in whole["zero_optimization"]


def _update(rank: int, port: int, zero: dict[str, Any], precision: str, file: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    os.environ |= {"LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    network, scaling = Linear(), Scaling(workers=2, micro_batch_size=1, zero=Zero.model_validate(zero))
    config = deepspeed_config(TRAINING, scaling, precision)
    config["fp16"]["loss_scale"] = 256  # fixed: DeepSpeed's first one overflows here
    engine = start_engine(network, TRAINING, config)
    for step in range(2):  # two passes to an update; ranks and passes differ, the mean is 1
        backward(engine, engine(torch.tensor([1.0 + (rank - 0.5) * (1 + step)], device=engine.device)))
        engine.step()
    weights, norm = full_weights(engine), gradient_norm(engine)
    if rank == 0:
        torch.save((weights, norm), file)
    dist.barrier()
    dist.destroy_process_group()


ZERO = [
    *({"stage": stage} for stage in range(4)),
    {"stage": 2, "offload": "optimizer"},
    {"stage": 3, "offload": "optimizer_and_parameters"},
]


CASES = [
    *((zero, "fp32") for zero in ZERO),
    *((zero, "bf16") for zero in ZERO[:4]),
    *((zero, "fp16") for zero in (ZERO[0], ZERO[2], ZERO[3])),
]


@pytest.mark.slow
@pytest.mark.parametrize(("zero", "precision"), CASES, ids=str)
def test_every_stage_on_two_ranks_clips_the_same(zero: dict[str, Any], precision: str, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("forked processes cannot use a GPU")
    port = free_port()
    ranks = [
        FORKS.Process(target=_update, args=(rank, port, zero, precision, tmp_path / "weights.pt"), daemon=True)
        for rank in range(2)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    weights, norm = torch.load(tmp_path / "weights.pt")
    whole = torch.cat([grad.flatten() for grad in GRADIENTS.values()]).norm()
    assert norm is None or norm == pytest.approx(float(whole), rel=0.02), "of all, as DeepSpeed reports it"
    rounding = bound(torch.float32, 20) if precision == "fp32" else bound(DTYPES[precision], 4, size=TRAINING.lr)
    for name, weight in expected(MAX_NORM).items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=rounding)
