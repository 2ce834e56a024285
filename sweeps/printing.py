"""What commands print of one plan: cells, status, memory, proof, forecast.

Heavy packages are imported inside the functions, so that help and checks are fast.
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.commands import refuse, refusing
from sweeps.output import print_json

if TYPE_CHECKING:
    from sweeps.plan import Plan


def print_cells(plan: "Plan", storage: Path, *, as_json: bool) -> None:
    """Print the arms of a plan with the states of their cells, and what its seeds can detect."""
    from sweeps.results.ledger import Ledger, study_folder
    from sweeps.results.status import listed

    records = Ledger(study_folder(storage, plan.study.name)).records()
    cells = listed(plan, records)
    if as_json:
        arms = [{"id": arm.id, "role": arm.role, "changes": arm.changes} for arm in plan.arms]
        proposed = {"proposed": sum(cell["id"] is None for cell in cells)} if plan.search else {}
        print_json({"study": plan.study.name, "arms": arms, "cells": cells, **proposed})
        return
    from sweeps.console import plan_table, reach_lines, show

    show(plan_table(plan, cells))
    print_remarks(plan)
    _print_older(plan, storage)
    from sweeps.results.reach import reach

    for sentence in reach_lines(reach(plan, records)):
        print(f"  {sentence}")


def print_status(plan: "Plan", storage: Path, *, as_json: bool) -> None:
    """Print the states of a plan's cells, and its driver."""
    from sweeps.results.content import with_kept_content
    from sweeps.results.ledger import study_folder

    plan = with_kept_content(plan, study_folder(storage, plan.study.name))
    from sweeps.results.status import Status

    current = Status.of(plan, storage)
    from sweeps.console import show, status_json, status_lines, status_table

    if as_json:
        print_json(status_json(current))
        return
    show(status_table(current))
    print("\n".join(status_lines(current)))
    _print_older(plan, storage)


def print_memory(plan: "Plan", gpu_gib: float | None, *, as_json: bool) -> None:
    """Print the model state per worker of each arm, and warnings where it does not fit."""
    if not plan.is_trained:
        refuse(f"{plan.study.system} is not trained -> --memory for trained systems only")
    from dataclasses import asdict

    from sweeps.cost.memory import Device, arm_memories

    device = Device.of(plan, gpu_gib)
    with refusing():
        memories = arm_memories(plan, gpu=device.gpu)
    if as_json:
        print_json([asdict(memory) | {"on_device": memory.state.on_device} for memory in memories])
        return
    from sweeps.console import memory_table, memory_warnings, show

    show(memory_table(memories, plan.study.resources, device.name))
    print("  not included: activations, buckets and the libraries' own memory")
    for sentence in memory_warnings(memories, device):
        print(f"  warning: {sentence}")


def print_proof(plan: "Plan", storage: Path, *, as_json: bool) -> None:
    """Print the ablation proof; exit with code 2 where it fails."""
    from sweeps.proof import proved
    from sweeps.results.ledger import study_folder

    with refusing():
        proof = proved(plan, study_folder(storage, plan.study.name))
    if as_json:
        print_json(proof.model_dump(mode="json"))
    else:
        from sweeps.console import proof_table, show

        show(proof_table(proof))
    if proof.problems:
        refuse("\n".join(proof.problems))


def print_forecast(plan: "Plan", storage: Path, *, as_json: bool) -> None:
    """Print the forecast of the remaining cells; short test cells are timed first if there is no calibration yet."""
    from dataclasses import asdict

    from sweeps.cost.budget import BudgetMeter
    from sweeps.cost.forecast import forecast
    from sweeps.plan import requirements
    from sweeps.proof import proved
    from sweeps.results.ledger import Ledger, study_folder
    from sweeps.run.calibration import CalibrationError, calibrated
    from sweeps.run.lock import Locked, StudyLock

    if problems := requirements(plan):
        refuse("\n".join(map(str, problems)))
    folder = study_folder(storage, plan.study.name)
    with refusing(CalibrationError, Locked, about=f"{plan.study.name}: "), StudyLock(folder):
        proved(plan, folder)  # saved for the run
        prices = calibrated(plan, storage, folder)
    outlook = forecast(plan, Ledger(folder).records(), prices)
    if as_json:
        print_json(asdict(outlook) | {"calibration_seconds": prices.taken})
    else:
        from sweeps.console import forecast_lines, forecast_table, model_state_lines, show

        show(forecast_table(outlook))
        for line in (*forecast_lines(outlook, prices.taken), *model_state_lines(plan, gpu=prices.gpus_per_worker > 0)):
            print(f"  {line}")
    if plan.study.budget and (message := BudgetMeter(plan, folder, prices).shortfall()):
        refuse(message)


def print_remarks(plan: "Plan") -> None:
    """Print the notes and warnings of a plan."""
    for remark in (*(f"note: {note}" for note in plan.notes), *(f"warning: {warning}" for warning in plan.warnings)):
        print(f"  {remark}")


def _print_older(plan: "Plan", storage: Path) -> None:
    from sweeps.results.content import older_results
    from sweeps.results.ledger import Ledger, study_folder

    folder = study_folder(storage, plan.study.name)
    if message := older_results(Ledger(folder).records(), folder):
        print(f"  warning: {message}")


def next_command(study: Path) -> str:
    """Word the command that checks a file."""
    return f"{study}: {shlex.join(['python', '-m', 'sweeps', 'check', str(study)])}"
