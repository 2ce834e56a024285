"""What a study's seeds can show: the smallest p, and from the spread so far the smallest difference."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sweeps.results.stopping import stage_of
from sweeps.statistics.paired import ALPHA, paired, smallest_p, standard_deviation
from sweeps.statistics.sequential import smallest_sequential_p
from sweeps.study.words import counted

if TYPE_CHECKING:
    from sweeps.plan import Plan
    from sweeps.results.ledger import Record
    from trainables.metrics import MetricKey


def reach(plan: "Plan", records: "Mapping[str, Record]") -> Iterator[str]:
    """What all seeds of a plan can reach, in sentences; of differences only where some cells are done.

    Args:
        plan: What is to run.
        records: What is done, by cell id.
    """
    arms, seeds = len(plan.arms) - 1, len(plan.study.all_seeds)
    if not arms:
        return
    whens = stage_of(plan, records).looks
    smallest = smallest_sequential_p(whens.seeds, whens.shares) if whens else smallest_p(seeds)
    corrected = min(1.0, arms * smallest)
    few = f": too few for any arm to be significant at {ALPHA}" if corrected > ALPHA else ""
    over = f"corrected over {counted(arms, 'arm')} {corrected:.2g}"
    yield f"{counted(seeds, 'seed')} can reach p = {smallest:.2g}, {over}{few}"
    for metric in plan.metrics:
        if sentence := _difference(plan, records, metric, seeds, arms):
            yield sentence


def _difference(
    plan: "Plan", records: "Mapping[str, Record]", metric: "MetricKey", seeds: int, arms: int
) -> str | None:
    """The smallest difference in one metric, by the arm that scatters most."""
    from sweeps.results.comparison import found_of, is_context
    from sweeps.statistics.power import smallest_difference

    if is_context(metric):
        return None
    control, *others = ((arm.id, arm.values(metric.key)) for arm in found_of(plan, records, plan.study.all_seeds))
    spreads = []
    for name, values in others:
        common = sorted(values.keys() & control[1].keys())
        if len(common) >= 2:
            differences = paired([values[seed] for seed in common], [control[1][seed] for seed in common])
            spreads.append((standard_deviation(differences), name, len(common)))
    if not spreads:
        return None
    sd, name, pairs = max(spreads)
    found = smallest_difference(sd, seeds, arms)
    if found is None:
        return None
    by = f"by the {pairs} pairs so far of {name}, whose differences scatter most"
    return f"{metric.key}: a difference of {found:.2g} is found with a chance of 80 % ({by})"
