"""Study -> plan: arms, cells, search. Pure, and quick enough to be asked at every keystroke."""

from sweeps.plan.cells import Cell
from sweeps.plan.loading import load
from sweeps.plan.plan import Plan
from sweeps.plan.requirements import requirements

__all__ = ["Cell", "Plan", "load", "requirements"]
