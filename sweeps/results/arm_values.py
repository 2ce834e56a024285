"""Values of an arm by seed, clip or prompt, read from the ledger; only those that are comparable with the control's."""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.plan import Plan
from sweeps.results.record import Record
from sweeps.study.fields import Unit
from sweeps.study.words import written

Draw = int | tuple[int, int]
"""What all arms draw alike: a seed, or seed and clip."""

Key = Draw | str
"""One unit: a draw, or the hash of a prompt."""


@dataclass(frozen=True)
class ArmValues:
    """Records of one arm by seed, for its requested seeds.

    ``settings`` maps each metric to the settings that the control was scored with; values with other settings are
    excluded from means and differences.
    """

    id: str
    role: Literal["control", "arm"]
    changes: str
    records: Mapping[int, Record]
    seeds: tuple[int, ...]
    settings: Mapping[str, str]

    def values(self, key: str) -> dict[int, float]:
        """Return a metric's values by seed, for cells that are done and scored with the control's settings."""
        return {seed: record.scores[key] for seed, record in self._comparable(key)}

    def by_unit(self, key: str, unit: Unit, seeds: Collection[int] | None = None) -> dict[Key, float]:
        """Return a metric's values by unit for the same cells, in the order of the seeds.

        A prompt has the mean over its clips.

        Args:
            key: Key of the metric.
            unit: Seed, clip or prompt.
            seeds: Seeds that count; all by default.
        """
        return values_in_common([self], key, unit, seeds)[0]

    def draws(self, key: str, unit: Unit, seeds: Collection[int] | None = None) -> dict[Draw, float]:
        """Return a metric's values for the same cells by seed, or by seed and clip for a unit below the seed."""
        cells = [(s, record) for s, record in self._comparable(key) if seeds is None or s in seeds]
        if unit == "seed":
            return {seed: record.scores[key] for seed, record in cells}
        return {(seed, k): value for seed, record in cells for k, value in enumerate(record.per_clip.get(key, ()))}

    @property
    def prompts(self) -> dict[Draw, str]:
        """Hashes of the listed prompts by seed and clip, for cells that are done."""
        return {(s, k): prompt for s, record in self.records.items() for k, prompt in enumerate(record.prompts)}

    @property
    def diverged(self) -> set[int]:
        """Seeds whose cells diverged."""
        return {seed for seed, record in self.records.items() if record.diverged}

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


def values_in_common(
    arms: Sequence[ArmValues], key: str, unit: Unit, seeds: Collection[int] | None = None
) -> list[dict[Key, float]]:
    """Return the values of several arms by unit, over the draws that all of them have, in the order of the first.

    A prompt has the mean over its draws: the same ones for every arm, so that differences of arms are means of paired
    differences also where cells are missing.

    Args:
        arms: At least one.
        key: Key of the metric.
        unit: Seed, clip or prompt.
        seeds: Seeds that count; all by default.
    """
    first, *others = (arm.draws(key, unit, seeds) for arm in arms)
    common = [draw for draw in first if all(draw in values for values in others)]
    if unit != "prompt":
        return [{draw: values[draw] for draw in common} for values in (first, *others)]
    prompts, of_prompt = arms[0].prompts, dict[str, list[Draw]]()
    for draw in common:
        if draw in prompts:
            of_prompt.setdefault(prompts[draw], []).append(draw)
    return [
        {prompt: math.fsum(values[draw] for draw in draws) / len(draws) for prompt, draws in of_prompt.items()}
        for values in (first, *others)
    ]


def settings_of(control: Iterable[Record], others: Iterable[Record]) -> dict[str, str]:
    """Return the settings that make values comparable: the newest of the control, else the newest of all, by metric."""
    settings: dict[str, str] = {}
    for records in (others, control):
        for record in sorted(records, key=lambda record: record.finished):
            settings |= record.settings
    return settings


def values_of(plan: Plan, records: Mapping[str, Record], seeds: Mapping[str, Sequence[int]]) -> list[ArmValues]:
    """Collect the values of a plan's arms at some of its seeds, the control first.

    Args:
        plan: The plan.
        records: Results by cell id.
        seeds: Arm -> its seeds.
    """
    by_seed: dict[str, dict[int, Record]] = {arm.id: {} for arm in plan.arms}
    requested = {arm: set(of_arm) for arm, of_arm in seeds.items()}
    for cell in plan.cells:
        if cell.id in records and cell.seed in requested[cell.arm]:
            by_seed[cell.arm][cell.seed] = records[cell.id]
    control, *others = (list(by_seed[arm.id].values()) for arm in plan.arms)
    settings = settings_of(control, itertools.chain(*others))
    return [
        ArmValues(
            arm.id,
            arm.role,
            ", ".join(f"{path}: {written(value)}" for path, value in arm.changes.items()),
            by_seed[arm.id],
            tuple(seeds[arm.id]),
            settings,
        )
        for arm in plan.arms
    ]


def newest_code(plan: Plan, records: Iterable[Record]) -> dict[str, str]:
    """Return the code hash of the newest result of each arm's system, by arm; empty without results."""
    system_of = {arm.id: arm.system.name for arm in plan.arms}
    newest = {system_of.get(r.arm, ""): r.code_hash for r in sorted(records, key=lambda record: record.finished)}
    return {arm: newest.get(system, "") for arm, system in system_of.items()}
