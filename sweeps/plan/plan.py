"""From a study to its arms and cells: pure, and quick enough to be asked at every keystroke."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from models import SYSTEMS
from models.bases import (
    BaseRef,
    Card,
    Protocol,
    bases_of,
    find_base,
    missing_files,
    pixels_per_latent,
    read_card,
)
from models.bases.families import STABLE_DIFFUSION, Family
from sweeps.plan.arms import Arm, Arms, expand_arms
from sweeps.plan.cells import Cell, Setting, specify
from sweeps.plan.looks import looked_at
from sweeps.plan.search import SearchPlan
from sweeps.plan.search_spec import expand_search, unmeasured
from sweeps.plan.training import training_problems
from sweeps.study import words
from sweeps.study.designs import Contrast
from sweeps.study.document import Key, Problem, SpecError
from sweeps.study.fields import SeedRule
from sweeps.study.types import Hypothesis, Study, Todo
from trainables.data import ClipsData, Data
from trainables.data.layout import ClipLayout
from trainables.data.prompts import PromptsData
from trainables.metrics import FAMILIES, MetricKey, absent, resolve, with_companions

__all__ = ["Arm", "Cell", "Plan", "expand", "requirements", "wrong"]

MAX_CELLS = 100_000


@dataclass(frozen=True)
class Plan:
    """A study worked out: what runs, how it is scored, and what its reader should know.

    Args:
        study: What was asked.
        arms: The control first, then the arms in the order of the study.
        cells: Seed by seed, each over all arms, so that a study cut short is balanced.
        metrics: The study's metrics with their extractors fixed, companions included.
        notes: What was merged or added, and what a part says of itself.
        warnings: What this machine lacks to run it.
        search: What is tuned inside the arms, or None; its cells come beside ``cells``.
    """

    study: Study
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[MetricKey, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    search: SearchPlan | None = None
    contrasts: tuple[Contrast[str], ...] = ()

    @property
    def one_of_each(self) -> tuple[Cell, ...]:
        """One cell of every arm: those of the first seed."""
        return self.cells[: len(self.arms)]


@dataclass(frozen=True)
class _WorkedOut:
    """A study's arms, what they share and its search, each None where it cannot be known, and all that is wrong."""

    arms: Arms | None
    setting: Setting | None
    search: SearchPlan | None
    problems: list[Problem]


def expand(study: Study) -> Plan:
    """Work a study out into arms and cells.

    Raises:
        SpecError: The study asks for something that is not there; all such places together, with their lines.
    """
    found = _worked_out(study)
    if found.problems:
        raise SpecError(found.problems)
    assert found.arms is not None, "no problem, so the system was found"
    assert found.setting is not None, "no problem, so the base was found"
    arms, setting, search = found.arms.arms, found.setting, found.search
    specs = [specify(study, arm, study.all_seeds[0], setting) for arm in arms]
    cells = tuple(Cell.of(spec.model_copy(update={"seed": seed})) for seed in study.all_seeds for spec in specs)
    said = ((arm, note) for arm in arms for note in arm.system.notes())
    of_parts = (note if note.startswith(f"{arm.id}: ") else f"{arm.id}: {note}" for arm, note in said)
    notes = (
        *found.arms.notes,
        *setting.notes,
        *of_parts,
        *(search.notes if search else ()),
        *looked_at(study.seeds, len(arms) - 1, setting.metrics[0].key),
    )
    lacking = _lacking(study, setting.ref) + _lacking_data(study) + _lacking_extractors(study)
    warnings = tuple(problem.message for problem in lacking)
    contrasts = tuple(found.arms.contrasts)
    return Plan(study, tuple(arms), cells, setting.metrics, notes, warnings, search, contrasts)


def wrong(study: Study, *, complete: bool = True) -> list[Problem]:
    """Everything in a study that its types allow and its system, base or metrics do not.

    Args:
        study: A study, or what is sound of one: an empty system, base or list of metrics is passed over.
        complete: Whether nothing was left out, so that a study without any arm is wrong.
    """
    return _worked_out(study, complete=complete).problems


def requirements(plan: Plan) -> list[Problem]:
    """What keeps this machine from running a plan, and how to get it; ``check`` and ``plan`` only warn of it.

    A hub id that is not in the local cache is no obstacle unless HF_HUB_OFFLINE is set: loading it downloads it. The
    annotations of a dataset are read here, its clips are not.
    """
    study = plan.study
    ref = find_base(study.base, SYSTEMS[study.system].family)
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    lacking = _lacking(study, ref) if ref.where != "hub" or offline else []
    return lacking + _lacking_extractors(study) + (_lacking_data(study) or _wrong_annotations(study))


def _worked_out(study: Study, *, complete: bool = True) -> _WorkedOut:
    """All that can be known of a study, sound or not."""
    wrong: list[tuple[Key, str]] = []
    arms, search = None, None
    if study.system in SYSTEMS:
        arms = expand_arms(study, SYSTEMS[study.system])
        wrong += arms.problems
        wrong += _without_arms(study, arms) if complete else []
    elif study.system:
        wrong.append((("system",), words.not_among(study.system, SYSTEMS)))
    if arms is not None:
        wrong += training_problems(study, [arm.system for arm in arms.arms])
    setting = _setting(study, wrong)
    if setting is not None and arms is not None:
        wrong += _given_frames(study, setting, arms)
    if study.search is not None and arms is not None:
        search, problems = expand_search(study, arms.arms, setting, complete=complete and not arms.problems)
        wrong += problems
    wrong += [(("margins", family), message) for family in study.margins if (message := unmeasured(study, family))]
    wrong += _hypotheses(study)
    if study.budget and study.budget.money and not study.budget.price_per_gpu_hour:
        wrong.append((("budget", "money"), "money without a price -> price_per_gpu_hour beside it"))
    wrong += _too_many(study, arms, search)
    wrong += [(("todo", place), _open(todo)) for place, todo in enumerate(study.todo)]
    return _WorkedOut(arms, setting, search, [study.document.problem(*found) for found in wrong])


def _without_arms(study: Study, arms: Arms) -> list[tuple[Key, str]]:
    """That nothing is asked: no arm differs from the control, and there is no search of the control alone."""
    asks_for_arms = study.ablations or study.arms
    if arms.problems or len(arms.arms) > 1 or (study.search is not None and not asks_for_arms):
        return []
    place: Key = ("ablations",) if study.ablations else ("arms",) if study.arms else ()
    return [(place, "no arm differs from the control -> at least one ablation or arm that changes it")]


def _hypotheses(study: Study) -> Iterator[tuple[Key, str]]:
    """Hypotheses about what the study does not measure, or that its numbers cannot bear out."""
    for place, ablation in enumerate(study.ablations):
        said = ablation.hypothesis
        if not isinstance(said, Hypothesis) or not study.metrics:
            continue
        family = said.metric or study.metrics[0]
        if said.metric and (message := unmeasured(study, said.metric)):
            yield ("ablations", place, "hypothesis", "metric"), message
        elif said.expect == "equivalent" and family not in study.margins:
            message = f"equivalent -> a margin for {family}, under margins: within what differences it is equivalent"
            yield ("ablations", place, "hypothesis", "expect"), message


def _open(todo: Todo) -> str:
    """What an imported plan left to be settled."""
    near = ", ".join(f"{name} ({score:.2f})" for name, score in todo.candidates.items())
    nearest = f"; nearest: {near}" if near else ""
    reason = f": {todo.reason}" if todo.reason else ""
    return f"{words.written(todo.asked)}{reason} -> ask it under ablations or arms, and delete this entry{nearest}"


def _too_many(study: Study, arms: Arms | None, search: SearchPlan | None) -> list[tuple[Key, str]]:
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


def _setting(study: Study, wrong: list[tuple[Key, str]]) -> Setting | None:
    """What the arms share; reasons why it cannot be known are added to ``wrong``."""
    ref, card = _base(study, wrong)
    protocol = _protocol(study, card, wrong)
    if ref is None or card is None:
        _families(study, wrong)
        return None
    if protocol is not None:
        wrong += _off_the_grid(study, ref, protocol)
    data = _data(study, card, wrong)
    metrics, notes = _metrics(study, card, data, protocol, wrong)
    if data is None or protocol is None:
        return None
    return Setting(ref, card, data, protocol, metrics, notes)


def _base(study: Study, wrong: list[tuple[Key, str]]) -> tuple[BaseRef | None, Card | None]:
    """The base and its card; a path written as a path must lead to a whole base."""
    if not study.base:
        return None, None
    family = SYSTEMS[study.system].family if study.system in SYSTEMS else STABLE_DIFFUSION
    try:
        ref = find_base(study.base, family)
        card = read_card(ref)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, details["loc"])) for details in error.errors())
        wrong.append((("base",), f"{study.base}: its card.json does not hold what a card holds, at {places}"))
        return None, None
    except json.JSONDecodeError as error:
        wrong.append((("base",), f"{study.base} has a configuration file that is not JSON ({error}) -> a whole base"))
        return None, None
    except (ValueError, OSError) as error:
        wrong.append((("base",), str(error)))
        return None, None
    if study.system in SYSTEMS and ref.family != family:
        wrong.append((("base",), _of_another_family(study, ref)))
    elif ref.where == "folder" and (missing := missing_files(ref)):
        wrong.append((("base",), _incomplete(study, missing, ref.family)))
    return ref, card


def _of_another_family(study: Study, ref: BaseRef) -> str:
    """The message for a base whose networks the system does not stand on, saying which bases fit."""
    family = SYSTEMS[study.system].family
    fitting = ", ".join(bases_of(family))
    return (
        f"{study.base} is a {ref.family.title} base, and {study.system} stands on {family.title} -> {fitting}, or a "
        f"folder or hub id whose model_index.json names {family.pipeline}"
    )


def _protocol(study: Study, card: Card | None, wrong: list[tuple[Key, str]]) -> Protocol | None:
    """The card's protocol with the study's keys laid over it."""
    defaults = (card.protocol if card else Protocol()).model_dump()
    found = words.problems(Protocol, {**defaults, **study.protocol})
    wrong += [(("protocol", *place), message) for place, message in found]
    return None if found else Protocol.model_validate({**defaults, **study.protocol})


def _given_frames(study: Study, setting: Setting, arms: Arms) -> list[tuple[Key, str]]:
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


def _off_the_grid(study: Study, ref: BaseRef, protocol: Protocol) -> list[tuple[Key, str]]:
    """Sizes that are no whole number of the base's latent cells."""
    cell = pixels_per_latent(ref)
    sizes = {"height": protocol.height, "width": protocol.width}
    return [
        (("protocol", name), f"{size} -> a multiple of {cell} on base {study.base}")
        for name, size in sizes.items()
        if size % cell
    ]


def _data(study: Study, card: Card, wrong: list[tuple[Key, str]]) -> Data | None:
    """The study's data, or the layout that the base's card names."""
    if study.data is None:
        try:
            return TypeAdapter(Data).validate_python({"layout": card.data})
        except ValidationError:
            message = f"base {study.base} brings no data -> data: shapes, or {{layout: prompts, prompts: [...]}}"
            wrong.append((("data",), message))
            return None
    if isinstance(study.data, PromptsData):
        from models.streams import Streams

        try:
            study.data.prompts(Streams(0), 1)
        except ValueError as error:
            wrong.append((("data", "prompts"), str(error)))
    return study.data


def _families(study: Study, wrong: list[tuple[Key, str]]) -> dict[str, int]:
    """The metrics that exist, each with its place in the list."""
    places: dict[str, int] = {}
    for place, family in enumerate(study.metrics):
        if family not in FAMILIES:
            wrong.append((("metrics", place), words.not_among(family, FAMILIES)))
        elif family in places:
            wrong.append((("metrics", place), f"{family} is there twice -> once"))
        else:
            places[family] = place
    return places


def _metrics(
    study: Study, card: Card, data: Data | None, protocol: Protocol | None, wrong: list[tuple[Key, str]]
) -> tuple[tuple[MetricKey, ...], tuple[str, ...]]:
    """The study's metrics and their companions on the networks that base and extractors give."""
    places = _families(study, wrong)
    families, notes = with_companions(list(places))
    metrics = []
    for name in families:
        family = FAMILIES[name]
        given = family.extractor is not None and getattr(study.extractors, family.extractor) is not None
        place: Key = ("metrics", places[name]) if name in places else ("metrics",)
        try:
            metric = resolve(name, card, study.extractors, study.base)
        except ValueError as error:
            wrong.append((("extractors", str(family.extractor)) if given else place, str(error)))
            continue
        metrics.append(metric)
        if data is not None and family.needs_references and not isinstance(data, ClipLayout):
            wrong.append((place, f"{name} compares with reference clips, which data {data.layout} has none of"))
        if protocol is not None and family.least_clips > protocol.clips:
            wrong.append((place, f"{name} needs at least {family.least_clips} clips, not {protocol.clips}"))
        if protocol is not None and metric.least_frames > protocol.frames:
            wrong.append((place, f"{name} needs clips of at least {metric.least_frames} frames, not {protocol.frames}"))
    return tuple(metrics), tuple(notes)


def _lacking(study: Study, ref: BaseRef) -> list[Problem]:
    """What this machine lacks to run a study, located in it."""
    missing = missing_files(ref)
    if not missing:
        return []
    if ref.where == "hub":
        revision = f" --revision {ref.revision}" if ref.revision else ""
        message = f"{ref} is not on this machine -> hf download {ref.name}{revision}"
    elif ref.where == "embedded" and (hub := read_card(ref).hub):
        message = f"{ref} ships without weights, to plan with -> base: {hub}, or a folder that holds them"
    else:
        message = _incomplete(study, missing, ref.family)
    return [study.document.problem(("base",), message)]


def _lacking_data(study: Study) -> list[Problem]:
    """That a dataset is not on this machine."""
    data = study.data
    if not isinstance(data, ClipsData) or data.folder.exists():
        return []
    message = f"{data.path} is not on this machine -> the folder of {data.layout} clips"
    return [study.document.problem(("data", "path"), message)]


def _lacking_extractors(study: Study) -> list[Problem]:
    """Networks of one's own for metrics that are not on this machine."""
    return [study.document.problem(("extractors", role), message) for role, message in absent(study.extractors).items()]


def _wrong_annotations(study: Study) -> list[Problem]:
    """What is wrong with the annotations of a dataset that is here."""
    if not isinstance(study.data, ClipsData):
        return []
    try:
        study.data.entries()
    except ValueError as error:
        return [study.document.problem(("data", "path"), line) for line in str(error).splitlines()]
    return []


def _incomplete(study: Study, missing: list[str], family: Family) -> str:
    return f"{study.base} is incomplete, it lacks {', '.join(missing)} -> a whole base in {family.title} layout"
