"""Interim looks of a study with an adaptive number of seeds."""

from collections.abc import Iterator

from sweeps.plan.plan import Plan
from sweeps.plan.units import units_per_seed
from sweeps.statistics.sequential import Looks, looks, with_earlier
from sweeps.study.fields import SeedRule


def notes_on_looks(plan: Plan) -> Iterator[str]:
    """Describe the interim looks, for the notes of a plan."""
    if not isinstance(plan.study.seeds, SeedRule):
        return
    *before, last = planned_looks(plan).numbers
    if not before:
        yield f"seeds: {last} are too few for an interim look to decide anything, so all are used"
        return
    at = " and ".join(map(str, before))
    yield (
        f"seeds: interim looks after {at} seeds; an arm leaves when {plan.metrics[0].key} decides it, or shows no sign "
        f"of an effect; at most {last} seeds"
    )


def planned_looks(plan: Plan) -> Looks:
    """Return the looks of the study as it is written; one with all seeds, unless it has a stopping rule."""
    study, arms = plan.study, len(plan.arms) - 1
    rule, seeds = study.seeds, tuple(study.all_seeds)
    if not isinstance(rule, SeedRule):
        return Looks((seeds,), (1.0,), leaving=False)
    return looks(seeds, rule.min, units_per_seed(plan), arms if study.correction == "holm" else 1)


def looks_of(plan: Plan) -> Looks | None:
    """Return the analyses of a study, with those at its earlier ends; None for a single one."""
    found = with_earlier(planned_looks(plan), plan.ends)
    return found if len(found.seeds) > 1 or isinstance(plan.study.seeds, SeedRule) else None
