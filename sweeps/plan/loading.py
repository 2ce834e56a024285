"""A study file to its plan: every problem at once, with its line."""

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
"""Maps and lists of which an entry can be taken out and leaves the others as they are."""
S = TypeVar("S", bound=Study)


class _Sound(Study):
    """What is left of a study when everything that does not fit its types is taken out."""

    name: str = ""
    system: str = ""
    base: str = ""
    metrics: tuple[str, ...] = ()
    seeds: Seeds = (0,)


def load(path: Path, profile: str | None = None) -> Plan:
    """Read a study file, check all that can be known without weights, data or a cluster, and work it out.

    Args:
        path: The study file.
        profile: Name of one of its profiles, laid over the study.

    Raises:
        SpecError: Something is wrong with the file: everything that is, in the order of lines, in all its profiles.
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
    # What the reader refused has no value, so that its types would complain of it once more.
    refused = {(problem.line, problem.path) for problem in document.problems}
    problems = [problem for problem in problems if (problem.line, problem.path) not in refused]
    if problems := [*document.problems, *problems]:
        raise SpecError(problems)
    return expansions[profile].plan()


def _profiles(document: Document) -> tuple[dict[str, Document], list[Problem]]:
    """The study with each of its profiles laid over it, and profiles that are no maps."""
    written = document.value.get(PROFILES)
    if written is None:
        return {}, []
    if not isinstance(written, dict):
        return {}, [document.problem((PROFILES,), f"{words.written(written)} -> a map of profiles")]
    laid: dict[str, Document] = {}
    problems = []
    for name, overlay in written.items():
        place: Key = (PROFILES, name)
        if not isinstance(overlay, dict):
            problems.append(document.problem(place, f"{words.written(overlay)} -> a map of keys of the study"))
            continue
        barred = [(*place, key) for key in ("name", PROFILES) if key in overlay]
        problems += [document.problem(key, f"a profile cannot change {key[-1]} -> leave it out") for key in barred]
        laid[name] = document.without(barred).with_laid_over(place).without([(PROFILES,)])
    return laid, problems


def _expanded(document: Document) -> tuple[Expansion, list[Problem]]:
    """One form of a study worked out, as far as its types are sound, and what is wrong with its types."""
    misfits = words.problems(Study, document.value, (PROFILES,))
    if not misfits:
        return expand(_study(Study, document)), []
    sound, complete = document, True
    unsound = {_removable(place) for place, _ in misfits if place}
    while unsound:
        complete = complete and not any(place[0] in ("ablations", "arms", "control", "search") for place in unsound)
        sound = sound.without(unsound)
        unsound = {_removable(place) for place, _ in words.problems(_Sound, sound.value)}
    return expand(_study(_Sound, sound), complete=complete), [document.problem(*misfit) for misfit in misfits]


def _removable(place: Key) -> Key:
    """The smallest entry around a wrong place without which the rest of the study still makes sense."""
    if place[0] == "ablations" and len(place) > 3:  # one of several arms or values of an ablation
        return place[:4]
    if place[0] == "ablations" and len(place) == 3 and place[2] not in ("part", "action", "with", "values"):
        return place  # what the ablation asks does not hang on it
    if place[0] == "search" and place[1:2] in (("space",), ("points",), ("objectives",)):
        return place[:3]
    return place[: 2 if place[0] in _INDEPENDENT else 1]


def _study(model: type[S], document: Document) -> S:
    study = model.model_validate_json(json.dumps(document.value), strict=True)
    study._document = document
    return study
