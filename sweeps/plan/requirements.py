"""Requirements of a plan on this machine: weights, data, networks of metrics."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from models.bases import BaseRef, find_base, missing_files, read_card
from sweeps.plan.arms import Arm
from sweeps.plan.bases import incomplete
from sweeps.plan.plan import Plan
from sweeps.study.document import Key, Problem
from sweeps.study.types import Study
from trainables.data import ClipsData
from trainables.grouping import MOTION
from trainables.metrics import absent

if TYPE_CHECKING:
    from trainables.data.annotations import Entry


def requirements(plan: Plan) -> list[Problem]:
    """List requirements that this machine lacks to run a plan, and how to get them.

    ``check`` and ``plan`` only warn. A hub id that is not in the local cache is no problem unless HF_HUB_OFFLINE is
    set: loading it downloads it. The annotations of a dataset are read here, its clips are not.
    """
    study = plan.study
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    bases = {place: ref for place, ref in _bases(plan.arms).items() if ref.where != "hub" or offline}
    return _lacking(study, bases) + _lacking_extractors(study) + (_lacking_data(study) or _wrong_annotations(study))


def lacking(study: Study, arms: Sequence[Arm]) -> list[Problem]:
    """List requirements that this machine lacks to run a study; planning does not need them."""
    return _lacking(study, _bases(arms)) + _lacking_data(study) + _lacking_extractors(study)


def _bases(arms: Sequence[Arm]) -> dict[Key, BaseRef]:
    """Return the bases of the arms by their places in the study."""
    return {
        ("arms", arm.id, "base") if "base" in arm.changes else ("base",): find_base(arm.base, arm.system.family)
        for arm in arms
    }


def _lacking(study: Study, bases: Mapping[Key, BaseRef]) -> list[Problem]:
    """Check that the weights of the bases are on this machine."""
    missing = {place: missing_files(ref) for place, ref in bases.items()}
    return [study.document.problem(place, _to_get(bases[place], files)) for place, files in missing.items() if files]


def _to_get(ref: BaseRef, missing: list[str]) -> str:
    """Word the message for a base that lacks files."""
    if ref.where == "hub":
        revision = f" --revision {ref.revision}" if ref.revision else ""
        return f"{ref} is not on this machine -> hf download {ref.name}{revision}"
    if ref.where == "embedded" and (hub := read_card(ref).hub):
        return f"{ref} has no weights, only configurations for planning -> base: {hub}, or a folder with weights"
    return incomplete(ref.name, missing, ref.family)


def _lacking_data(study: Study) -> list[Problem]:
    """Check that the dataset is on this machine."""
    data = study.data
    if not isinstance(data, ClipsData) or data.folder.exists():
        return []
    message = f"{data.path} is not on this machine -> a folder with {data.layout} clips"
    return [study.document.problem(("data", "path"), message)]


def _lacking_extractors(study: Study) -> list[Problem]:
    """Check that the study's own networks for metrics are on this machine."""
    return [study.document.problem(("extractors", role), message) for role, message in absent(study.extractors).items()]


def _wrong_annotations(study: Study) -> list[Problem]:
    """Check the annotations of a dataset on this machine."""
    if not isinstance(study.data, ClipsData):
        return []
    try:
        entries = study.data.entries()
    except ValueError as error:
        return [study.document.problem(("data", "path"), line) for line in str(error).splitlines()]
    return [study.document.problem(place, message) for place, message in _unlabelled(study, entries)]


def _unlabelled(study: Study, entries: Sequence["Entry"]) -> Iterator[tuple[Key, str]]:
    """Find columns by which the study groups clips and which some clips lack, or have no number in."""
    from trainables.data.labels import no_numbers, unlabelled

    by = study.by
    if by is None:
        return
    if by.column is not None and (message := unlabelled(entries, by.column)):
        yield ("by", "column"), f"{message} -> a {by.column} for each of them, or another column"
    for name, rule in by.subsets.items():
        if rule.column != MOTION and (message := no_numbers(entries, rule.column)):
            yield ("by", "subsets", name, "column"), f"{message} -> numbers, or another column"
