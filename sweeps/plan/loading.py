"""Study file to plan; all problems are reported at once, with their lines."""

import json
from pathlib import Path
from typing import TypeVar

from sweeps.plan.expansion import Expansion, expand
from sweeps.plan.plan import Plan
from sweeps.study import words
from sweeps.study.document import Document, Key, Problem, SpecError
from sweeps.study.fields import Seeds
from sweeps.study.reader import read
from sweeps.study.types import Study

PROFILES = "profiles"
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
    """Read a study file, check everything that needs no weights, data or cluster, and expand it to a plan.

    Args:
        path: The study file.
        profile: Name of a profile to apply.

    Raises:
        SpecError: The file is invalid; lists all problems of all profiles, sorted by line.
    """
    document = read(path)
    profiles, problems = _profiles(document)
    if profile is not None and profile not in profiles:
        problems.append(document.problem((PROFILES,), f"--profile {words.not_among(profile, profiles)}"))
    forms: dict[str | None, Document] = {None: document.without([(PROFILES,)])}
    forms.update(profiles)
    expansions: dict[str | None, Expansion] = {}
    for name, form in forms.items():
        expansions[name], of_types = _expanded(form)
        problems += [*of_types, *expansions[name].problems]
    # Values that the reader refused are missing, so validation would report them again.
    refused = {(problem.line, problem.path) for problem in document.problems}
    problems = [problem for problem in problems if (problem.line, problem.path) not in refused]
    if problems := [*document.problems, *problems]:
        raise SpecError(problems)
    return expansions[profile].plan()


def _profiles(document: Document) -> tuple[dict[str, Document], list[Problem]]:
    """Return the study with each of its profiles applied, and problems of the profiles."""
    written = document.value.get(PROFILES)
    if written is None:
        return {}, []
    if not isinstance(written, dict):
        return {}, [document.problem((PROFILES,), f"{words.written(written)} -> a map of profiles")]
    by_profile: dict[str, Document] = {}
    problems = []
    for name, overlay in written.items():
        place: Key = (PROFILES, name)
        if not isinstance(overlay, dict):
            problems.append(document.problem(place, f"{words.written(overlay)} -> a map of keys of the study"))
            continue
        barred = [(*place, key) for key in ("name", PROFILES) if key in overlay]
        problems += [document.problem(key, f"a profile cannot change {key[-1]} -> remove it") for key in barred]
        by_profile[name] = document.without(barred).merged(place).without([(PROFILES,)])
    return by_profile, problems


def _expanded(document: Document) -> tuple[Expansion, list[Problem]]:
    """Expand the valid entries of a study, and list the entries that do not fit its types."""
    misfits = words.problems(Study, document.value, (PROFILES,))
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
    if place[0] == "search" and place[1:2] in (("space",), ("points",), ("objectives",)):
        return place[:3]
    return place[: 2 if place[0] in _INDEPENDENT else 1]


def _study(model: type[S], document: Document) -> S:
    study = model.model_validate_json(json.dumps(document.value), strict=True)
    study._document = document
    return study
