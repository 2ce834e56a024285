"""Tables and sentences of the command line, for a terminal or a file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table

from sweeps.output import terminal
from sweeps.plan import Plan
from sweeps.results.status import Status
from sweeps.statistics.paired import ALPHA
from sweeps.study.types import Resources
from sweeps.study.words import counted, duration, written

if TYPE_CHECKING:
    from sweeps.cost.forecast import Forecast
    from sweeps.cost.memory import ArmMemory, Device
    from sweeps.proof import Proof
    from sweeps.results.driver import Driver
    from sweeps.results.reach import Reach
    from sweeps.results.record import Record

WIDTH_IN_FILES = 200
SHOWN_FAILURES = 5
STATES = ("done", "running", "failed", "lost", "pruned", "rescore", "pending", "proposed", "spared")


def show(*tables: RenderableType) -> None:
    """Print tables; without styles and with a fixed width where the output is not a terminal."""
    terminal(WIDTH_IN_FILES).print(Group(*tables))


def plan_table(plan: Plan, cells: Iterable[Mapping[str, Any]]) -> Table:
    """Make the table of a plan: changes of each arm, and the states of its cells.

    Args:
        plan: The plan.
        cells: Every cell with its arm and state.
    """
    cells = list(cells)
    table = Table(title=f"{plan.study.name}: {len(cells)} cells", title_justify="left")
    for heading in ("arm", "changes", "cells"):
        table.add_column(heading)
    for arm in plan.arms:
        changes = ", ".join(f"{path}: {written(value)}" for path, value in arm.changes.items())
        counts = Counter(cell["state"] for cell in cells if cell["arm"] == arm.id)
        table.add_row(arm.id, changes, ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    return table


def status_table(status: Status) -> Table:
    """Make the table of a status: one row per arm, one column per state that occurs."""
    states = [state for state in STATES if any(counts[state] for counts in status.by_arm.values())]
    table = Table(title=f"{status.study}: {len(status.cells)} cells", title_justify="left")
    table.add_column("arm")
    for state in states:
        table.add_column(state, justify="right")
    for arm, counts in status.by_arm.items():
        table.add_row(arm, *(str(counts[state] or "") for state in states))
    return table


def proof_table(proof: "Proof") -> Table:
    """Make the table of the ablation proof: how each arm differs from the control.

    Args:
        proof: From ``sweeps.proof.proved``.
    """
    table = Table(title="Ablation proof: how each arm differs from the control", title_justify="left")
    table.add_column("arm")
    for heading in ("parameters", "FLOPs per pass"):
        table.add_column(heading, justify="right")
    for heading in ("output difference", "removed", "added", "findings"):
        table.add_column(heading, overflow="fold")
    for place, arm in enumerate(proof.arms):
        sign = "" if place == 0 else "+"
        counts = (arm.delta_parameters, arm.delta_flops) if place else (arm.parameters, arm.flops)
        difference = "" if place == 0 else "not run" if arm.difference is None else f"{arm.difference:.2g}"
        paths = [
            f"{counted(len(group), 'module')}, {sum(group.values()):,} parameters" if group else ""
            for group in (arm.gone, arm.added)
        ]
        findings = [f"PROBLEM: {problem}" for problem in arm.problems] + list(arm.remarks)
        table.add_row(arm.arm, *(f"{count:{sign},}" for count in counts), difference, *paths, "\n".join(findings))
    return table


def memory_table(memories: "Iterable[ArmMemory]", resources: Resources, device: str) -> Table:
    """Make the table of memory: parameters of each arm, and its model state on one worker, in GiB.

    Args:
        memories: From ``sweeps.cost.memory.arm_memories``.
        resources: Resources of the study.
        device: Name of the device that holds a worker's state.
    """
    group = f"{resources.workers} workers, ZeRO {resources.zero.stage}, {resources.precision}"
    table = Table(title=f"Model state per worker on {device}, in GiB ({group})", title_justify="left")
    table.add_column("arm")
    headings = ("parameters", "trained", "weights", "gradients", "master", "moments", "other", "offloaded", "total")
    for heading in headings:
        table.add_column(heading, justify="right")
    for memory in memories:
        state = memory.state
        sizes = [state.weights, state.gradients, state.master, state.moments, state.others, state.offloaded]
        gib = [f"{size / 2**30:.2f}" for size in (*sizes, state.on_device)]
        table.add_row(memory.arm, f"{memory.parameters:,}", f"{memory.trained:,}", *gib)
    return table


def forecast_table(forecast: "Forecast") -> Table:
    """Make the table of a forecast: remaining cells of each arm, and their time."""
    table = Table(title="Remaining work", title_justify="left")
    table.add_column("arm")
    for heading in ("cells", "time per cell", "worker-hours"):
        table.add_column(heading, justify="right")
    for arm in forecast.arms:
        table.add_row(arm.arm, f"{arm.cells:,}", duration(arm.seconds), f"{arm.hours:.3g}")
    return table


def forecast_lines(forecast: "Forecast", taken: float) -> list[str]:
    """Word a forecast of the remaining work: time, worker-hours, money and memory.

    Args:
        forecast: From ``sweeps.cost.forecast.forecast``.
        taken: Seconds that the calibration took; 0 for an earlier calibration.
    """
    between = f"{duration(forecast.least)} to {duration(forecast.most)}"
    lines = [f"about {duration(forecast.seconds)} ({between}), {forecast.slots} cells in parallel"]
    lines.append(f"{forecast.worker_hours:.3g} worker-hours, {forecast.gpu_hours:.3g} GPU-hours")
    lines += [f"cost: {forecast.money:.2f}"] if forecast.money is not None else []
    lines += [f"peak GPU memory: {forecast.peak_gib:.1f} GiB"] if forecast.peak_gib is not None else []
    source = f"{duration(taken)} of short test cells" if taken else "an earlier calibration"
    return [*lines, f"estimated from {source}"]


def model_state_lines(plan: Plan, *, gpu: bool) -> list[str]:
    """Word the largest model state of a worker; empty for a system that is not trained."""
    if not plan.is_trained:
        return []
    from sweeps.cost.memory import GIB, arm_memories

    most = max(memory.state.on_device for memory in arm_memories(plan, gpu=gpu)) / GIB
    return [f"{most:.2g} GiB of model state per worker, without activations (per arm: --memory)"]


def _count(parameters: int | None) -> str:
    return "" if parameters is None else f"{parameters:,}"


def parts_tables(description: Mapping[str, Any]) -> list[Table]:
    """Make the tables of a system: parameter counts, the kinds of each slot with their meanings, plain values.

    Args:
        description: From ``sweeps.parts.describe``.
    """
    counts = Table(title=f"{description['system']}: parameters", title_justify="left")
    counts.add_column("network or part")
    counts.add_column("parameters", justify="right")
    for name, count in description["parameters"].items():
        counts.add_row(name, _count(count))
    tables = [counts]
    for name, slot in description["slots"].items():
        table = Table(title=f"slot {name}", title_justify="left")
        table.add_column("kind")
        table.add_column("meaning")
        table.add_column("parameters", justify="right")
        for kind, entry in slot["kinds"].items():
            default = " (default)" if kind == slot["default"] else ""
            table.add_row(f"{kind}{default}", entry["meaning"], _count(entry["parameters"]))
        tables.append(table)
    values = Table(title="values", title_justify="left")
    for heading in ("value", "default", "allowed"):
        values.add_column(heading)
    for path, value in description["values"].items():
        values.add_row(path, str(value["default"]), value["allowed"])
    return [*tables, values] if description["values"] else tables


def memory_warnings(memories: "Sequence[ArmMemory]", device: "Device") -> list[str]:
    """Word a warning for each arm whose model state alone exceeds the memory of its device."""
    if device.size is None:
        return ["GPU memory unknown, so whether the model state fits is not checked -> --gpu-gib SIZE"]
    needs = {memory.arm: device.workers * memory.state.on_device for memory in memories}
    return [
        f"{arm}: needs {need / 2**30:.1f} GiB for the model state, {device.name} has {device.size / 2**30:.1f} GiB "
        "-> a higher ZeRO stage, more workers, or offload"
        for arm, need in needs.items()
        if need > device.size
    ]


def reach_lines(reach: "Reach | None") -> list[str]:
    """Word the sensitivity of a plan's seeds: one sentence for the test, and one for each metric."""
    if reach is None:
        return []
    few = f". Too few {reach.unit}s for any arm to be significant at {ALPHA}" if reach.p_corrected > ALPHA else ""
    corrected = f"corrected over {counted(reach.arms, 'arm')}: {reach.p_corrected:.2g}"
    lines = [f"smallest p with {counted(reach.units, reach.unit)}: {reach.smallest_p:.2g}; {corrected}{few}"]
    for reachable in reach.differences:
        source = f"largest spread so far: {reachable.arm}, {reachable.pairs} pairs"
        lines.append(
            f"{reachable.metric}: shows differences of {reachable.difference:.2g} or more (80 % power; {source})"
        )
    return lines


def status_json(status: Status) -> dict[str, Any]:
    """Convert a status to plain values for ``status --json``."""
    driver = None if status.driver is None else asdict(status.driver) | {"alive": status.driver.alive}
    return {
        "study": status.study,
        "counts": dict(Counter(cell["state"] for cell in status.cells)),
        "arms": {arm: dict(counts) for arm, counts in status.by_arm.items()},
        "driver": driver,
        "failures": [_failure(record) for record in status.failed],
        "failure_classes": status.kinds,
    }


def status_lines(status: Status) -> list[str]:
    """Word a status: the driver, the time left, and the failures."""
    lines = [_driver_line(status.driver)]
    lines += [f"failed: {_failure(record)}" for record in status.failed[:SHOWN_FAILURES]]
    if len(status.failed) > SHOWN_FAILURES:
        lines.append(f"... and {len(status.failed) - SHOWN_FAILURES} more failures; report lists all of them")
    return lines


def _failure(record: "Record") -> str:
    return f"{record.arm} seed {record.seed}{record.kind}: {record.error}"


def _driver_line(driver: "Driver | None") -> str:
    if driver is None:
        return "not running"
    if driver.alive is False:
        return f"not running: {driver} was killed, last report {driver.updated}. Resumable: run the same command"
    left = "time left unknown" if driver.left_s is None else f"about {duration(driver.left_s)} left"
    elsewhere = "" if driver.alive else f"; on another machine, so not checked: last report {driver.updated}"
    progress = f"{driver.ended} of {driver.total} cells ended, {len(driver.running)} running, {left}"
    return f"running: {driver}: {progress}{elsewhere}"
