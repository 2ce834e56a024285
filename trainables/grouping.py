"""Groups by which metrics are reported: categories of the annotations, and subsets by a rule. Imports no torch."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from trainables.data.layout import CATEGORY
from trainables.files import json_hash

MOTION = "motion_magnitude"
"""Column of a rule that is no annotation: the motion of the true clip, as the metric of this name computes it."""
SUBSET = "subset"
"""Name of the grouping by rules, beside that by a column."""

_CONDITIONS: dict[str, Callable[[float, float], bool]] = {
    "above_quantile": operator.gt,
    "below_quantile": operator.lt,
    "at_least": operator.ge,
    "at_most": operator.le,
}

Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, StringConstraints(min_length=1)]


class Rule(BaseModel):
    """A subset of the clips, by one condition on a number of each clip."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    column: Text = Field(description=f"a column of the annotations with numbers, or {MOTION} of the true clip")
    above_quantile: Share | None = Field(None, description="above this quantile of the reference clips")
    below_quantile: Share | None = Field(None, description="below this quantile of the reference clips")
    at_least: float | None = Field(None, description="at least this number")
    at_most: float | None = Field(None, description="at most this number")

    @model_validator(mode="after")
    def _has_one_condition(self) -> Self:
        if len(self.conditions) != 1:
            raise ValueError(f"exactly one of {', '.join(_CONDITIONS)}")
        return self

    @property
    def conditions(self) -> dict[str, float]:
        """The conditions that are set: one."""
        return {name: value for name in _CONDITIONS if (value := getattr(self, name)) is not None}

    def words(self) -> str:
        """Word the rule, such as ``motion_magnitude above its 0.75 quantile``."""
        ((name, value),) = self.conditions.items()
        if name.endswith("_quantile"):
            return f"{self.column} {name.removesuffix('_quantile')} its {value:g} quantile over the reference clips"
        return f"{self.column} {name.replace('_', ' ')} {value:g}"

    def members(self, values: Sequence[float], references: Sequence[float]) -> list[int]:
        """Return the positions of the values that fulfil the condition.

        Args:
            values: One per clip.
            references: One per reference clip, of which quantiles are taken: linear between neighbours.
        """
        ((name, number),) = self.conditions.items()
        bound = quantile(references, number) if name.endswith("_quantile") else number
        return [place for place, value in enumerate(values) if _CONDITIONS[name](value, bound)]


class Grouping(BaseModel):
    """Groups by which metrics are reported, beside their values over all clips."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    column: Text | None = Field(None, description=f"column whose labels are the categories, such as {CATEGORY}")
    least: Annotated[int, Field(ge=2)] = Field(
        8, description="smallest number of clips of a group: over all seeds, and of each cell for distances of sets"
    )
    subsets: dict[Text, Rule] = Field({}, description="name -> rule of a subset of the clips")

    @model_validator(mode="after")
    def _has_groups(self) -> Self:
        if self.column is None and not self.subsets:
            raise ValueError("a column, or subsets with a rule each")
        if self.column == SUBSET:
            raise ValueError(f"a column of another name: {SUBSET} is the grouping by rules")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the annotations that it needs."""
        named = [self.column, *(rule.column for rule in self.subsets.values())]
        return tuple(dict.fromkeys(name for name in named if name is not None and name != MOTION))

    @property
    def needs_motion(self) -> bool:
        """Whether a rule needs the motion of the true clips."""
        return any(rule.column == MOTION for rule in self.subsets.values())

    @property
    def identity(self) -> str:
        """Hash of everything that decides the values of the groups of a cell."""
        return json_hash(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Group:
    """Clips of a cell that belong together.

    Args:
        grouping: Column of the annotations, or ``subset``.
        name: Category or subset.
        clips: Numbers of the cell's clips.
        references: Numbers of the reference clips.
    """

    grouping: str
    name: str
    clips: tuple[int, ...]
    references: tuple[int, ...]


def quantile(values: Sequence[float], share: float) -> float:
    """Compute a quantile, linear between neighbours.

    x = v_floor(h) + (h - floor(h)) (v_floor(h)+1 - v_floor(h)),   h = share (n - 1), v sorted, from 0
    """
    ordered = sorted(values)
    if len(ordered) == 1:
        return ordered[0]
    place = share * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 2)
    return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
