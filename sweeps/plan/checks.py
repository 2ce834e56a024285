"""Checks across keys of a study: margins, budget, hypotheses, number of cells, data."""

from collections.abc import Iterator

from models import SYSTEMS
from sweeps.plan.arms import Arms
from sweeps.plan.bases import unread
from sweeps.plan.cells import Setting
from sweeps.plan.measured import measured
from sweeps.plan.search import SearchPlan
from sweeps.plan.search_spec import unmeasured
from sweeps.study import words
from sweeps.study.document import Key
from sweeps.study.fields import SeedRule
from sweeps.study.types import Hypothesis, Study, Todo
from trainables.data.layout import ClipLayout
from trainables.metrics import METRICS
from trainables.metrics.clip_files import unfit_networks

MAX_CELLS = 100_000

Wrong = tuple[Key, str]


def unmeasured_margins(study: Study) -> list[Wrong]:
    """Find margins of metrics that the study does not measure."""
    return [(("margins", family), message) for family in study.margins if (message := unmeasured(study, family))]


def unfit_extractors(study: Study) -> list[Wrong]:
    """Find models on this machine that are of another kind or incomplete."""
    return [(("extractors", role), message) for role, message in unfit_networks(study.extractors).items()]


def budget_problems(study: Study) -> list[Wrong]:
    """Find a budget in money without a price."""
    if study.budget and study.budget.money and not study.budget.price_per_gpu_hour:
        return [(("budget", "money"), "money without a price -> also set price_per_gpu_hour")]
    return []


def open_todos(study: Study) -> list[Wrong]:
    """List open decisions of an imported plan."""
    return [(("todo", place), _open(todo)) for place, todo in enumerate(study.todo)]


def unread_text_encoder(study: Study) -> list[Wrong]:
    """Check that the system of the study, or of an arm, reads texts where the study names a text encoder."""
    named = (study.system, *(changes.get("system") for changes in study.arms.values()))
    systems = [SYSTEMS[name] for name in named if isinstance(name, str) and name in SYSTEMS]
    if not study.text_encoder or not systems or any(system.reads_texts for system in systems):
        return []
    return [(("text_encoder",), unread(systems[0]))]


def no_arms(study: Study, arms: Arms) -> list[Wrong]:
    """Check that some arm differs from the control, unless the study only searches it, or its arms are to settle."""
    lists_arms = study.ablations or study.arms
    if study.todo and not lists_arms:
        return []
    if arms.problems or len(arms.arms) > 1 or (study.search is not None and not lists_arms):
        return []
    place: Key = ("ablations",) if study.ablations else ("arms",) if study.arms else ()
    return [(place, "no arm differs from the control -> at least one ablation or arm that changes it")]


def untestable_hypotheses(study: Study) -> Iterator[Wrong]:
    """Find hypotheses about metrics that the study does not measure, or about equivalence without a margin."""
    for place, ablation in enumerate(study.ablations):
        hypothesis = ablation.hypothesis
        if not isinstance(hypothesis, Hypothesis) or not study.metrics:
            continue
        family = hypothesis.metric or next(iter(measured(study).families), study.metrics[0])
        if hypothesis.metric and (message := unmeasured(study, hypothesis.metric)):
            yield ("ablations", place, "hypothesis", "metric"), message
        elif hypothesis.expect == "equivalent" and family not in study.margins:
            message = f"equivalent without a margin -> add {family} to margins: the smallest relevant difference"
            yield ("ablations", place, "hypothesis", "expect"), message


def _open(todo: Todo) -> str:
    """Word the message for an open decision of an imported plan."""
    near = ", ".join(f"{name} ({score:.2f})" for name, score in todo.candidates.items())
    nearest = f"; nearest: {near}" if near else ""
    reason = f": {todo.reason}" if todo.reason else ""
    return f"{words.written(todo.asked)}{reason} -> settle it in this study, and delete this entry{nearest}"


def too_many_cells(study: Study, arms: Arms | None, search: SearchPlan | None) -> list[Wrong]:
    """Find numbers of seeds, arms or trials that give too many cells."""
    num_arms = len(arms.arms) if arms else 0
    rule = study.seeds
    if isinstance(rule, SeedRule) and rule.max < rule.min:
        return [(("seeds", "max"), f"{rule.max} -> at least min, {rule.min}")]
    if num_arms * len(study.all_seeds) > MAX_CELLS:
        return [(("seeds",), f"{num_arms} arms x {len(study.all_seeds)} seeds -> at most {MAX_CELLS:,} cells")]
    if search is not None and search.num_proposed > MAX_CELLS:
        return [(("search",), f"{search.num_proposed:,} trials and confirmations -> at most {MAX_CELLS:,}")]
    return []


def given_frame_problems(study: Study, setting: Setting, arms: Arms) -> list[Wrong]:
    """Check that a system that continues clips has clips, and fewer given frames than frames."""
    if not SYSTEMS[study.system].continues_clips:
        return []
    if not isinstance(setting.data, ClipLayout):
        reason = f"{study.system} continues real clips, and data {setting.data.layout} has no clips"
        return [(("data",), f"{reason} -> data: shapes, or a layout with clips")]
    most, frames = max(arm.system.given_frames for arm in arms.arms), setting.protocol.frames
    if most >= frames:
        return [(("protocol", "frames"), f"{frames} frames, {most} of them given -> more than {most}")]
    return []


def too_many_frames(setting: Setting, arms: Arms) -> list[Wrong]:
    """Find arms whose parts cannot tell so many frames apart."""
    frames = setting.protocol.frames
    limits = ((arm.id, arm.system.most_frames) for arm in arms.arms)
    return [
        (("protocol", "frames"), f"{frames} frames, and {arm} has positions for {most} -> at most {most}, or more rows")
        for arm, most in limits
        if most is not None and frames > most
    ]


def unread_models(setting: Setting, arms: Arms) -> list[Wrong]:
    """Find metrics that read what some arm's model does not have, such as states; each is told once."""
    found: dict[str, Wrong] = {}
    for family in (METRICS[metric.family] for metric in setting.metrics):
        for arm in arms.arms:
            if family.inside is not None and family.inside not in arm.system.inside:
                having = ", ".join(system.name for system in SYSTEMS.values() if family.inside in system.inside)
                message = (
                    f"{family.name} reads the {family.inside} of a model, and {arm.id} ({arm.system.name}) has none"
                )
                found.setdefault(family.name, (("metrics",), f"{message} -> arms of {having}, or other metrics"))
    return list(found.values())


def unusable_predictors(arms: Arms) -> list[Wrong]:
    """Find arms whose states no usable model predicts; each model is told once."""
    found: dict[tuple[str, str], Wrong] = {}
    for arm in arms.arms:
        predictor = arm.system.predictor
        if predictor is not None and (reason := predictor.misfit(arm.ref)):
            found.setdefault((arm.base, predictor.model), (arm.place_of("base"), f"states of arm {arm.id}: {reason}"))
    return list(found.values())
