"""Proposer of search trials: one Optuna study per arm and repeat, rebuilt from the ledger.

Optuna's ask-and-tell interface replaces its optimisation loop: cells run elsewhere, in parallel, and may fail.
"""

import hashlib
import warnings
from collections import deque
from collections.abc import Collection, Mapping
from fractions import Fraction

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from search_spaces import Value
from sweeps.plan.cells import Cell
from sweeps.plan.search import NUM_RANDOM, SearchPlan
from sweeps.plan.spaces import ArmSpace
from sweeps.results.importances import DIRECTIONS, asking
from sweeps.results.record import Record
from sweeps.results.winners import objective_values, trials_of

MAX_DUPLICATES = 50
"""Number of consecutive duplicate proposals after which a search space counts as exhausted."""


class ArmSearch:
    """One search within one arm.

    A proposal depends on the history of this search alone: before each proposal, Optuna's sampler is created anew from
    the search's seed, arm and repeat and the trial's number. A duplicate gets the earlier value and does not count as a
    trial, but uses a number; the next proposal is then drawn at random, since the sampler would repeat itself.

    Args:
        plan: The search.
        space: The arm's search space.
        records: Results by cell id. The arm's trials are replayed by number; numbers without a result, such as those
            of interrupted trials, are proposed again.
        repeat: Number of the search.
        retry_failed: Run failed trials again.
    """

    def __init__(
        self,
        plan: SearchPlan,
        space: ArmSpace,
        records: Mapping[str, Record],
        *,
        repeat: int = 0,
        retry_failed: bool = False,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.proposed = 0
        self.finished = 0
        self.exhausted = False
        self._plan = plan
        self.num_trials = plan.num_trials(space)
        self._space = space
        self._repeat = repeat
        self._study = optuna.create_study(directions=[DIRECTIONS[goal.direction] for goal in plan.objectives])
        self._num_proposed = 0
        self._num_duplicates = 0
        self._known: dict[str, Record] = {}
        # Cell id -> Optuna trials waiting for its result: the first proposal, then its duplicates.
        self._open: dict[str, list[optuna.Trial]] = {}
        self._waiting: deque[Cell] = deque()
        self._replay(records, retry_failed)

    @property
    def done(self) -> bool:
        """Whether all trials were handed out and have ended."""
        return self.all_proposed and self.proposed == self.finished

    @property
    def all_proposed(self) -> bool:
        """Whether all trials were handed out, or the search space is exhausted."""
        return self.exhausted or self.proposed >= self.num_trials

    @property
    def share(self) -> Fraction:
        """Share of its trials that were handed out, in [0, 1]."""
        return Fraction(self.proposed, self.num_trials)

    def ask(self) -> Cell | None:
        """Return the next trial to run; None if all were handed out, or the search space is exhausted."""
        if self.all_proposed:
            return None
        while not self._waiting and self._num_duplicates < MAX_DUPLICATES:
            self._propose_next()
        if not self._waiting:
            self.exhausted = True
            return None
        self.proposed += 1
        return self._waiting.popleft()

    def tell(self, cell: Cell, record: Record | None) -> None:
        """Report the end of a trial to Optuna.

        Args:
            cell: A cell from ``ask``.
            record: Its result; None if its worker died, which counts as a failure.
        """
        self._close(cell.id, record)
        self.finished += 1

    def _replay(self, records: Mapping[str, Record], retry_failed: bool) -> None:
        """Replay the trials of the ledger in the Optuna study, in the order of their proposal."""
        own = {record.trial: record for record in trials_of(self._plan, self._space.arm.id, records, self._repeat)}
        ahead = {record.cell_id for record in own.values()}
        for number in range(max((number for number in own if number is not None), default=-1) + 1):
            record = own.get(number)
            if record is None:
                self._propose_next(ahead)
                continue
            trial, cell = self._propose(record.sampled)
            self._open.setdefault(cell.id, []).append(trial)
            self._num_duplicates = 0
            if (record.status == "failed" and retry_failed) or (record.status == "done" and not self._values(record)):
                self._waiting.append(cell)
            else:
                self._close(cell.id, record)
                self.proposed += 1
                self.finished += 1

    def _propose_next(self, ahead: Collection[str] = ()) -> None:
        """Let Optuna propose a trial, and add it to the waiting cells unless it is a duplicate.

        Args:
            ahead: Cells that are replayed later, and therefore not handed out.
        """
        trial, cell = self._propose()
        if cell.id in self._known:
            self._finish(trial, self._known[cell.id])
        elif cell.id in self._open:
            self._open[cell.id].append(trial)
        else:
            self._open[cell.id] = [trial]
            if cell.id not in ahead:
                self._waiting.append(cell)
                self._num_duplicates = 0
                return
        self._num_duplicates += 1

    def _propose(self, fixed: Mapping[str, Value] | None = None) -> tuple[optuna.Trial, Cell]:
        """Create a trial of the Optuna study, with some or all values fixed."""
        number = self._num_proposed
        self._num_proposed += 1
        if fixed is None:
            fixed = self._fixed(number)
        if fixed:
            self._study.enqueue_trial(dict(fixed))
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        if self._plan.search_sampler == "nsga2":
            # Sets the trial's generation, which Optuna omits if all values are fixed.
            _ = trial.relative_params
        sample = self._space.draw(asking(trial))
        return trial, self._plan.trial(self._space.arm.id, number, sample, self._repeat)

    def _fixed(self, number: int) -> Mapping[str, Value]:
        """Return the fixed values of a trial: those of a given point; all, at random, after a duplicate; else none."""
        if number < len(self._plan.points):
            return self._space.within(self._plan.points[number])
        if not self._num_duplicates:
            return {}
        drawn = optuna.create_study(sampler=RandomSampler(self._seed(number))).ask()
        return self._space.draw(asking(drawn))

    def _seed(self, number: int) -> int:
        key = f"{self._plan.seed}/{self._space.arm.id}/{number}"
        if self._repeat:  # the first search has the key of a study without repeats, whose trials it takes over
            key += f"/{self._repeat}"
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4])

    def _sampler(self, number: int) -> BaseSampler:
        seed = self._seed(number)
        if self._plan.search_sampler == "random":
            return RandomSampler(seed)
        if self._plan.search_sampler == "nsga2":
            return NSGAIISampler(population_size=NUM_RANDOM, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # group: joint model of the values in searched slots
            return TPESampler(n_startup_trials=NUM_RANDOM, group=len(self._plan.objectives) == 1, seed=seed)

    def _close(self, cell_id: str, record: Record | None) -> None:
        if record is not None:
            self._known[cell_id] = record
        for trial in self._open.pop(cell_id):
            self._finish(trial, record)

    def _finish(self, trial: optuna.Trial, record: Record | None) -> None:
        """Tell Optuna the result of a trial, so that no trial stays running in its study."""
        if record is not None and record.status == "pruned":
            self._study.tell(trial, state=TrialState.PRUNED)
        elif record is not None and (values := self._values(record)):
            self._study.tell(trial, values)
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def _values(self, record: Record) -> list[float]:
        return objective_values(record, self._plan)
