"""Progress of a study, read from its ledger and its driver's last report; nothing is written."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.plan import Plan
from sweeps.plan.search import SearchPlan
from sweeps.results.ablation_path import path_cells
from sweeps.results.driver import Driver, read_driver
from sweeps.results.ledger import Ledger, state, study_folder
from sweeps.results.record import Record
from sweeps.results.stopping import reached_seeds
from sweeps.results.winners import confirmation, trials_of


def listed(plan: Plan, records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """List every cell of a plan with its state: planned cells, then trials of the search, then trials not yet proposed.

    Cells that became unnecessary, since their arm has left the study, are ``spared``. A trial that the search
    has not proposed yet has no id and no seed: ``{"id": None, "arm", "state": "proposed"}``.
    """
    reached = reached_seeds(plan, records)
    cells: list[dict[str, Any]] = [
        {
            "id": cell.id,
            "arm": cell.arm,
            "seed": cell.seed,
            "state": "spared" if reached.spares(cell.arm, cell.seed) else state(records.get(cell.id), plan),
        }
        for cell in plan.cells
    ]
    search = plan.search
    if search is None:
        return cells
    confirmed, paths = _confirmations(search, records), path_cells(search, records)
    for stage, arm, count in search.proposed():
        if stage == "path" and paths is not None:
            of_arm = [records.get(cell.id) for cell in paths if cell.arm == arm]
            count, ended = len(of_arm), [record for record in of_arm if record is not None]
        else:
            ended = trials_of(search, arm, records) if stage == "search" else confirmed.get(arm, [])
        distinct = {record.cell_id: record for record in ended}  # equal winners of two repeats are the same cells
        cells += [{"id": key, "arm": arm, "seed": r.seed, "state": state(r, plan)} for key, r in distinct.items()]
        cells += [{"id": None, "arm": arm, "state": "proposed"}] * (count - len(ended))
    return cells


def _confirmations(search: SearchPlan, records: Mapping[str, Record]) -> dict[str, list[Record]]:
    """Return the results that confirm the current winners, by arm."""
    confirmed: dict[str, list[Record]] = {}
    if any((record.stage, record.search) == ("confirm", search.identity) for record in records.values()):
        for cell in confirmation(search, records):
            if cell.id in records:
                confirmed.setdefault(cell.arm, []).append(records[cell.id])
    return confirmed


def _with_running(cells: list[dict[str, Any]], running_cells: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mark the running cells; a running trial replaces one that is not yet proposed."""
    marked = list(cells)
    places = {cell["id"]: place for place, cell in enumerate(cells) if cell["id"] is not None}
    proposed: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if cell["id"] is None:
            proposed.setdefault(cell["arm"], []).append(place)
    for running in running_cells:
        cell_id, arm = running["cell_id"], running["arm"]
        free = proposed.get(arm, [])
        at = places[cell_id] if cell_id in places else free.pop(0) if free else None
        # The driver reports once a second: a cell that has ended since is not running any more.
        if at is not None and marked[at]["state"] != "done":
            marked[at] = {"id": cell_id, "arm": arm, "seed": running["seed"], "state": "running"}
    return marked


@dataclass(frozen=True)
class Status:
    """Cells of a study by state, in total and by arm, its driver, and the results of failed cells."""

    study: str
    cells: list[dict[str, Any]]
    driver: Driver | None
    failed: tuple[Record, ...]
    kinds: dict[str, int]

    @classmethod
    def of(cls, plan: Plan, storage: Path) -> "Status":
        """Read a study's folder."""
        folder = study_folder(storage, plan.study.name)
        records = Ledger(folder).records()
        driver = read_driver(folder)
        running_cells = driver.running if driver and driver.alive is not False else ()
        cells = _with_running(listed(plan, records), running_cells)
        current = {cell["id"] for cell in cells}
        failed = [record for record in records.values() if record.status == "failed" and record.cell_id in current]
        kinds: Counter[str] = Counter(record.failure or "error" for record in failed)
        return cls(plan.study.name, cells, driver, tuple(failed), dict(kinds))

    @property
    def by_arm(self) -> dict[str, Counter[str]]:
        """Number of cells in each state, by arm."""
        counts: dict[str, Counter[str]] = {}
        for cell in self.cells:
            counts.setdefault(cell["arm"], Counter())[cell["state"]] += 1
        return counts
