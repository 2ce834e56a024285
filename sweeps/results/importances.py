"""Importance of each searched value, by Optuna's evaluator."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces import Domain, Value
from sweeps.plan.search import SearchPlan
from sweeps.plan.spaces import ArmSpace
from sweeps.results.record import Record
from sweeps.results.winners import objective_values, trials_of

if TYPE_CHECKING:
    import optuna

DIRECTIONS = {"max": "maximize", "min": "minimize"}
"""Direction of an objective -> Optuna's name of it."""

MIN_TRIALS = 10
"""Fewest done trials from which importances are computed."""

NUM_BEST = 5
"""Fewest trials in the group of best trials, as Optuna advises."""


def importances(
    space: ArmSpace, search: SearchPlan, records: Mapping[str, Record], objective: int = 0
) -> dict[str, float]:
    """Compute how much each searched value determines the best trials of an arm (PED-ANOVA, by Optuna).

    Trials of several repeats are pooled, each less the mean of its repeat, which has a seed of its own.

    Args:
        space: Search space of the arm.
        search: The current search.
        records: Results by cell id.
        objective: Position of the objective.

    Returns:
        Dotted path -> share; shares add up to 1, the largest first; empty with fewer than 10 done trials, or where the
        best trials are tied with the others.
    """
    done = [record for record in trials_of(search, space.arm.id, records) if objective_values(record, search)]
    if len(done) < MIN_TRIALS:
        return {}
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.samplers import RandomSampler

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    target = search.objectives[objective]
    level = {
        repeat: _level(done, target.key, repeat) if search.repeats > 1 else 0.0 for repeat in range(search.repeats)
    }
    study = optuna.create_study(direction=DIRECTIONS[target.direction], sampler=RandomSampler(0))
    for record in done:
        study.enqueue_trial(record.sampled)
        trial = study.ask()
        space.draw(asking(trial))
        study.tell(trial, record.scores[target.key] - level[record.repeat])
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, NUM_BEST / len(done)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        shares: dict[str, Any] = get_param_importances(study, evaluator=evaluator)
    # Optuna then gives equal shares, with this warning.
    tied = any("same set of trials" in str(warning.message) for warning in caught)
    return {} if tied else {path: float(share) for path, share in shares.items()}


def _level(done: Sequence[Record], key: str, repeat: int) -> float:
    """Return the mean of a repeat's trials; 0 without any."""
    values = [record.scores[key] for record in done if record.repeat == repeat]
    return math.fsum(values) / len(values) if values else 0.0


def asking(trial: "optuna.Trial") -> Callable[[str, Domain], Value]:
    """Make the function by which ``ArmSpace.draw`` samples from an Optuna trial."""
    return lambda path, domain: domain.suggest(trial, path)
