"""Interim looks of a study with an adaptive number of seeds."""

from collections.abc import Iterator

from sweeps.plan.plan import Plan
from sweeps.plan.units import units_per_seed
from sweeps.statistics.sequential import Looks, looks
from sweeps.study.fields import SeedRule


def notes_on_looks(plan: Plan) -> Iterator[str]:
    """Describe the interim looks, for the notes of a plan."""
    found = looks_of(plan)
    if found is None:
        return
    *before, last = found.seeds
    if not before:
        yield f"seeds: {last} are too few for an interim look to decide anything, so all are used"
        return
    at = " and ".join(map(str, before))
    yield (
        f"seeds: interim looks after {at} seeds; an arm leaves when {plan.metrics[0].key} decides it, or shows no sign "
        f"of an effect; at most {last} seeds"
    )


def looks_of(plan: Plan) -> Looks | None:
    """Return the interim looks of a study; None if it uses all its seeds."""
    rule, arms = plan.study.seeds, len(plan.arms) - 1
    if not isinstance(rule, SeedRule):
        return None
    return looks(rule.min, rule.max, units_per_seed(plan), arms if plan.study.correction == "holm" else 1)
