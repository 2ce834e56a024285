"""Unit of the comparisons: what a study draws independently, so that one of it gives one pair of arm and control."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sweeps.plan.plan import Plan
from sweeps.study.fields import Unit
from sweeps.study.words import counted
from trainables.data import PromptsData
from trainables.metrics import METRICS, MetricKey

LARGEST_DESIGN_EFFECT = 1.21
"""Clips are units up to this ratio of variances, between seeds over within seeds.

Where clips of one seed are alike, the variance of their mean is 1 + (m - 1) ICC times what independent clips give. At
1.21 a 5 % test errs in 7.5 %: P(|Z| > 1.96 / sqrt(1.21)) = 0.075.
"""

Reason = Literal["study", "trained", "set", "drawn per clip", "listed prompts", "alike"]


@dataclass(frozen=True)
class Units:
    """Unit of one metric.

    Args:
        kind: The unit.
        reason: Why: the study's ``unit``; an arm is trained; a metric of a set of clips; prompts that are drawn per
            clip, or listed; clips of a seed that are too much alike.
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

    *seed* where an arm is trained, and for a metric of a set of clips; *prompt* where the study lists prompts; else
    *clip*. The study's ``unit`` takes precedence; a metric of a set has no value by clip or prompt.
    """
    clips = plan.cells[0].spec.protocol.clips
    if METRICS[metric.family].per == "set":
        return Units("seed", "set", clips=clips)
    if plan.study.unit is not None:
        return Units(plan.study.unit.kind, "study", clips=clips)
    if plan.is_trained:
        return Units("seed", "trained", clips=clips)
    if plan.lists_prompts:
        return Units("prompt", "listed prompts", clips=clips)
    return Units("clip", "drawn per clip", clips=clips)


def units_per_seed(plan: Plan) -> int:
    """Return the number of units that each seed has in the study's first metric; 1 for prompts, whose number is fixed."""
    unit = drawn_unit(plan, plan.metrics[0])
    return unit.clips if unit.kind == "clip" else 1
