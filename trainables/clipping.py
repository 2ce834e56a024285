"""Gradient clipping over some of the trained parameters, inside DeepSpeed's update."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

UNET = "unet."
"""Prefix of the names of a network's denoiser."""
_EPS = 1e-6


def clipped_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Split trained parameters into groups of an optimizer: the denoiser's, which are clipped, and the others.

    Raises:
        ValueError: The network has no denoiser ``unet``.
    """
    if not any(name.startswith(UNET) for name, _ in network.named_parameters()):
        raise ValueError("training.clip_over: unet -> all, since the trained network has no part unet")
    named = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    inside = [weight for name, weight in named if name.startswith(UNET)]
    outside = [weight for name, weight in named if not name.startswith(UNET)]
    groups = [{"params": inside, "clipped": True}, {"params": outside, "clipped": False}]
    return [group for group in groups if group["params"]]


def clip_before_step(optimizer: torch.optim.Optimizer, max_norm: float, device: torch.device, *, sharded: bool) -> None:
    """Clip the gradients of the groups marked ``clipped`` before every step of an optimizer.

        g <- g min(1, max_norm / (||g|| + 1e-6)),   ||g|| over all clipped parameters of all ranks

    DeepSpeed's own clipping has one norm over all groups. In every ZeRO stage, however, its update ends in a step of
    the optimizer that it was given, with gradients that are accumulated, reduced, without loss scale and in float32:
    whole parameters in stage 0, else the rank's flat part of each group, in one step (in stage 3 if ``sub_group_size``
    exceeds it). So the norm over the ranks' parts is the norm of the group, in all stages and with offload.

    Args:
        optimizer: Made from ``clipped_groups``, before DeepSpeed has wrapped it.
        max_norm: Largest norm, above 0.
        device: Device for the sum over ranks.
        sharded: Whether ranks hold different parts of a gradient, else equal ones.
    """

    def clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        weights = [weight for group in optimizer.param_groups if group["clipped"] for weight in group["params"]]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if not gradients:
            return  # a step of the other group
        square = torch.stack([gradient.float().square().sum().to(device) for gradient in gradients]).sum()
        if sharded:
            dist.all_reduce(square)
        scale = (max_norm / (square.sqrt() + _EPS)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(scale.to(gradient))

    optimizer.register_step_pre_hook(clip)
