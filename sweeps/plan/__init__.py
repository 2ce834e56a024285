"""Study -> plan: arms, cells, search. Pure functions, fast enough for interactive use."""

from sweeps.plan.cells import Cell
from sweeps.plan.loading import load, load_blocks
from sweeps.plan.plan import Plan
from sweeps.plan.requirements import requirements

__all__ = ["Cell", "Plan", "load", "load_blocks", "requirements"]
