"""Families of metrics that a study measures: those it names, and the members of the groups it names."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from models import SYSTEMS
from models.bases import Card, find_base, read_card
from models.bases.families import STABLE_DIFFUSION
from sweeps.study.types import Study
from trainables.metrics import GROUPS, METRICS, MetricGroup, members


@dataclass(frozen=True)
class Measured:
    """Families that a study measures.

    Args:
        places: Family -> position in the study's list of metrics; the first family is the objective.
        notes: One note per group: its members, and the reasons why others are left out.
    """

    places: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def families(self) -> tuple[str, ...]:
        """The families in order; the first is the objective."""
        return tuple(self.places)


def measured(study: Study) -> Measured:
    """Find the families that a study measures; unknown names are skipped.

    A family that is named itself keeps its own place; of two equal entries the first counts.
    """
    places: dict[str, int] = {}
    notes = []
    named = {name for name in study.metrics if name in METRICS}
    for place, name in enumerate(study.metrics):
        if name in METRICS:
            places.setdefault(name, place)
        elif name in GROUPS:
            found, left_out = _members(study, GROUPS[name])
            places |= {family: place for family in found if family not in named and family not in places}
            notes.append(_note(name, found, left_out))
    return Measured(places, tuple(dict.fromkeys(notes)))


def _members(study: Study, group: MetricGroup) -> tuple[list[str], dict[str, str]]:
    """Find the members of a group; all of them where system or base are invalid themselves."""
    card = _card(study)
    if card is None or study.system not in SYSTEMS:
        return list(group.members), {}
    continues = SYSTEMS[study.system].continues_clips
    return members(group, card, study.extractors, study.base, continues=continues)


def _card(study: Study) -> Card | None:
    family = SYSTEMS[study.system].family if study.system in SYSTEMS else STABLE_DIFFUSION
    try:
        return read_card(find_base(study.base, family))
    except (ValueError, OSError):
        return None


def _note(group: str, found: list[str], left_out: Mapping[str, str]) -> str:
    """Word the note on a group."""
    without = ", ".join(f"{family} ({reason})" for family, reason in left_out.items())
    return f"{group} is measured as {', '.join(found)}" + (f"; not measured: {without}" if without else "")
