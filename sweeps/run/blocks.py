"""Run of a study block by block."""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path

from sweeps.plan import Plan
from sweeps.proof import proved
from sweeps.report import save_blocks
from sweeps.results.ledger import study_folder
from sweeps.run import driver
from sweeps.run.endings import INCOMPLETE, REFUSED
from sweeps.run.lock import Locked, StudyLock
from sweeps.run.progress import notify


def run(plans: Mapping[str, Plan], storage: Path, options: driver.Options) -> int:
    """Run the plan of each block in turn, and save the overview of several blocks.

    All blocks are checked before the first one runs, their ablation proofs included. A failed cell does not keep the
    next block from running; a refusal or an interruption does.

    Args:
        plans: Block -> its plan.
        storage: Folder of all studies.
        options: Options of the command.

    Returns:
        Exit code of ``driver.run``; 1 if it is 1 for any block.
    """
    if len(plans) == 1:
        return driver.run(next(iter(plans.values())), storage, options)
    problems = [problem for plan in plans.values() for problem in driver.refusals(plan, storage, options)]
    if problems := list(dict.fromkeys(problems)) or _failed_proofs(plans, storage):
        print("\n".join(problems), file=sys.stderr)
        return REFUSED
    code = 0
    for number, (block, plan) in enumerate(plans.items(), start=1):
        notify(f"block {block}, {number} of {len(plans)}")
        ended = driver.run(plan, storage, options)
        if ended not in (0, INCOMPLETE):
            return ended
        code = max(code, ended)
    print(f"\nall blocks, report.html  {save_blocks(plans, storage)}")
    return code


def _failed_proofs(plans: Mapping[str, Plan], storage: Path) -> list[str]:
    """Make the ablation proof of each block, and list their problems."""
    problems = []
    for plan in plans.values():
        name, folder = plan.study.name, study_folder(storage, plan.study.name)
        try:
            with StudyLock(folder):
                proof = proved(plan, folder, functools.partial(notify, driver.proving(name)))
        except Locked as error:
            return [str(error)]
        problems += [f"{name}: {problem}" for problem in proof.problems]
    return problems
