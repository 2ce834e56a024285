"""Which of the searched values mattered, by Optuna's evaluator."""

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from search_spaces import Domain, Value
from sweeps.plan.search import SearchPlan
from sweeps.plan.spaces import ArmSpace
from sweeps.results.record import Record
from sweeps.results.winners import objective_values, trials_of

if TYPE_CHECKING:
    import optuna

DIRECTIONS = {"max": "maximize", "min": "minimize"}
"""Which way is better, in Optuna's words."""

MIN_TRIALS = 10
"""Fewest done trials that importances are worked out from."""

NUM_BEST = 5
"""Fewest trials that count as the best ones in importances, as Optuna advises."""


def importances(
    space: ArmSpace, search: SearchPlan, records: Mapping[str, Record], objective: int = 0
) -> dict[str, float]:
    """How much each searched place had to do with being among the best trials of an arm (PED-ANOVA, by Optuna).

    Args:
        space: What is searched in the arm.
        search: As it is now.
        records: Results by cell id.
        objective: Position of the objective that is asked about.

    Returns:
        Dotted path -> share, together 1, the largest first; empty with fewer than 10 done trials, or where the best
        cannot be told from the others.
    """
    done = [record for record in trials_of(search, space.arm.id, records) if objective_values(record, search)]
    if len(done) < MIN_TRIALS:
        return {}
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.samplers import RandomSampler

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    goal = search.objectives[objective]
    study = optuna.create_study(direction=DIRECTIONS[goal.direction], sampler=RandomSampler(0))
    for record in done:
        study.enqueue_trial(record.sampled)
        trial = study.ask()
        space.draw(asking(trial))
        study.tell(trial, record.scores[goal.key])
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, NUM_BEST / len(done)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        shares: dict[str, Any] = get_param_importances(study, evaluator=evaluator)
    # Optuna then gives equal shares, with this warning.
    tied = any("same set of trials" in str(warning.message) for warning in caught)
    return {} if tied else {path: float(share) for path, share in shares.items()}


def asking(trial: "optuna.Trial") -> Callable[[str, Domain], Value]:
    """The way in which ``ArmSpace.draw`` asks an Optuna trial for values."""
    return lambda path, domain: domain.suggest(trial, path)
