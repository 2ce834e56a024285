"""Pairs of an arm and the control by unit, and the families of their differences at each analysis."""

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeps.plan.units import Units
from sweeps.results.arm_values import ArmValues, Key, values_in_common
from sweeps.statistics.families import Correction, CorrectOver, Family, Method, PValues, p_values
from sweeps.statistics.paired import rounding
from sweeps.statistics.sequential import Looks
from sweeps.study.fields import Diverged, Unit


@dataclass(frozen=True)
class Inference:
    """How the differences of a table are tested.

    Args:
        units: Metric key -> its unit.
        looks: Analyses of the study, where it has several.
        test: Sign flips, or the studentised bootstrap.
        correction: Correction over the family.
        over: The family: the arms of one metric, or all arms and metrics.
        diverged: Whether seeds that diverged are left out, and their rate is compared, or count as the worst.
    """

    units: Mapping[str, Units]
    looks: Looks | None = None
    test: Method = "sign_flip"
    correction: Correction = "max_t"
    over: CorrectOver = "arms"
    diverged: Diverged = "compared"

    def tests(self, looks: Sequence[Family], shares: Sequence[float], arms: int) -> list[PValues]:
        """Test a family at its looks so far."""
        return p_values(looks, shares, arms, test=self.test, correction=self.correction)

    def unit(self, key: str) -> Unit:
        """Return the unit of a metric."""
        return self.units[key].kind

    def analyses(self, seeds: Sequence[int]) -> list[tuple[Sequence[int] | None, float]]:
        """Return seeds and share of the level of each analysis so far, None for all seeds; empty before the first look.

        Args:
            seeds: Seeds that the control has been asked for.
        """
        return [(None, 1.0)] if self.looks is None else [*self.looks.until(seeds)]

    def share(self, seeds: Sequence[int]) -> float:
        """Return the share of the level that the interval of an arm with these seeds has."""
        return self.looks.share_of(seeds) if self.looks else 1.0


@dataclass(frozen=True)
class Pairs:
    """An arm and the control at the units at which both have a value."""

    units: tuple[Key, ...] = ()
    arm: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.units)

    @property
    def differences(self) -> dict[Key, float]:
        """Arm minus control, by unit."""
        return {unit: a - c for unit, a, c in zip(self.units, self.arm, self.control, strict=True)}


@dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of arms' values in one metric: an arm minus the control, or an effect of a design.

    Args:
        terms: Arms that must have a value, each with its weight; weights add up to 0.
        key: Key of the metric.
        unit: Unit of the metric.
    """

    terms: tuple[tuple[ArmValues, float], ...]
    key: str
    unit: Unit

    def pairs(self, seeds: Collection[int] | None = None) -> Pairs:
        """Pair the sums of positive and of negative terms, like arm and control, over all seeds or some."""
        return self._all if seeds is None else self._at(seeds)

    @functools.cached_property
    def _all(self) -> Pairs:
        return self._at(None)

    def _at(self, seeds: Collection[int] | None) -> Pairs:
        values = values_in_common([arm for arm, _ in self.terms], self.key, self.unit, seeds)
        units = tuple(values[0])

        def side(sign: int) -> list[float]:
            weighted = [
                (abs(weight), of_arm)
                for (_, weight), of_arm in zip(self.terms, values, strict=True)
                if weight * sign > 0
            ]
            return [sum(weight * of_arm[unit] for weight, of_arm in weighted) for unit in units]

        return Pairs(units, side(1), side(-1))

    @property
    def has_diverged(self) -> bool:
        """Whether a cell of any term diverged."""
        return any(arm.diverged for arm, weight in self.terms if weight)


def family(pairs: Iterable[Pairs]) -> Family:
    """Align pairs of one kind of unit: the same unit is one column in all rows.

    Differences that are no more than the rounding of the values are 0, else a studentised test would take an arm that
    differs by rounding alone for an extreme one.
    """
    import numpy as np

    rows = list(pairs)
    bounds = tuple(rounding(row.arm, row.control) for row in rows)
    places = {unit: place for place, unit in enumerate(dict.fromkeys(unit for row in rows for unit in row.units))}
    differences = np.full((len(rows), len(places)), np.nan)
    for number, row in enumerate(rows):
        differences[number, [places[unit] for unit in row.units]] = np.subtract(row.arm, row.control)
        if np.nansum(np.abs(differences[number])) <= bounds[number]:
            differences[number] *= 0
    return Family(differences, bounds)
