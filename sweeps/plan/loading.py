"""Study file to plans; all problems are reported at once, with their lines."""

import json
from pathlib import Path
from typing import TypeVar

from sweeps.plan.expansion import Expansion, expand
from sweeps.plan.forms import OVERLAYS, PROFILES, WHOLE, forms
from sweeps.plan.plan import Plan
from sweeps.study import words
from sweeps.study.document import Document, Key, Problem, SpecError
from sweeps.study.fields import Seeds
from sweeps.study.reader import read
from sweeps.study.types import Study

_INDEPENDENT = ("ablations", "arms", "todo", "metrics", "search", "margins", "extractors", "resources", "tracking")
"""Maps and lists whose entries can be removed independently."""
S = TypeVar("S", bound=Study)


class _PartialStudy(Study):
    """A study without the entries that do not fit its types."""

    name: str = ""
    system: str = ""
    base: str = ""
    metrics: tuple[str, ...] = ()
    seeds: Seeds = (0,)


def load(path: Path, profile: str | None = None) -> Plan:
    """Read the study file of a study without blocks; see ``load_blocks``."""
    plans = load_blocks(path, profile)
    assert list(plans) == [WHOLE], f"{path} has blocks: each has its own plan"
    return plans[WHOLE]


def load_blocks(path: Path, profile: str | None = None) -> dict[str, Plan]:
    """Read a study file, check everything that needs no weights, data or cluster, and expand it to plans.

    Args:
        path: The study file.
        profile: Name of a profile to apply.

    Returns:
        Block -> its plan; the empty string -> the only plan, for a study without blocks.

    Raises:
        SpecError: The file is invalid; lists all problems of all profiles and blocks, sorted by line.
    """
    document = read(path)
    all_forms, problems = forms(document)
    profiles = list(dict.fromkeys(form.profile for form in all_forms if form.profile is not None))
    if profile is not None and profile not in profiles:
        allowed = words.not_among(profile, profiles or ["no --profile: this study has none"])
        problems.append(document.problem((PROFILES,), f"--profile {allowed}"))
    expansions = []
    for form in all_forms:
        expansion, of_types = _expanded(form.document)
        expansions.append(expansion)
        # Values that the reader refused are missing, so validation would report them again.
        refused = {problem[:3] for problem in form.document.problems}
        found = [problem for problem in (*of_types, *expansion.problems) if problem[:3] not in refused]
        problems += [*form.document.problems, *found]
    if problems:
        raise SpecError(problems)
    return {
        form.block: expansion.plan()
        for form, expansion in zip(all_forms, expansions, strict=True)
        if form.profile == profile
    }


def _expanded(document: Document) -> tuple[Expansion, list[Problem]]:
    """Expand the valid entries of a study, and list the entries that do not fit its types."""
    misfits = words.problems(Study, document.value, OVERLAYS)
    if not misfits:
        return expand(_study(Study, document)), []
    valid, complete = document, True
    invalid = {_removable(place) for place, _ in misfits if place}
    while invalid:
        complete = complete and not any(place[0] in ("ablations", "arms", "control", "search") for place in invalid)
        valid = valid.without(invalid)
        invalid = {_removable(place) for place, _ in words.problems(_PartialStudy, valid.value)}
    return expand(_study(_PartialStudy, valid), complete=complete), [document.problem(*misfit) for misfit in misfits]


def _removable(place: Key) -> Key:
    """Return the smallest entry around an invalid place that can be removed independently."""
    if place[0] == "ablations" and len(place) > 3:  # one of several arms or values of an ablation
        return place[:4]
    if place[0] == "ablations" and len(place) == 3 and place[2] not in ("part", "action", "with", "values"):
        return place  # the ablation's arms do not depend on it
    if place[:2] == ("by", "subsets"):
        return place[:3]
    if place[0] == "search" and place[1:2] in (("space",), ("points",), ("objectives",)):
        return place[:3]
    return place[: 2 if place[0] in _INDEPENDENT else 1]


def _study(model: type[S], document: Document) -> S:
    study = model.model_validate_json(json.dumps(document.value), strict=True)
    study._document = document
    return study
