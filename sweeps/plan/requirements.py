"""Requirements of a plan on this machine: weights, data, networks of metrics."""

import os

from models import SYSTEMS
from models.bases import BaseRef, find_base, missing_files, read_card
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
    ref = find_base(study.base, SYSTEMS[study.system].family)
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    lacking = _lacking(study, ref) if ref.where != "hub" or offline else []
    return lacking + _lacking_extractors(study) + (_lacking_data(study) or _wrong_annotations(study))


def lacking(study: Study, ref: BaseRef) -> list[Problem]:
    """List requirements that this machine lacks to run a study; planning does not need them."""
    return _lacking(study, ref) + _lacking_data(study) + _lacking_extractors(study)


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
