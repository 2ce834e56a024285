"""Successive fronts of values; winners ask nothing of Optuna (what it would say itself: see the proposer's tests)."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sweeps.plan.search import Objective
from sweeps.results.winners import fronts
from tests.factories import fresh

GOALS = (Objective("a", "max"), Objective("b", "min"))


def test_fronts_peel_off_what_nothing_beats() -> None:
    values = [(1, 1), (2, 2), (0, 2), (2, 3), (3, 0), (0, 9)]
    assert fronts(values, GOALS) == [[4], [1, 0], [3, 2], [5]]


def test_with_one_objective_fronts_are_the_order() -> None:
    assert fronts([(2,), (3,), (1,), (3,)], GOALS[:1]) == [[1, 3], [0], [2]]
    assert fronts([(2,), (3,), (1,)], GOALS[1:]) == [[2], [0], [1]]
    assert fronts([], GOALS) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=25))
def test_fronts_are_what_peeling_one_after_the_other_gives(values: list[tuple[int, int, int]]) -> None:
    goals = (*GOALS, Objective("c", "max"))

    def beats(one: int, other: int) -> bool:
        a, b = ((values[place][0], -values[place][1], values[place][2]) for place in (one, other))
        return a != b and all(x >= y for x, y in zip(a, b, strict=True))

    left = set(range(len(values)))
    for front in fronts(values, goals):
        assert set(front) == {place for place in left if not any(beats(other, place) for other in left)}
        assert [values[place][0] for place in front] == sorted((values[place][0] for place in front), reverse=True)
        left -= set(front)
    assert not left


STUDY = """\
name: won
system: zs2
base: shapes
metrics: [clip_score]
seeds: 1
search: {space: {attention.mu: {uniform: [0, 1]}}, trials_per_arm: 4, confirm: {top: 2, fresh_seeds: 2}}
"""


def test_neither_winners_nor_status_need_optuna(write: Callable[[str], Path]) -> None:
    code = (
        "from pathlib import Path; from sweeps.plan import load;"
        "from sweeps.results.status import Status; from sweeps.results.winners import confirmation;"
        "plan = load(Path(sys.argv[1])); assert len(confirmation(plan.search, {})) == 2;"
        "Status.of(plan, Path('nowhere'))"
    )
    assert not {"optuna", "torch", "ray"} & fresh(code, write(STUDY)).packages
