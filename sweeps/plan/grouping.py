"""Validation of a study's ``by``: its columns exist, and its rules can be applied."""

from collections.abc import Iterator

from models import SYSTEMS
from models.streams import Streams
from sweeps.plan.cells import Setting
from sweeps.study.document import Key
from sweeps.study.types import Study
from sweeps.study.words import written
from trainables.data import ShapesData
from trainables.grouping import MOTION, Grouping, Rule

Wrong = tuple[Key, str]


def grouping_problems(study: Study, setting: Setting | None) -> list[Wrong]:
    """List all problems of a study's groups of clips.

    Args:
        study: A study whose system exists.
        setting: Shared setting of its arms, if determined.
    """
    by = study.by
    if by is None:
        return []
    wrong: list[Wrong] = []
    for name, rule in by.subsets.items():
        wrong += [(("by", "subsets", name), message) for message in _wrong_rule(study, rule)]
    if setting is not None:
        wrong += _absent_columns(by, setting)
        wrong += _too_few_clips(study, by, setting)
    return wrong


def _wrong_rule(study: Study, rule: Rule) -> Iterator[str]:
    if rule.column == MOTION and not SYSTEMS[study.system].continues_clips:
        continuing = ", ".join(system.name for system in SYSTEMS.values() if system.continues_clips)
        yield (
            f"{MOTION} is that of the true clip, and {study.system} continues no clips -> a column of the annotations, "
            f"or a system that does ({continuing})"
        )


def _absent_columns(by: Grouping, setting: Setting) -> Iterator[Wrong]:
    """Find columns that the annotations lack; they are not checked where the data are not on this machine."""
    known = setting.data.columns()
    if known is None:
        return
    allowed = ", ".join(known) or f"data with annotated clips: {setting.data.layout} has no categories"
    if by.column is not None and by.column not in known:
        yield ("by", "column"), f"{written(by.column)} is no column of the annotations -> {allowed}"
    for name, rule in by.subsets.items():
        if (
            isinstance(setting.data, ShapesData)
            and rule.column in known
            and not _has_numbers(setting.data, rule.column)
        ):
            yield ("by", "subsets", name, "column"), f"{written(rule.column)} has no numbers -> motions, or {MOTION}"
        if rule.column not in (*known, MOTION):
            message = f"{written(rule.column)} is no column of the annotations -> {', '.join((*known, MOTION))}"
            yield ("by", "subsets", name, "column"), message


def _has_numbers(data: ShapesData, column: str) -> bool:
    """Whether the labels of procedural clips are numbers."""
    from trainables.data.labels import is_number

    return is_number(data.labels(column, Streams(0), 1)[0])


def _too_few_clips(study: Study, by: Grouping, setting: Setting) -> Iterator[Wrong]:
    clips, seeds = setting.protocol.clips, len(study.all_seeds)
    if by.least > clips * seeds:
        yield (
            ("by", "least"),
            f"{by.least}, and {seeds} seeds of {clips} clips have {clips * seeds} -> fewer, or more clips",
        )
