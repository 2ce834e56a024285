"""The Ray cluster: joining and leaving it, and what of a plan it holds at a time."""

import gc
import logging
import os
import sys
from typing import Any

import ray

from models import SYSTEMS
from sweeps.plan import Plan
from trainables.scaling import Scaling


def connect(*, dashboard: bool = False) -> bool:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine; True where this call did it.

    Args:
        dashboard: Whether a Ray of our own gets one, which Ray Train asks before it frees what a lost group reserved.
    """
    if ray.is_initialized():
        return False
    # The ledger and the progress line speak of what went wrong; Tune's own account is tracebacks of its loop.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    # Ray hides a node's GPUs from workers that are given none only where their environment says so.
    hidden = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
    if os.environ.get("RAY_ADDRESS"):
        where: dict[str, Any] = {"runtime_env": {"env_vars": hidden}}
    else:
        os.environ.update(hidden)  # inherited, which costs no worker a start of its own
        # Left to itself, Ray joins any cluster that runs here, and ends with it.
        where = {"address": "local", "include_dashboard": dashboard}
    ray.init(log_to_driver=False, logging_level="WARNING", **where)
    return True


def disconnect() -> None:
    """Leave the cluster; what this driver started ends with it.

    Tune leaves references to remote objects in cycles. One that were collected by another thread while Ray shuts down
    would end the whole process at once, before the report.
    """
    gc.collect()
    ray.shutdown()


def is_trained(plan: Plan) -> bool:
    """Whether a cell has a worker group."""
    return SYSTEMS[plan.study.system].is_trained


def trial_resources(plan: Plan) -> dict[str, float]:
    """What Ray reserves for a trial: its worker's share, or next to nothing where its worker group has its own.

    A trial that held a processor beside its group's would keep another group from starting, each waiting for the other.
    """
    return {"memory": 1} if is_trained(plan) else worker_resources(plan)


def worker_resources(plan: Plan) -> dict[str, float]:
    """What one worker of a cell is given."""
    return scaling_of(plan).per_worker


def scaling_of(plan: Plan) -> Scaling:
    """The worker group of a cell on this cluster: where the study asks for no GPUs, one each if there are any."""
    asked = plan.study.resources.scaling
    if asked.gpus_per_worker is not None:
        return asked
    return asked.model_copy(update={"gpus_per_worker": float(ray.cluster_resources().get("GPU", 0) >= 1)})


def num_slots(plan: Plan) -> int:
    """How many cells the cluster holds at a time, as it is now; a worker lies whole on one node."""
    return max(1, min(_room(plan) // plan.study.resources.workers, plan.study.resources.max_concurrent or sys.maxsize))


def too_large(plan: Plan) -> str:
    """Why a cell's worker group never fits the cluster as it is, with the arithmetic; empty where it does."""
    room, workers = _room(plan), plan.study.resources.workers
    if room >= workers:
        return ""
    each = " and ".join(f"{need:g} {name}" for name, need in worker_resources(plan).items() if need)
    nodes = "; ".join(
        ", ".join(f"{node['Resources'].get(name, 0):g} {name}" for name in ("CPU", "GPU")) for node in _nodes()
    )
    asked = f"{plan.study.name}: a cell asks for {workers} workers with {each} each"
    return f"{asked}, and the cluster's nodes ({nodes}) hold {room} -> fewer workers, or a larger cluster"


def _room(plan: Plan) -> int:
    """How many workers the cluster's nodes hold."""
    needs = {name: need for name, need in worker_resources(plan).items() if need}
    return sum(min(int(node["Resources"].get(name, 0) / need) for name, need in needs.items()) for node in _nodes())


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]
