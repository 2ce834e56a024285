"""Values of an arm by seed, read from the ledger; only values that are comparable with the control's."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.plan import Plan
from sweeps.results.record import Record
from sweeps.study.words import written


@dataclass(frozen=True)
class ArmValues:
    """Records of one arm by seed, for the requested seeds.

    ``settings`` maps each metric to the settings that the control was scored with; values with other settings are
    excluded from means and differences.
    """

    id: str
    role: Literal["control", "arm"]
    changes: str
    records: Mapping[int, Record]
    num_seeds: int
    settings: Mapping[str, str]

    def values(self, key: str) -> dict[int, float]:
        """Return a metric's values by seed, for cells that are done and scored with the control's settings."""
        return {seed: record.scores[key] for seed, record in self._comparable(key)}

    def per_frame(self, key: str) -> dict[int, list[float | None]]:
        """Return a metric's means by frame index for the same cells, by seed; empty for a metric of a whole set."""
        return {seed: record.per_frame[key] for seed, record in self._comparable(key) if key in record.per_frame}

    def numbers(self, key: str) -> dict[str, float]:
        """Return the numbers that belong to a measure between sets, from one of the same cells; else empty."""
        return next((record.sets[key] for _, record in self._comparable(key) if key in record.sets), {})

    def in_group(self, key: str, grouping: str, name: str, by: str) -> dict[int, tuple[float | None, int]]:
        """Return value and number of clips of one group, by seed, for the same cells.

        Args:
            key: Key of the metric.
            grouping: Column of the annotations, or ``subset``.
            name: Category or subset.
            by: Identity of the study's groups; values of other groups are left out.
        """
        cells = ((seed, record.groups.get(key, {}).get(grouping, {}).get(name)) for seed, record in self._of(key, by))
        return {seed: (found[0], found[1]) for seed, found in cells if found is not None}

    def group_names(self, key: str, by: str) -> list[tuple[str, str]]:
        """Return the groups of its cells, as (grouping, name)."""
        groups = (record.groups.get(key, {}) for _, record in self._of(key, by))
        return [(grouping, name) for group in groups for grouping, names in group.items() for name in names]

    def _of(self, key: str, by: str) -> Iterator[tuple[int, Record]]:
        """List the comparable cells that were scored by these groups."""
        return ((seed, record) for seed, record in self._comparable(key) if record.by == by)

    def _comparable(self, key: str) -> Iterator[tuple[int, Record]]:
        """List the cells that are done and scored with the control's settings, by seed."""
        for seed, record in sorted(self.records.items()):
            if (
                record.status == "done"
                and math.isfinite(record.scores.get(key, math.nan))
                and record.settings.get(key) == self.settings.get(key)
            ):
                yield seed, record


def settings_of(control: Iterable[Record], others: Iterable[Record]) -> dict[str, str]:
    """Return the settings that make values comparable: the newest of the control, else the newest of all, by metric."""
    settings: dict[str, str] = {}
    for records in (others, control):
        for record in sorted(records, key=lambda record: record.finished):
            settings |= record.settings
    return settings


def values_of(plan: Plan, records: Mapping[str, Record], seeds: Sequence[int]) -> list[ArmValues]:
    """Collect the values of a plan's arms at some of its seeds, the control first."""
    by_seed: dict[str, dict[int, Record]] = {arm.id: {} for arm in plan.arms}
    requested = set(seeds)
    for cell in plan.cells:
        if cell.id in records and cell.seed in requested:
            by_seed[cell.arm][cell.seed] = records[cell.id]
    control, *others = (list(by_seed[arm.id].values()) for arm in plan.arms)
    settings = settings_of(control, itertools.chain(*others))
    return [
        ArmValues(
            arm.id,
            arm.role,
            ", ".join(f"{path}: {written(value)}" for path, value in arm.changes.items()),
            by_seed[arm.id],
            len(seeds),
            settings,
        )
        for arm in plan.arms
    ]


def newest_code(plan: Plan, records: Iterable[Record]) -> dict[str, str]:
    """Return the code hash of the newest result of each arm's system, by arm; empty without results."""
    system_of = {arm.id: arm.system.name for arm in plan.arms}
    newest = {system_of.get(r.arm, ""): r.code_hash for r in sorted(records, key=lambda record: record.finished)}
    return {arm: newest.get(system, "") for arm, system in system_of.items()}
