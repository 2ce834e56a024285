"""Requirements of a plan on this machine: weights, data, networks of metrics."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from models.bases import BaseRef, missing_files, read_card, text_files, with_texts
from models.predictor import PREDICTED
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
    wrong = _lacking_data(study) or _wrong_annotations(study) or _lacking_further(plan)
    return _lacking(study, plan.arms, offline=offline) + _lacking_extractors(study) + wrong


def lacking(study: Study, arms: Sequence[Arm]) -> list[Problem]:
    """List requirements that this machine lacks to run a study; planning does not need them."""
    return _lacking(study, arms, offline=True) + _lacking_data(study) + _lacking_extractors(study)


def _lacking(study: Study, arms: Sequence[Arm], *, offline: bool) -> list[Problem]:
    """Check that the bases of the arms, and the text encoders beside them, are on this machine; each is told once."""
    found = []
    for arm in arms:
        ref = arm.ref
        if (ref.where != "hub" or offline) and (missing := missing_files(ref)):
            found.append((arm.place_of("base"), _to_get(ref, missing)))
        if message := _lacking_texts(ref, offline=offline):
            found.append((arm.place_of("text_encoder"), message))
        if offline and (message := _lacking_predictor(arm)):
            found.append((arm.place_of("base"), message))
    return list(dict.fromkeys(study.document.problem(*problem) for problem in found))


def _to_get(ref: BaseRef, missing: list[str]) -> str:
    """Word the message for a base that lacks files."""
    if ref.where == "hub":
        revision = f" --revision {ref.revision}" if ref.revision else ""
        return f"{ref} is not on this machine -> hf download {ref.name}{revision}"
    if ref.where == "embedded" and (hub := read_card(ref).hub):
        return f"{ref} has no weights, only configurations for planning -> base: {hub}, or a folder with weights"
    return incomplete(ref.name, missing, ref.family)


def _lacking_predictor(arm: Arm) -> str:
    """Word that the model that predicts an arm's states is not on this machine; empty if it is, or is refused."""
    predictor = arm.system.predictor
    if predictor is None or predictor.misfit(arm.ref):
        return ""
    ref = predictor.ref(arm.ref)
    if ref.path is not None or predictor.cached(ref) is not None:
        return ""
    revision = f" --revision {ref.revision}" if ref.revision else ""
    return f"{ref}, which predicts states, is not on this machine -> hf download {ref.name}{revision}"


def _lacking_texts(ref: BaseRef, *, offline: bool) -> str:
    """Word what is missing on this machine of the text encoder that is named beside a base; empty if nothing is."""
    if not ref.text_encoder:
        return ""
    source, files = with_texts(ref), text_files(ref)
    if source.where == "hub":
        if not offline or (files is not None and not files.missing()):
            return ""
        revision = f" --revision {source.revision}" if source.revision else ""
        return f"{source} is not on this machine -> hf download {source.name}{revision}"
    if files is None or not (missing := files.missing()):
        return ""  # refused where the study is checked
    if source.where == "embedded" and (hub := read_card(source).hub):
        return f"{source} has no weights, only configurations for planning -> text_encoder: {hub}"
    return f"{source} lacks {', '.join(missing)} -> a complete text encoder with its tokenizer"


def _lacking_further(plan: Plan) -> list[Problem]:
    """Check that the data have the further texts that the arms read."""
    data = plan.cells[0].spec.data
    arms = {arm.id: [name for name in arm.system.further_texts if name != PREDICTED] for arm in plan.arms}
    if not any(arms.values()):
        return []
    has = data.further_names()
    problems = []
    for arm, names in arms.items():
        if absent := [name for name in names if name not in has]:
            known = f"they have {', '.join(has)}" if has else "they have none"
            message = f"arm {arm} reads the further text {', '.join(absent)} of the clips, and {known}"
            problems.append(plan.study.document.problem(("data",), f"{message} -> a column of the annotations"))
    return problems


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
