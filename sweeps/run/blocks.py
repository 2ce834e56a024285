"""Run of a study block by block."""

import sys
from collections.abc import Mapping
from pathlib import Path

from sweeps.plan import Plan
from sweeps.report import save_blocks
from sweeps.run import driver
from sweeps.run.endings import INCOMPLETE, REFUSED
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
    if problems:
        print("\n".join(dict.fromkeys(problems)), file=sys.stderr)
        return REFUSED
    code = 0
    for plan in plans.values():
        code = max(code, driver.prove(plan, storage))
        if code not in (0, REFUSED):
            return code
    if code == REFUSED:
        return code
    for number, (block, plan) in enumerate(plans.items(), start=1):
        notify(f"block {block}, {number} of {len(plans)}")
        ended = driver.run(plan, storage, options)
        if ended not in (0, INCOMPLETE):
            return ended
        code = max(code, ended)
    print(f"\nall blocks, report.html  {save_blocks(plans, storage)}")
    return code
