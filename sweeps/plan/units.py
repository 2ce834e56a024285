"""Unit of the comparisons: what a study draws independently, so that one of it gives one pair of arm and control."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from sweeps.plan.plan import Plan
from sweeps.statistics.paired import ALPHA, smallest_p
from sweeps.study.fields import Unit
from sweeps.study.words import counted
from trainables.metrics import METRICS, MetricKey

LARGEST_DESIGN_EFFECT = 1.21
"""Clips are units up to this ratio of variances, between seeds over within seeds.

Where clips of one seed are alike, the variance of their mean is 1 + (m - 1) ICC times what independent clips give. At
1.21 a 5 % test errs in 7.5 %: P(|Z| > 1.96 / sqrt(1.21)) = 0.075.
"""

Reason = Literal[
    "study", "trained", "set", "drawn per clip", "listed prompts", "few prompts", "alike", "no values by clip"
]


@dataclass(frozen=True)
class Units:
    """Unit of one metric.

    Args:
        kind: The unit.
        reason: Why: the study's ``unit``; an arm is trained; a metric of a set of clips; prompts that are drawn per
            clip, listed, or too few; clips of a seed that are too much alike; results without values by clip.
        correlation: Intra-class correlation of the differences within seeds, mean over the arms; None without clips.
        clips: Clips of a seed.
    """

    kind: Unit
    reason: Reason
    correlation: float | None = None
    clips: int = 1

    @property
    def design_effect(self) -> float:
        """Variance of a mean of clips, relative to that of independent clips."""
        return 1 + (self.clips - 1) * (self.correlation or 0.0)


def drawn_unit(plan: Plan, metric: MetricKey) -> Units:
    """Return the unit that follows from what a study draws, before any result is known.

    *seed* where an arm is trained, and for a metric of a set of clips; *prompt* where the study lists prompts, unless
    they are too few for any test; else *clip*. The study's ``unit`` takes precedence, except that a metric of a set has
    no value by clip or prompt.
    """
    clips, rule = plan.cells[0].spec.protocol.clips, plan.study.unit
    if METRICS[metric.family].per == "set":
        return Units("seed", "set", clips=clips)
    if rule is not None:
        return Units(rule.kind, "study", clips=clips)
    if plan.is_trained:
        return Units("seed", "trained", clips=clips)
    if not plan.prompts:
        return Units("clip", "drawn per clip", clips=clips)
    if smallest_p(len(set(plan.prompts))) > ALPHA:
        return Units("clip", "few prompts", clips=clips)
    return Units("prompt", "listed prompts", clips=clips)


def units_per_seed(plan: Plan) -> int:
    """Return the number of units that each seed has in the study's first metric; 1 for prompts."""
    unit = drawn_unit(plan, plan.metrics[0])
    return unit.clips if unit.kind == "clip" else 1


def most_units(plan: Plan, seeds: Collection[int]) -> int:
    """Return the largest number of units that some seeds have in any metric of a study."""
    kinds = {drawn_unit(plan, metric).kind for metric in plan.metrics}
    return len(seeds) * (1 if kinds == {"seed"} else plan.cells[0].spec.protocol.clips)


def number_of_units(plan: Plan, kind: Unit) -> int:
    """Return the number of units of this kind that all seeds of a plan have."""
    if kind == "prompt":
        return len(_occurrences(plan))
    seeds = len(plan.study.all_seeds)
    return seeds * plan.cells[0].spec.protocol.clips if kind == "clip" else seeds


def notes_on_units(plan: Plan) -> Iterator[str]:
    """Tell how often each listed prompt occurs, and what a study with few prompts is about."""
    if not plan.prompts:
        return
    times = _occurrences(plan).values()
    listed = len(set(plan.prompts))
    each = f"{min(times)} to {max(times)} times" if min(times) != max(times) else counted(min(times), "time")
    used = "all" if len(times) == listed else f"only the first {len(times)}"
    yield f"prompts: dealt out over the seeds; {used} of {counted(listed, 'prompt')}, each {each}"
    if any(drawn_unit(plan, metric).reason == "few prompts" for metric in plan.metrics):
        yield (
            f"prompts: {listed} are too few to be the units of a test, so clips are: differences are about these "
            "prompts, not about prompts in general"
        )


def _occurrences(plan: Plan) -> Counter[str]:
    """Count how often each prompt occurs in the cells of an arm."""
    clips, number = plan.cells[0].spec.protocol.clips, len(plan.prompts)
    places = ((seed * clips + k) % number for seed in plan.study.all_seeds for k in range(clips))
    return Counter(plan.prompts[place] for place in places)
