"""Interim looks of a study with an adaptive number of seeds."""

from collections.abc import Iterator

from sweeps.statistics.sequential import Looks, looks
from sweeps.study.fields import SeedRule
from sweeps.study.types import Study


def notes_on_looks(seeds: tuple[int, ...] | SeedRule, arms: int, metric: str) -> Iterator[str]:
    """Describe the interim looks, for the notes of a plan."""
    if not isinstance(seeds, SeedRule):
        return
    *before, last = looks(seeds.min, seeds.max, arms).seeds
    if not before:
        yield f"seeds: {last} are too few for an interim look to decide anything, so all are used"
        return
    at = " and ".join(map(str, before))
    yield f"seeds: interim looks after {at} seeds; stops when {metric} decides every arm, at most {last} seeds"


def looks_of(study: Study, arms: int) -> Looks | None:
    """Return the interim looks of a study; None if it uses all its seeds.

    Args:
        study: With a number, a list or a rule of seeds.
        arms: Number of arms compared with the control.
    """
    rule = study.seeds
    return looks(rule.min, rule.max, arms) if isinstance(rule, SeedRule) else None
