"""What to do next: the plan's cells, then each arm's search in turn, then the confirmation of its winners."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from sweeps.cost.budget import BudgetMeter
from sweeps.plan import Cell, Plan
from sweeps.plan.search import SearchPlan
from sweeps.results.ledger import WAITING, state
from sweeps.results.record import Record
from sweeps.results.status import listed
from sweeps.results.stopping import stage_of
from sweeps.results.winners import trials_of, winners

if TYPE_CHECKING:
    from sweeps.run.proposer import ArmSearch

MAX_LOST = 2
"""How often a cell is handed out again in one run when the machine, not the arm, has failed."""


class Exhausted(Exception):  # noqa: N818  # an end, not an error
    """No cell is left to hand out."""


class Queue:
    """Hands out every cell that is not done, once, in an order that leaves a balanced table wherever it is cut short.

    Args:
        plan: What is to be done.
        records: What is done, by cell id.
        retry_failed: Hand failed cells out once more; otherwise they stay as they are.
        only: Arms to work on; all when empty.
        slots: How many of a search's trials may be open at a time; more would be proposed blindly.
        meter: Of the study's budget, where it has one: no block is begun that it does not hold.
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
        self._searches: dict[str, ArmSearch] = {}
        self._open: dict[str, ArmSearch] = {}
        self._handed: Counter[str] = Counter()
        self._under_way: dict[str, str] = {}
        self._steps = self._order()
        self._ahead: list[Cell | None] = []

    def __bool__(self) -> bool:
        """Whether anything is to be done."""
        if not self._ahead:
            try:
                self._ahead.append(next(self._steps))
            except StopIteration:
                return False
        return True

    def next(self) -> Cell | None:
        """The next cell; None while it depends on cells that have not ended.

        Raises:
            Exhausted: No cell is left.
        """
        try:
            cell = self._ahead.pop() if self._ahead else next(self._steps)
        except StopIteration:
            raise Exhausted from None
        if cell is not None:
            self._handed[cell.id] += 1
            self._under_way[cell.id] = cell.arm
        return cell

    def ended(self, cell: Cell, record: Record | None) -> None:
        """Take note of a cell that ended; without a record its worker died."""
        self._under_way.pop(cell.id, None)
        if self.meter is not None:
            self.meter.keep()
        if record is not None:
            self.records[cell.id] = record
        if cell.id in self._open:
            self._open.pop(cell.id).tell(cell, record)

    @property
    def total(self) -> int:
        """Cells to hand out, as far as they can be counted before a search has proposed them."""
        cells = [cell for cell in listed(self.plan, self.records) if cell["arm"] in self._only]
        return sum(cell["state"] == "proposed" or cell["state"] in self._states for cell in cells)

    def _order(self) -> Iterator[Cell | None]:
        yield from self._of_the_plan()
        if self.plan.search is not None and not self.stopped:
            yield from self._search(self.plan.search)
        if not self.stopped:
            yield from self._lost_once_more()

    def _of_the_plan(self) -> Iterator[Cell | None]:
        """The plan's own cells; where seeds are taken until the arms are decided, up to one look after the other."""
        while True:
            seeds = set(stage_of(self.plan, self.records).seeds)
            due = [cell for cell in self._due(self.plan.cells) if cell.seed in seeds and self._may(cell)]
            if not due:  # all seeds, or a look that lacks cells which are not to be done now
                return
            yield from self._in_blocks(due)
            if self.stopped or len(seeds) == len(self.plan.study.all_seeds):
                return
            yield from self._all_ended()

    def _in_blocks(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """Cells seed by seed, as long as the budget holds a whole seed of all arms."""
        for _, block in itertools.groupby(cells, key=lambda cell: cell.seed):
            seed = list(block)
            if not self._affords(Counter(cell.arm for cell in seed)):
                return
            yield from seed

    def _affords(self, block: Mapping[str, int]) -> bool:
        return self.meter is None or self.meter.affords(self.records, Counter(self._under_way.values()), block)

    @property
    def stopped(self) -> str:
        """Why the budget holds no more; empty where it does."""
        return self.meter.over if self.meter is not None else ""

    def _lost_once_more(self) -> Iterator[Cell | None]:
        """What the machine has failed meanwhile."""
        while True:
            yield from self._all_ended()
            lost = [cell for cell in self.plan.cells if (record := self.records.get(cell.id)) and record.lost]
            if not (due := [cell for cell in self._due(lost) if self._may(cell)]):
                return
            yield from due

    def _may(self, cell: Cell) -> bool:
        """Whether a cell was not handed out yet in this run, or is to be once more since the machine failed it."""
        record = self.records.get(cell.id)
        return self._handed[cell.id] <= (MAX_LOST if record is not None and record.lost else 0)

    def _all_ended(self) -> Iterator[None]:
        """Wait for all that was handed out."""
        while self._under_way:
            yield None

    def _search(self, search: SearchPlan) -> Iterator[Cell | None]:
        from sweeps.run.proposer import ArmSearch

        spaces = [space for space in search.arms if space.arm.id in self._only]
        yield from self._once_more(search)
        self._searches = {space.arm.id: ArmSearch(search, space, self.records) for space in spaces}
        while not all(arm.done for arm in self._searches.values()):
            asked = False
            if not self._affords({arm_id: 1 for arm_id, arm in self._searches.items() if not arm.done}):
                return
            for arm in self._searches.values():  # in turn, so that a search cut short spent the same on every arm
                if len(self._open) < self.slots and (cell := arm.ask()) is not None:
                    self._open[cell.id] = arm
                    asked = True
                    yield cell
            if not asked:
                yield None
        if search.confirm is not None:
            best = {space.arm.id: winners(search, space, self.records, search.confirm.top) for space in spaces}
            yield from self._in_blocks(self._due(search.confirmation(best)))

    def _once_more(self, search: SearchPlan) -> Iterator[Cell | None]:
        """Trials that lack a metric, or are to be tried again; the search waits for them, since it learns from them."""
        there = [
            search.trial(record.arm, record.trial, record.sampled)
            for space in search.arms
            for record in trials_of(search, space.arm.id, self.records)
            if record.trial is not None
        ]
        due = list(self._due(there))
        yield from due
        while any(cell.id in self._under_way for cell in due):
            yield None

    def _due(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        for cell in cells:
            if cell.arm in self._only and state(self.records.get(cell.id), self.plan) in self._states:
                yield cell
