"""Queue of cells: the plan's cells, then for each repeat the arms' searches in turn and the confirmations."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

from sweeps.cost.budget import BudgetMeter
from sweeps.plan import Cell, Plan
from sweeps.plan.search import SearchPlan
from sweeps.results.ablation_path import path_cells
from sweeps.results.ledger import WAITING, state
from sweeps.results.record import Record
from sweeps.results.status import listed
from sweeps.results.stopping import reached_seeds
from sweeps.results.winners import trials_of, winners_of_arms

if TYPE_CHECKING:
    from sweeps.run.proposer import ArmSearch

MAX_LOST = 2
"""Number of reruns of a cell within one run after failures of the machine, not of the arm."""


class Exhausted(Exception):  # noqa: N818  # an end, not an error
    """No cell is left to hand out."""


class Queue:
    """Hands out every unfinished cell once, in an order that keeps the table balanced if the run is interrupted.

    Args:
        plan: The plan.
        records: Existing results by cell id.
        retry_failed: Hand out failed cells again.
        only: Arms to run; empty for all.
        slots: Search trials that may be open at a time; more would be proposed without knowledge of their results.
        meter: Budget meter, if the study has a budget; no block starts that exceeds the budget.

    Attributes:
        unwritten: Reason why no further cell starts: the storage cannot be written any more.
    """

    def __init__(
        self,
        plan: Plan,
        records: Mapping[str, Record],
        *,
        retry_failed: bool = False,
        only: Collection[str] = (),
        slots: int = 1,
        meter: BudgetMeter | None = None,
    ) -> None:
        self.plan = plan
        self.slots, self.meter = slots, meter
        self._only = set(only) or {arm.id for arm in plan.arms}
        self.records = dict(records)
        self._states = WAITING | ({"failed"} if retry_failed else frozenset())
        self._open: dict[str, ArmSearch] = {}
        self._handed: Counter[str] = Counter()
        self._under_way: dict[str, str] = {}
        self._steps = self._order()
        self._ahead: list[Cell | None] = []
        self.unwritten = ""

    def __bool__(self) -> bool:
        """Whether any cell is left."""
        if not self._ahead:
            try:
                self._ahead.append(next(self._steps))
            except StopIteration:
                return False
        return True

    def next(self) -> Cell | None:
        """Return the next cell; None while it depends on running cells.

        Raises:
            Exhausted: No cell is left, or the storage cannot be written any more.
        """
        if self.unwritten:
            raise Exhausted
        try:
            cell = self._ahead.pop() if self._ahead else next(self._steps)
        except StopIteration:
            raise Exhausted from None
        if cell is not None:
            self._handed[cell.id] += 1
            self._under_way[cell.id] = cell.arm
        return cell

    def ended(self, cell: Cell, record: Record | None) -> None:
        """Note the end of a cell; ``record`` is None if its worker died."""
        self._under_way.pop(cell.id, None)
        if self.meter is not None:
            self.meter.keep()
        if record is not None:
            self.records[cell.id] = record
        if cell.id in self._open:
            self._open.pop(cell.id).tell(cell, record)

    @property
    def total(self) -> int:
        """Number of cells to hand out, including search cells that are not proposed yet."""
        cells = [cell for cell in listed(self.plan, self.records) if cell["arm"] in self._only]
        return sum(cell["state"] == "proposed" or cell["state"] in self._states for cell in cells)

    def _order(self) -> Iterator[Cell | None]:
        yield from self._plan_cells()
        if self.plan.search is not None and not self.stopped:
            yield from self._search(self.plan.search)
        if not self.stopped:
            yield from self._lost_cells()

    def _plan_cells(self) -> Iterator[Cell | None]:
        """Yield the plan's cells; with sequential seeds, one interim look after the other."""
        while True:
            reached = reached_seeds(self.plan, self.records)
            due = [cell for cell in self._due(self.plan.cells) if reached.has(cell.arm, cell.seed) and self._may(cell)]
            if not due:  # all seeds are done, or the look lacks cells that this run does not repeat
                return
            yield from self._in_blocks(due)
            if self.stopped or len(reached.seeds) == len(self.plan.study.all_seeds):
                return
            yield from self._wait_for_all()

    def _in_blocks(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """Yield cells seed by seed, while the budget allows a whole seed of all arms."""
        for _, block in itertools.groupby(cells, key=lambda cell: cell.seed):
            seed = list(block)
            if not self._affords(Counter(cell.arm for cell in seed)):
                return
            yield from seed

    def _affords(self, block: Mapping[str, int]) -> bool:
        return self.meter is None or self.meter.affords(self.records, Counter(self._under_way.values()), block)

    @property
    def stopped(self) -> str:
        """Reason why the budget ended the run; empty if it did not."""
        return self.meter.over if self.meter is not None else ""

    def _lost_cells(self) -> Iterator[Cell | None]:
        """Yield the cells that were lost in this run by failures of the machine."""
        while True:
            yield from self._wait_for_all()
            lost = [cell for cell in self.plan.cells if (record := self.records.get(cell.id)) and record.lost]
            if not (due := [cell for cell in self._due(lost) if self._may(cell)]):
                return
            yield from due

    def _may(self, cell: Cell) -> bool:
        """Whether a cell may be handed out: not handed out yet in this run, or lost by a failure of the machine."""
        record = self.records.get(cell.id)
        return self._handed[cell.id] <= (MAX_LOST if record is not None and record.lost else 0)

    def _wait_for_all(self) -> Iterator[None]:
        """Yield None until all cells that were handed out have ended."""
        while self._under_way:
            yield None

    def _search(self, search: SearchPlan) -> Iterator[Cell | None]:
        from sweeps.run.proposer import ArmSearch

        spaces = [space for space in search.arms if space.arm.id in self._only]
        yield from self._repeated_trials(search)
        for repeat in range(search.repeats):  # one by one, so that an interrupted study has whole repeats
            yield from self._trials({s.arm.id: ArmSearch(search, s, self.records, repeat=repeat) for s in spaces})
            if not self.stopped:
                yield from self._in_blocks(self._confirmations(search, repeat))
            if self.stopped:
                return
        have_ended = len(spaces) == len(search.arms)
        yield from self._in_blocks(self._due(path_cells(search, self.records, have_ended=have_ended) or ()))

    def _confirmations(self, search: SearchPlan, repeat: int) -> Iterator[Cell]:
        """List the confirmations of the repeats so far; those that an earlier repeat asked for are left out."""
        best = [winners_of_arms(search, self.records, number) for number in range(repeat + 1)]
        cells = {cell.id: cell for cell in search.confirmation(*best)}
        return self._due(cell for cell in cells.values() if not self._handed[cell.id])

    def _trials(self, searches: Mapping[str, "ArmSearch"]) -> Iterator[Cell | None]:
        """Yield the trials of one search of each arm, until all have ended or the budget allows no more."""
        most = max((arm.num_trials for arm in searches.values()), default=1)
        while not all(arm.done for arm in searches.values()):
            has_proposed = False
            # In turn, by the share of their trials: equal effort for every arm, also in an interrupted search.
            behind = min((arm.share for arm in searches.values() if not arm.all_proposed), default=Fraction(1))
            if not self._affords({arm_id: 1 for arm_id, arm in searches.items() if not arm.done}):
                return
            for arm in [arm for arm in searches.values() if arm.share < behind + Fraction(1, most)]:
                if len(self._open) < self.slots and (cell := arm.ask()) is not None:
                    self._open[cell.id] = arm
                    has_proposed = True
                    yield cell
            if not has_proposed and not all(arm.done for arm in searches.values()):  # some may be exhausted by now
                yield None

    def _repeated_trials(self, search: SearchPlan) -> Iterator[Cell | None]:
        """Yield trials that lack a metric or are retried, and wait for them: the search learns from their results."""
        trials = [
            search.trial(record.arm, record.trial, record.sampled, record.repeat)
            for space in search.arms
            for record in trials_of(search, space.arm.id, self.records)
            if record.trial is not None
        ]
        due = list(self._due(trials))
        yield from due
        while any(cell.id in self._under_way for cell in due):
            yield None

    def _due(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        for cell in cells:
            if cell.arm in self._only and state(self.records.get(cell.id), self.plan) in self._states:
                yield cell
