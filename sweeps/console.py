"""Tables and sentences for people, at the terminal or in a file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table

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
    """Print tables, wide and without styles where the output is not a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_IN_FILES, no_color=True)
    console.print(Group(*tables))


def plan_table(plan: Plan, cells: Iterable[Mapping[str, Any]]) -> Table:
    """One line per arm: what it changes, and how far its cells are.

    Args:
        plan: What is to run.
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
    """One line per arm, one column per state in which any cell is."""
    states = [state for state in STATES if any(counts[state] for counts in status.by_arm.values())]
    table = Table(title=f"{status.study}: {len(status.cells)} cells", title_justify="left")
    table.add_column("arm")
    for state in states:
        table.add_column(state, justify="right")
    for arm, counts in status.by_arm.items():
        table.add_row(arm, *(str(counts[state] or "") for state in states))
    return table


def proof_table(proof: "Proof") -> Table:
    """One line per arm: what it changes of the control.

    Args:
        proof: As ``sweeps.proof.proved`` gives it.
    """
    table = Table(title="what each arm changes of the control", title_justify="left")
    table.add_column("arm")
    for heading in ("parameters", "FLOPs of a pass"):
        table.add_column(heading, justify="right")
    for heading in ("outputs differ by", "gone", "added", "found"):
        table.add_column(heading, overflow="fold")
    for place, arm in enumerate(proof.arms):
        sign = "" if place == 0 else "+"
        counts = (arm.delta_parameters, arm.delta_flops) if place else (arm.parameters, arm.flops)
        difference = "" if place == 0 else "not run" if arm.difference is None else f"{arm.difference:.2g}"
        paths = [f"{len(group)} places, {sum(group.values()):,}" if group else "" for group in (arm.gone, arm.added)]
        findings = [f"PROBLEM: {problem}" for problem in arm.problems] + list(arm.remarks)
        table.add_row(arm.arm, *(f"{count:{sign},}" for count in counts), difference, *paths, "\n".join(findings))
    return table


def memory_table(memories: "Iterable[ArmMemory]", resources: Resources, device: str) -> Table:
    """One line per arm: parameters, and the bytes of its model state on one worker.

    Args:
        memories: As ``sweeps.cost.memory.arm_memories`` gives them.
        resources: The study's.
        device: What a worker's state lies on, in words.
    """
    group = f"{resources.workers} workers, ZeRO {resources.zero.stage}, {resources.precision}"
    table = Table(title=f"model state per worker on {device}, in GiB ({group})", title_justify="left")
    table.add_column("arm")
    headings = ("parameters", "trained", "weights", "gradients", "master", "moments", "others", "offloaded", "together")
    for heading in headings:
        table.add_column(heading, justify="right")
    for memory in memories:
        state = memory.state
        sizes = [state.weights, state.gradients, state.master, state.moments, state.others, state.offloaded]
        gib = [f"{size / 2**30:.2f}" for size in (*sizes, state.on_device)]
        table.add_row(memory.arm, f"{memory.parameters:,}", f"{memory.trained:,}", *gib)
    return table


def forecast_table(forecast: "Forecast") -> Table:
    """One line per arm: what is left of it, and what that will take."""
    table = Table(title="what is left to do", title_justify="left")
    table.add_column("arm")
    for heading in ("cells", "each", "worker-hours"):
        table.add_column(heading, justify="right")
    for arm in forecast.arms:
        table.add_row(arm.arm, f"{arm.cells:,}", duration(arm.seconds), f"{arm.hours:.3g}")
    return table


def forecast_lines(forecast: "Forecast", taken: float) -> list[str]:
    """What the whole will take, in sentences.

    Args:
        forecast: As ``sweeps.cost.forecast.forecast`` gives it.
        taken: Seconds that the calibration took; 0 where it was there already.
    """
    between = f"{duration(forecast.least)} to {duration(forecast.most)}"
    lines = [f"about {duration(forecast.seconds)} ({between}), {forecast.slots} cells at a time"]
    lines.append(f"{forecast.worker_hours:.3g} worker-hours, {forecast.gpu_hours:.3g} GPU-hours")
    lines += [f"money: {forecast.money:.2f}"] if forecast.money is not None else []
    lines += [f"at most {forecast.peak_gib:.1f} GiB of a GPU's memory"] if forecast.peak_gib is not None else []
    how = f"by short cells that took {duration(taken)}" if taken else "by the short cells of an earlier calibration"
    return [*lines, how]


def _count(parameters: int | None) -> str:
    return "" if parameters is None else f"{parameters:,}"


def parts_tables(description: Mapping[str, Any]) -> list[Table]:
    """Parameter counts, then one table per slot with the meaning of each kind.

    Args:
        description: As ``sweeps.parts.describe`` gives it.
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
    return tables


def memory_warnings(memories: "Sequence[ArmMemory]", device: "Device") -> list[str]:
    """A sentence for each arm whose state alone does not fit its device."""
    if device.size is None:
        return ["whether it fits depends on the GPU -> --gpu-gib SIZE"]
    needs = {memory.arm: device.workers * memory.state.on_device for memory in memories}
    return [
        f"{arm}: {need / 2**30:.1f} GiB of model state, and {device.name} has {device.size / 2**30:.1f} GiB "
        "-> a higher ZeRO stage, more workers, or offload"
        for arm, need in needs.items()
        if need > device.size
    ]


def reach_lines(reach: "Reach | None") -> list[str]:
    """What a plan's seeds can reach, a sentence for the test and one for each metric."""
    if reach is None:
        return []
    few = f": too few for any arm to be significant at {ALPHA}" if reach.p_corrected > ALPHA else ""
    over = f"corrected over {counted(reach.arms, 'arm')} {reach.p_corrected:.2g}"
    lines = [f"{counted(reach.seeds, 'seed')} can reach p = {reach.smallest_p:.2g}, {over}{few}"]
    for reachable in reach.differences:
        by = f"by the {reachable.pairs} pairs so far of {reachable.arm}, whose differences scatter most"
        lines.append(
            f"{reachable.metric}: a difference of {reachable.difference:.2g} is found with a chance of 80 % ({by})"
        )
    return lines


def status_json(status: Status) -> dict[str, Any]:
    """A status as plain values."""
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
    """Who runs a study, how long it will take, and what failed."""
    lines = [_driver_line(status.driver)]
    lines += [f"failed: {_failure(record)}" for record in status.failed[:SHOWN_FAILURES]]
    if len(status.failed) > SHOWN_FAILURES:
        lines.append(f"... and {len(status.failed) - SHOWN_FAILURES} more failures; report names them all")
    return lines


def _failure(record: "Record") -> str:
    return f"{record.arm} seed {record.seed}{record.kind}: {record.error}"


def _driver_line(driver: "Driver | None") -> str:
    if driver is None:
        return "nobody runs it now"
    if driver.alive is False:
        return f"its last driver ({driver}) was killed, last heard of {driver.updated}: run goes on where it was"
    left = "time left not known yet" if driver.left_s is None else f"about {duration(driver.left_s)} left"
    heard = "" if driver.alive else f"; it cannot be seen from here, last heard of {driver.updated}"
    return (
        f"run by {driver}: {driver.ended} of {driver.total} cells ended, {len(driver.running)} running, {left}{heard}"
    )
