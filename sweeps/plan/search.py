"""The search of a study, worked out: what is tuned inside each arm, and the cells that come of it.

Nothing here proposes values (``sweeps.run.proposer`` does, by Optuna): this is what is fixed before the first trial.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from search_spaces import Value
from sweeps.plan.arms import CONTROL
from sweeps.plan.cells import Cell
from sweeps.plan.spaces import ArmSpace
from sweeps.study.types import Confirm, TrialScheduler
from trainables.trial_spec import Stage, TrialSpec

NUM_RANDOM = 8
"""Trials of an arm before TPE learns from them, and individuals in a generation of NSGA-II."""


@dataclass(frozen=True)
class Objective:
    """A metric by its full key, and which way is better."""

    key: str
    direction: Literal["max", "min"]


@dataclass(frozen=True)
class SearchPlan:
    """A study's search worked out.

    Args:
        identity: 16 hexadecimal digits: the hash of space, search_sampler, seed, objectives, points and the control
            with its base, data, protocol and precision. Arms are not in it, so that a new arm leaves the others'
            trials as they are; ``results.winners.trials_of`` tells trials of an arm that has changed since.
        arms: What is searched inside each arm; arms in which nothing is left are not here.
        objectives: What is asked of a trial; with several, trials are ranked by Pareto fronts.
        search_sampler: Optuna's proposer.
        trials_per_arm: Trials inside each arm; fewer where its space holds fewer different samples.
        seed: Every trial of every arm samples at it, and Optuna's draws derive from it.
        points: Tried first in each arm, as far as its space knows their paths.
        trial_scheduler: How trials are stopped early, or None.
        confirm: How winners are confirmed, or None.
        confirm_seeds: The fresh seeds: from 10,000 on, what neither study nor search uses.
        specs: All arms as they stand, the control first, at the search's seed.
        notes: What a reader of the plan should know.
    """

    identity: str
    arms: tuple[ArmSpace, ...]
    objectives: tuple[Objective, ...]
    search_sampler: Literal["tpe", "nsga2", "random"]
    trials_per_arm: int
    seed: int
    points: tuple[Mapping[str, Value], ...]
    trial_scheduler: TrialScheduler | None
    confirm: Confirm | None
    confirm_seeds: tuple[int, ...]
    specs: Mapping[str, TrialSpec]
    notes: tuple[str, ...]

    @property
    def num_proposed(self) -> int:
        """Trials of all arms, and the cells that confirm their winners: none has an id before it is proposed."""
        return sum(count for _, _, count in self.proposed())

    def proposed(self) -> list[tuple[Stage, str, int]]:
        """The cells that are to be proposed: stage and arm, each pair once, and at most how many."""
        trials: list[tuple[Stage, str, int]] = [("search", space.arm.id, self.num_trials(space)) for space in self.arms]
        if self.confirm is None:
            return trials
        num_seeds, top = len(self.confirm_seeds), self.confirm.top
        confirmed = Counter(self.as_they_stand)  # beside the winners
        for _, arm, count in trials:
            confirmed[arm] += min(top, count)
        return trials + [("confirm", arm, count * num_seeds) for arm, count in confirmed.items()]

    def num_trials(self, space: ArmSpace) -> int:
        """Trials inside one arm: as many as asked, or as there are different samples."""
        return min(self.trials_per_arm, space.num_samples() or self.trials_per_arm)

    @property
    def as_they_stand(self) -> tuple[str, ...]:
        """Arms that are confirmed without anything sampled: the control, and those in which nothing is tuned."""
        searched = {space.arm.id for space in self.arms}
        return tuple(arm for arm in self.specs if arm == CONTROL or arm not in searched)

    def space_of(self, arm: str) -> ArmSpace:
        """What is searched inside an arm, by the arm's id."""
        return next(space for space in self.arms if space.arm.id == arm)

    def trial(self, arm: str, number: int, sampled: Mapping[str, Value]) -> Cell:
        """The cell of a trial.

        Args:
            arm: Id of the arm it is laid on.
            number: Its number within the arm.
            sampled: Dotted path -> value.

        Raises:
            EditError: The sample is not one of this arm.
        """
        return self._cell(arm, "search", number, sampled, self.seed)

    def confirmation(self, winners: Mapping[str, Sequence[Mapping[str, Value]]]) -> list[Cell]:
        """The cells that confirm winners: seed by seed what is not tuned as it stands, then each arm's winners by rank.

        Args:
            winners: Arm's id -> its best samples, the best first.
        """
        return [
            cell
            for seed in self.confirm_seeds
            for cell in (
                *(self._cell(arm, "confirm", None, {}, seed) for arm in self.as_they_stand),
                *(
                    self._cell(space.arm.id, "confirm", rank, sampled, seed)
                    for space in self.arms
                    for rank, sampled in enumerate(winners.get(space.arm.id, ()))
                ),
            )
        ]

    def _cell(self, arm: str, stage: Stage, trial: int | None, sampled: Mapping[str, Value], seed: int) -> Cell:
        changed: dict[str, object] = {"seed": seed, "stage": stage, "trial": trial, "search": self.identity}
        if sampled:
            tree = self.space_of(arm).system(sampled).model_dump(mode="json")
            # As the tree has them: the same sample is the same cell, whether a point says 1 or 1.0.
            changed |= {"tree": tree, "sampled": {path: _value_at(tree, path) for path in sampled}}
        return Cell.of(self.specs[arm].model_copy(update=changed))


def _value_at(tree: dict[str, Any], path: str) -> Value:
    """What stands at a sampled path of a tree: a value, or the kind of a slot."""
    slot, _, value = path.partition(".")
    here: Any = tree[slot]
    value_there: Value = here[value] if value else here["kind"] if isinstance(here, dict) else here
    return value_there
