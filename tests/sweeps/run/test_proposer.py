"""Optuna asked and told: conditional kinds, replay from the ledger, failures, repeats, points, winners, importances."""

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces import Value
from sweeps.plan import Cell, load
from sweeps.plan.search import SearchPlan
from sweeps.results.importances import importances
from sweeps.results.record import Record
from sweeps.results.winners import trials_of, winners
from sweeps.run.proposer import ArmSearch
from tests.factories import make_record
from trainables.trial_spec import Status

Write = Callable[[str | bytes], Path]
Searched = Callable[..., SearchPlan]
Score = Callable[[Mapping[str, Any]], tuple[float, ...]]

HEAD = """\
name: sound
system: zs2
base: shapes
metrics: [clip_score]
seeds: 1
"""
NUMBERS = "{attention.mu: {uniform: [0, 1]}, noise.threshold: {log_uniform: [0.001, 1.5]}}"
KINDS = "{noise: {kinds: [two_stage, shared, removed]}, attention: {kinds: [momentum, removed]}}"
MIXED = NUMBERS.replace("{attention.mu", "{attention: {kinds: [momentum, previous_frame, removed]}, attention.mu", 1)
SAMPLERS = ["tpe", "nsga2", "random"]


@pytest.fixture
def searched(write: Write) -> Searched:
    """Plans a search from a space and other keys."""

    def plan(space: str, *, more: str = "", arms: str = "", metrics: str = "clip_score", **keys: object) -> SearchPlan:
        lines = "".join(f"  {key}: {value}\n" for key, value in {"space": space, **keys}.items())
        head = HEAD.replace("clip_score", metrics)
        planned = load(write(f"{head}{more}{arms}search:\n{lines}")).search
        assert planned is not None
        return planned

    return plan


def result(cell: Cell, plan: SearchPlan, values: Iterable[float], status: Status = "done") -> Record:
    keys = [goal.key for goal in plan.objectives]
    return make_record(cell, dict(zip(keys, values, strict=True)) if status == "done" else {}, status=status)


def hill(sample: Mapping[str, Any]) -> tuple[float, ...]:
    """One objective with its top at mu = 0.7, threshold = 0.1; removal costs a little."""
    mu, threshold = sample.get("attention.mu", 0.3), sample.get("noise.threshold", 1.0)
    return (-((mu - 0.7) ** 2) - 0.1 * (math.log10(threshold) + 1) ** 2,)


def trade(sample: Mapping[str, Any]) -> tuple[float, ...]:
    """Two objectives that pull against each other over mu."""
    mu, threshold = sample.get("attention.mu", 0.3), sample.get("noise.threshold", 1.0)
    return mu - threshold, (1 - mu) - threshold


def run(
    search: ArmSearch, plan: SearchPlan, score: Score, records: dict[str, Record], *, most: int = 1000
) -> list[Cell]:
    """Run trials one after the other, keeping their results."""
    cells = []
    while len(cells) < most and (cell := search.ask()) is not None:
        records[cell.id] = result(cell, plan, score(cell.spec.sampled))
        search.tell(cell, records[cell.id])
        cells.append(cell)
    return cells


def begun(plan: SearchPlan, records: Mapping[str, Record] | None = None) -> ArmSearch:
    return ArmSearch(plan, plan.arms[0], records or {})


def samples(cells: Iterable[Cell]) -> list[dict[str, Value]]:
    return [cell.spec.sampled for cell in cells]


def by_optuna(search: ArmSearch, top: int) -> list[dict[str, Value]]:
    """The best samples of the Optuna study itself: its own Pareto fronts, one taken off after the other."""
    distinct: dict[tuple[tuple[str, Value], ...], optuna.trial.FrozenTrial] = {}
    for trial in search._study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
        distinct.setdefault(tuple(trial.params.items()), trial)
    left, best = list(distinct.values()), []
    sign = -1 if search._study.directions[0].name == "MAXIMIZE" else 1
    while left and len(best) < top:
        study = optuna.create_study(directions=search._study.directions)
        study.add_trials(left)
        if len(study.directions) == 1:
            front = [trial for trial in left if trial.values == study.best_trial.values]
        else:
            params = [trial.params for trial in study.best_trials]
            front = [trial for trial in left if trial.params in params]
        front.sort(key=lambda trial: (sign * trial.values[0], trial.number))
        number = top - len(best)
        if 1 < number < len(front):
            shown = [front[round(step * (len(front) - 1) / (number - 1))] for step in range(number)]
        else:
            shown = front[:number]
        best += [dict(trial.params) for trial in shown]
        left = [trial for trial in left if trial not in front]
    return best


# --------------------------------------------------------------------------------------------------------- proposals


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objectives", ["[clip_score]", "[clip_score, motion_magnitude]"])
def test_every_trial_is_a_sample_of_the_space(sampler: str, objectives: str, searched: Searched) -> None:
    plan = searched(
        MIXED, search_sampler=sampler, trials_per_arm=20, objectives=objectives, metrics="clip_score, motion_magnitude"
    )
    score = hill if len(plan.objectives) == 1 else trade
    search = begun(plan)
    assert (search.proposed, search.finished, search.done) == (0, 0, False)
    cells = run(search, plan, score, {})
    assert len(cells) == len({cell.id for cell in cells}) == 20
    assert all(plan.arms[0].holds(sample) for sample in samples(cells))
    assert {sample["attention"] for sample in samples(cells)} == {"momentum", "previous_frame", "removed"}
    assert all(("attention.mu" in sample) == (sample["attention"] != "removed") for sample in samples(cells))
    assert (search.proposed, search.finished, search.done, search.exhausted) == (20, 20, True, False)
    assert search.ask() is None


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("space", [MIXED, KINDS], ids=["mixed", "kinds"])
@pytest.mark.parametrize("objectives", ["[clip_score]", "[clip_score, motion_magnitude]"])
def test_a_search_goes_on_from_the_ledger_as_if_undisturbed(
    sampler: str, space: str, objectives: str, searched: Searched
) -> None:
    plan = searched(
        space, search_sampler=sampler, trials_per_arm=18, objectives=objectives, metrics="clip_score, motion_magnitude"
    )
    score = hill if len(plan.objectives) == 1 else trade
    whole: dict[str, Record] = {}
    undisturbed = begun(plan)
    cells = run(undisturbed, plan, score, whole)
    for num_before in (3, 10):
        records: dict[str, Record] = {}
        before = run(begun(plan), plan, score, records, most=num_before)
        after = begun(plan, dict(sorted(records.items())))
        assert (after.proposed, after.finished) == (len(before), len(before))
        again = before + run(after, plan, score, records)
        assert [(cell.spec.trial, cell.id) for cell in again] == [(cell.spec.trial, cell.id) for cell in cells]
        assert winners(plan, plan.arms[0], records, 3) == by_optuna(after, 3) == by_optuna(undisturbed, 3)
    finished = begun(plan, whole)
    assert finished.ask() is None
    assert finished.done
    for top in (1, 3, 99):
        assert winners(plan, plan.arms[0], whole, top) == by_optuna(finished, top) == by_optuna(undisturbed, top)


def test_what_was_interrupted_is_proposed_once_more(searched: Searched) -> None:
    plan = searched(NUMBERS, trials_per_arm=12)
    records: dict[str, Record] = {}
    search = begun(plan)
    first = run(search, plan, hill, records, most=9)
    lost = search.ask()
    assert lost is not None
    assert begun(plan, records).ask() == lost

    hole = {cell_id: record for cell_id, record in records.items() if record.trial != 4}
    again = begun(plan, hole)
    assert again.proposed == 8
    retried = again.ask()
    assert retried == first[4], "numbers without a result come first"


def test_several_trials_are_open_at_a_time(searched: Searched) -> None:
    plan = searched(MIXED, trials_per_arm=24)
    search = begun(plan)
    records: dict[str, Record] = {}
    while not search.done:
        opened = [cell for _ in range(4) if (cell := search.ask()) is not None]
        assert not search.done
        for cell in reversed(opened):
            records[cell.id] = result(cell, plan, hill(cell.spec.sampled))
            search.tell(cell, records[cell.id])
    assert (search.proposed, search.finished, len(records)) == (24, 24, 24)
    assert begun(plan, records).done


def test_raising_the_number_of_trials_goes_on(searched: Searched) -> None:
    few, many = searched(NUMBERS, trials_per_arm=9), searched(NUMBERS, trials_per_arm=13)
    records: dict[str, Record] = {}
    run(begun(few), few, hill, records)
    more = begun(many, records)
    assert (more.proposed, more.done) == (9, False)
    assert [cell.spec.trial for cell in run(more, many, hill, records)] == [9, 10, 11, 12]
    fewer = begun(few, records)
    assert (fewer.proposed, fewer.done) == (9, True), "effort is equal again: only the first count"


def test_arms_and_seeds_draw_apart(searched: Searched) -> None:
    arms = "arms: {x: {noise.candidates: 3}}\n"
    plan = searched(NUMBERS, arms=arms)
    first, second = (ArmSearch(plan, space, {}).ask() for space in plan.arms)
    other = begun(searched(NUMBERS, seed=1)).ask()
    assert first is not None
    assert second is not None
    assert other is not None
    assert len({cell.spec.sampled["attention.mu"] for cell in (first, second, other)}) == 3
    assert (first.seed, second.seed, other.seed) == (0, 0, 1)


def test_repeats_are_independent_searches(searched: Searched) -> None:
    plan = searched(NUMBERS, arms="arms: {x: {noise.candidates: 3}}\n", repeats=3, confirm="{}", trials_per_arm=10)
    records: dict[str, Record] = {}
    repeats = [run(ArmSearch(plan, plan.arms[0], records, repeat=k), plan, hill, records) for k in range(3)]
    assert [{cell.seed for cell in cells} for cells in repeats] == [{0}, {20_000}, {20_001}]
    assert len({cell.spec.sampled["attention.mu"] for cells in repeats for cell in cells}) == 30
    for k, cells in enumerate(repeats):
        assert [r.cell_id for r in trials_of(plan, "control", records, k)] == [cell.id for cell in cells]
        assert ArmSearch(plan, plan.arms[0], records, repeat=k).done
    assert len(trials_of(plan, "control", records)) == 30
    alone = searched(NUMBERS, arms="arms: {x: {noise.candidates: 3}}\n", repeats=1, confirm="{}", trials_per_arm=10)
    assert alone.identity == plan.identity
    assert samples(run(begun(alone), alone, hill, {})) == samples(repeats[0])


def test_the_first_repeat_draws_what_a_search_without_repeats_drew(searched: Searched) -> None:
    plan = searched(NUMBERS)
    cells = run(begun(plan), plan, hill, {}, most=2)
    for number, cell in enumerate(cells):
        seed = int.from_bytes(hashlib.sha256(f"0/control/{number}".encode()).digest()[:4])
        trial = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=8, seed=seed)).ask()
        drawn = plan.arms[0].draw(lambda path, domain, trial=trial: domain.suggest(trial, path))
        assert cell.spec.sampled == drawn
        assert "repeat" not in cell.spec.model_dump(), "as results of earlier versions are written"


def test_results_of_other_searches_and_arms_are_passed_over(searched: Searched) -> None:
    plan = searched(NUMBERS, arms="arms: {x: {noise.candidates: 3}}\n")
    records: dict[str, Record] = {}
    cells = run(begun(plan), plan, hill, records, most=3)
    assert [record.trial for record in trials_of(plan, "control", records)] == [0, 1, 2]
    assert trials_of(plan, "x", records) == []
    other = searched(NUMBERS, search_sampler="random", arms="arms: {x: {noise.candidates: 3}}\n")
    assert trials_of(other, "control", records) == []
    of_x = ArmSearch(plan, plan.space_of("x"), records)
    run(of_x, plan, hill, records, most=2)
    changed = searched(NUMBERS, arms="arms: {x: {noise.candidates: 4}}\n")
    assert changed.identity == plan.identity
    assert [len(trials_of(changed, arm, records)) for arm in ("control", "x")] == [3, 0], "x is another arm now"
    assert ArmSearch(changed, changed.space_of("control"), records).proposed == len(cells)
    assert ArmSearch(changed, changed.space_of("x"), records).proposed == 0


def test_a_cell_that_another_search_left_is_a_trial_of_this_one(searched: Searched) -> None:
    tpe, drawn = (searched(KINDS, search_sampler=sampler, trials_per_arm=6) for sampler in ("tpe", "random"))
    records: dict[str, Record] = {}
    run(begun(tpe), tpe, hill, records)
    cells = run(begun(drawn, records), drawn, hill, records)
    assert len(cells) == 6
    assert {cell.spec.search for cell in cells} == {drawn.identity}


# -------------------------------------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objectives", ["[clip_score]", "[clip_score, motion_magnitude]"])
def test_failed_stopped_and_lost_trials_are_told_as_such(sampler: str, objectives: str, searched: Searched) -> None:
    plan = searched(
        NUMBERS,
        search_sampler=sampler,
        trials_per_arm=40,
        objectives=objectives,
        metrics="clip_score, motion_magnitude",
    )
    num_goals = len(plan.objectives)
    search = begun(plan)
    records: dict[str, Record] = {}
    for number in range(24):
        cell = search.ask()
        assert cell is not None
        ends: list[Record | None] = [
            result(cell, plan, (0.5, 0.5)[:num_goals]),
            result(cell, plan, (), "failed"),
            result(cell, plan, (), "pruned"),
            result(cell, plan, (math.nan, 0.5)[:num_goals]),
            None,
            result(cell, plan, (0.5, math.inf)[-num_goals:]),
        ]
        if (record := ends[number % len(ends)]) is not None:
            records[cell.id] = record
        search.tell(cell, record)
    names = ["COMPLETE", "FAIL", "PRUNED", "FAIL", "FAIL", "FAIL"]
    assert [trial.state.name for trial in search._study.trials] == names * 4
    assert (search.proposed, search.finished) == (24, 24)
    best = winners(plan, plan.arms[0], records, 99)
    assert len(best) == 4
    assert best == by_optuna(search, 99)
    states = [trial.state.name for trial in begun(plan, records)._study.trials]
    known = [number for number in range(23) if names[number % 6] != "FAIL" or number % 6 == 1]
    assert [states[number] for number in known] == [names[number % 6] for number in known]


def test_failed_trials_are_tried_again_where_that_is_asked(searched: Searched) -> None:
    plan = searched(NUMBERS, trials_per_arm=10)
    records: dict[str, Record] = {}
    search = begun(plan)
    cells = run(search, plan, hill, records, most=6)
    failed = search.ask()
    assert failed is not None
    records[failed.id] = result(failed, plan, (), "failed")
    search.tell(failed, records[failed.id])
    assert begun(plan, records).proposed == 7
    retrying = ArmSearch(plan, plan.arms[0], records, retry_failed=True)
    assert retrying.proposed == len(cells)
    assert retrying.ask() == failed


def test_a_trial_that_lacks_its_objective_is_handed_out_again(searched: Searched) -> None:
    plan = searched(NUMBERS)
    records: dict[str, Record] = {}
    [cell] = run(begun(plan), plan, hill, records, most=1)
    unscored = {cell.id: replace(records[cell.id], scores={"other": 1.0})}
    search = begun(plan, unscored)
    assert search.proposed == 0
    assert search.ask() == cell


# ----------------------------------------------------------------------------------------------------- repeats, points


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_small_space_is_tried_whole_and_nothing_twice(sampler: str, searched: Searched) -> None:
    plan = searched(KINDS, search_sampler=sampler, trials_per_arm=50)
    records: dict[str, Record] = {}
    search = begun(plan)
    cells = run(search, plan, hill, records)
    assert len({cell.id for cell in cells}) == len(cells) == 6 == plan.num_trials(plan.arms[0])
    assert search.done
    numbers = [cell.spec.trial for cell in cells]
    assert numbers == sorted(set(numbers)), "a repeat takes a number and is no trial"
    again = begun(plan, records)
    assert again.done
    assert winners(plan, plan.arms[0], records, 9) == by_optuna(again, 9) == by_optuna(search, 9)


def test_a_space_that_proposes_nothing_new_is_exhausted(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = searched(KINDS, search_sampler="random", trials_per_arm=50)
    search = begun(plan)
    monkeypatch.setattr(search, "num_trials", 50)  # as if the space's size were not known
    cells = run(search, plan, hill, {})
    assert len(cells) == 6
    assert search.exhausted
    assert search.done
    assert search.ask() is None


def test_a_repeat_of_an_open_trial_waits_for_its_value(searched: Searched) -> None:
    plan = searched(KINDS, trials_per_arm=50)
    search = begun(plan)
    cells = [cell for _ in range(6) if (cell := search.ask()) is not None]
    assert len({cell.id for cell in cells}) == 6
    assert len(search._study.trials) > 6
    for cell in cells:
        search.tell(cell, result(cell, plan, hill(cell.spec.sampled)))
    assert {trial.state.name for trial in search._study.trials} == {"COMPLETE"}
    assert search.done


def test_a_single_best_point_does_not_hold_a_search_up(searched: Searched) -> None:
    """Removal has no number to vary, so that a sampler which likes it proposes the same cell over and over."""
    plan = searched("{attention: {kinds: [momentum, removed]}, attention.mu: {uniform: [0, 1]}}", trials_per_arm=30)
    cells = run(begun(plan), plan, lambda sample: (float(sample["attention"] == "removed"),), {})
    assert len(cells) == 30
    assert [sample["attention"] for sample in samples(cells)].count("removed") == 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_points_are_tried_first_and_completed_by_draws(sampler: str, searched: Searched) -> None:
    points = (
        "[{attention: momentum, attention.mu: 1, noise.threshold: 0.01}, {attention.mu: 0.25}, {attention: removed}]"
    )
    arms = "ablations: [{part: attention, action: REMOVE}]\n"
    plan = searched(MIXED, search_sampler=sampler, points=points, arms=arms)
    first, second, third = samples(run(begun(plan), plan, hill, {}, most=3))
    assert first == {"attention": "momentum", "attention.mu": 1.0, "noise.threshold": 0.01}
    assert (second["attention"], second["attention.mu"]) == ("momentum", 0.25)
    assert 0.001 <= float(second["noise.threshold"]) <= 1.5
    assert third.keys() == {"attention", "noise.threshold"}
    removed = ArmSearch(plan, plan.space_of("attention=removed"), {})
    drawn = samples(run(removed, plan, hill, {}, most=3))
    assert drawn[0] == {"noise.threshold": 0.01}
    assert all(sample.keys() == {"noise.threshold"} for sample in drawn)
    assert len({sample["noise.threshold"] for sample in drawn}) == 3


def test_equal_points_are_tried_once(searched: Searched) -> None:
    plan = searched(
        NUMBERS, points="[{attention.mu: 1, noise.threshold: 0.1}, {attention.mu: 1.0, noise.threshold: 0.1}]"
    )
    cells = run(begun(plan), plan, hill, {}, most=2)
    assert [cell.spec.trial for cell in cells] == [0, 2]
    assert cells[0].id != cells[1].id


# ------------------------------------------------------------------------------------------------- what is found


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_learning_beats_drawing_at_random(sampler: str, searched: Searched) -> None:
    def mean_of_best(name: str) -> float:
        best = []
        for seed in range(6):
            plan = searched(MIXED, search_sampler=name, trials_per_arm=40, seed=seed)
            best.append(max(hill(cell.spec.sampled)[0] for cell in run(begun(plan), plan, hill, {})))
        return sum(best) / len(best)

    assert mean_of_best(sampler) > mean_of_best("random")


def test_winners_of_one_objective_are_the_best(searched: Searched) -> None:
    plan = searched(NUMBERS, trials_per_arm=12)
    records: dict[str, Record] = {}
    assert winners(plan, plan.arms[0], records, 3) == []
    cells = run(begun(plan), plan, hill, records)
    ranked = sorted(samples(cells), key=lambda sample: hill(sample)[0], reverse=True)
    assert winners(plan, plan.arms[0], records, 3) == ranked[:3]
    assert winners(plan, plan.arms[0], records, 99) == ranked


def test_a_least_objective_is_minimised(searched: Searched) -> None:
    plan = searched(NUMBERS, trials_per_arm=10, objectives="{clip_score: min}")
    records: dict[str, Record] = {}
    cells = run(begun(plan), plan, hill, records)
    assert winners(plan, plan.arms[0], records, 1) == [min(samples(cells), key=lambda sample: hill(sample)[0])]


def test_winners_of_two_objectives_span_the_front(searched: Searched) -> None:
    pairs = [(mu, threshold) for threshold in (0.1, 1.0) for mu in (0.2, 0.4, 0.6, 0.8)]
    plan = searched(
        NUMBERS,
        objectives="[clip_score, motion_magnitude]",
        metrics="clip_score, motion_magnitude",
        points=[{"attention.mu": mu, "noise.threshold": threshold} for mu, threshold in pairs],
    )
    records: dict[str, Record] = {}
    search = begun(plan)
    run(search, plan, trade, records, most=8)

    def numbers(top: int) -> list[tuple[Value, Value]]:
        best = winners(plan, plan.arms[0], records, top)
        assert best == by_optuna(search, top)
        return [(sample["attention.mu"], sample["noise.threshold"]) for sample in best]

    assert numbers(1) == [(0.8, 0.1)], "the first objective leads"
    assert numbers(2) == [(0.8, 0.1), (0.2, 0.1)]
    assert numbers(4) == [(0.8, 0.1), (0.6, 0.1), (0.4, 0.1), (0.2, 0.1)]
    assert numbers(6) == [*numbers(4), (0.8, 1.0), (0.2, 1.0)], "then the next front"


def test_importances_find_what_matters(searched: Searched) -> None:
    plan = searched(NUMBERS, search_sampler="random", trials_per_arm=40)
    records: dict[str, Record] = {}
    run(begun(plan), plan, lambda sample: (-abs(sample["attention.mu"] - 0.5),), records)
    shares = importances(plan.arms[0], plan, records)
    assert list(shares) == ["attention.mu", "noise.threshold"]
    assert shares["attention.mu"] > 0.6
    assert sum(shares.values()) == pytest.approx(1)


def test_importances_are_asked_of_one_objective(searched: Searched) -> None:
    plan = searched(
        NUMBERS,
        search_sampler="random",
        trials_per_arm=40,
        objectives="{clip_score: max, motion_magnitude: min}",
        metrics="clip_score, motion_magnitude",
    )
    records: dict[str, Record] = {}
    score: Score = lambda sample: (sample["attention.mu"], math.log(sample["noise.threshold"]))  # noqa: E731
    run(begun(plan), plan, score, records)
    first, second = (importances(plan.arms[0], plan, records, objective) for objective in (0, 1))
    assert next(iter(first)) == "attention.mu"
    assert next(iter(second)) == "noise.threshold"


def test_importances_cover_conditional_values(searched: Searched) -> None:
    plan = searched(MIXED, search_sampler="random", trials_per_arm=40)
    records: dict[str, Record] = {}
    run(
        begun(plan),
        plan,
        lambda sample: (float(sample["attention"] == "momentum") + random.Random(0).random(),),
        records,
    )
    shares = importances(plan.arms[0], plan, records)
    assert set(shares) == {"attention", "attention.mu", "noise.threshold"}
    assert next(iter(shares)) == "attention"


def test_importances_are_absent_where_they_mean_nothing(searched: Searched) -> None:
    plan = searched(NUMBERS, search_sampler="random", trials_per_arm=20)
    records: dict[str, Record] = {}
    assert importances(plan.arms[0], plan, records) == {}
    run(begun(plan), plan, hill, records, most=9)
    assert importances(plan.arms[0], plan, records) == {}, "too few trials"
    tied: dict[str, Record] = {}
    run(begun(plan), plan, lambda sample: (1.0,), tied)
    assert importances(plan.arms[0], plan, tied) == {}, "no trial is better than another"


def test_optuna_does_not_chatter(searched: Searched, capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    plan = searched(MIXED, trials_per_arm=12)
    run(begun(plan), plan, hill, {})
    assert capfd.readouterr() == ("", "")
