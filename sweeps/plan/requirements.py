"""Requirements of a plan on this machine: weights, data, networks of metrics."""

import os

from models import SYSTEMS
from models.bases import BaseRef, missing_files, read_card, text_files, with_texts
from models.bases.families import Family
from sweeps.plan.plan import Plan
from sweeps.study.document import Problem
from sweeps.study.types import Study
from trainables.data import ClipsData
from trainables.metrics import absent


def requirements(plan: Plan) -> list[Problem]:
    """List requirements that this machine lacks to run a plan, and how to get them.

    ``check`` and ``plan`` only warn. A hub id that is not in the local cache is no problem unless HF_HUB_OFFLINE is
    set: loading it downloads it. The annotations of a dataset are read here, its clips are not.
    """
    study = plan.study
    ref = SYSTEMS[study.system].find_base(study.base, study.text_encoder)
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    lacking = _lacking(study, ref) if ref.where != "hub" or offline else []
    lacking += _lacking_texts(study, ref, offline=offline)
    wrong = _lacking_data(study) or _wrong_annotations(study) or _lacking_further(plan)
    return lacking + _lacking_extractors(study) + wrong


def lacking(study: Study, ref: BaseRef) -> list[Problem]:
    """List requirements that this machine lacks to run a study; planning does not need them."""
    texts = _lacking_texts(study, ref, offline=True)
    return _lacking(study, ref) + texts + _lacking_data(study) + _lacking_extractors(study)


def _lacking(study: Study, ref: BaseRef) -> list[Problem]:
    """Check that the weights of the base are on this machine."""
    missing = missing_files(ref)
    if not missing:
        return []
    if ref.where == "hub":
        revision = f" --revision {ref.revision}" if ref.revision else ""
        message = f"{ref} is not on this machine -> hf download {ref.name}{revision}"
    elif ref.where == "embedded" and (hub := read_card(ref).hub):
        message = f"{ref} has no weights, only configurations for planning -> base: {hub}, or a folder with weights"
    else:
        message = incomplete(study, missing, ref.family)
    return [study.document.problem(("base",), message)]


def _lacking_texts(study: Study, ref: BaseRef, *, offline: bool) -> list[Problem]:
    """Check that the text encoder that the study names is on this machine."""
    if not ref.text_encoder:
        return []
    source, files = with_texts(ref), text_files(ref)
    if source.where == "hub":
        if not offline or (files is not None and not files.missing()):
            return []
        revision = f" --revision {source.revision}" if source.revision else ""
        message = f"{source} is not on this machine -> hf download {source.name}{revision}"
    elif files is None or not (missing := files.missing()):
        return []  # refused where the study is checked
    elif source.where == "embedded" and (hub := read_card(source).hub):
        message = f"{source} has no weights, only configurations for planning -> text_encoder: {hub}"
    else:
        message = f"{source} lacks {', '.join(missing)} -> a complete text encoder with its tokenizer"
    return [study.document.problem(("text_encoder",), message)]


def _lacking_further(plan: Plan) -> list[Problem]:
    """Check that the data have the further texts that the arms read."""
    data = plan.cells[0].spec.data
    arms = {arm.id: arm.system.further_texts for arm in plan.arms}
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
        study.data.entries()
    except ValueError as error:
        return [study.document.problem(("data", "path"), line) for line in str(error).splitlines()]
    return []


def incomplete(study: Study, missing: list[str], family: Family) -> str:
    """Word the message for a base with missing files."""
    return f"{study.base} lacks {', '.join(missing)} -> a complete base in {family.title} layout"
