"""What a search asks, before the first trial: spaces laid on arms, cells, identity, ranking and notes."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from models import SYSTEMS
from models.system import EditError
from models.zs2 import ZS2, Analytic, MomentumAttention, TwoStage
from search_spaces import SPACES, Domain, Value
from sweeps.plan import Plan, load
from sweeps.plan.search import Objective, SearchPlan, share_of_trials
from sweeps.study.document import SpecError
from tests.factories import fresh

Write = Callable[[str | bytes], Path]
Planned = Callable[[str], Plan]

HEAD = """\
name: sound
system: zs2
base: shapes
metrics: [temporal_consistency, clip_score]
seeds: [3, 5]
"""
MOMENTUM = "attention: {kinds: [momentum, removed]}"
BOTH = f"{{attention.mu: {{uniform: [0, 1]}}, noise.threshold: {{log_uniform: [0.001, 1.5]}}, {MOMENTUM}}}"


@pytest.fixture
def planned(write: Write) -> Planned:
    return lambda text: load(write(HEAD + text))


def searched(plan: Plan) -> SearchPlan:
    assert plan.search is not None
    return plan.search


def scripted(*values: Value) -> Callable[[str, Domain], Value]:
    """Answers in turn."""
    answers = iter(values)
    return lambda path, domain: next(answers)


# ----------------------------------------------------------------------------------------------------------- grammar


def test_a_search_has_defaults(planned: Planned) -> None:
    plan = planned("search: {space: zs2_motion}")
    search = searched(plan)
    assert (search.search_sampler, search.trials_per_arm, search.seed, search.points) == ("tpe", 16, 3, ())
    assert search.objectives == (Objective("temporal_consistency/shapes_clip", "max"),)
    assert (search.trial_scheduler, search.confirm, search.confirm_seeds, search.seeds) == (None, None, (), (3,))
    assert plan.study.margins == {}


def test_every_key_of_a_search_is_read(planned: Planned) -> None:
    search = searched(
        planned(
            "search:\n"
            f"  space: {BOTH}\n"
            "  search_sampler: nsga2\n"
            "  trials_per_arm: 64\n"
            "  objectives: {clip_score: max, motion_magnitude: min}\n"
            "  points: [{attention.mu: 1}, {attention: removed}]\n"
            "  seed: 11\n"
            "  trial_scheduler: {kind: asha, grace: 2, factor: 4}\n"
            "  confirm: {top: 2, fresh_seeds: 3}\n"
            "  repeats: 2\n"
        )
    )
    assert (search.search_sampler, search.trials_per_arm, search.seed) == ("nsga2", 64, 11)
    assert search.objectives == (
        Objective("clip_score/shapes_clip", "max"),
        Objective("motion_magnitude/farneback", "min"),
    )
    assert search.points == ({"attention.mu": 1}, {"attention": "removed"})
    assert search.trial_scheduler is not None
    assert search.trial_scheduler.model_dump() == {"kind": "asha", "grace": 2, "factor": 4}
    assert search.confirm_seeds == (10_000, 10_001, 10_002)
    assert (search.repeats, search.seeds) == (2, (11, 20_000))


@pytest.mark.parametrize(
    ("arms", "keys", "repeats"),
    [
        ("ablations: [{part: attention, action: REMOVE}]", "confirm: {}", 3),
        ("ablations: [{part: attention, action: REMOVE}]", "trials_per_arm: 9", 1),
        ("", "confirm: {}", 1),
        ("", "confirm: {}, repeats: 4", 4),
    ],
)
def test_arms_that_are_compared_at_fresh_seeds_are_searched_three_times(
    arms: str, keys: str, repeats: int, planned: Planned
) -> None:
    search = searched(planned(f"{arms}\nsearch: {{space: zs2_motion, {keys}}}"))
    assert search.repeats == repeats == len(set(search.seeds))
    assert not {*search.seeds[1:]} & {3, 5, *search.confirm_seeds}


def test_seeds_of_repeats_are_used_by_nothing_else(planned: Planned) -> None:
    keys = "seed: 20001, repeats: 3, confirm: {fresh_seeds: 2}"
    search = searched(planned(f"search: {{space: zs2_motion, {keys}}}"))
    assert search.seeds == (20_001, 20_000, 20_002)


@pytest.mark.parametrize(
    ("trials", "values", "most", "points", "expected"),
    [(16, 4, 4, 0, 16), (16, 1, 4, 0, 4), (16, 3, 4, 0, 12), (5, 1, 3, 0, 2), (1, 1, 9, 0, 1), (16, 1, 4, 6, 6)],
)
def test_trials_are_in_proportion_to_the_searched_values(
    trials: int, values: int, most: int, points: int, expected: int
) -> None:
    assert share_of_trials(trials, values, most, points) == expected


def test_repeats_need_a_confirmation(write: Write, problems: Callable[[str], list[tuple[int, str, str]]]) -> None:
    head = HEAD + "search:\n  space: zs2_motion\n"
    refusal = (
        "3 without confirm -> 1, or confirm: {top: 1, fresh_seeds: 8}, since repeats are compared at fresh seeds only"
    )
    assert problems(f"{head}  repeats: 3\n") == [(8, "search.repeats", refusal)]
    assert problems(f"{head}  repeats: 1\n") == []
    ((line, path, message),) = problems(f"{head}  repeats: 0\n  confirm: {{}}\n")
    assert (line, path) == (8, "search.repeats")
    assert "1" in message.partition("->")[2]


def test_equal_winners_of_repeats_are_the_same_cells_and_trials_are_not(planned: Planned) -> None:
    search = searched(planned("search: {space: zs2_motion, repeats: 2, confirm: {fresh_seeds: 1}}"))
    sample: dict[str, Value] = {"attention.mu": 0.5, "noise.threshold": 0.1}
    first, second = (search.trial("control", 0, sample, repeat) for repeat in (0, 1))
    assert (first.seed, second.seed, second.spec.repeat) == (3, 20_000, 1)
    assert first.id != second.id
    untuned, one, other = search.confirmation({"control": [sample]}, {"control": [sample]})
    assert (untuned.spec.repeat, one.spec.repeat, other.spec.repeat) == (0, 0, 1)
    assert one.id == other.id != untuned.id


def test_objectives_in_a_list_have_their_own_directions(write: Write) -> None:
    text = HEAD.replace("temporal_consistency", "fid") + "search: {space: zs2_motion, objectives: [clip_score, fid]}"
    search = searched(load(write(text)))
    assert search.objectives == (Objective("clip_score/shapes_clip", "max"), Objective("fd/shapes_clip", "min"))


@pytest.mark.parametrize("name", SPACES)
def test_a_named_space_is_the_same_written_out(name: str, write: Write) -> None:
    system = name.partition("_")[0]
    head = HEAD.replace("zs2", system).replace("base: shapes", f"base: {SYSTEMS[system].family.default_base}")
    head += "training: {steps: 9}\n" if SYSTEMS[system].is_trained else ""
    head += "control: {trainable: low_rank}\n" if name == "exvideo_low_rank" else ""
    written = {path: domain.written() for path, domain in SPACES[name].items()}
    named, plain = (searched(load(write(f"{head}search: {{space: {space}}}"))) for space in (name, written))
    assert named.identity == plain.identity
    assert named.arms == plain.arms
    assert set(named.arms[0].space) == set(SPACES[name])
    assert named.arms[0].dropped == ()


def test_a_search_is_question_enough(planned: Planned) -> None:
    plan = planned("search: {space: zs2_motion}")
    assert [cell.arm for cell in plan.cells] == ["control", "control"]
    assert [space.arm.id for space in searched(plan).arms] == ["control"]


def test_a_profile_may_change_a_search(write: Write) -> None:
    text = HEAD + "search: {space: zs2_motion}\nprofiles: {full: {search: {trials_per_arm: 64}}}\n"
    assert searched(load(write(text), "full")).trials_per_arm == 64


# ------------------------------------------------------------------------------------------------------ spaces of arms

SPACE_OF_ARMS = {
    "a removed part has no values": (
        "ablations: [{part: attention, action: REMOVE}]",
        ["noise.threshold"],
        ["attention is not searched: the arm removes it", "attention.mu is not searched: attention is removed here"],
    ),
    "another kind may have the value": (
        "ablations: [{part: attention, action: REPLACE, with: [previous_frame]}]",
        ["attention.mu", "noise.threshold"],
        ["attention is not searched: the arm replaces it by previous_frame"],
    ),
    "another kind may lack the value": (
        "ablations: [{part: attention, action: REPLACE, with: [cross_frame]}]",
        ["noise.threshold"],
        [
            "attention is not searched: the arm replaces it by cross_frame",
            "attention.mu is not searched: attention is cross_frame here, which has no mu",
        ],
    ),
    "a value of the arm's own is kept, and its kind with it": (
        "ablations: [{part: attention.mu, action: VALUES, values: [0.5]}]",
        ["noise.threshold"],
        [
            "attention is not searched: the arm sets attention.mu, which another kind would discard",
            "attention.mu is not searched: the arm sets it",
        ],
    ),
    "an edit of the part is a value of the arm's own": (
        "ablations: [{part: attention, action: REPLACE, with: {x: {mu: 0.5}}}]",
        ["noise.threshold"],
        [
            "attention is not searched: the arm sets attention.mu, which another kind would discard",
            "attention.mu is not searched: the arm sets it",
        ],
    ),
    "a kind with some values leaves the others": (
        "arms: {x: {noise: {kind: published_climb, candidates: 3}}}",
        ["attention", "attention.mu", "noise.threshold"],
        [],
    ),
    "a kind with this value leaves nothing of the part": (
        "arms: {x: {noise: {kind: analytic, threshold: 0.1}}}",
        ["attention", "attention.mu"],
        ["noise.threshold is not searched: the arm sets it"],
    ),
    "another value of the part leaves this one": (
        "arms: {x: {noise.candidates: 3}}",
        ["attention", "attention.mu", "noise.threshold"],
        [],
    ),
}


@pytest.mark.parametrize("case", SPACE_OF_ARMS)
def test_what_an_arm_changes_is_not_searched_in_it(case: str, planned: Planned) -> None:
    arms, space, dropped = SPACE_OF_ARMS[case]
    plan = planned(f"{arms}\nsearch: {{space: {BOTH}}}")
    search = searched(plan)
    arm = plan.arms[1].id
    assert list(search.space_of(arm).space) == space
    assert list(search.space_of(arm).dropped) == dropped
    expected = [*dropped]
    if len(space) < 3:
        share = -(-16 * len(space) // 3)
        expected.append(f"{share} trials, in proportion to its {len(space)} of 3 searched values")
    assert [note for note in search.notes if note.startswith(f"{arm}: ")] == [f"{arm}: {why}" for why in expected]
    assert list(search.space_of("control").space) == ["attention", "attention.mu", "noise.threshold"]


def test_a_value_is_kept_where_one_of_the_searched_kinds_has_it(planned: Planned) -> None:
    space = "{noise: {kinds: [mixed, removed]}, noise.a: {uniform: [0, 20]}}"
    plan = planned(f"arms: {{x: {{noise: shared}}}}\nsearch: {{space: {space}}}")
    search = searched(plan)
    assert list(search.space_of("control").space) == ["noise", "noise.a"]
    assert [arm.arm.id for arm in search.arms] == ["control"]
    assert "x: noise.a is not searched: noise is shared here, which has no a" in plan.notes
    assert "x: not searched, since its space is empty" in plan.notes


def test_values_are_drawn_where_the_drawn_kind_has_them(planned: Planned) -> None:
    space = searched(planned(f"search: {{space: {BOTH}}}")).arms[0]
    assert space.draw(scripted("momentum", 0.5, 0.1)) == {
        "attention": "momentum",
        "attention.mu": 0.5,
        "noise.threshold": 0.1,
    }
    assert space.draw(scripted("removed", 0.1)) == {"attention": "removed", "noise.threshold": 0.1}


@pytest.mark.parametrize(
    ("sample", "holds"),
    [
        ({"attention": "momentum", "attention.mu": 0.5, "noise.threshold": 0.1}, True),
        ({"attention": "removed", "noise.threshold": 0.1}, True),
        ({"attention": "removed", "attention.mu": 0.5, "noise.threshold": 0.1}, False),
        ({"attention": "momentum", "noise.threshold": 0.1}, False),
        ({"attention": "cross_frame", "noise.threshold": 0.1}, False),
        ({"attention": "momentum", "attention.mu": 1.5, "noise.threshold": 0.1}, False),
        ({"attention": "removed", "noise.threshold": 0.1, "noise.candidates": 3}, False),
        ({}, False),
    ],
)
def test_a_space_knows_its_samples(sample: dict[str, Any], holds: bool, planned: Planned) -> None:
    assert searched(planned(f"search: {{space: {BOTH}}}")).arms[0].holds(sample) is holds


def test_a_point_brings_along_the_kind_that_its_value_needs(planned: Planned) -> None:
    text = "{attention: {kinds: [removed, previous_frame, momentum]}, attention.mu: {uniform: [0, 1]}}"
    space = searched(planned(f"search: {{space: {text}}}")).arms[0]
    assert space.within({"attention.mu": 0.5}) == {"attention.mu": 0.5, "attention": "momentum"}
    assert space.within({"attention": "removed"}) == {"attention": "removed"}
    assert space.within({"noise": "shared"}) == {}
    removed = searched(planned(f"control: {{attention: removed}}\nsearch: {{space: {text}}}")).arms[0]
    assert removed.within({"attention.mu": 0.5}) == {"attention.mu": 0.5, "attention": "previous_frame"}


@pytest.mark.parametrize(
    ("space", "number"),
    [
        ("{attention: {kinds: [momentum, removed]}}", 2),
        ("{attention: {kinds: [momentum, removed]}, attention.mu: {choice: [0.1, 0.5, 1]}}", 4),
        ("{noise.candidates: {int_uniform: [1, 20]}, attention.mu: {choice: [0.1, 0.5]}}", 40),
        (f"{BOTH}", None),
        ("{noise: {kinds: [mixed, removed]}, noise.a: {uniform: [0, 1]}}", None),
    ],
)
def test_different_samples_are_counted(space: str, number: int | None, planned: Planned) -> None:
    search = searched(planned(f"search: {{space: {space}, trials_per_arm: 10}}"))
    assert search.arms[0].num_samples() == number
    assert search.num_trials(search.arms[0]) == min(10, number or 10)
    few = f"control: at most {number} trials, since its space has no more different samples"
    assert (few in search.notes) is (number is not None and number < 10)


# ------------------------------------------------------------------------------------------------------------- cells


def test_a_trial_is_a_cell_with_the_sample_laid_on_its_arm(planned: Planned) -> None:
    plan = planned(f"arms: {{x: {{noise.candidates: 3}}}}\nsearch: {{space: {BOTH}, seed: 7}}")
    search = searched(plan)
    sample: dict[str, Value] = {"attention": "momentum", "attention.mu": 0.5, "noise.threshold": 0.1}
    cell = search.trial("x", 4, sample)
    assert ZS2.model_validate(cell.spec.tree) == ZS2(
        noise=TwoStage(threshold=0.1, candidates=3), attention=MomentumAttention(mu=0.5)
    )
    assert (cell.arm, cell.seed, cell.spec.seed) == ("x", 7, 7)
    assert (cell.spec.stage, cell.spec.trial, cell.spec.search) == ("search", 4, search.identity)
    assert (cell.spec.role, cell.spec.part, cell.spec.action) == ("arm", "noise.candidates", "ARMS")
    assert cell.spec.sampled == sample
    assert cell.id == cell.spec.cell_id
    assert cell.spec.metrics == ("temporal_consistency", "motion_magnitude", "clip_score")
    assert search.trial("x", 5, sample).id == cell.id, "the number does not decide what is sampled"
    assert search.trial("control", 4, sample).id != cell.id
    with pytest.raises(EditError):
        search.trial("x", 4, {"attention": "removed", "attention.mu": 0.5})


def test_a_kind_that_is_there_keeps_the_arms_values(planned: Planned) -> None:
    space = "{noise: {kinds: [two_stage, analytic]}}"
    search = searched(planned(f"control: {{noise.threshold: 0.3}}\nsearch: {{space: {space}}}"))
    kept, replaced = (search.trial("control", 0, {"noise": kind}).spec.tree for kind in ("two_stage", "analytic"))
    assert ZS2.model_validate(kept).noise == TwoStage(threshold=0.3)
    assert ZS2.model_validate(replaced).noise == Analytic()


def test_the_same_sample_is_the_same_cell_however_it_is_written(planned: Planned) -> None:
    search = searched(planned("search: {space: {attention.mu: {uniform: [0, 1]}}}"))
    whole, fraction = (search.trial("control", 0, {"attention.mu": value}) for value in (1, 1.0))
    assert whole.id == fraction.id
    assert repr(whole.spec.sampled) == "{'attention.mu': 1.0}"


def test_winners_are_confirmed_seed_by_seed_beside_the_control(planned: Planned) -> None:
    arms = "ablations: [{part: attention, action: REMOVE}]"
    text = f"{arms}\nsearch: {{space: zs2_motion, confirm: {{top: 2, fresh_seeds: 2}}}}"
    plan = planned(text)
    search = searched(plan)
    best: dict[str, Value] = {"attention.mu": 0.5, "noise.threshold": 0.1}
    second: dict[str, Value] = {"attention.mu": 0.6, "noise.threshold": 0.2}
    cells = search.confirmation({"control": [best, second], "attention=removed": [{"noise.threshold": 0.1}]})
    assert [(cell.seed, cell.arm, cell.spec.trial, cell.spec.sampled) for cell in cells] == [
        found
        for seed in (10_000, 10_001)
        for found in (
            (seed, "control", None, {}),
            (seed, "control", 0, best),
            (seed, "control", 1, second),
            (seed, "attention=removed", 0, {"noise.threshold": 0.1}),
        )
    ]
    assert {(cell.spec.stage, cell.spec.search) for cell in cells} == {("confirm", search.identity)}
    assert len({cell.id for cell in cells} | {cell.id for cell in plan.cells}) == len(cells) + len(plan.cells)
    as_it_stands = plan.cells[0].spec.model_copy(update={"seed": 10_000}).cell_id
    assert cells[0].id == as_it_stands, "what a plan with more seeds asks for is not done twice"


def test_what_is_to_be_proposed_is_counted(planned: Planned) -> None:
    text = "ablations: [{part: attention, action: REMOVE}]\nsearch:\n"
    text += f"  space: {{{MOMENTUM}, noise: {{kinds: [two_stage, shared, removed]}}}}\n"
    text += "  trials_per_arm: 5\n  confirm: {top: 4, fresh_seeds: 2}\n"
    search = searched(planned(text + "  repeats: 1\n"))
    assert search.proposed() == [
        ("search", "control", 5),
        ("search", "attention=removed", 3),
        ("confirm", "control", 10),
        ("confirm", "attention=removed", 6),
    ]
    assert search.num_proposed == 24
    assert searched(planned(text)).proposed() == [
        ("search", "control", 15),
        ("search", "attention=removed", 9),
        ("confirm", "control", 2 * (3 * 4 + 1)),
        ("confirm", "attention=removed", 2 * 3 * 3),
    ]
    alone = searched(planned(text.replace("  confirm: {top: 4, fresh_seeds: 2}\n", "")))
    assert alone.num_proposed == 8


# ---------------------------------------------------------------------------------------------------------- identity

SEARCH = f"search:\n  space: {BOTH}\n"
SAME = {
    "more trials": SEARCH + "  trials_per_arm: 99\n",
    "confirmation": SEARCH + "  confirm: {top: 2}\n",
    "early stopping": SEARCH + "  trial_scheduler: {kind: median}\n",
    "its defaults written out": SEARCH
    + "  search_sampler: tpe\n  seed: 3\n  objectives: {temporal_consistency: max}\n",
    "another order of lines": "search:\n  space: {noise.threshold: {log_uniform: [0.001, 1.5]}, "
    f"attention.mu: {{uniform: [0, 1]}}, {MOMENTUM}}}\n",
    "another arm": SEARCH + "arms: {x: {noise: removed}}\n",
    "cells at a time": SEARCH + "resources: {max_concurrent: 2}\n",
    "margins": SEARCH + "margins: {clip_score: 0.5}\n",
    "a question": SEARCH + "question: why\n",
}
OTHER = {
    "a bound": SEARCH.replace("1.5", "1.0"),
    "a kind": SEARCH.replace("removed]", "cross_frame]"),
    "a path": SEARCH.replace("noise.threshold: {log_uniform: [0.001, 1.5]}, ", ""),
    "the search_sampler": SEARCH + "  search_sampler: random\n",
    "the seed": SEARCH + "  seed: 4\n",
    "the objective": SEARCH + "  objectives: [clip_score]\n",
    "the direction": SEARCH + "  objectives: {temporal_consistency: min}\n",
    "a point": SEARCH + "  points: [{attention.mu: 0.5}]\n",
    "the control": SEARCH + "control: {noise.candidates: 3}\n",
    "the protocol": SEARCH + "protocol: {clips: 2}\n",
    "the data": SEARCH + "data: {layout: shapes, references: 64}\n",
    "the precision": SEARCH + "resources: {precision: bf16}\n",
}


@pytest.mark.parametrize("change", SAME)
def test_a_search_remains_the_same(change: str, planned: Planned) -> None:
    assert searched(planned(SAME[change])).identity == searched(planned(SEARCH)).identity


@pytest.mark.parametrize("change", OTHER)
def test_a_search_becomes_another(change: str, planned: Planned) -> None:
    assert searched(planned(OTHER[change])).identity != searched(planned(SEARCH)).identity


def test_more_seeds_leave_a_search_as_it_is(write: Write) -> None:
    few, many = (searched(load(write(HEAD.replace("[3, 5]", seeds) + SEARCH))) for seeds in ("[3]", "[3, 5, 9]"))
    assert few.identity == many.identity
    assert len(few.identity) == 16


def test_fresh_seeds_are_nobody_elses_and_stay(write: Write) -> None:
    text = SEARCH + "  confirm: {top: 1, fresh_seeds: 3}\n"
    few, many, near = (
        searched(load(write(HEAD.replace("[3, 5]", seeds) + text))).confirm_seeds
        for seeds in ("[3]", "[3, 5, 9]", "[3, 10001]")
    )
    assert few == many == (10_000, 10_001, 10_002)
    assert near == (10_000, 10_002, 10_003)


# ------------------------------------------------------------------------------------------------------------- notes

NOTES = {
    "no confirmation": ("{space: zs2_motion}", "search without confirm: the score of the best of 16 trials is biased"),
    "nothing can be stopped": (
        "{space: zs2_motion, trial_scheduler: {kind: asha}}",
        "trial_scheduler asha: no trial can be stopped early, since a cell of zs2 reports once",
    ),
    "against its own direction": (
        "{space: zs2_motion, objectives: {clip_score: min}}",
        "objective clip_score: the search takes min, although larger values are better",
    ),
    "too few to learn from": (
        "{space: zs2_motion, trials_per_arm: 8}",
        "tpe: the first 8 trials are random, so 8 trials are too few",
    ),
    "nsga2 and conditions": (f"{{space: {BOTH}, search_sampler: nsga2}}", "nsga2 draws values inside a searched slot"),
}
NO_NOTE = (
    "{space: zs2_motion, trials_per_arm: 9, confirm: {}, search_sampler: nsga2, objectives: {motion_magnitude: min}}",
    "{space: zs2_components, trials_per_arm: 8, confirm: {}, search_sampler: random}",
)


@pytest.mark.parametrize("case", NOTES)
def test_what_a_reader_should_know_is_noted(case: str, planned: Planned) -> None:
    text, note = NOTES[case]
    plan = planned(f"search: {text}")
    assert [found for found in searched(plan).notes if note in found]
    assert set(searched(plan).notes) <= set(plan.notes)


@pytest.mark.parametrize("text", NO_NOTE)
def test_where_nothing_is_to_be_said_nothing_is(text: str, planned: Planned) -> None:
    assert searched(planned(f"search: {text}")).notes == ()


# ------------------------------------------------------------------------------------------------------------ errors

MANY = """\
name: sound
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
control: {noise.treshold: 0.1}
search:
  space:
    attention.mu: {uniform: [0, 1.5]}
    attention: {uniform: [0, 1]}
    noise: {kinds: [two_stage, sharde]}
    noise.threshold: {log_uniform: [0.1, 2]}
    noise.candidates: {unifrom: [1, 3]}
    noise.a: {uniform: [0, 1]}
  search_sampler: tep
  trials_per_arm: 0
  objectives: {clip_score: up, fid: min}
  points: [{attention.mu: word}, {}]
  seed: -1
  trial_scheduler: {kind: ahsa}
  confirm: {top: 0, fresh_seed: 3}
margins: {clip_score: 0, fid: 1}
"""


def test_all_mistakes_of_a_search_are_reported_together(write: Write) -> None:
    with pytest.raises(SpecError) as caught:
        load(write(MANY))
    found = [(problem.line, problem.path) for problem in caught.value.problems]
    assert found == [
        (6, "control.noise.treshold"),
        (9, "search.space.attention.mu"),
        (10, "search.space.attention"),
        (11, "search.space.noise"),
        (12, "search.space.noise.threshold"),
        (13, "search.space.noise.candidates"),
        (15, "search.search_sampler"),
        (16, "search.trials_per_arm"),
        (17, "search.objectives.clip_score"),
        (17, "search.objectives.fid"),
        (18, "search.points[1]"),
        (19, "search.seed"),
        (20, "search.trial_scheduler"),
        (21, "search.confirm.top"),
        (21, "search.confirm.fresh_seed"),
        (22, "margins.clip_score"),
        (22, "margins.fid"),
    ]


def test_working_a_search_out_needs_no_optuna(write: Write) -> None:
    study = write(HEAD + SEARCH)
    code = "from pathlib import Path; from sweeps.plan import load; load(Path(sys.argv[1]))"
    assert not {"optuna", "ray", "torch", "numpy"} & fresh(code, study).packages


def test_numbers_of_a_point_reach_every_arm(planned: Planned) -> None:
    arms = "ablations: [{part: attention, action: REMOVE}]"
    points = "points: [{attention.mu: 0.98, noise.threshold: 0.01}]"
    search = searched(planned(f"{arms}\nsearch: {{space: zs2_motion, {points}}}"))
    assert [space.within(search.points[0]) for space in search.arms] == [
        {"attention.mu": 0.98, "noise.threshold": 0.01},
        {"noise.threshold": 0.01},
    ]


def test_paths_come_in_one_order_whatever_the_study_says(planned: Planned) -> None:
    numbers = count()
    drawn = (
        searched(planned(f"search: {{space: {BOTH}}}"))
        .arms[0]
        .draw(lambda path, domain: "momentum" if path == "attention" else next(numbers))
    )
    assert list(drawn) == ["attention", "attention.mu", "noise.threshold"]
