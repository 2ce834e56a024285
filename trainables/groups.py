"""Groups of a cell's clips and of its reference clips, by which its metrics are computed as well."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from models import SYSTEMS
from models.streams import Streams
from trainables.data.labels import is_number
from trainables.data.layout import continued_numbers
from trainables.grouping import MOTION, SUBSET, Group, Rule
from trainables.inputs import clips_of, size
from trainables.trial_spec import TrialSpec

T = TypeVar("T")


def groups_of(spec: TrialSpec, folder: Path, motion: Callable[[], Sequence[float]]) -> tuple[Group, ...]:
    """Sort a cell's clips and its reference clips into the groups of its study.

    Args:
        spec: The cell.
        folder: Folder for files derived from the data.
        motion: Returns the motion magnitude of each reference clip.

    Raises:
        ValueError: The clips lack a label, or a label is no number where a rule needs one.
    """
    if spec.by is None:
        return ()
    labels = _Labels(spec, folder, motion)
    groups = []
    if (column := spec.by.column) is not None:
        own, real = labels.of(column)
        groups += [Group(column, name, _places(own, name), _places(real, name)) for name in sorted(dict.fromkeys(own))]
    for name, rule in spec.by.subsets.items():
        own_numbers, real_numbers = labels.numbers(rule)
        members = (tuple(rule.members(numbers, real_numbers)) for numbers in (own_numbers, real_numbers))
        groups.append(Group(SUBSET, name, *members))
    return tuple(groups)


class _Labels:
    """Labels of a cell's clips, and of its reference clips."""

    def __init__(self, spec: TrialSpec, folder: Path, motion: Callable[[], Sequence[float]]) -> None:
        self._spec, self._motion, self._streams = spec, motion, Streams(spec.seed)
        self._references = clips_of(spec).reference_clips(size(spec), folder)
        self._continuable = len(clips_of(spec).continuable_clips(size(spec), folder))
        self._continues = SYSTEMS[spec.system].continues_clips

    def of(self, column: str) -> tuple[Sequence[str], Sequence[str]]:
        """Return a label of each clip of the cell, and of each reference clip."""
        real = self._references.label(column)
        own = self._drawn(real) if self._continues else self._spec.data.labels(column, self._streams, self._clips)
        if "" in own:
            raise ValueError(f"clip {own.index('')} has no {column} -> a {column} for each annotated clip")
        return own, real

    def numbers(self, rule: Rule) -> tuple[Sequence[float], Sequence[float]]:
        """Return the number of a rule of each clip of the cell, and of each reference clip."""
        if rule.column == MOTION:
            real = self._motion()
            return self._drawn(real), real
        own, references = self.of(rule.column)
        return [_number(label, rule.column) for label in own], [_number(label, rule.column) for label in references]

    def _drawn(self, values: Sequence[T]) -> list[T]:
        """Select the values of the reference clips that the cell's clips continue."""
        return [values[k] for k in continued_numbers(self._continuable, self._streams, self._clips)]

    @property
    def _clips(self) -> int:
        return self._spec.protocol.clips


def _places(labels: Sequence[str], name: str) -> tuple[int, ...]:
    return tuple(place for place, label in enumerate(labels) if label == name)


def _number(label: str, column: str) -> float:
    if not is_number(label):
        raise ValueError(f"{column} of a clip is {label!r} -> a number, since a subset has a rule on it")
    return float(label)
