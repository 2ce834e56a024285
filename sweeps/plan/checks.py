"""What a study asks that its types allow and its arms, its metrics or its size do not."""

from collections.abc import Iterator

from models import SYSTEMS
from sweeps.plan.arms import Arms
from sweeps.plan.cells import Setting
from sweeps.plan.search import SearchPlan
from sweeps.plan.search_spec import unmeasured
from sweeps.study import words
from sweeps.study.document import Key
from sweeps.study.fields import SeedRule
from sweeps.study.types import Hypothesis, Study, Todo
from trainables.data.layout import ClipLayout

MAX_CELLS = 100_000

Wrong = tuple[Key, str]


def unmeasured_margins(study: Study) -> list[Wrong]:
    """Margins of metrics that the study does not measure."""
    return [(("margins", family), message) for family in study.margins if (message := unmeasured(study, family))]


def budget_problems(study: Study) -> list[Wrong]:
    """A budget in money without a price."""
    if study.budget and study.budget.money and not study.budget.price_per_gpu_hour:
        return [(("budget", "money"), "money without a price -> price_per_gpu_hour beside it")]
    return []


def open_todos(study: Study) -> list[Wrong]:
    """What an imported plan left to be settled."""
    return [(("todo", place), _open(todo)) for place, todo in enumerate(study.todo)]


def no_arms(study: Study, arms: Arms) -> list[Wrong]:
    """That nothing is asked: no arm differs from the control, and there is no search of the control alone."""
    asks_for_arms = study.ablations or study.arms
    if arms.problems or len(arms.arms) > 1 or (study.search is not None and not asks_for_arms):
        return []
    place: Key = ("ablations",) if study.ablations else ("arms",) if study.arms else ()
    return [(place, "no arm differs from the control -> at least one ablation or arm that changes it")]


def untestable_hypotheses(study: Study) -> Iterator[Wrong]:
    """Hypotheses about what the study does not measure, or that its numbers cannot bear out."""
    for place, ablation in enumerate(study.ablations):
        hypothesis = ablation.hypothesis
        if not isinstance(hypothesis, Hypothesis) or not study.metrics:
            continue
        family = hypothesis.metric or study.metrics[0]
        if hypothesis.metric and (message := unmeasured(study, hypothesis.metric)):
            yield ("ablations", place, "hypothesis", "metric"), message
        elif hypothesis.expect == "equivalent" and family not in study.margins:
            message = f"equivalent -> a margin for {family}, under margins: within what differences it is equivalent"
            yield ("ablations", place, "hypothesis", "expect"), message


def _open(todo: Todo) -> str:
    """What an imported plan left to be settled."""
    near = ", ".join(f"{name} ({score:.2f})" for name, score in todo.candidates.items())
    nearest = f"; nearest: {near}" if near else ""
    reason = f": {todo.reason}" if todo.reason else ""
    return f"{words.written(todo.asked)}{reason} -> ask it under ablations or arms, and delete this entry{nearest}"


def too_many_cells(study: Study, arms: Arms | None, search: SearchPlan | None) -> list[Wrong]:
    """Where the cells are too many to be worked through."""
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
    """What keeps a system that continues clips from being given their first frames."""
    if not SYSTEMS[study.system].continues_clips:
        return []
    if not isinstance(setting.data, ClipLayout):
        needs = f"{study.system} continues real clips, which data {setting.data.layout} has none of"
        return [(("data",), f"{needs} -> data: shapes, or a layout of clips")]
    most, frames = max(arm.system.given_frames for arm in arms.arms), setting.protocol.frames
    if most >= frames:
        return [(("protocol", "frames"), f"{frames} frames, of which {most} are given -> more than {most}")]
    return []
