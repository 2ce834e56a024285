"""Plan of a hyperparameter search: the space of each arm, and its cells.

This is fixed before the first trial; ``sweeps.run.proposer`` proposes values with Optuna.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from search_spaces import Value
from sweeps.plan.arms import CONTROL
from sweeps.plan.cells import Cell
from sweeps.plan.spaces import ArmSpace
from sweeps.study.types import Confirm, TrialScheduler
from trainables.files import json_hash
from trainables.trial_spec import Stage, TrialSpec

NUM_RANDOM = 8
"""Random trials of an arm before TPE, and population size of NSGA-II."""


@dataclass(frozen=True)
class Objective:
    """Full key of a metric, and the direction that is better."""

    key: str
    direction: Literal["max", "min"]


@dataclass(frozen=True)
class SearchPlan:
    """Plan of a study's search.

    Args:
        identity: 16 hexadecimal digits: the hash of space, search_sampler, seed, objectives, points and the control
            with its base, data, protocol and precision. Arms are not included, so that a new arm keeps the others'
            trials; ``results.winners.trials_of`` detects trials of an arm that has changed since.
        arms: Space of each arm; arms with an empty space are left out.
        objectives: Objectives of a trial; with several, trials are ranked by Pareto fronts.
        search_sampler: Optuna sampler.
        trials_per_arm: Trials of one search of the arm with the most searched values; see ``num_trials``.
        seeds: Seed of the trials of each repeat, in all arms; Optuna's random draws derive from the first.
        points: Settings to try first in each arm, restricted to the paths of its space.
        trial_scheduler: Early stopping of trials, or None.
        confirm: Confirmation of winners, or None.
        confirm_seeds: New seeds from 10,000, which neither study nor search uses.
        specs: Specifications of all arms without sampled values, the control first, at the search's first seed.
        notes: Notes of the plan.
        definition: Plain values that, with the control, distinguish the search from others.
    """

    definition: tuple[Any, ...]
    arms: tuple[ArmSpace, ...]
    objectives: tuple[Objective, ...]
    search_sampler: Literal["tpe", "nsga2", "random"]
    trials_per_arm: int
    seeds: tuple[int, ...]
    points: tuple[Mapping[str, Value], ...]
    trial_scheduler: TrialScheduler | None
    confirm: Confirm | None
    confirm_seeds: tuple[int, ...]
    specs: Mapping[str, TrialSpec]
    notes: tuple[str, ...]

    @functools.cached_property
    def identity(self) -> str:
        """Hash of everything that makes trials belong to the same search: control, space, sampler, objectives."""
        return json_hash([self.specs[CONTROL].cell_id, *self.definition])

    @property
    def seed(self) -> int:
        """Seed of the first repeat's trials."""
        return self.seeds[0]

    @property
    def repeats(self) -> int:
        """Number of independent searches of each arm."""
        return len(self.seeds)

    @property
    def num_proposed(self) -> int:
        """Number of trials of all arms plus confirmation cells; these have no id before they are proposed."""
        return sum(count for _, _, count in self.proposed())

    def proposed(self) -> list[tuple[Stage, str, int]]:
        """Return (stage, arm, maximum number of cells) for each stage and arm of the search, over all repeats."""
        of_repeat = {space.arm.id: self.num_trials(space) for space in self.arms}
        trials: list[tuple[Stage, str, int]] = [("search", arm, n * self.repeats) for arm, n in of_repeat.items()]
        if self.confirm is None:
            return trials
        num_seeds, top = len(self.confirm_seeds), self.confirm.top
        confirmed = Counter(self.as_they_stand)  # in addition to the winners
        for arm, count in of_repeat.items():
            confirmed[arm] += min(top, count) * self.repeats
        cells = trials + [("confirm", arm, count * num_seeds) for arm, count in confirmed.items()]
        if self.confirm.path:  # the control's last step is the untuned control
            steps = {space.arm.id: len(space.space) - (space.arm.id == CONTROL) for space in self.arms}
            cells += [("path", arm, count * num_seeds) for arm, count in steps.items() if count]
        return cells

    def num_trials(self, space: ArmSpace) -> int:
        """Number of trials of one search of an arm: its share, or the number of different samples if smaller."""
        share = self.share(space)
        return min(share, space.num_samples() or share)

    def share(self, space: ArmSpace) -> int:
        """Share of ``trials_per_arm`` that an arm's number of searched values gives it: see ``share_of_trials``."""
        most = max(len(other.space) for other in self.arms)
        return share_of_trials(self.trials_per_arm, len(space.space), most, len(self.points))

    @property
    def as_they_stand(self) -> tuple[str, ...]:
        """Arms that are confirmed without sampled values: the control, and arms that are not searched."""
        searched = {space.arm.id for space in self.arms}
        return tuple(arm for arm in self.specs if arm == CONTROL or arm not in searched)

    def space_of(self, arm: str) -> ArmSpace:
        """Return the space of an arm, by the arm's id."""
        return next(space for space in self.arms if space.arm.id == arm)

    def trial(self, arm: str, number: int, sampled: Mapping[str, Value], repeat: int = 0) -> Cell:
        """Make the cell of a trial.

        Args:
            arm: Id of the arm.
            number: Number of the trial within its search of the arm.
            sampled: Dotted path -> value.
            repeat: Number of the search.

        Raises:
            EditError: The sample does not fit this arm.
        """
        return self._cell(arm, "search", number, sampled, self.seeds[repeat], repeat)

    def confirmation(self, *winners: Mapping[str, Sequence[Mapping[str, Value]]]) -> list[Cell]:
        """Make the confirmation cells: seed by seed, first untuned arms, then of each repeat the arms' winners by rank.

        All repeats have the same fresh seeds. Equal winners of two repeats are the same cells.

        Args:
            winners: For each repeat so far, arm id -> its best samples, the best first.
        """
        return [
            cell
            for seed in self.confirm_seeds
            for cell in (
                *(self._cell(arm, "confirm", None, {}, seed) for arm in self.as_they_stand),
                *(
                    self._cell(space.arm.id, "confirm", rank, sampled, seed, repeat)
                    for repeat, of_repeat in enumerate(winners)
                    for space in self.arms
                    for rank, sampled in enumerate(of_repeat.get(space.arm.id, ()))
                ),
            )
        ]

    def step(self, arm: str, number: int, sampled: Mapping[str, Value], seed: int) -> Cell:
        """Make the cell of a step of an arm's ablation path.

        Args:
            arm: Id of the arm.
            number: Number of the step, from 1.
            sampled: Dotted path -> value, after the step.
            seed: A fresh seed.
        """
        return self._cell(arm, "path", number, sampled, seed)

    def _cell(
        self, arm: str, stage: Stage, trial: int | None, sampled: Mapping[str, Value], seed: int, repeat: int = 0
    ) -> Cell:
        changed: dict[str, object] = {"seed": seed, "stage": stage, "trial": trial, "search": self.identity}
        changed["repeat"] = repeat
        if sampled:
            tree = self.space_of(arm).system(sampled).model_dump(mode="json")
            # Values as in the tree, so that 1 and 1.0 in a point give the same cell.
            changed |= {"tree": tree, "sampled": {path: value_at(tree, path) for path in sampled}}
        return Cell.of(self.specs[arm].model_copy(update=changed))


def share_of_trials(trials_per_arm: int, num_values: int, most_values: int, points: int = 0) -> int:
    """Compute the trials of one search of an arm, in proportion to its searched values.

        n_a = max(ceil(N k_a / k_max), points)

    With the same number of trials for all, the arm with the fewest values is tuned best and wins without being better.

    Args:
        trials_per_arm: N.
        num_values: k_a, the arm's searched values.
        most_values: k_max, those of the arm that has the most.
        points: Given points, which every arm tries.
    """
    return max(-(-trials_per_arm * num_values // most_values), points)


def value_at(tree: dict[str, Any], path: str) -> Value:
    """Return the value at a sampled path of a tree; for a slot, its kind."""
    name, _, key = path.partition(".")
    node: Any = tree[name]
    value: Value = node[key] if key else node["kind"] if isinstance(node, dict) else node
    return value
