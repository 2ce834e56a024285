"""Study -> plan: arms, cells, search. Pure, and quick enough to be asked at every keystroke."""

from sweeps.plan.cells import Cell
from sweeps.plan.plan import Plan, expand, requirements

__all__ = ["Cell", "Plan", "expand", "requirements"]
