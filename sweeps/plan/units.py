"""Unit of the comparisons: what a study draws independently, so that one of it gives one pair of arm and control."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.plan.arms import Arm
from sweeps.plan.cells import Setting
from sweeps.plan.plan import Plan
from sweeps.statistics.paired import ALPHA, smallest_p
from sweeps.study.document import Key
from sweeps.study.fields import Unit
from sweeps.study.types import Study
from sweeps.study.words import counted
from trainables.data.prompts import PromptsData
from trainables.metrics import METRICS, MetricKey

LARGEST_DESIGN_EFFECT = 1.21
"""Clips are units up to this ratio of variances, between seeds over within seeds.

Where clips of one seed are alike, the variance of their mean is 1 + (m - 1) ICC times what independent clips give. At
1.21 a 5 % test errs in 7.5 %: P(|Z| > 1.96 / sqrt(1.21)) = 0.075.
"""
LARGEST_OF_ONE_ARM = 2.0
"""Clips are units up to this design effect of a single arm, which the mean over many arms would hide.

It is larger than that of the mean, since the largest of several estimates is large by chance: see docs/statistics.md.
"""

Reason = Literal[
    "study",
    "trained",
    "set",
    "drawn per clip",
    "listed prompts",
    "few prompts",
    "alike",
    "alike at these prompts",
    "diverged",
    "no values by clip",
]


@dataclass(frozen=True)
class Units:
    """Unit of one metric.

    Args:
        kind: The unit.
        reason: Why: the study's ``unit``; an arm is trained; a metric of a set of clips; prompts that are drawn per
            clip, listed, or too few; clips of a seed that are too much alike, also where listed prompts recur; cells
            that diverged as a whole and count as the worst; results without values by clip.
        correlation: Intra-class correlation of the differences within seeds, mean over the arms; None without clips.
        clips: Clips of a seed.
        largest: Largest correlation of a single arm.
    """

    kind: Unit
    reason: Reason
    correlation: float | None = None
    clips: int = 1
    largest: float | None = None

    @property
    def design_effect(self) -> float:
        """Variance of a mean of clips, relative to that of independent clips."""
        return 1 + (self.clips - 1) * (self.correlation or 0.0)

    @property
    def largest_effect(self) -> float:
        """Design effect of the arm whose clips are most alike."""
        return 1 + (self.clips - 1) * (self.largest or 0.0)

    @property
    def is_alike(self) -> bool:
        """Whether clips of a seed are too much alike to be units."""
        return self.design_effect > LARGEST_DESIGN_EFFECT or self.largest_effect > LARGEST_OF_ONE_ARM


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
    used = "all" if len(times) == listed else f"only {len(times)}"
    yield f"prompts: dealt out over the seeds; {used} of {counted(listed, 'prompt')}, each {each}"
    if any(drawn_unit(plan, metric).reason == "few prompts" for metric in plan.metrics):
        yield (
            f"prompts: {listed} are too few to be the units of a test, so clips are: differences are about these "
            "prompts, not about prompts in general"
        )


def recurring(plan: Plan) -> bool:
    """Whether a listed prompt occurs more than once, so that seeds are no replications with other prompts."""
    return bool(plan.prompts) and max(_occurrences(plan).values()) > 1


def unit_problems(study: Study, setting: Setting, arms: Sequence[Arm]) -> Iterator[tuple[Key, str]]:
    """Check that a study draws what it names as its unit."""
    if study.unit is None:
        return
    kind, trained = study.unit.kind, next((arm.id for arm in arms if arm.system.is_trained), None)
    if trained is not None and kind != "seed":
        reason = f"{trained} is trained, and all clips of a seed come from one training"
        yield ("unit", "kind"), f"{kind}: {reason} -> seed, or no unit"
    elif kind == "prompt" and not isinstance(setting.data, PromptsData):
        reason = f"data {setting.data.layout} draws prompts per clip"
        yield ("unit", "kind"), f"prompt: {reason} -> clip or seed, or data: {{layout: prompts, prompts: [...]}}"


def _occurrences(plan: Plan) -> Counter[str]:
    """Count how often each prompt occurs in the cells of an arm."""
    clips, number = plan.cells[0].spec.protocol.clips, len(plan.prompts)
    places = ((seed * clips + k) % number for seed in plan.study.all_seeds for k in range(clips))
    return Counter(plan.prompts[place] for place in places)
