"""Designs: which arms ablations make together, and effects against closed forms."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.plan import Cell, Plan, load
from sweeps.plan.units import Units
from sweeps.report.table import build
from sweeps.results.arm_values import ArmValues
from sweeps.results.contrasts import ContrastRow, estimate
from sweeps.results.pairing import Inference
from sweeps.results.record import Record
from sweeps.statistics.paired import paired_difference
from sweeps.study.designs import (
    MAX_EXACT_PARTS,
    AddOneIn,
    Combination,
    Contrast,
    Design,
    Factorial,
    Level,
    OneAtATime,
    Shapley,
    crossed,
    effects,
)
from sweeps.study.document import SpecError
from tests.factories import make_record, make_spec
from trainables.metrics import MetricKey

HEAD = "name: s\nsystem: seer\nbase: shapes\nmetrics: [fvd]\nseeds: 4\ntraining: {steps: 9}\n"
TWO = """\
ablations:
  - {part: temporal_attention, action: REMOVE}
  - {part: text_decomposer, action: REMOVE}
"""


@pytest.fixture
def planned(tmp_path: Path) -> Callable[[str], Plan]:
    def put(text: str) -> Plan:
        (tmp_path / "study.yaml").write_text(HEAD + text)
        return load(tmp_path / "study.yaml")

    return put


def factors(*sizes: int) -> tuple[list[list[Level]], list[str]]:
    """Factors a, b, ... with so many levels each."""
    names = "abcdefghij"
    levels = [[Level(k, f"{names[k]}{n}") for n in range(1, size + 1)] for k, size in enumerate(sizes)]
    return levels, list(names[: len(sizes)])


def named(combination: Combination) -> str:
    return "+".join(sorted(level.name for level in combination)) or "control"


def value(effect: object, of: Callable[[Combination], float]) -> float:
    return math.fsum(weight * of(combination) for combination, weight in effect.weights.items())  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------------------------- which


@pytest.mark.parametrize(
    ("design", "sizes", "expected"),
    [
        (OneAtATime(), (1, 2), ["a1", "b1", "b2"]),
        (AddOneIn(), (1, 1, 1), ["a1+b1+c1", "b1+c1", "a1+c1", "a1+b1"]),
        (Factorial(), (1, 1), ["a1", "b1", "a1+b1"]),
        (Factorial(), (2, 1), ["a1", "a2", "b1", "a1+b1", "a2+b1"]),
        (Factorial(pairs=(("a", "c"),)), (1, 1, 1), ["a1", "b1", "c1", "a1+c1"]),
        (Shapley(), (1, 1), ["a1", "b1", "a1+b1"]),
    ],
)
def test_which_combinations_a_design_runs(design: Design, sizes: Sequence[int], expected: list[str]) -> None:
    levels, parts = factors(*sizes)
    assert [named(one) for one in crossed(design, levels, parts)] == expected


@pytest.mark.parametrize("parts", range(1, MAX_EXACT_PARTS + 1))
def test_up_to_six_parts_shapley_values_need_every_subset(parts: int) -> None:
    levels, names = factors(*[1] * parts)
    assert len(crossed(Shapley(), levels, names)) == 2**parts - 1


def test_above_six_parts_orders_are_drawn_with_their_reverses() -> None:
    levels, names = factors(*[1] * 8)
    found = crossed(Shapley(orders=4), levels, names)
    assert len(found) <= 8 + 4 * 8
    assert found == crossed(Shapley(orders=4), levels, names)
    assert found != crossed(Shapley(orders=4, seed=1), levels, names)


@given(design=st.sampled_from([AddOneIn(), Factorial(), Shapley(), Shapley(orders=4)]), parts=st.integers(1, 7))
def test_effects_are_made_of_what_runs_and_their_weights_sum_to_nothing(design: Design, parts: int) -> None:
    levels, names = factors(*[1] * parts)
    runs = {*crossed(design, levels, names), frozenset[Level]()}
    for effect in effects(design, levels, names):
        assert effect.weights.keys() <= runs
        assert math.fsum(effect.weights.values()) == pytest.approx(0, abs=1e-9)


# -------------------------------------------------------------------------------------------------------- closed forms


def test_effects_and_interactions_of_an_additive_world() -> None:
    levels, parts = factors(1, 1, 1)
    worth = {"a1": 1.0, "b1": -2.0, "c1": 4.0}

    def world(combination: Combination) -> float:
        names = {level.name for level in combination}
        return 7 + sum(worth[name] for name in names) + (0.5 if {"a1", "b1"} <= names else 0.0)

    found = {(effect.kind, effect.name): value(effect, world) for effect in effects(Factorial(), levels, parts)}
    assert found == pytest.approx(
        {
            ("effect", "a1"): 1.25,  # half of the combinations have b, with which a is worth 0.5 more
            ("effect", "b1"): -1.75,
            ("effect", "c1"): 4.0,
            ("interaction", "a1 x b1"): 0.5,
            ("interaction", "a1 x c1"): 0.0,
            ("interaction", "b1 x c1"): 0.0,
        }
    )


@given(seed=st.integers(0, 10**6), parts=st.integers(1, 5))
def test_shapley_values_are_shapleys(seed: int, parts: int) -> None:
    levels, names = factors(*[1] * parts)
    rng = np.random.default_rng(seed)
    table: dict[Combination, float] = {}

    def world(changed: Combination) -> float:
        return table.setdefault(changed, float(rng.normal()))

    found = [value(effect, world) for effect in effects(Shapley(), levels, names)]
    everything = frozenset(own[0] for own in levels)
    assert sum(found) == pytest.approx(world(frozenset()) - world(everything))
    for player, own in enumerate(levels):
        others = everything - {own[0]}
        expected = 0.0
        for size in range(parts):
            for there in itertools.combinations(sorted(others, key=lambda level: level.factor), size):
                share = math.factorial(size) * math.factorial(parts - size - 1) / math.factorial(parts)
                without = everything - set(there)
                expected += share * (world(without - {own[0]}) - world(without))
        assert found[player] == pytest.approx(expected)


def test_drawn_orders_share_out_the_whole_too_and_give_nothing_to_what_does_nothing() -> None:
    levels, names = factors(*[1] * 8)

    def world(changed: Combination) -> float:
        there = {level.factor for own in levels for level in own} - {level.factor for level in changed}
        return 3.0 * (0 in there) + 2.0 * ({1, 2} <= there)

    found = [value(effect, world) for effect in effects(Shapley(orders=6), levels, names)]
    assert sum(found) == pytest.approx(5.0)
    assert found[0] == pytest.approx(3.0)
    assert found[1] + found[2] == pytest.approx(2.0)
    assert found[3:] == pytest.approx([0.0] * 5)


Values = Mapping[str, Mapping[int, float]]
METRIC = MetricKey("m", "m", "max", surrogate=False, words="", extractor=None, least_frames=1)


def estimated(contrasts: Sequence[Contrast[str]], values: Values) -> tuple[ContrastRow, ...]:
    """The effects of arms with these values by seed, in one metric."""
    spec = make_spec()

    def record(arm: str, seed: int, value: float) -> Record:
        return make_record(Cell(f"{arm}-{seed}", arm, seed, spec), {"m": value})

    arms = [
        ArmValues(
            arm,
            "arm",
            "",
            {seed: record(arm, seed, value) for seed, value in by_seed.items()},
            tuple(range(9)),
            {"m": "a"},
        )
        for arm, by_seed in values.items()
    ]
    return estimate(contrasts, arms, [METRIC], Inference({"m": Units("seed", "trained")}))


def test_an_effect_of_two_arms_is_their_paired_difference() -> None:
    values = {"control": {0: 1.0, 1: 2.0, 2: 4.0, 3: 4.5}, "arm": {0: 1.5, 1: 2.1, 2: 4.4, 5: 9.0}}
    (row,) = estimated([Contrast("x", "effect", {"arm": 1.0, "control": -1.0})], values)
    expected = paired_difference([1.5, 2.1, 4.4], [1.0, 2.0, 4.0])
    assert row.metrics["m"].effect == expected
    assert row.metrics["m"].p_corrected == expected.p_value
    nowhere: Values = {"arm": {}, "control": {}}
    (nothing,) = estimated([Contrast("x", "effect", {"arm": 1.0, "control": -1.0})], nowhere)
    assert nothing.metrics == {}


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_intervals_of_drawn_orders_cover_what_all_orders_would_give(noise: float) -> None:
    """Of a game whose parts act together, in few seeds: what is drawn counts for more than what the seeds say."""
    levels, names = factors(*[1] * 7)
    everything = frozenset(own[0] for own in levels)
    coalitions = [
        frozenset(one)
        for size in range(8)
        for one in itertools.combinations(sorted(everything, key=lambda level: level.factor), size)
    ]
    inside = narrow = number = 0
    for game in range(40):
        rng = np.random.default_rng([game, int(10 * noise)])
        worth = {one: float(rng.normal()) for one in coalitions}
        truth = {name: 0.0 for name in names}
        for one, own in worth.items():
            for name, (level,) in zip(names, levels, strict=True):
                size = len(one - {level})  # of what is changed besides the part
                share = math.factorial(size) * math.factorial(6 - size) / math.factorial(7)
                truth[name] += share * own * (-1 if level in one else 1)
        contrasts = [one.renamed(named) for one in effects(Shapley(orders=16, seed=game), levels, names)]
        values = {named(one): {s: own + noise * float(rng.normal()) for s in range(4)} for one, own in worth.items()}
        for row in estimated(contrasts, values):
            found = row.metrics["m"].effect
            inside += found.low <= truth[row.name] <= found.high
            number += 1
            assert (found.p_value <= 0.05) <= (found.low > 0 or found.high < 0), "p and interval agree"
        for row in estimated([replace(one, draws=()) for one in contrasts], values):
            found = row.metrics["m"].effect
            narrow += found.low <= truth[row.name] <= found.high
    assert inside / number > 0.92
    assert narrow / number < 0.7


# -------------------------------------------------------------------------------------------------------------- studies


def test_a_factorial_study_runs_the_combinations_and_computes_their_interaction(planned: Callable[[str], Plan]) -> None:
    plan = planned("design: factorial\n" + TWO)
    one, other = "temporal_attention=removed", "text_decomposer=removed"
    both = f"{one} + {other}"
    assert [arm.id for arm in plan.arms] == ["control", one, other, both]
    assert plan.arms[3].changes == {"temporal_attention": "removed", "text_decomposer": "removed"}
    (interaction,) = [contrast for contrast in plan.contrasts if contrast.kind == "interaction"]
    assert interaction.weights == {
        "control": 1,
        "temporal_attention=removed": -1,
        "text_decomposer=removed": -1,
        both: 1,
    }


def test_a_factorial_study_shares_out_the_whole_if_it_is_asked_to(planned: Callable[[str], Plan]) -> None:
    plain, whole = planned("design: factorial\n" + TWO), planned("design: {kind: factorial, shapley: true}\n" + TWO)
    shares = planned("design: shapley\n" + TWO).contrasts
    assert [arm.id for arm in whole.arms] == [arm.id for arm in plain.arms]
    assert list(whole.contrasts) == [*plain.contrasts, *shares]
    assert [contrast.kind for contrast in shares] == ["shapley", "shapley"]


def test_more_parts_than_six_are_added_in_drawn_orders_and_the_table_says_so(planned: Callable[[str], Plan]) -> None:
    more = """\
  - {part: group_norm, action: REPLACE, with: [per_frame]}
  - {part: trainable, action: REPLACE, with: [all]}
  - {part: references, action: VALUES, values: [0]}
  - {part: training.lr, action: VALUES, values: [0.5]}
  - {part: prediction, action: REMOVE}
"""
    plan = planned("design: shapley\n" + TWO + more)
    assert [len(contrast.draws) for contrast in plan.contrasts] == [8] * 7
    assert "Shapley values are means over 16 random orders" in build(plan, {}).caption
    assert "random orders" not in build(planned("design: shapley\n" + TWO), {}).caption


def test_arms_that_fall_together_are_one_arm_with_both_weights(planned: Callable[[str], Plan]) -> None:
    plan = planned("design: {kind: shapley}\n" + TWO)
    assert len(plan.arms) == 4
    assert {contrast.name for contrast in plan.contrasts} == {"temporal_attention", "text_decomposer"}
    one = planned("design: add_one_in\nablations: [{part: temporal_attention, action: REMOVE}]\n")
    assert [arm.id for arm in one.arms] == ["control", "none of them"]
    assert one.contrasts[0].weights == {"control": 1, "none of them": -1}
    named_arms = planned("design: add_one_in\n" + TWO)
    assert [arm.id for arm in named_arms.arms] == [
        "control",
        "none of them",
        "only temporal_attention",
        "only text_decomposer",
    ]


def test_explicit_arms_stand_beside_a_design(planned: Callable[[str], Plan]) -> None:
    plan = planned("design: factorial\n" + TWO + "arms: {more: {references: 1}}\n")
    assert plan.arms[-1].id == "more"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("design: everything\n" + TWO, "design", "everything -> one_at_a_time, add_one_in, factorial, shapley"),
        ("design: factorial\n", "design", "factorial without ablations"),
        (
            "design: factorial\nablations:\n  - {part: temporal_attention, action: REMOVE}\n"
            "  - {part: temporal_attention.largest, action: VALUES, values: [4]}\n",
            "ablations[1].values[0]",
            "temporal_attention.largest and temporal_attention change the same slot -> one ablation per slot",
        ),
        (
            "design: shapley\nablations:\n  - {part: references, action: VALUES, values: [0, 1]}\n",
            "ablations[0].values[0]",
            "shapley: references has 2 arms -> one change per part",
        ),
        (
            "design: {kind: factorial, shapley: true}\nablations:\n"
            "  - {part: references, action: VALUES, values: [0, 1]}\n",
            "ablations[0].values[0]",
            "factorial: references has 2 arms -> one change per part",
        ),
        (
            "design: {kind: factorial, shapley: true, pairs: [[temporal_attention, text_decomposer]]}\n" + TWO,
            "design.shapley",
            "2 parts in pairs -> without pairs, up to 6 parts; above, the design shapley",
        ),
        (
            "design: {kind: factorial, pairs: [[noise, text_decomposer]]}\n" + TWO,
            "design.pairs",
            "noise -> a part of an ablation",
        ),
        (
            "design: {kind: factorial, pairs: [[text_decomposer, text_decomposer]]}\n" + TWO,
            "design.pairs",
            "text_decomposer twice -> two different parts",
        ),
        ("design: {kind: shapley, orders: 2}\n" + TWO, "design.orders", "2 -> at least 4"),
        ("design: {kind: shapley, orders: 7}\n" + TWO, "design.orders", "7 -> a multiple of 2"),
    ],
)
def test_designs_that_cannot_be_are_told_at_their_place(
    planned: Callable[[str], Plan], text: str, place: str, message: str
) -> None:
    with pytest.raises(SpecError) as error:
        planned(text)
    assert [problem.path for problem in error.value.problems if message in problem.message] == [place], error.value
