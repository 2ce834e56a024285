"""Earlier ends of a study: who changes its seeds after an end has seen a table, and each table is an analysis."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from sweeps.plan import Plan
from sweeps.plan.looks import planned_looks
from sweeps.plan.units import most_units
from sweeps.results.record import Record
from sweeps.results.stopping import has_ended, reached_seeds
from sweeps.statistics.families import smallest_of
from sweeps.statistics.paired import ALPHA
from sweeps.statistics.sequential import Looks
from trainables.files import write_atomically

ENDS = "ends.json"
"""File in the study's folder with the looks of each of its ends."""


class _End(BaseModel):
    """One end: what identifies the control's cells, and the looks up to the last that was made."""

    control: str
    seeds: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...]


_ENDS = TypeAdapter(tuple[_End, ...])


def with_ends(plan: Plan, folder: Path) -> Plan:
    """Return the plan with the earlier ends of its study.

    An end counts where the control was the same, and where its table could have shown something: with few units no test
    reaches the level.

    Args:
        plan: The plan, with the content of its data.
        folder: The study's folder.
    """
    ends = [Looks(end.seeds, end.shares) for end in _read(folder) if end.control == _control(plan)]
    return replace(plan, ends=tuple(looks for looks in ends if _can_reject(plan, looks)))


def note_end(plan: Plan, records: Mapping[str, Record], folder: Path) -> None:
    """Note that the study has ended with its present seeds, unless it goes on; only the driver of ``run`` does."""
    reached = reached_seeds(plan, records)
    if not has_ended(plan, records, reached):
        return
    made = planned_looks(plan).until(reached.seeds)
    end = _End(control=_control(plan), seeds=tuple(at for at, _ in made), shares=tuple(share for _, share in made))
    if end not in (ends := _read(folder)):
        write_atomically(folder / ENDS, _ENDS.dump_json((*ends, end)))


def _read(folder: Path) -> tuple[_End, ...]:
    """Read the ends of a study; a damaged file counts as none."""
    try:
        return _ENDS.validate_json((folder / ENDS).read_bytes())
    except (FileNotFoundError, ValidationError):
        return ()


def _control(plan: Plan) -> str:
    """Return what identifies the control's cells, whatever their seed."""
    return plan.cells[0].spec.model_copy(update={"seed": 0}).cell_id


def _can_reject(plan: Plan, looks: Looks) -> bool:
    return any(smallest_of(most_units(plan, at), plan.study.test) <= ALPHA for at in looks.seeds)
