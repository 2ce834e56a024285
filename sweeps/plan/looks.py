"""When a study that ends by itself is looked at on its way."""

from collections.abc import Iterator

from sweeps.statistics.sequential import Looks, looks
from sweeps.study.fields import SeedRule
from sweeps.study.types import Study


def looked_at(seeds: tuple[int, ...] | SeedRule, arms: int, metric: str) -> Iterator[str]:
    """When a study is looked at, for the reader of its plan."""
    if not isinstance(seeds, SeedRule):
        return
    *before, last = looks(seeds.min, seeds.max, arms).seeds
    if not before:
        yield f"seeds: {last} are too few for a look on the way to find anything, so all are taken"
        return
    at = " and ".join(map(str, before))
    yield f"seeds: looked at after {at}, and over where {metric} decides every arm; {last} at most"


def looks_of(study: Study, arms: int) -> Looks | None:
    """When a study is looked at on its way; None where it takes all of its seeds.

    Args:
        study: With a number, a list or a rule of seeds.
        arms: That are compared with the control.
    """
    rule = study.seeds
    return looks(rule.min, rule.max, arms) if isinstance(rule, SeedRule) else None
