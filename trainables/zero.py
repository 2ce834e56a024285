"""DeepSpeed engine from typed settings, and the bytes of model state on a rank."""

from typing import Any

import torch
from torch import nn

from models.training import AdamW
from trainables.clipping import clip_before_step, clipped_groups
from trainables.scaling import Scaling


def deepspeed_config(training: AdamW, scaling: Scaling, precision: str) -> dict[str, Any]:
    """Make DeepSpeed's configuration; every default that affects results is set explicitly.

    Args:
        training: Batch size and maximum gradient norm.
        scaling: Workers and ZeRO.
        precision: Precision of the forward and backward pass; never "auto".
    """
    zero = scaling.zero
    sharding: dict[str, Any] = {"stage": zero.stage, "contiguous_gradients": True, "overlap_comm": False}
    clips_all = training.clip_over == "all"  # else the optimizer clips, see trainables.clipping
    if zero.stage == 3 and not clips_all:
        sharding["sub_group_size"] = 2**62  # one step for all parameters of a group
    if zero.stage == 3:
        sharding |= {"stage3_param_persistence_threshold": 0, "stage3_gather_16bit_weights_on_model_save": False}
    if zero.offload != "none":
        sharding["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    if zero.offload == "optimizer_and_parameters":
        sharding["offload_param"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    return {
        "train_batch_size": training.global_batch_size,
        "train_micro_batch_size_per_gpu": scaling.micro_batch(training),
        "gradient_accumulation_steps": scaling.accumulation(training),
        "gradient_clipping": training.max_grad_norm if clips_all else 0.0,  # DeepSpeed's default is 1.0
        "zero_optimization": sharding,
        "zero_allow_untested_optimizer": True,  # torch's AdamW; DeepSpeed must not replace it by a fused one
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": precision == "bf16"},
        "fp16": {"enabled": precision == "fp16"},
        "checkpoint": {"load_universal": False},
        "steps_per_print": 2**31,
        "wall_clock_breakdown": False,
    }


def start_engine(network: nn.Module, training: AdamW, config: dict[str, Any]) -> Any:
    """Make a DeepSpeed engine on the existing process group, with AdamW and its learning rate schedule.

    Args:
        network: Trained parameters require a gradient; at least one parameter does.
        training: Optimizer and schedule.
        config: From ``deepspeed_config``.
    """
    import deepspeed

    if not torch.cuda.is_available():
        # Else DeepSpeed compiles its shared-memory collectives, which takes half a minute; gloo's are sufficient.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="nccl" if torch.cuda.is_available() else "gloo", verbose=False)
    own_clipping = training.clip_over == "unet" and training.max_grad_norm > 0
    optimizer = torch.optim.AdamW(
        clipped_groups(network)
        if own_clipping
        else [weight for weight in network.parameters() if weight.requires_grad],
        lr=training.lr,
        betas=(training.beta1, training.beta2),
        eps=training.eps,
        weight_decay=training.weight_decay,
        foreach=False,
        fused=False,
    )
    if own_clipping:
        sharded = config["zero_optimization"]["stage"] > 0
        clip_before_step(optimizer, training.max_grad_norm, _device(), sharded=sharded)
    engine, *_ = deepspeed.initialize(
        model=network,
        optimizer=optimizer,
        lr_scheduler=lambda own: schedule(own, training),
        config=config,
        dist_init_required=False,
    )
    return engine


def schedule(optimizer: torch.optim.Optimizer, training: AdamW) -> torch.optim.lr_scheduler.LambdaLR:
    """Make the learning rate's schedule over all updates: a warm-up, then decay or none."""
    from diffusers.optimization import get_scheduler

    numbers = {"num_warmup_steps": training.warm_up_steps, "num_training_steps": training.steps}
    scheduler: torch.optim.lr_scheduler.LambdaLR = get_scheduler(training.lr_scheduler, optimizer, **numbers)
    return scheduler


def backward(engine: Any, loss: torch.Tensor) -> None:
    """Add the gradients of a loss, in any stage and precision.

    In stage 0 with fp16, DeepSpeed 0.19.8 divides the gradients by the loss scale before an update, but does not
    multiply the loss with it, as it does in the other stages: nothing would ever be clipped.

    Args:
        engine: From ``start_engine``.
        loss: Mean loss of a pass, without scale.
    """
    engine.backward(loss * _scale_left_out(engine))


def gradient_norm(engine: Any) -> float | None:
    """Return the norm of the last update's gradients before clipping, without loss scale; None if it is not known."""
    norm = engine.get_global_grad_norm()
    return None if norm is None else float(norm) / _scale_left_out(engine)


def _scale_left_out(engine: Any) -> float:
    scale = getattr(engine.optimizer, "loss_scale_config", None)  # only of optimizers for stage 0 in half precision
    return 1.0 if scale is None else float(scale.cur_scale)


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def full_weights(engine: Any) -> dict[str, torch.Tensor]:
    """Gather the trained weights by name, unsharded, in float32 on the CPU; a collective call for all ranks.

    Args:
        engine: From ``start_engine``.
    """
    from deepspeed.utils import safe_get_full_fp32_param

    weights, masters = {}, _masters_at_stage_0(engine.optimizer)
    for name, parameter in engine.module.named_parameters():
        if parameter.requires_grad:
            linked = _has_master(parameter)
            whole = safe_get_full_fp32_param(parameter) if linked else masters.get(parameter, parameter)
            weights[name] = whole.detach().float().cpu().clone()
    return weights


def _masters_at_stage_0(optimizer: Any) -> dict[nn.Parameter, torch.Tensor]:
    """Map each parameter to its float32 master copy, for unsharded half precision (two parallel lists in DeepSpeed).

    The half-precision parameters are rounded copies of the trained weights.
    """
    halves, wholes = (getattr(optimizer, name, []) for name in ("fp16_groups", "fp32_groups"))
    return {half: whole for group in zip(halves, wholes, strict=False) for half, whole in zip(*group, strict=True)}


def _has_master(parameter: nn.Parameter) -> bool:
    # The attribute exists on every rank, even if no shard of the parameter is on this rank.
    return hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping")


def state_bytes(engine: Any) -> dict[str, int]:
    """Measure the model state on this rank in bytes, between a backward pass and its update.

    Args:
        engine: From ``start_engine``, after ``backward`` and before ``step``.

    Returns:
        "parameters", "gradients", "master" (float32 copies) and "moments" (of AdamW).
    """
    optimizer = engine.optimizer
    parameters = [getattr(parameter, "ds_tensor", parameter) for parameter in engine.module.parameters()]
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    for groups in (getattr(optimizer, "averaged_gradients", None) or {}).values():
        gradients += [gradient for gradient in groups or [] if gradient is not None]
    masters: list[torch.Tensor] = []
    for name in ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat", "fp32_groups_flat_partition"):
        masters += getattr(optimizer, name, [])
    masters += _masters_at_stage_0(optimizer).values()
    states = getattr(optimizer, "optimizer", optimizer).state.values()
    moments = [state[key] for state in states for key in ("exp_avg", "exp_avg_sq") if key in state]
    state = {"parameters": parameters, "gradients": gradients, "master": masters, "moments": moments}
    return {name: sum(_bytes(tensor) for tensor in tensors) for name, tensors in state.items()}


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
