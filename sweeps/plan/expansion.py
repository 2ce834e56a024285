"""Expansion of a study to arms and cells, with all its problems."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from models import SYSTEMS
from sweeps.plan import checks
from sweeps.plan.arms import Arm, Arms, expand_arms
from sweeps.plan.cells import Cell, Setting, specify
from sweeps.plan.grouping import grouping_problems
from sweeps.plan.looks import notes_on_looks
from sweeps.plan.plan import Plan
from sweeps.plan.requirements import lacking
from sweeps.plan.search import SearchPlan
from sweeps.plan.search_spec import expand_search
from sweeps.plan.setting import setting_of
from sweeps.plan.training import training_problems
from sweeps.plan.trends import trends
from sweeps.plan.units import notes_on_units, unit_problems
from sweeps.study import words
from sweeps.study.document import Key, Problem
from sweeps.study.types import Study
from trainables.data.prompts import PromptsData


@dataclass(frozen=True)
class Expansion:
    """A study's arms, shared setting and search, each None if undetermined, and all problems."""

    study: Study
    arms: Arms | None
    setting: Setting | None
    search: SearchPlan | None
    problems: list[Problem]

    def plan(self) -> Plan:
        """Make the plan of a study without problems."""
        assert not self.problems, "a study with problems has no plan"
        assert self.arms is not None, "no problem, so the system was found"
        assert self.setting is not None, "no problem, so the base was found"
        study, arms, setting = self.study, self.arms.arms, self.setting
        specs = [specify(study, arm, study.all_seeds[0], setting) for arm in arms]
        cells = tuple(Cell.of(spec.model_copy(update={"seed": seed})) for seed in study.all_seeds for spec in specs)
        of_arms = ((arm, note) for arm in arms for note in arm.system.notes())
        of_parts = (note if note.startswith(f"{arm.id}: ") else f"{arm.id}: {note}" for arm, note in of_arms)
        plan = Plan(
            study=study,
            arms=tuple(arms),
            cells=cells,
            metrics=setting.metrics,
            notes=(
                *self.arms.notes,
                *setting.notes,
                *of_parts,
                *_on_other_bases(study, arms, setting),
                *(self.search.notes if self.search else ()),
            ),
            warnings=tuple(problem.message for problem in lacking(study, arms)),
            search=self.search,
            contrasts=(*self.arms.contrasts, *trends(arms)),
            prompts=tuple(setting.data.listed()) if isinstance(setting.data, PromptsData) else (),
        )
        return replace(plan, notes=(*plan.notes, *notes_on_units(plan), *notes_on_looks(plan)))


def _on_other_bases(study: Study, arms: Sequence[Arm], setting: Setting) -> Iterator[str]:
    """Tell of arms whose clips are scored by networks of another base than their own."""
    if any(metric.extractor is not None and metric.extractor.subfolder is not None for metric in setting.metrics):
        scored = f"scored by the networks of {study.base}, as all arms"
        yield from (f"{arm.id}: sampled on {arm.base}, {scored}" for arm in arms if arm.base != study.base)


def expand(study: Study, *, complete: bool = True) -> Expansion:
    """Expand a study as far as possible, valid or not.

    Args:
        study: A study, or its valid keys: an empty system, base or list of metrics is skipped.
        complete: Whether no entry was removed; only then is a study without arms a problem.
    """
    wrong: list[tuple[Key, str]] = []
    arms, search = None, None
    setting = setting_of(study, wrong)
    if study.system in SYSTEMS:
        arms = expand_arms(study, SYSTEMS[study.system], setting.protocol if setting else None)
        wrong += arms.problems
        wrong += checks.no_arms(study, arms) if complete else []
    elif study.system:
        wrong.append((("system",), words.not_among(study.system, SYSTEMS)))
    if arms is not None:
        wrong += training_problems(study, [arm.system for arm in arms.arms])
    if study.system in SYSTEMS:
        wrong += grouping_problems(study, setting)
    if setting is not None and arms is not None:
        wrong += checks.given_frame_problems(study, setting, arms)
        wrong += checks.too_many_frames(setting, arms)
        wrong += checks.unusable_predictors(arms)
        wrong += checks.unread_models(setting, arms)
        wrong += unit_problems(study, setting, arms.arms)
    if study.search is not None and arms is not None:
        search, of_search = expand_search(study, arms.arms, setting, complete=complete and not arms.problems)
        wrong += of_search
    wrong += checks.unread_text_encoder(study)
    wrong += checks.unmeasured_margins(study)
    wrong += checks.unfit_extractors(study)
    wrong += checks.untestable_hypotheses(study)
    wrong += checks.budget_problems(study)
    wrong += checks.too_many_cells(study, arms, search)
    wrong += checks.open_todos(study)
    problems = dict.fromkeys(study.document.problem(*place) for place in wrong)  # arms may share a wrong text encoder
    return Expansion(study, arms, setting, search, list(problems))
