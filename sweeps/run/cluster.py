"""The Ray cluster: connection, resources of cells, number of parallel cells."""

import gc
import logging
import os
import sys
from typing import Any

import ray

from sweeps.plan import Plan
from sweeps.run.address import cluster_address
from sweeps.run.endings import own_sigterm
from sweeps.run.progress import notify
from sweeps.study.words import counted
from trainables.scaling import Scaling

MAX_SOCKET = 107
"""Longest path of a Unix socket, in bytes."""
RAY_SESSION = "/ray/session_2000-01-01_00-00-00_000000_4194304/sockets/"
SHORT_FOLDER = "/tmp"


def connect(*, dashboard: bool = False) -> bool:
    """Join the cluster named by RAY_ADDRESS, or start Ray on this machine.

    Args:
        dashboard: Start a local Ray with its dashboard, which Ray Train needs to free the resources of a lost worker
            group.

    Returns:
        True if this call connected; False if this process was connected already.
    """
    if ray.is_initialized():
        return False
    # Failures are in the ledger and the progress line; Tune would add tracebacks of its own loop.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    # Ray hides a node's GPUs from workers without a GPU only if their environment has this variable.
    hidden = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
    if cluster_address():
        where: dict[str, Any] = {"runtime_env": {"env_vars": hidden}}
    else:
        os.environ.update(hidden)  # inherited: a runtime_env would restart every worker
        # Without an address, Ray joins any cluster that runs on this machine, and ends with it.
        where = {"address": "local", "include_dashboard": dashboard, "_temp_dir": short_folder(dashboard=dashboard)}
    with own_sigterm():
        ray.init(log_to_driver=False, logging_level="WARNING", **where)
    return True


def short_folder(*, dashboard: bool) -> str | None:
    """Return a folder for Ray's sockets where the one that the environment names is too long; else None."""
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "")
    folder = os.environ.get(variable, "")
    room = MAX_SOCKET - len(f"{RAY_SESSION}{'dash_TaskEventsHead' if dashboard else 'plasma_store'}")
    if len(os.fsencode(folder)) <= room:
        return None
    limit = f"longer than the {room} bytes that Ray's sockets leave"
    notify(f"{variable}={folder}: {limit}: Ray uses {SHORT_FOLDER} -> RAY_TMPDIR=FOLDER for another short folder")
    return f"{SHORT_FOLDER}/ray"


def disconnect() -> None:
    """Leave the cluster, and stop everything that this driver started.

    Tune leaves references to remote objects in cycles. If another thread collected one during the shutdown, the whole
    process would end at once, before the report.
    """
    gc.collect()
    ray.shutdown()


def worker_resources(plan: Plan) -> dict[str, float]:
    """Return the resources of one worker of a cell."""
    return placed(plan.study.resources.scaling).per_worker


def placed(scaling: Scaling) -> Scaling:
    """Return a worker group on this cluster; ``gpus_per_worker`` is by default 1 if it has GPUs, else 0."""
    if scaling.gpus_per_worker is not None:
        return scaling
    return scaling.model_copy(update={"gpus_per_worker": float(ray.cluster_resources().get("GPU", 0) >= 1)})


def num_slots(plan: Plan) -> int:
    """Return the number of cells that fit on the cluster in parallel; a worker is never split over nodes."""
    return max(1, min(_fit(plan) // plan.study.resources.workers, plan.study.resources.max_concurrent or sys.maxsize))


def too_large(plan: Plan) -> str:
    """Explain why a cell's worker group is too large for the cluster; empty if it fits."""
    fitting, workers = _fit(plan), plan.study.resources.workers
    if fitting >= workers:
        return ""
    each = " and ".join(f"{need:g} {name}" for name, need in worker_resources(plan).items() if need)
    nodes = "; ".join(
        ", ".join(f"{node['Resources'].get(name, 0):g} {name}" for name in ("CPU", "GPU")) for node in _nodes()
    )
    needed = f"{plan.study.name}: a cell needs {counted(workers, 'worker')} with {each} each"
    return f"{needed}, but only {fitting} fit on the cluster's nodes ({nodes}) -> fewer workers, or a larger cluster"


def _fit(plan: Plan) -> int:
    """Count the workers that fit on the cluster's nodes."""
    needs = {name: need for name, need in worker_resources(plan).items() if need}
    return sum(min(int(node["Resources"].get(name, 0) / need) for name, need in needs.items()) for node in _nodes())


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]
